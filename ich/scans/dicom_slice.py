"""One DICOM slice as Hounsfield units, whatever its header says and however it is compressed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from ich.base.errors import InputError, printable
from ich.scans import dicom_file
from ich.scans.scan import FARTHEST_MM, MOST_OBLIQUE_DEG
from ich.scans.window import WIDEST, Window

AIR_HU, BRIGHTEST_HU = -1024, 3071  # what 12 bits with the usual intercept hold
NO_HU = "no RescaleSlope or RescaleIntercept, so HU are unknown"


@dataclass(frozen=True)
class Slice:
    """One axial CT slice.

    `hu`: (rows, columns), int16, or float32 where slope or intercept is no whole number; never below -1024.
    """

    hu: np.ndarray
    patient: str  # PatientID
    window: Window | None  # the first one of the file's own window tags
    repaired: bool  # 12-bit values were wrapped back
    series: str  # SeriesInstanceUID; empty: unknown
    position_mm: float | None  # along the normal of the slice, upwards in an axial scan; None: unknown


def read_slice(path: Path) -> Slice:
    """Read an axial CT slice. Raises InputError with the reason when `path` holds something else."""
    header = dicom_file.read(path)
    try:
        if reason := why_no_slice(header, "CT") or _why_unusable(header):
            raise InputError(reason)
        hu, repaired = to_hu(dicom_file.pixel_array(header), header)
        series = str(header.get("SeriesInstanceUID") or "").strip()
        return Slice(hu, str(header.PatientID), _own_window(header), repaired, series, _position(header))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # elements hold anything, and decoders raise anything
        raise InputError(f"{path}: cannot be read as DICOM ({dicom_file.one_line(error)})") from None


def to_hu(pixels: np.ndarray, header: pydicom.Dataset) -> tuple[np.ndarray, bool]:
    """Stored values -> HU by slope and intercept, padding as air; also whether 12-bit values were repaired."""
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    if not (np.isfinite((slope, intercept)).all() and slope):
        raise InputError(f"RescaleSlope is {slope}, RescaleIntercept {intercept}, expected numbers; export it again")
    repaired = header.BitsStored == 12 and header.PixelRepresentation == 0 and intercept > -100
    values = pixels.astype(np.int32)
    if repaired:  # written without an intercept: what should be below -1000 + 0 has wrapped around at 4096
        values, intercept = (values + 1000) % 4096, -1000.0
    if slope.is_integer() and intercept.is_integer():
        hu = (values * int(slope) + int(intercept)).clip(AIR_HU, np.iinfo(np.int16).max).astype(np.int16)
    else:
        hu = (values * slope + intercept).clip(AIR_HU).astype(np.float32)
    padding = header.get("PixelPaddingValue")
    if padding is not None and not AIR_HU <= padding * slope + intercept <= BRIGHTEST_HU:
        # Unsigned files keep -2000 as 63536, far brighter than bone; bits above BitsStored are cut off on reading.
        hu[(pixels.astype(np.int32) - padding) % 2**header.BitsStored == 0] = AIR_HU
    return hu, repaired


def why_no_slice(header: pydicom.Dataset, default_modality: str = "unknown") -> str:
    """Why a file is not one CT slice in HU, whatever its orientation; empty when it is."""
    modality = str(header.get("Modality", default_modality) or "unknown")
    reasons = {
        f"modality {printable(modality)}, expected CT": modality != "CT",
        "scout (LOCALIZER)": "LOCALIZER" in [str(part).upper() for part in header.get("ImageType") or []],
        "several frames in one file; convert it to a file a slice": int(header.get("NumberOfFrames") or 1) > 1,
        "colour image": header.get("SamplesPerPixel", 1) != 1,
        NO_HU: None in (header.get("RescaleSlope"), header.get("RescaleIntercept")),
    }
    return next((reason for reason, applies in reasons.items() if applies), "")


def _position(header: pydicom.Dataset) -> float | None:
    """Where a slice lies along its normal, mm; nonsense is unknown, since only its neighbours depend on it."""
    corner = header.get("ImagePositionPatient")
    axes = header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)
    if corner is None or np.size(corner) != 3:
        return None
    normal = np.cross(*np.reshape(np.array(axes, float), (2, 3)))
    position = float(np.array(corner, float) @ normal) * (1 if normal[2] > 0 else -1)
    return round(position, 3) if abs(position) < FARTHEST_MM else None


def is_axial(orientation: Sequence[float]) -> bool:
    """Whether ImageOrientationPatient is that of a slice less than MOST_OBLIQUE_DEG off axial."""
    normal = np.cross(*np.reshape(np.array(orientation, float), (2, 3)))
    return abs(normal[2]) >= np.cos(np.radians(MOST_OBLIQUE_DEG))


def _why_unusable(header: pydicom.Dataset) -> str:
    """Why a slice cannot be used without its series; empty when it can. A missing orientation is taken as axial."""
    if not is_axial(header.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)):
        return "not an axial slice (ImageOrientationPatient)"
    has_patient = str(header.get("PatientID") or "").strip()
    return "" if has_patient else "no PatientID, so it can't be split by patient"


def _own_window(header: pydicom.Dataset) -> Window | None:
    """The window tags; they hold one number, or several (`['00036', '00036']`)."""
    tags = header.get("WindowCenter"), header.get("WindowWidth")
    if None in tags or "" in tags:
        return None
    level, width = (float(np.ravel(tag)[0]) for tag in tags)
    return Window(level, width) if 1 <= width <= WIDEST and abs(level) <= WIDEST else None
