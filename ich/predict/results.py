"""The output folder: which scan each result is of, whether it is whole, and volumes.csv over all of them.

run.json of a result holds `source` (where the scan was, with `content`, its fingerprint) and `files`, all that was
written. Until they are written it holds `unfinished`, so that a folder of this program can always be recognized.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_json, write_csv
from ich.scans.dicom_choice import first_few

MASK, PROBABILITIES, OVERLAY = "mask.nii.gz", "probabilities.nii.gz", "overlay.png"
SEGMENTATION, REPORT, VIEW, VOLUMES = "mask.dcm", "report.dcm", "view.html", "volumes.csv"
SCAN, SCAN_UPRIGHT, MASK_UPRIGHT = "scan.nii.gz", "scan_upright.nii.gz", "mask_upright.nii.gz"
NAMES = (MASK, OVERLAY, SEGMENTATION, REPORT, PROBABILITIES, VIEW, SCAN, SCAN_UPRIGHT, MASK_UPRIGHT)  # all but run.json
FOUND = ("volume_ml", "lesions", "lesions_above_0.1_ml", "lesion_ml", "largest_diameter_mm", "slices", "mean_hu")
SOURCE = ("study_uid", "series_uid", "series_number", "series_description")  # of DICOM
COLUMNS = ("scan", "path", *FOUND, "threshold", "min_lesion_mm3", "engine", "notes", "files", *SOURCE)


@dataclass(frozen=True)
class Result:
    """The results of one scan, or what is left of them; `facts` is its run.json."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def source(self) -> Mapping[str, Any]:
        """Where the scan came from; empty in results of an earlier version."""
        return self.facts.get("source", {})

    @property
    def content(self) -> str:
        """Fingerprint of the scan's files; empty in results of an earlier version."""
        return self.source.get("content", "")

    @property
    def is_unfinished(self) -> bool:
        """Whether the process that wrote it was stopped."""
        return "unfinished" in self.facts

    def is_from(self, source: Mapping[str, Any]) -> bool:
        """Whether these are results of what lay at the same path, of DICOM of the same series."""
        if not self.source or self.source.get("series_uid") != source.get("series_uid"):
            return False
        same_place = not {*self.source["real_paths"]}.isdisjoint(source["real_paths"])
        return same_place or self.source["path"] == source["path"]

    def is_moved(self) -> bool:
        """Whether the scan no longer lies where it was read."""
        return bool(self.source) and not os.path.exists(self.source["path"])  # noqa: PTH110  (never raises)

    def has(self, name: str) -> bool:
        """Whether a file of the result is there."""
        return (self.folder / name).is_file()

    def missing(self) -> list[str]:
        """Names of its files that are not there any more."""
        return [name for name in self.facts.get("files", [MASK]) if not self.has(name)]

    def remove(self) -> None:
        """Delete the results, run.json first; a folder that holds other files stays."""
        for name in (paths.RUN, *NAMES):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def row(self) -> dict[str, object]:
        """Its row of volumes.csv."""
        facts = self.facts
        return {
            **self.source, **facts["measures"], "scan": self.folder.name, "path": self._path(),
            "lesion_ml": " ".join(f"{volume:g}" for volume in facts["measures"]["lesion_ml"]),
            "threshold": f"{facts['threshold']:.9g}",  # in all its digits: masks are cut there
            "min_lesion_mm3": facts.get("min_lesion_mm3"),
            "engine": facts["inputs"]["engine"], "notes": "; ".join(facts["notes"]),
            "files": self.source.get("number_of_files"),
        }  # fmt: skip

    def networks(self) -> tuple[str, str]:
        """The run that predicted it, and a text that differs where networks or windows do."""
        method = self.facts["inputs"].get("method", {})
        return method.get("run", "unknown"), str([method.get(name) for name in ("networks", "windows")])

    def _path(self) -> str:
        """Where the scan lies, relative to the output folder if it is beside that or in it."""
        path = self.source.get("path", "")
        out = Path(os.path.abspath(self.folder.parent))  # noqa: PTH100  (links are kept)
        return os.path.relpath(path, out) if path and Path(path).is_relative_to(out.parent) else path


def read(folder: Path) -> Result | None:
    """The result that a folder holds; None for a folder that the program did not make."""
    path = folder / paths.RUN
    if not path.is_file():
        return None
    try:
        facts = read_json(path)
    except (InputError, OSError):
        return None
    return Result(folder, facts) if "scan" in facts and ("measures" in facts or "unfinished" in facts) else None


def read_all(out: Path) -> dict[str, Result]:
    """The results in the output folder by the names of their folders."""
    found = (read(path.parent) for path in sorted(out.glob(f"*/{paths.RUN}")))
    return {each.folder.name: each for each in found if each}


def own_files(folder: Path) -> set[str]:
    """Names that results of this program have in a folder, run.json and volumes.csv among them."""
    names = {paths.RUN, *NAMES} if read(folder) else set()
    return names | {VOLUMES} if _is_volumes(folder / VOLUMES) else names


def check(out: Path) -> None:
    """Raise InputError for an output folder whose volumes.csv is of another program: it would be replaced."""
    path = out / VOLUMES
    if path.is_file() and not _is_volumes(path):
        raise InputError(f"{path}: was not written by predict.py (its first column is not `{COLUMNS[0]}`); "
                         "choose another --out or move it away")  # fmt: skip


def _is_volumes(path: Path) -> bool:
    """Whether a file is a volumes.csv of this program."""
    if not path.is_file():
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(COLUMNS[0]) + 1) == f"{COLUMNS[0]},".encode()
    return False


def write_volumes(out: Path) -> list[str]:
    """`volumes.csv`: a row for each scan predicted in `out`, from its run.json; notes on those left out.

    A row needs its mask: without it nobody could see what its numbers are of.
    """
    finished = {name: result for name, result in read_all(out).items() if not result.is_unfinished}
    whole = {name: result for name, result in finished.items() if result.has(MASK)}
    notes = [f"{name}: {MASK} is missing, so {VOLUMES} has no row of it; predict the scan again"
             for name in finished if name not in whole]  # fmt: skip
    by_networks: dict[tuple[str, str], list[str]] = {}
    for name, result in whole.items():
        by_networks.setdefault(result.networks(), []).append(name)
    if len(by_networks) > 1:
        parts = [f"{run}: {first_few(names)}" for (run, _), names in by_networks.items()]
        notes.append(f"rows of {VOLUMES} are of different networks ({'; '.join(parts)}); predict all scans with the "
                     "same ones before you compare them, or use an --out for each")  # fmt: skip
    if unknown := [name for name, result in finished.items() if not result.source]:
        notes.append(f"rows of {VOLUMES} without a path are of an earlier version, which did not record whose they "
                     f"are: {', '.join(unknown)}; delete their folders once the scans are predicted again")  # fmt: skip
    if whole or (out / VOLUMES).exists():
        write_csv(out / VOLUMES, pd.DataFrame([result.row() for result in whole.values()], columns=list(COLUMNS)))
    return notes
