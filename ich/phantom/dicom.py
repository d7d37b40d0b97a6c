"""Phantom slices as DICOM: one header for all layouts, and HU stored in the ways that scanners differ by."""

import io
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

PADDING = -2000  # stored outside the scanner's round field of view


class Form(NamedTuple):
    """How a scanner stores HU: `wrapped` leaves the intercept out and lets negative values run over at 4096."""

    signed: bool
    bits: int
    intercept: int
    padded: bool
    wrapped: bool = False
    syntax: str = ExplicitVRLittleEndian

    @property
    def padding(self) -> int:
        """PADDING as the file's own kind of number."""
        return PADDING if self.signed else PADDING % 2**16


def header(kind: str, **elements: object) -> Dataset:
    """The header of a CT image (`kind` AXIAL or LOCALIZER) without its pixels; `elements` are added by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ImageType, dataset.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", kind], [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset, hu: np.ndarray, form: Form) -> bytes:
    """A whole DICOM file of a header and HU int16 (rows, columns)."""
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, form.bits, form.bits - 1
    dataset.PixelRepresentation = int(form.signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, form.intercept
    if form.padded:
        dataset.PixelPaddingValue = form.padding
    dataset.PixelData = stored(hu, form).tobytes()
    if form.syntax != ExplicitVRLittleEndian:
        dataset.compress(form.syntax, generate_instance_uid=False)
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def stored(hu: np.ndarray, form: Form) -> np.ndarray:
    """What the scanner of `form` writes for HU (rows, columns): int16 or uint16."""
    dtype = np.int16 if form.signed else np.uint16
    if form.wrapped:
        return (hu.clip(-1000, 3095).astype(np.int32) % 4096).astype(dtype)
    values = (hu.clip(-1024, 3071).astype(np.int32) - form.intercept).astype(dtype)
    if form.padded:
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in hu.shape)
        values[np.hypot(rows[:, None], columns) > max(hu.shape) / 2] = form.padding
    return values
