"""Made for the tests of DICOM series: a folder read as one scan, and changes of single files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from predict_files import find

from ich.scans.scan import Scan


def read(folder: Path, **given: str) -> Scan:
    """The one scan that a folder holds."""
    (found,) = find([folder], **given)
    return found.read()


def changed(path: Path, change: Callable[[pydicom.Dataset], object]) -> None:
    """Edit the header of a file."""
    header = pydicom.dcmread(path)
    change(header)
    header.save_as(path)


def slices_of(folder: Path) -> list[Path]:
    """The files of the head, from the feet up."""
    files = [path for path in folder.iterdir() if path.name != "IM00000.dcm"]
    return sorted(files, key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])


def turned(header: pydicom.Dataset, degrees: float) -> None:
    """Tilt a slice about the left-right axis."""
    angle = np.radians(degrees)
    header.ImageOrientationPatient = [1, 0, 0, 0, round(np.cos(angle), 9), round(np.sin(angle), 9)]


def moved(header: pydicom.Dataset, *mm: float) -> None:
    """Move a slice along x, y, z (LPS)."""
    place = zip(header.ImagePositionPatient, mm, strict=True)
    header.ImagePositionPatient = [float(value) + by for value, by in place]
