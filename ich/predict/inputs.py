"""What a user named on the command line, as a list of scans that can be read one after another."""

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ich.base import guard
from ich.base.errors import InputError
from ich.base.paths import is_file_name
from ich.predict.folders import Walk
from ich.scans import dicom_series, scan

if TYPE_CHECKING:
    import config as settings

NIFTI = (".nii", ".nii.gz")
NAMELESS = "scan"  # base name of a file whose own name no folder can have


@dataclass(eq=False)
class Input:
    """A scan not read yet.

    `path`: its file, or the folder of its DICOM files. `base`: the name of that; `name`: of its output folder, `base`
    until `naming.named` has looked for others of that name. `shown`: what messages call it. `facts`: for DICOM
    study_uid, series_uid, series_number, series_description.
    """

    base: str
    path: Path
    files: tuple[Path, ...]
    read: Callable[[], scan.Scan]
    facts: dict[str, str] = field(default_factory=dict)
    name: str = ""
    shown: str = ""

    def __post_init__(self) -> None:
        self.base = self.base if is_file_name(self.base) else NAMELESS
        self.name = self.name or self.base
        self.shown = self.shown or self.name

    @functools.cached_property
    def content(self) -> str:
        """SHA-256 over the bytes of its files, in whatever order they lie. Raises InputError if one can't be read."""
        return hashlib.sha256("".join(sorted(map(_sha256, self.files))).encode()).hexdigest()

    @functools.cached_property
    def absolute(self) -> Path:
        """The path as the user sees it, from the root: without dots, but through links."""
        return Path(os.path.abspath(self.path))  # noqa: PTH100

    @functools.cached_property
    def source(self) -> dict[str, object]:
        """Where the scan came from, without its content: names are found before files are read."""
        places = {self.path} if self.files == (self.path,) else {path.parent for path in self.files}
        return {
            "path": str(self.absolute), "base": self.base, "number_of_files": len(self.files),
            "real_paths": sorted(map(os.path.realpath, places)), **self.facts,
        }  # fmt: skip

    @property
    def record(self) -> dict[str, object]:
        """What run.json says of where the scan came from and of its content."""
        return {**self.source, "content": self.content}


@dataclass
class Found:
    """Scans, notes on what was left out, and why paths that were named are refused."""

    scans: list[Input] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def look(paths: Sequence[Path], orientation: str = "", series: str = "", out: Path | None = None) -> Found:
    """NIfTI files, DICOM series, and all of both in folders, without what is in the output folder `out`.

    Raises InputError if no path is named.
    """
    if not paths:
        raise InputError("no scan named; expected NIfTI files or DICOM folders: python predict.py SCAN --out DIR")
    walk, found = Walk(out), Found()
    listed: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(paths):
        try:
            listed[path] = _listed(path, walk)
        except InputError as error:
            found.refused.append(str(error))
    files = [file for part in listed.values() for file in part]
    found.scans = [_nifti(file, orientation) for file in files if _is_nifti(file)]
    all_series, notes = dicom_series.find([file for file in files if not _is_nifti(file)], series)
    found.notes = [*walk.notes, *notes]
    found.scans += [Input(each.name, each.folder, each.files, each.read, each.facts) for each in all_series]
    order = {file: index for index, file in enumerate(files)}
    found.scans.sort(key=lambda scan: min(order.get(file, 0) for file in scan.files))
    found.refused += _without_scans(listed, found)
    return found


def unused(config: "settings.Predict", scans: Sequence[Input]) -> list[str]:
    """Notes on flags of config.Predict that none of the scans has a use for."""
    is_dicom = [bool(scan.facts) for scan in scans]
    notes = []
    if scans and not any(is_dicom):
        names = [name for name, value in (("--series", config.series), ("--scan-nifti", config.scan_nifti)) if value]
        notes += [f"{name}: not used; no DICOM series is among the scans" for name in names]
    if scans and all(is_dicom) and config.orientation:
        notes.append("--orientation: not used; DICOM headers have one")
    return notes


def _listed(path: Path, walk: Walk) -> list[Path]:
    """The files under a path. Raises InputError when it is missing."""
    if path.is_dir():
        return walk.folder(path)
    guard.check_file(path, "; expected a NIfTI file or a folder")
    return walk.file(path)


def _without_scans(listed: dict[Path, list[Path]], found: Found) -> list[str]:
    """Why paths are refused that hold no scan. Files of DICOM can be named one by one, scouts among them."""
    used = {file for scan in found.scans for file in scan.files}
    with_slices = {file.parent for file in used if not _is_nifti(file)}
    real = [Path(os.path.realpath(file)) for file in used]
    holders = {path for file in real for path in (file, *file.parents)}
    refused = []
    for path, files in listed.items():
        # Of two paths of which one holds the other, only one lists the files.
        if not used.isdisjoint(files) or Path(os.path.realpath(path)) in holders:
            continue
        if path.is_dir():
            notes = "; ".join(note for note in found.notes if note.startswith(str(path)))
            why = notes or f"{len(files)} files looked at"
            refused.append(f"{path}: holds no NIfTI file and no axial CT series in DICOM ({why}); "
                           "name a file or folder that holds a scan")  # fmt: skip
        elif path.parent not in with_slices:
            refused.append(f"{path}: is not a NIfTI file (.nii, .nii.gz) and not a slice of an axial CT series; "
                           "expected a NIfTI file; for DICOM, pass the folder of the series")  # fmt: skip
    return refused


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI)


def _nifti(path: Path, orientation: str) -> Input:
    name = path.name.lower().removesuffix(".gz").removesuffix(".nii")
    return Input(path.name[: len(name)], path, (path,), lambda: scan.read_nifti(path, orientation))


def _sha256(path: Path) -> str:
    guard.check_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk") from None
