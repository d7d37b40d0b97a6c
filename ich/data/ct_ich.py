"""The CT-ICH data set (PhysioNet 1.3.1) as it lies in its folder: volumes, masks, and the table of slices."""

import csv
import hashlib
import re
import warnings
from pathlib import Path

import pandas as pd

from ich.base import guard, tables
from ich.base.errors import InputError
from ich.data.case import CT_ICH_MASKS, CT_ICH_SCANS, Case, volumes
from ich.data.table import FLAGS, TYPES
from ich.scans.nifti import read_nifti

DIAGNOSIS = "hemorrhage_diagnosis_raw_ct.csv"
LARGEST = 999_999  # patient or slice number
_COLUMNS = {
    "patientnumber": "patient", "slicenumber": "slice", "fracture_yes_no": "fracture",
    **{name: name for name in (*TYPES, "no_hemorrhage")},
}  # fmt: skip


def survey(raw: Path) -> tuple[list[Case], list[str]]:
    """Find all patients under `raw`, reading the table and the headers only.

    Returns the cases and every problem found: a missing file, or a slice count that differs between table and volume.
    Raises InputError when the table itself is not usable.
    """
    table = read_diagnosis(raw / DIAGNOSIS)
    sums = _checksums(raw / "SHA256SUMS.txt")
    cases, problems = [], []
    for patient, flags in table.groupby("patient"):
        try:
            cases.append(_case(raw, str(patient), flags.sort_values("slice"), sums))
        except InputError as error:
            problems.append(str(error))
    listed = set(table["patient"])
    unlisted = sorted(path for path in volumes(raw / CT_ICH_SCANS) if _patient_of(path) not in listed)
    problems += [f"{path}: patient {_patient_of(path)} is not in {DIAGNOSIS}" for path in unlisted]
    return cases, problems


def read_diagnosis(path: Path) -> pd.DataFrame:
    """The table of slices with the columns patient (text, `049`), slice and FLAGS (0 or 1). Raises InputError."""
    guard.check_file(path, "; --raw must name the folder of CT-ICH (the README says how to get it)")
    tables.check_encoding(path)
    try:  # the separator is sniffed: spreadsheets save semicolons in some countries
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(path, dtype=str, sep=None, engine="python", encoding="utf-8-sig", index_col=False)
    except (ValueError, OSError, csv.Error, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); download it again") from None
    plain = [re.sub(r"\.\d+$", "", name.strip().lower()) for name in table.columns]  # pandas numbers doubled names
    table.columns = [_COLUMNS.get(short, name) for short, name in zip(plain, table.columns, strict=True)]
    expected = ("patient", "slice", *FLAGS)
    if missing := [name for name in expected if list(table.columns).count(name) != 1]:
        names = ", ".join(table.columns)
        raise InputError(f"{path}: column for {', '.join(missing)} missing or doubled; found {names}")
    return _checked(path, table[list(expected)].set_axis(_lines(path, len(table))))


def _lines(path: Path, rows: int) -> list[int]:
    """The line of the file in which each row is; pandas leaves out empty lines."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    written = [number for number, line in enumerate(lines, 1) if line.strip()][1:]
    return written if len(written) == rows else [*range(2, rows + 2)]  # a cell of two lines


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Numbers instead of text, and nothing but 0 and 1 in the flags; rows without any value are left out."""
    table = table[table.map(lambda cell: isinstance(cell, str) and bool(cell.strip())).any(axis=1)]
    if table.empty:
        raise InputError(f"{path}: has a header but no rows, expected one row a slice; download it again")
    numbers = table.apply(pd.to_numeric, errors="coerce")
    wrong = numbers.isna() | (numbers % 1 != 0) | (numbers < 0) | (numbers > LARGEST)
    wrong[list(FLAGS)] |= ~numbers[list(FLAGS)].isin((0, 1))
    if wrong.any(axis=None):
        row, column = next(zip(*wrong.to_numpy().nonzero(), strict=True))
        found = f"row {table.index[row]}, {table.columns[column]} is '{table.iloc[row, column]}'"
        raise InputError(f"{path}: {found}, expected whole numbers, and 0 or 1 for flags")
    numbers = numbers.astype(int).reset_index(drop=True)
    numbers["patient"] = numbers["patient"].map("{:03d}".format)
    doubled = numbers[numbers.duplicated(["patient", "slice"])]
    if len(doubled):
        first = "patient {patient} slice {slice}".format(**doubled.iloc[0])
        raise InputError(f"{path}: {len(doubled)} slices appear twice, the first is {first}; remove one row of each")
    return numbers


def _case(raw: Path, patient: str, flags: pd.DataFrame, sums: dict[str, str]) -> Case:
    ct, mask = _volume(raw, CT_ICH_SCANS, patient), _volume(raw, CT_ICH_MASKS, patient)
    slices = read_nifti(ct).shape[2]
    if list(flags["slice"]) != list(range(1, slices + 1)):
        found = f"{len(flags)} slices numbered {flags['slice'].min()} to {flags['slice'].max()}"
        raise InputError(f"{ct}: patient {patient} has {slices} slices in the volume, {found} in {DIAGNOSIS}")
    digests = (sums.get(path.relative_to(raw).as_posix(), "") for path in (ct, mask))
    return Case(patient, patient, ct, mask, flags, *digests)


def _volume(raw: Path, folder: str, patient: str) -> Path:
    """`NNN.nii` or `NNN.nii.gz`; not both, since nothing says which one is meant."""
    found = [path for path in volumes(raw / folder) if path.name.lower() in (f"{patient}.nii", f"{patient}.nii.gz")]
    if len(found) != 1:
        problem = f"is there twice, as {found[0].name} and {found[1].name}; remove one" if found else "not found"
        raise InputError(f"{raw / folder / patient}.nii[.gz]: {problem}")
    guard.check_file(found[0])
    return found[0]


def _patient_of(path: Path) -> str:
    return path.name.split(".")[0].zfill(3)


def _checksums(path: Path) -> dict[str, str]:
    """Relative path -> SHA-256, from PhysioNet's SHA256SUMS.txt; empty without one."""
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    pairs = (line for line in lines if len(line) == 2)
    return {Path(name.strip().lstrip("*")).as_posix(): digest.lower() for digest, name in pairs}


def check_sum(path: Path, expected: str) -> None:
    """Raise InputError when a file is not the published one; nothing to check where `expected` is empty."""
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise InputError(f"{path}: SHA-256 {found[:12]}, expected {expected[:12]} (SHA256SUMS.txt); download it again")
