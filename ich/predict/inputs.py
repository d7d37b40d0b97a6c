"""What a user named on the command line, as a list of scans that can be read one after another."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ich import guard
from ich.errors import InputError
from ich.paths import is_file_name
from ich.predict import dicom_series, scan
from ich.rsna import dicom_file
from ich.runs import fingerprint

NIFTI = (".nii", ".nii.gz")
RESERVED = "volumes.csv"  # of the output folder


@dataclass(frozen=True)
class Input:
    """A scan not read yet: the name of its output folder, where it is, and its files."""

    name: str
    path: Path
    files: tuple[Path, ...]
    read: Callable[[], scan.Scan]

    def fingerprint(self) -> str:
        """Changes with the names, sizes and times of the files: cheaper than their contents."""
        for path in self.files:
            guard.check_file(path)
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.files]
        return fingerprint(str(facts))


def find(given: Sequence[Path], orientation: str = "", series: str = "") -> list[Input]:
    """NIfTI files, DICOM folders, and all of both in other folders. Raises InputError for what holds no scan."""
    if not given:
        raise InputError("no scan named; expected NIfTI files or DICOM folders: python predict.py SCAN --out DIR")
    found, others = [], []
    for path in given:
        scans, more = _in(path, orientation)
        found += scans
        others += more
    dicoms, notes = dicom_series.find(others, series)
    found += [Input(each.name, each.folder, each.files, each.read) for each in dicoms]
    if not found:
        raise InputError(f"{given[0]}: holds no axial CT series ({'; '.join(notes)})")
    for note in notes:
        print(f"note: {note}")
    taken = {RESERVED}
    for place, each in enumerate(found):
        name = next(name for name in _names(each.name) if name not in taken)
        taken.add(name)
        found[place] = Input(name, each.path, each.files, each.read)
    return found


def _names(name: str) -> Iterator[str]:
    """`head`, `head_2`, `head_3` ...; a name that can't be a folder's is replaced by `scan`."""
    first = name if is_file_name(name) else "scan"
    yield first
    yield from (f"{first}_{number}" for number in itertools.count(2))


def _in(path: Path, orientation: str) -> tuple[list[Input], list[Path]]:
    """The NIfTI scans in a path, and its other files."""
    if _is_nifti(path) and not path.is_dir():
        guard.check_file(path)
        return [_nifti(path, orientation)], []
    if path.is_file():
        raise InputError(f"{path}: is no NIfTI file (.nii, .nii.gz); of DICOM name the folder")
    if not path.is_dir():
        guard.check_file(path, "; expected a NIfTI file or a folder")
    files = []
    for here, folders, names in os.walk(path):
        folders.sort()
        files += [Path(here, name) for name in sorted(names) if not name.startswith(".")]
    scans = [_nifti(file, orientation) for file in files if _is_nifti(file)]
    others = [file for file in files if not _is_nifti(file)]
    if not scans and not any(map(dicom_file.may_be_dicom, others)):
        raise InputError(f"{path}: holds no NIfTI file and no DICOM file; expected scans")
    return scans, others


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI)


def _nifti(path: Path, orientation: str) -> Input:
    name = path.name.lower().removesuffix(".gz").removesuffix(".nii")
    return Input(path.name[: len(name)], path, (path,), lambda: scan.read_nifti(path, orientation))
