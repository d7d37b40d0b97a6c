"""Whose slice or scan it is: from a CSV, or for a user's own PNGs from the files' names."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_csv
from ich.data.table import NUMBERED

_FILE = re.compile(r"\.(png|nii|nii\.gz)$")
UNKNOWN = (
    "warning: patients are unknown: names are not PATIENT_SLICE.png and no --patients-csv was given. Each image counts "
    "as a patient of its own, so slices of one person may be in two parts and scores may be too high"
)


def assign(table: pd.DataFrame, patients_csv: Path | None) -> tuple[pd.DataFrame, list[str], bool]:
    """Add `patient` and `slice`: from a CSV, or from names such as 049_012; else each image is its own patient.

    Returns notes and whether patients are known, too. Raises InputError for ids without a patient, and for names of
    patients that may be two spellings of one.
    """
    named = [NUMBERED.fullmatch(name) for name in table["id"]]
    number = [int(match["slice"]) if match else row for row, match in enumerate(named, 1)]
    if patients_csv is not None:
        written = _from_csv(patients_csv, table["id"])
    elif all(named):
        written = [match["scan"] for match in named if match]
    else:
        return table.assign(patient=table["id"], slice=1), [UNKNOWN], False
    names = [plain(name) for name in written]
    refuse_spellings(names, "the names of the files or in --patients-csv")
    changed = sorted({f"'{old}'" for old, new in zip(written, names, strict=True) if old != new})
    notes = [f"note: names of patients are read without spaces around them and without .0: {', '.join(changed[:5])}"]
    notes = notes * bool(changed)
    if unnumbered := named.count(None):
        notes.append(f"note: {unnumbered} of {len(table)} names have no slice number at their end (PATIENT_SLICE.png), "
                     "so the order of these slices is unknown: their lesions are counted slice by slice, and recipes "
                     "with neighbours see no neighbours of them")  # fmt: skip
    return table.assign(patient=names, slice=number), notes, True


def of_scans(path: Path, scans: list[str], others: Iterable[str]) -> dict[str, str]:
    """Scan -> patient, from a CSV. `others` are further scans that it may list.

    Raises InputError for a scan without a patient, an id that is no scan, and two spellings of maybe one patient.
    """
    names = [plain(name) for name in _from_csv(path, pd.Series(scans, dtype=str))]
    known = {plain(name) for name in (*scans, *others)}
    if unknown := [name for name in _ids(_rows(path)) if name not in known]:
        raise InputError(f"{path}: id '{unknown[0]}' is no scan of this data set ({len(unknown)} such ids); correct "
                         "the CSV")  # fmt: skip
    refuse_spellings(names, str(path))
    return dict(zip(scans, names, strict=True))


def plain(name: str) -> str:
    """A name as it is compared: one Unicode form, no spaces around it, `49.0` of a spreadsheet as `49`."""
    return re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFC", name).strip())


def refuse_spellings(names: Iterable[str], place: str) -> None:
    """Raise InputError for two names that differ in nothing but case, leading zeros or spaces.

    `place` says in words where they were found. Names of one length with zeros in different places are two: `a01b1` and
    `a1b01` may be random numbers.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        key = re.sub(r"(?<!\d)0+(?=\d)", "", _folded(name))
        other = seen.setdefault(key, name)
        if other != name and (_folded(other) == _folded(name) or len(_folded(other)) != len(_folded(name))):
            raise InputError(f"patients '{other}' and '{name}' may be one person; spell each patient in one way, in "
                             f"{place}")  # fmt: skip


def _folded(name: str) -> str:
    """Without spaces and capitals."""
    return re.sub(r"\s+", "", name.casefold())


def _rows(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"--patients-csv {path}: not found; expected a CSV with the columns id,patient")
    return read_csv(path, ("id", "patient"), "create_data_set.py")


def _ids(rows: pd.DataFrame) -> pd.Series:
    """Names of slices or scans as they are compared, without the suffix of their files."""
    return rows["id"].map(plain).str.replace(_FILE, "", regex=True)


def _from_csv(path: Path, ids: pd.Series) -> list[str]:
    """The patient of each id. Raises InputError for an id without one, or listed twice."""
    rows = _rows(path)
    rows["id"] = _ids(rows)
    nameless = ~rows["patient"].map(plain).map(paths.is_file_name)
    for wrong, what in ((rows["id"].duplicated(), "appears twice"), (nameless, "has no patient, or one with '/'")):
        if wrong.any():
            raise InputError(f"{path}: id '{rows.loc[wrong, 'id'].iloc[0]}' {what}; correct the CSV")
    patient_of = rows.set_index("id")["patient"]
    wanted = ids.map(plain)
    if len(unknown := ids[~wanted.isin(patient_of.index)]):
        raise InputError(f"{path}: no row for {unknown.iloc[0]} ({len(unknown)} ids are missing)")
    return wanted.map(patient_of).tolist()
