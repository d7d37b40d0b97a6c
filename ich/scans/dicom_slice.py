"""One DICOM slice as Hounsfield units, whatever its header says and however it is compressed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from ich.base.errors import InputError
from ich.scans import dicom_file
from ich.scans.window import WIDEST, Window

AIR_HU, BRIGHTEST_HU = -1024, 3071  # what 12 bits with the usual intercept hold
MOST_TILT = 0.7  # cosine between an axial slice's normal and the body's long axis; gantries tilt by 30 degrees at most


@dataclass(frozen=True)
class Slice:
    """One axial CT slice.

    `hu`: (rows, columns), int16, or float32 where slope or intercept is no whole number; never below -1024.
    """

    hu: np.ndarray
    patient: str  # PatientID
    window: Window | None  # the first one of the file's own window tags
    repaired: bool  # 12-bit values were wrapped back


def read_slice(path: Path) -> Slice:
    """Read an axial CT slice. Raises InputError with the reason when `path` holds something else."""
    header = dicom_file.read(path)
    try:
        _refuse_other_kinds(header)
        hu, repaired = to_hu(dicom_file.pixel_array(header), header)
        return Slice(hu, str(header.PatientID), _own_window(header), repaired)
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


def _refuse_other_kinds(header: pydicom.Dataset) -> None:
    """Raise InputError for what is no axial CT slice of a known patient."""
    kind = [str(part).upper() for part in header.get("ImageType") or []]
    normal = abs(np.cross(*np.reshape(header.get("ImageOrientationPatient") or [1, 0, 0, 0, 1, 0], (2, 3)))[2])
    reasons = {
        f"modality {header.get('Modality')}, expected CT": header.get("Modality", "CT") != "CT",
        "is a scout (LOCALIZER), expected an axial slice": "LOCALIZER" in kind,
        "is not an axial slice (ImageOrientationPatient)": normal < MOST_TILT,
        "holds several frames, expected one slice": int(header.get("NumberOfFrames") or 1) > 1,
        "is a colour image, expected HU": header.get("SamplesPerPixel", 1) != 1,
        "has no PatientID, so it can't be split by patient": not str(header.get("PatientID") or "").strip(),
        "has no RescaleSlope or RescaleIntercept, so its HU are unknown": None
        in (header.get("RescaleSlope"), header.get("RescaleIntercept")),
    }
    for reason, found in reasons.items():
        if found:
            raise InputError(reason)


def _own_window(header: pydicom.Dataset) -> Window | None:
    """The window tags; they hold one number, or several (`['00036', '00036']`)."""
    tags = (header.get("WindowCenter"), header.get("WindowWidth"))
    if None in tags or "" in tags:
        return None
    level, width = (float(np.ravel(tag)[0]) for tag in tags)
    return Window(level, width) if 1 <= width <= WIDEST and abs(level) <= WIDEST else None
