"""The header of a DICOM file: an axial CT slice and its position, or why it is none."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pydicom

from ich.base.errors import InputError, printable
from ich.scans import dicom_file
from ich.scans.dicom_slice import NO_HU, is_axial, why_no_slice
from ich.scans.scan import FARTHEST_MM

NOT_RIGHT = 0.01  # what unit vectors and their angle may be off
LONGEST_NAME = 64  # letters, by the standard
NO_PLACE = "no position, orientation, pixel spacing or size"
UNREADABLE = "header cannot be read"
DIRECTORY = "1.2.840.10008.1.3.10"  # class of a DICOMDIR
TEXTS = {
    "patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID", "number": "SeriesNumber",
    "description": "SeriesDescription", "frame_of_reference": "FrameOfReferenceUID",
    "acquisition": "AcquisitionNumber",
}  # fmt: skip
ELEMENTS = (
    "SOPClassUID", "Modality", "ImageType", "NumberOfFrames", "SamplesPerPixel", "Rows", "Columns",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", *TEXTS.values(),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class LeftOut:
    """A DICOM file that is no slice of a CT."""

    path: Path
    reason: str
    series: str  # SeriesInstanceUID

    @property
    def is_slice(self) -> bool:
        """Whether it seems to be a slice of its series whose position or HU are unknown."""
        return self.reason in (NO_PLACE, NO_HU) or self.reason.startswith(UNREADABLE)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Image:
    """The header of one axial CT slice. Texts are printable and may be empty; lengths are in mm."""

    path: Path
    patient: str  # PatientID
    study: str
    series: str  # SeriesInstanceUID
    number: str
    description: str
    frame_of_reference: str
    acquisition: str
    size: tuple[int, int]  # rows, columns
    position: np.ndarray  # centre of the first pixel, LPS, shape (3,)
    axes: np.ndarray  # unit vectors along a row and down a column, LPS, shape (2, 3)
    spacing: np.ndarray  # between rows, between columns
    thickness: float  # SliceThickness; NaN where it is missing or 0

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice, towards the head."""
        normal = np.cross(*self.axes)
        return normal / np.linalg.norm(normal) * (np.sign(normal[2]) or 1)


def read_image(path: Path) -> Image | LeftOut:
    """Read the header of a DICOM file. Raises InputError when it is damaged or no DICOM file."""
    header = dicom_file.read(path, pixels=False, tags=ELEMENTS)
    if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
        return LeftOut(path, "index of a disc (DICOMDIR)", "")
    if "SOPClassUID" not in header and "Modality" not in header:
        raise InputError(f"{path}: cannot be read as DICOM (its header has neither SOPClassUID nor Modality)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values are checked here
            reason = why_no_slice(header) or ("" if _has_place(header) else NO_PLACE)
            reason = reason or ("" if is_axial(header.ImageOrientationPatient) else "not axial")
            return LeftOut(path, reason, _text(header, "SeriesInstanceUID")) if reason else _image(path, header)
    except Exception as error:  # elements hold anything
        return LeftOut(path, f"{UNREADABLE} ({dicom_file.one_line(error)})", "")


def _image(path: Path, header: pydicom.Dataset) -> Image:
    return Image(
        path,
        **{field: _text(header, name) for field, name in TEXTS.items()},
        size=(header.Rows, header.Columns),
        position=np.array(header.ImagePositionPatient, float),
        axes=np.array(header.ImageOrientationPatient, float).reshape(2, 3),
        spacing=np.array(header.PixelSpacing, float),
        thickness=_thickness(header),
    )


def _text(header: pydicom.Dataset, name: str) -> str:
    value = header.get(name)
    return "" if value is None else printable(str(value)).strip()[:LONGEST_NAME]


def _thickness(header: pydicom.Dataset) -> float:
    try:
        value = float(header.get("SliceThickness"))
    except Exception:  # only used to check distances, so no slice is refused for it
        return np.nan
    return value if 0 < value < FARTHEST_MM else np.nan


def _has_place(header: pydicom.Dataset) -> bool:
    """Whether size, position, orientation and spacing are there and plausible."""
    sizes = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    if not all(header.get(name) and np.size(header[name].value) == size for name, size in sizes.items()):
        return False
    if not all(isinstance(header.get(name), int) and header[name].value > 0 for name in ("Rows", "Columns")):
        return False
    position, axes, spacing = (np.array(header[name].value, float) for name in sizes)
    upright = np.allclose(axes.reshape(2, 3) @ axes.reshape(2, 3).T, np.eye(2), atol=NOT_RIGHT)  # NaN is not
    return bool(upright and np.abs(position).max() < FARTHEST_MM and (np.abs(spacing - 5) < 5).all())
