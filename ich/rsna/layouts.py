"""Which DICOM files there are, and what is known of them: class folders, or the competition's table and folder.

Both become one table: `id` (file name without `.dcm`), `source` (path relative to the raw folder), then 0 or 1 (NaN:
unknown) under each name of LABELS. Unusable files go to a second table: `id, source, reason`. DICOM is recognised by
content where the name doesn't end in `.dcm`; what is in the folders besides is named in `notes`.
"""

import filecmp
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ich.base import guard
from ich.base.errors import InputError, printable
from ich.base.paths import is_file_name
from ich.data.table import TYPES as CT_ICH_TYPES
from ich.scans.dicom_choice import first_few
from ich.scans.dicom_file import may_be_dicom

TYPES = tuple(sorted(CT_ICH_TYPES))  # in the order of the competition
CLASSES = ("healthy", *TYPES)  # six-way classification: exactly one of them
LABELS = ("any", *TYPES)  # multilabel classification: any number of them
TEST_FOLDER = "test"  # slices without classes: predicted, not scored
STAGES = ("stage_2", "stage_1")  # of the competition
ROWS_AT_ONCE = 120_000  # of the competition's table
SEVERAL = "several"  # class of a slice with more than one type


class Found(NamedTuple):
    """The table of files, those to be rejected before they are read, the layout in words, and what was left out."""

    table: pd.DataFrame
    rejected: pd.DataFrame
    summary: str
    notes: list[str]


def find(raw: Path) -> Found:
    """Find out which layout `raw` has and list its files. Raises InputError when it has neither."""
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder; expected DICOM slices (--raw), in class folders or as on Kaggle")
    for stage in STAGES:
        if (raw / f"{stage}_train.csv").exists():
            return _kaggle(raw, stage)
    folders = [path for path in sorted(raw.iterdir()) if path.is_dir() and _class_name(path) in CLASSES]
    if folders:
        return _class_folders(raw, folders)
    raise InputError(
        f"{raw}: found {first_few(sorted(path.name for path in raw.iterdir())) or 'nothing'}; expected the folders "
        f"{', '.join(CLASSES)} with DICOM files, or stage_2_train.csv beside stage_2_train/"
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


def predicted(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Those, and the slices of several types in the test part: they are predicted, since whole scans are judged."""
    return table[table.index.isin(usable(table, task).index) | (table["split"] == "test")]


def _class_name(folder: Path) -> str:
    """What a folder's name says about its slices, whatever its case: `Epidural` is a class too."""
    return folder.name.strip().casefold()


def _class_folders(raw: Path, folders: list[Path]) -> Found:
    tests = [path for path in raw.iterdir() if path.is_dir() and _class_name(path) == TEST_FOLDER]
    listed = {folder: _listed(raw, folder.name) for folder in (*folders, *tests)}
    table = pd.concat([each.table.assign(folder=_class_name(folder)) for folder, each in listed.items()])
    table = table.reset_index(drop=True)
    if table.empty:
        raise InputError(_no_dicom(", ".join(map(str, listed)), listed.values()))
    counts = table["folder"].value_counts().reindex([*CLASSES, TEST_FOLDER], fill_value=0)
    notes = [each.note for each in listed.values() if each.note]
    if unknown := sorted(path.name for path in raw.iterdir() if path not in listed and not path.name.startswith(".")):
        notes.append(f"{raw}: not read, since their names are of no class: {first_few(unknown)}")
    if empty := [name for name in CLASSES if not counts[name]]:
        notes.append(f"{raw}: no slices of {', '.join(empty)}; expected in folders of these names")
    for name in TYPES:
        table[name] = np.where(table["folder"] == TEST_FOLDER, np.nan, table["folder"] == name)
    rejected = _ambiguous(raw, table)
    merged = table.groupby("id", as_index=False).agg({"source": "first", **dict.fromkeys(TYPES, "max")})
    merged.insert(2, "any", merged[list(TYPES)].max(axis=1))
    found = ", ".join(f"{name} {number}" for name, number in counts.items() if number)
    return _without(merged, rejected, f"{raw}: class folders with {len(table)} DICOM files ({found})", notes)


def _ambiguous(raw: Path, table: pd.DataFrame) -> dict[str, str]:
    """The slices with several files that are not one slice, each with the reason; `table`: `id`, `source`, `folder`."""
    several = table[table["id"].duplicated(keep=False)]
    reasons = {name: _why_not_one(raw, same) for name, same in several.groupby("id")}
    return {name: reason for name, reason in reasons.items() if reason}


def _why_not_one(raw: Path, same: pd.DataFrame) -> str:
    """Files of one name are one slice with several types, if their contents are equal and their classes fit."""
    first, *others = (raw / source for source in same["source"])
    if not all(path.is_file() for path in (first, *others)):
        return "one of its files is a broken link, or no file"
    folders = ", ".join(same["folder"])
    if not all(filecmp.cmp(first, other, shallow=False) for other in others):
        return f"two different files of this name in {folders}; names must be unique"
    if len({*same["folder"]}) > 1 and {*same["folder"]} & {"healthy", TEST_FOLDER}:
        return f"the same slice is in {folders}; which is right?"
    return ""


def _kaggle(raw: Path, stage: str) -> Found:
    labels, conflicts = _read_labels(raw / f"{stage}_train.csv")
    listed = [_listed(raw, f"{stage}_{part}") for part in ("train", "test")]
    files = pd.concat(
        [each.table.assign(folder=part) for each, part in zip(listed, ("train", TEST_FOLDER), strict=True)]
    )
    ambiguous = _ambiguous(raw, files)
    train, test = (each.table.drop_duplicates("id") for each in listed)
    if train.empty:
        raise InputError(_no_dicom(raw / f"{stage}_train", listed[:1]))
    table = train.merge(labels, left_on="id", right_index=True, how="left")
    odd = table.loc[table["any"] != table[list(TYPES)].max(axis=1), "id"]
    rejected = dict.fromkeys(odd, "label `any` disagrees with its types")
    rejected |= dict.fromkeys(table.loc[table["any"].isna(), "id"], f"has no row in {stage}_train.csv") | conflicts
    rejected |= ambiguous
    summary = f"{raw}: the competition's layout, {stage}_train.csv, {len(train)} DICOM files"
    summary += f" and {len(test)} without labels" if len(test) else ""
    if absent := len(labels) - int(labels.index.isin(train["id"]).sum()):
        summary += f"; {absent} slices of the table have no file, and are left out"
    notes = [each.note for each in listed if each.note]
    return _without(pd.concat([table, test], ignore_index=True), rejected, summary, notes)


def _read_labels(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """By slice the LABELS, and the slices with rows that contradict each other; equal rows count once."""
    row_of: dict[str, int] = {}
    seen = np.zeros((2, 0, len(LABELS)), bool)  # value, slice, label: whether a row says so
    for rows in _label_rows(path):
        value = pd.to_numeric(rows["Label"], errors="coerce")
        parts = rows["ID"].str.rsplit("_", n=1, expand=True).reindex(columns=[0, 1])
        right = parts[1].isin(LABELS) & value.isin((0, 1))
        if not right.all():
            bad = rows[~right].iloc[0]
            raise InputError(
                f"{path}: row '{bad['ID']},{bad['Label']}': expected ID_..._<{'|'.join(LABELS)}> and 0 or 1"
            )
        codes, names = pd.factorize(parts[0])
        index = np.array([row_of.setdefault(name, len(row_of)) for name in names])[codes]
        seen = np.pad(seen, ((0, 0), (0, len(row_of) - seen.shape[1]), (0, 0)))
        seen[value.to_numpy(int), index, pd.Categorical(parts[1], LABELS).codes] = True
    if not row_of:
        raise InputError(f"{path}: has a header but no rows; download it again")
    names, (no, yes) = np.array([*row_of], object), seen
    wrong = dict.fromkeys(names[~(no | yes).all(1)], f"lacks one of its six rows in {path.name}")
    wrong |= dict.fromkeys(names[(no & yes).any(1)], f"two rows in {path.name} disagree")
    return pd.DataFrame(np.where(no | yes, yes, np.nan), names, list(LABELS)), wrong


def _label_rows(path: Path) -> Iterator[pd.DataFrame]:
    """ID and Label as text, ROWS_AT_ONCE; all 4.5 million of the competition would take 2 GB. Raises InputError."""
    try:
        guard.check_file(path)
        how = {"usecols": ["ID", "Label"], "dtype": str, "keep_default_na": False}
        with pd.read_csv(path, **how, chunksize=ROWS_AT_ONCE) as chunks:
            for rows in chunks:
                rows["ID"] = rows["ID"].str.strip()
                rows = rows[(rows["ID"] != "") | (rows["Label"].str.strip() != "")]  # spreadsheets add empty rows
                if len(rows):
                    yield rows
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: {error}; expected the columns ID,Label as the competition wrote them") from None


class _Listed(NamedTuple):
    """`id` and `source` of the DICOM files in a folder, a line about its other files ("": none); the files in all."""

    table: pd.DataFrame
    note: str
    files: int


def _listed(raw: Path, folder: str) -> _Listed:
    """The files in and below a folder, links to folders followed, in order of name."""
    paths = sorted(_files(raw / folder))
    taken = [path for path in paths if _has_suffix(path) or may_be_dicom(path)]
    if odd := next((path for path in taken if not is_file_name(_id(path))), None):
        raise InputError(f"{odd}: results can't be named after it (too long or not printable); rename it")
    rows = [(_id(path), path.relative_to(raw).as_posix()) for path in taken]
    table = pd.DataFrame(rows, columns=["id", "source"], dtype=str)
    if len(taken) == len(paths):
        return _Listed(table, "", len(paths))
    others = [printable(str(path.relative_to(raw / folder))) for path in sorted({*paths} - {*taken})]
    note = f"{raw / folder}: {len(others)} of {len(paths)} files are no DICOM: {first_few(others)}"
    return _Listed(table, note, len(paths))


def _no_dicom(where: object, listed: Iterable[_Listed]) -> str:
    number = sum(each.files for each in listed)
    return f"{where}: no DICOM file in it (of {number} files); expected head-CT slices, with the ending .dcm or without"


def _files(folder: Path) -> Iterator[Path]:
    """All files but hidden ones; a folder is read once, whatever links lead to it, and links to around it aren't."""
    seen = {str(around) for around in Path(os.path.realpath(folder)).parents}
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(here, name) for name in names if not name.startswith("."))


def _has_suffix(path: Path) -> bool:
    return path.suffix.lower() == ".dcm"


def _id(path: Path) -> str:
    """Its name without `.dcm`; other dots belong to it, as in UIDs."""
    return path.stem if _has_suffix(path) else path.name


def _without(table: pd.DataFrame, rejected: dict[str, str], summary: str, notes: list[str]) -> Found:
    out = table["id"].isin(list(rejected))
    reasons = table.loc[out, ["id", "source"]].assign(reason=table.loc[out, "id"].map(rejected))
    return Found(table.loc[~out, ["id", "source", *LABELS]].reset_index(drop=True), reasons, summary, notes)
