"""One split by patient for all variants: train, valid, test, stratified by class."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ich.base.errors import InputError
from ich.base.files import read_csv
from ich.base.paths import Rsna, is_file_name
from ich.rsna.layouts import CLASSES, LABELS, SEVERAL, TYPES, names_of, targets, usable

PARTS = ("train", "test", "valid")  # of equal claims the earlier one comes first
PREDICT = "predict"  # slices of unknown class


def by_patient(table: pd.DataFrame, valid_share: float, test_share: float, seed: int) -> pd.Series:
    """The part of each slice: train, valid, test, or PREDICT where the class is unknown.

    A patient belongs to the rarest type it has. Within a type patients come in order of their slices with it (ties by
    seed), and each goes to the part that lacks most of its share of those slices; a type that is the rarest of three
    patients or more is in all parts. Raises InputError when a part stays empty.
    """
    shares = dict(zip(PARTS, (1 - valid_share - test_share, test_share, valid_share), strict=True))
    known = table[table["any"].notna()]
    part: dict[str, str] = {}
    for load in _strata(known, seed):
        part |= _deal(load, shares)
    if lacking := [name for name in PARTS if name not in part.values()]:
        raise InputError(f"{known['patient'].nunique()} patients with classes are too few: no patient for "
                         f"{' and '.join(lacking)}; expected three or more, with shares above 0")  # fmt: skip
    return known["patient"].map(part).reindex(table.index, fill_value=PREDICT)


def _strata(known: pd.DataFrame, seed: int) -> list[pd.Series]:
    """For each type, and for healthy, the slices of its patients, most first."""
    flags = known[list(TYPES)].astype(int).assign(healthy=1 - known["any"].astype(int))
    load = flags.groupby(known["patient"]).sum()
    load = load.iloc[np.random.default_rng(seed).permutation(len(load))]
    rarest_first = [*load[list(TYPES)].gt(0).sum().sort_values(kind="stable").index, "healthy"]
    stratum = load[rarest_first].gt(0).idxmax(axis=1)
    return [load.loc[stratum == name, name].sort_values(ascending=False, kind="stable") for name in rarest_first]


def _deal(load: pd.Series, shares: dict[str, float]) -> dict[str, str]:
    claim = {name: share * load.sum() for name, share in shares.items()}
    part: dict[str, str] = {}
    for index, (patient, slices) in enumerate(load.items()):
        empty = [name for name in claim if shares[name] > 0 and name not in part.values()]
        open_to = empty if len(load) - index <= len(empty) else list(claim)
        chosen = max(open_to, key=claim.__getitem__)
        part[patient] = chosen
        claim[chosen] -= slices
    return part


def lacking(table: pd.DataFrame, task: str, parts: Sequence[str] = PARTS) -> dict[str, list[str]]:
    """The classes of a task that a part has no slices of, for the parts that lack any."""
    slices = usable(table, task)
    names = np.array(names_of(task))
    absent = {part: names[~targets(slices[slices["split"] == part], task).any(0)].tolist() for part in parts}
    return {part: classes for part, classes in absent.items() if classes}


def lacking_line(absent: Mapping[str, Sequence[str]]) -> str:
    """`no slices of epidural in test`, of every part; their scores are means over the other classes."""
    return "no slices of " + "; of ".join(f"{', '.join(classes)} in {part}" for part, classes in absent.items())


def leaks(table: pd.DataFrame) -> dict[str, int]:
    """Patients of each validation or test part that are also in another labelled part."""
    known = table[table["split"] != PREDICT]
    patients = {name: set(known.loc[known["split"] == name, "patient"]) for name in PARTS}
    return {
        name: len(patients[name] & set.union(*(patients[other] for other in PARTS if other != name)))
        for name in ("valid", "test")
    }


def contradictions(table: pd.DataFrame) -> list[str]:
    """Warnings where slices of equal pixels (column `crc32`) are of several classes, or of several patients.

    Black slices (`no_contour`) are alike in all patients.
    """
    seen = table[~table["no_contour"].astype(bool)]
    lines = []
    for column, what in (("class", "classes"), ("patient", "patients")):
        same = seen[seen.groupby("crc32")[column].transform("nunique") > 1]
        if len(same):
            first, second = same.loc[same["crc32"] == same["crc32"].iloc[0], "source"].iloc[:2]
            lines.append(f"warning: {same['crc32'].nunique()} slices are there under several {what}, such as {first} "
                         f"and {second}: the same pixels; remove what is wrong")  # fmt: skip
    return lines


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a part: patients, slices, and slices of each class."""
    rows = []
    for name in (*PARTS, PREDICT):
        part = table[table["split"] == name]
        counts = part["class"].value_counts()
        classes = {kind: int(counts.get(kind, 0)) for kind in (*CLASSES, SEVERAL)}
        rows.append({"part": name, "patients": part["patient"].nunique(), "slices": len(part), **classes})
    return pd.DataFrame(rows)


def read(files: Rsna) -> pd.DataFrame:
    """The rows of slices.csv. Raises InputError when it is missing, lacks a column or was edited into nonsense."""
    table = read_csv(files.slices, ("id", "patient", "split", "class", *LABELS), "rsna_preprocess.py")
    wrong = {
        "its id is not a file name, or appears twice": ~table["id"].map(is_file_name) | table["id"].duplicated(),
        f"split must be of {', '.join((*PARTS, PREDICT))}": ~table["split"].isin((*PARTS, PREDICT)),
        "labels must be 0, 1 or empty": ~(table[list(LABELS)].isin((0, 1)) | table[list(LABELS)].isna()).all(axis=1),
    }
    for problem, rows in wrong.items():
        if rows.any():
            name = table.loc[rows, "id"].iloc[0]
            raise InputError(f"{files.slices}: id '{name}': {problem}; run `python rsna_preprocess.py` again")
    return table
