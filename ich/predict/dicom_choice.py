"""Which DICOM files of a folder are the scan: one axial CT series, without scouts, reformats and other modalities."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom

from ich.errors import InputError, printable
from ich.predict.scan import MOST_OBLIQUE_DEG
from ich.rsna import dicom_file

FARTHEST_MM = 1e5  # from the scanner's origin
NOT_RIGHT = 0.01  # what unit vectors and their angle may be off
LONGEST_NAME = 64  # letters, by the standard
LEAST_IMAGES = 3  # fewer are no scan, but scouts, screen shots or dose sheets


class Image(NamedTuple):
    """The header of one file, without its pixels."""

    path: Path
    header: pydicom.Dataset

    @property
    def place(self) -> np.ndarray:
        """Centre of the first pixel, LPS, mm."""
        return np.array(self.header.ImagePositionPatient, float)

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors along a row and down a column, LPS, shape (2, 3)."""
        return np.reshape(np.array(self.header.ImageOrientationPatient, float), (2, 3))

    @property
    def form(self) -> tuple:
        """What all slices of a scan share: size in pixels, pixel spacing and orientation."""
        return (
            self.header.Rows, self.header.Columns, *np.round(np.array(self.header.PixelSpacing, float), 4),
            *np.round(self.axes, 3).ravel(),
        )  # fmt: skip


def read_header(path: Path) -> Image:
    """Read a file without its pixels. Raises InputError when it is damaged."""
    return Image(path, dicom_file.read(path, pixels=False))


def choose(images: list[Image], folder: Path, wanted: str) -> tuple[list[Image], list[str]]:
    """The images of one axial CT series, and notes on what was left out. Raises InputError as `read` does."""
    by_reason: dict[str, list[Image]] = {}
    for image in images:
        by_reason.setdefault(_why_not(image.header), []).append(image)
    notes = [f"left out {len(some)} of {len(images)} files: {reason}" for reason, some in by_reason.items() if reason]
    series: dict[str, list[Image]] = {}
    for image in by_reason.get("", []):
        series.setdefault(str(image.header.get("SeriesInstanceUID")), []).append(image)
    short = {uid: some for uid, some in series.items() if len(some) < LEAST_IMAGES}
    notes += [f"series {_name(some)} left out: has {len(some)} images only" for some in short.values()]
    whole = {uid: some for uid, some in series.items() if uid not in short}
    if not whole:
        raise InputError(f"{folder}: holds no axial CT series ({'; '.join(notes) or 'no images'})")
    told = ", ".join(f"{_name(some)} with {len(some)} images" for some in whole.values())
    named = {uid: some for uid, some in whole.items() if wanted in _names(some[0].header)}
    if len(named) == 1:
        whole = named
    if len(whole) > 1:
        raise InputError(f"{folder}: holds {len(whole)} series ({told}); choose one with --series NUMBER, name or UID")
    chosen = next(iter(whole.values()))
    others = [some for uid, some in series.items() if uid not in short and some is not chosen]
    return chosen, notes + [f"series {_name(some)} left out: not the one asked for" for some in others]


def _why_not(header: pydicom.Dataset) -> str:
    """Why a file is no slice of a scan; empty when it is one."""
    try:
        return _reason(header)
    except Exception as error:  # elements hold anything
        return f"header cannot be read ({dicom_file.one_line(error)})"


def _reason(header: pydicom.Dataset) -> str:
    kind = [str(part).upper() for part in header.get("ImageType") or []]
    reasons = {
        f"modality {printable(str(header.get('Modality', 'unknown')))}, expected CT": header.get("Modality") != "CT",
        "scout (LOCALIZER)": "LOCALIZER" in kind,
        "several frames in one file": int(header.get("NumberOfFrames") or 1) > 1,
        "colour image": header.get("SamplesPerPixel", 1) != 1,
        "no position, orientation, pixel spacing or size": not _has_place(header),
        "no RescaleSlope or RescaleIntercept, so HU are unknown": None
        in (header.get("RescaleSlope"), header.get("RescaleIntercept")),
    }
    if reason := next((reason for reason, found in reasons.items() if found), ""):
        return reason
    height = abs(np.cross(*np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3)))[2])
    return "" if height >= np.cos(np.radians(MOST_OBLIQUE_DEG)) else "not axial"


def _has_place(header: pydicom.Dataset) -> bool:
    """Whether size, position, orientation and spacing are there, and can be true."""
    names = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    if not all(header.get(name) for name in names):
        return False
    if not all(isinstance(header.get(name), int) and header[name].value > 0 for name in ("Rows", "Columns")):
        return False
    position, axes, spacing = (np.array(header[name].value, float) for name in names)
    if [each.size for each in (position, axes, spacing)] != list(names.values()):
        return False
    right = np.reshape(axes, (2, 3)) @ np.reshape(axes, (2, 3)).T
    upright = np.allclose(right, np.eye(2), atol=NOT_RIGHT)  # NaN is not
    return bool(upright and np.abs(position).max() < FARTHEST_MM and (np.abs(spacing - 5) < 5).all())


def _names(header: pydicom.Dataset) -> tuple[str, ...]:
    tags = ("SeriesNumber", "SeriesDescription", "SeriesInstanceUID")
    return tuple(printable(str(header.get(tag, "")))[:LONGEST_NAME] for tag in tags)


def _name(images: list[Image]) -> str:
    number, description, _ = _names(images[0].header)
    return f"{number} '{description}'"
