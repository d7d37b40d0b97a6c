"""Which DICOM files there are, and what is known of them: class folders, or the competition's table and folder.

Both become one table: `id` (file name without `.dcm`), `source` (path relative to the raw folder), then 0 or 1 (NaN:
unknown) under each name of LABELS. Unusable files go to a second table: `id, source, reason`.
"""

import filecmp
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ich.base import guard
from ich.base.errors import InputError
from ich.base.paths import is_file_name
from ich.data.table import TYPES as CT_ICH_TYPES

TYPES = tuple(sorted(CT_ICH_TYPES))  # in the order of the competition
CLASSES = ("healthy", *TYPES)  # six-way classification: exactly one of them
LABELS = ("any", *TYPES)  # multilabel classification: any number of them
TEST_FOLDER = "test"  # slices without classes: predicted, not scored
STAGES = ("stage_2", "stage_1")  # of the competition
SEVERAL = "several"  # class of a slice with more than one type


class Found(NamedTuple):
    """The table of files, those to be rejected before they are read, and the layout in words."""

    table: pd.DataFrame
    rejected: pd.DataFrame
    summary: str


def find(raw: Path) -> Found:
    """Find out which layout `raw` has and list its files. Raises InputError when it has neither."""
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder; expected DICOM slices (--raw), in class folders or as on Kaggle")
    for stage in STAGES:
        if (raw / f"{stage}_train.csv").exists():
            return _kaggle(raw, stage)
    if any((raw / name).is_dir() for name in CLASSES):
        return _class_folders(raw)
    raise InputError(
        f"{raw}: found {', '.join(sorted(path.name for path in raw.iterdir())[:5]) or 'nothing'}; expected the folders "
        f"{', '.join(CLASSES)} with .dcm files, or stage_2_train.csv beside stage_2_train/"
    )


def class_of(table: pd.DataFrame) -> pd.Series:
    """healthy, a type, SEVERAL, or "" where the labels are unknown."""
    flags = table[list(TYPES)].fillna(0).to_numpy() > 0
    number, first = flags.sum(axis=1), np.array(TYPES)[flags.argmax(axis=1)]
    name = np.select([table["any"].isna(), number == 0, number == 1], ["", "healthy", first], SEVERAL)
    return pd.Series(name, table.index, dtype=str)


def names_of(task: str) -> tuple[str, ...]:
    """What the network's outputs mean: CLASSES, or LABELS."""
    return CLASSES if task == "multiclass" else LABELS


def targets(table: pd.DataFrame, task: str) -> np.ndarray:
    """float32 (n, 6) of 0 and 1: the one class of each slice, or all its labels; zeros where they are unknown."""
    if task == "multilabel":
        return table[list(LABELS)].fillna(0).to_numpy(np.float32)
    return (table["class"].to_numpy()[:, None] == np.array(CLASSES)).astype(np.float32)


def usable(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """The slices of a task: slices of several types have no place among six exclusive classes."""
    return table[table["class"] != SEVERAL] if task == "multiclass" else table


def _class_folders(raw: Path) -> Found:
    table = pd.concat([_dicoms(raw, name).assign(folder=name) for name in (*CLASSES, TEST_FOLDER)], ignore_index=True)
    for name in TYPES:
        table[name] = np.where(table["folder"] == TEST_FOLDER, np.nan, table["folder"] == name)
    twice, rejected = table["id"].duplicated(keep=False), {}
    for name, same in table[twice].groupby("id"):
        if reason := _why_not_one(raw, same):
            rejected[name] = reason
    merged = table.groupby("id", as_index=False).agg({"source": "first", **dict.fromkeys(TYPES, "max")})
    merged.insert(2, "any", merged[list(TYPES)].max(axis=1))
    found = ", ".join(f"{name} {number}" for name, number in table["folder"].value_counts(sort=False).items())
    return _without(merged, rejected, f"{raw}: class folders with {len(table)} DICOM files ({found})")


def _why_not_one(raw: Path, same: pd.DataFrame) -> str:
    """Files of one name are one slice with several types, if their contents are equal and their classes fit."""
    first, *others = (raw / source for source in same["source"])
    if not all(path.is_file() for path in (first, *others)):
        return "one of its files is a broken link, or no file"
    folders = ", ".join(same["folder"])
    if not all(filecmp.cmp(first, other, shallow=False) for other in others):
        return f"two different files of this name in {folders}; names must be unique"
    if set(same["folder"]) & {"healthy", TEST_FOLDER}:
        return f"the same slice is in {folders}; which is right?"
    return ""


def _kaggle(raw: Path, stage: str) -> Found:
    labels, conflicts = _read_labels(raw / f"{stage}_train.csv")
    train, test = (_dicoms(raw, f"{stage}_{part}").drop_duplicates("id") for part in ("train", "test"))
    if train.empty:
        raise InputError(f"{raw / f'{stage}_train'}: no .dcm file in it; expected those of {stage}_train.csv")
    table = train.merge(labels, left_on="id", right_index=True, how="left")
    odd = table.loc[table["any"] != table[list(TYPES)].max(axis=1), "id"]
    rejected = dict.fromkeys(odd, "label `any` disagrees with its types")
    rejected |= dict.fromkeys(table.loc[table["any"].isna(), "id"], f"has no row in {stage}_train.csv") | conflicts
    summary = f"{raw}: the competition's layout, {stage}_train.csv, {len(train)} DICOM files"
    summary += f" and {len(test)} without labels" if len(test) else ""
    if absent := len(labels) - int(labels.index.isin(train["id"]).sum()):
        summary += f"; {absent} slices of the table have no file, and are left out"
    return _without(pd.concat([table, test], ignore_index=True), rejected, summary)


def _read_labels(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """By slice the LABELS, and the slices with rows that contradict each other; equal rows count once."""
    try:
        guard.check_file(path)
        rows = pd.read_csv(path, usecols=["ID", "Label"], dtype={"ID": str}, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: {error}; expected the columns ID,Label as the competition wrote them") from None
    if rows.empty:
        raise InputError(f"{path}: has a header but no rows; download it again")
    rows[["id", "label"]] = rows["ID"].str.rsplit("_", n=1, expand=True).reindex(columns=[0, 1])
    right = rows["label"].isin(LABELS) & rows["Label"].isin((0, 1))
    if not right.all():
        bad = rows[~right].iloc[0]
        raise InputError(f"{path}: row '{bad['ID']},{bad['Label']}': expected ID_..._<{'|'.join(LABELS)}> and 0 or 1")
    grouped = rows.drop_duplicates(["id", "label", "Label"])
    twice = grouped.loc[grouped.duplicated(["id", "label"]), "id"]
    table = grouped.drop_duplicates(["id", "label"]).pivot_table(index="id", columns="label", values="Label")
    lacking = table.index[table.reindex(columns=list(LABELS)).isna().any(axis=1)]
    wrong = dict.fromkeys(lacking, f"lacks one of its six rows in {path.name}")
    return table.reindex(columns=list(LABELS)), wrong | dict.fromkeys(twice, f"two rows in {path.name} disagree")


def _dicoms(raw: Path, folder: str) -> pd.DataFrame:
    """`id` and `source` of all `.dcm` files in and below a folder, in order of name."""
    names = ((here, name) for here, _, names in os.walk(raw / folder) for name in names if not name.startswith("."))
    paths = sorted(Path(here, name) for here, name in names if name.lower().endswith(".dcm"))
    if odd := next((path for path in paths if not is_file_name(path.stem)), None):
        raise InputError(f"{odd}: results can't be named after it (too long or not printable); rename it")
    rows = [(path.stem, path.relative_to(raw).as_posix()) for path in paths]
    return pd.DataFrame(rows, columns=["id", "source"], dtype=str)


def _without(table: pd.DataFrame, rejected: dict[str, str], summary: str) -> Found:
    out = table["id"].isin(list(rejected))
    reasons = table.loc[out, ["id", "source"]].assign(reason=table.loc[out, "id"].map(rejected))
    return Found(table.loc[~out, ["id", "source", *LABELS]].reset_index(drop=True), reasons, summary)
