"""The headers that a DICOM Segmentation is made from: what it needs of the slices, complete and valid, and no more."""

import contextlib
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TEXT_VR_DELIMS, DSfloat

from ich.base.errors import InputError
from ich.scans import dicom_file
from ich.scans.scan import Scan

REFERENCES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")  # can't be made up
AS_THEY_ARE = (*REFERENCES, "Modality", "Rows", "Columns")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
# Must be there, may be empty: of the patient and the study these stay empty, since they tell who it is.
EMPTY = ("PatientName", "PatientBirthDate", "ReferringPhysicianName", "AccessionNumber", "PositionReferenceIndicator")
VALID = {  # kept only in this form
    "PatientID": r"(?s).+",  # another one would be another patient's
    "PatientSex": r"[MFO]",
    "StudyDate": r"\d{8}",
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d((60|[0-5]\d)(\.\d{1,6})?)?)?",
    "StudyID": r"(?s).{1,16}",
}
UTF8 = "ISO_IR 192"


def sources(scan: Scan) -> tuple[list[pydicom.Dataset], list[str]]:
    """Headers of the scan's slices, in order, with everything that highdicom asks for; and notes on what was made up.

    `SliceThickness` is what a slice counts for. Raises InputError, with the reason, where a Segmentation can't refer
    to the slices.
    """
    headers = [dicom_file.read(path, pixels=False) for path in scan.sources]
    _check_references(headers, scan.sources)
    common, notes = _of_the_study(headers)
    thickness_mm = scan.voxel_mm3 / (scan.grid.spacing_mm[1] * scan.grid.spacing_mm[2])
    return [_reduced(*each, common) for each in zip(headers, thickness_mm, strict=True)], notes


def _check_references(headers: list[pydicom.Dataset], files: tuple[Path, ...]) -> None:
    """Raise InputError unless each slice has a UID of its own, and all of them one study and series."""
    seen: dict[str, Path] = {}
    for header, path in zip(headers, files, strict=True):
        if lacking := next((name for name in REFERENCES if not _text(header, name)), ""):
            raise InputError(f"{lacking} is missing in {path.name}")
        for name in ("StudyInstanceUID", "SeriesInstanceUID"):
            if header[name].value != headers[0][name].value:
                raise InputError(f"{files[0].name} and {path.name} differ in {name}")
        if (first := seen.setdefault(header.SOPInstanceUID, path)) is not path:
            raise InputError(
                f"{first.name} and {path.name} have one SOPInstanceUID, so no viewer could tell which of them a frame "
                "belongs to; mask.nii.gz is not affected"
            )


def _of_the_study(headers: list[pydicom.Dataset]) -> tuple[pydicom.Dataset, list[str]]:
    """What all slices share, empty where the headers hold nothing valid, and notes."""
    common = pydicom.Dataset()
    for name in EMPTY:
        setattr(common, name, "")
    for name in VALID:
        values = (_text(header, name) for header in headers)
        setattr(common, name, next((value for value in values if _is_valid(name, value)), ""))
    common.SpecificCharacterSet = _character_set(headers[0], (common.PatientID, common.StudyID))
    # highdicom asks for equal numbers; slices of a stack differ by rounding at most, and the affine is of the first.
    common.PixelSpacing = _numbers(headers[0].PixelSpacing)
    common.ImageOrientationPatient = _numbers(_right_angled(headers[0].ImageOrientationPatient))
    common.FrameOfReferenceUID, notes = _frame_of_reference(headers)
    return common, notes


def _frame_of_reference(headers: list[pydicom.Dataset]) -> tuple[str, list[str]]:
    """The frame of all slices; where there is none a new one, the same for each mask of a series, with a note."""
    first, *others = sorted({_text(header, "FrameOfReferenceUID") for header in headers})
    if first and not others:
        return first, []
    lack = "the slices differ in FrameOfReferenceUID" if others else "the series has no FrameOfReferenceUID"
    note = f"{lack}; mask.dcm has a new one, so viewers match it by the slices that it refers to"
    return generate_uid(entropy_srcs=[headers[0].SeriesInstanceUID, "frame of reference"]), [note]


def _reduced(header: pydicom.Dataset, thickness_mm: float, common: pydicom.Dataset) -> pydicom.Dataset:
    """A header of what highdicom looks at; it copies all that it knows of patient, study and equipment."""
    made = pydicom.Dataset()
    made.update(common)
    for name in AS_THEY_ARE + (LOSSY if _value(header, LOSSY[0]) == "01" else ()):
        with contextlib.suppress(Exception):  # it is missing, or not of its type
            setattr(made, name, header[name].value)
    made.ImagePositionPatient = _numbers(header.ImagePositionPatient)
    made.SliceThickness = DSfloat(float(thickness_mm), auto_format=True)
    return made


def _numbers(values: Iterable[float]) -> list[DSfloat]:
    """As DICOM holds them: some writers use more digits than the 16 that are allowed."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _right_angled(orientation: Sequence[float]) -> np.ndarray:
    """ImageOrientationPatient with exact unit vectors at a right angle, shape (6,)."""
    row, column = np.reshape(np.array(orientation, float), (2, 3))
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    return np.concatenate([row, column / np.linalg.norm(column)]) + 0.0  # no negative zeros


def _value(header: pydicom.Dataset, name: str) -> Any:
    """None for what is missing, and for what is not of its type: values are converted when they are asked for."""
    try:
        return header.get(name)
    except Exception:  # whatever a conversion raises
        return None


def _text(header: pydicom.Dataset, name: str) -> str:
    value = _value(header, name)
    return value.strip() if isinstance(value, str) else ""


def _is_valid(name: str, value: str) -> bool:
    try:
        return re.fullmatch(VALID[name], value) is not None and (name != "StudyDate" or DA(value) is not None)
    except ValueError:  # no date of the calendar
        return False


def _character_set(header: pydicom.Dataset, texts: tuple[str, ...]) -> str | list[str]:
    """The series' own character set, "" if it has none; UTF-8 where it is unknown or can't hold the texts."""
    found = _value(header, "SpecificCharacterSet") or ""
    parts = [found] if isinstance(found, str) else [str(part or "") for part in found]
    if all(part in python_encoding for part in parts) and all(_holds(parts, text) for text in texts):
        return parts[0] if len(parts) == 1 else parts
    return "" if all(text.isascii() for text in texts) else UTF8


def _holds(character_sets: list[str], text: str) -> bool:
    """Whether a text comes back as it was from a file with these character sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encodings = convert_encodings(list(character_sets))
        return decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text
