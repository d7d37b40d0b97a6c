"""Writes phantom head-CT slices as DICOM in both RSNA layouts, with the headers that scanners differ by."""

import io
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from ich.base.errors import InputError
from ich.base.files import atomic, read_json, write_json, write_text
from ich.base.parallel import spread
from ich.base.record import fingerprint
from ich.data import ct_ich
from ich.rsna.layouts import CLASSES, LABELS, TEST_FOLDER, TYPES
from ich.scans import nifti

MARKER = "phantom.json"
HEALTHY_EACH = 4  # slices without blood of each patient
UNLABELLED = 2  # patients in the test folder
PADDING = -2000  # stored outside the scanner's round field of view
DAMAGED = "ID_6431af929"  # a name that is damaged in the real data too


class Form(NamedTuple):
    """How a scanner stores HU: `wrapped` leaves the intercept out and lets negative values run over at 4096."""

    signed: bool
    bits: int
    intercept: int
    padded: bool
    wrapped: bool = False
    syntax: str = ExplicitVRLittleEndian


FORMS = (
    Form(signed=True, bits=16, intercept=0, padded=False),
    Form(signed=True, bits=16, intercept=-1024, padded=True),
    Form(signed=False, bits=16, intercept=-1024, padded=True),
    Form(signed=False, bits=12, intercept=0, padded=False, wrapped=True),
    Form(signed=True, bits=16, intercept=-1024, padded=True, syntax=RLELossless),
    Form(signed=False, bits=12, intercept=-1024, padded=False, syntax=JPEG2000Lossless),
)
WINDOWS = (("40", "80"), (["00036", "00036"], ["00080", "00080"]), (["40", "600"], ["100", "2800"]))


Labelled = tuple[str, tuple[int, ...]]  # name in the competition's layout, and LABELS


def write_rsna(folder: Path, heads: Path, workers: int = 0, quiet: bool = False) -> None:
    """Write `classes/<class>/*.dcm`, `classes/test/*.dcm`, `kaggle/stage_2_train.csv` and `stage_2_train/ID_*.dcm`.

    `heads` holds the CT-ICH phantoms that the slices are cut from. What was written from them before is left as it is.
    Raises InputError for a folder with other contents.
    """
    cases, problems = ct_ich.survey(heads)
    if problems:
        raise InputError(problems[0])
    source = fingerprint(heads / ct_ich.DIAGNOSIS, heads / MARKER)
    if _is_complete(folder / MARKER, source):
        return
    work = partial(write_patient, folder=folder, labelled=len(cases) - UNLABELLED)
    slices = [each for some in spread(work, list(enumerate(cases)), workers, "phantom slices", quiet) for each in some]
    _write_flaws(folder, cases[0])
    rows = [f"{name}_{label},{value}" for name, labels in slices for label, value in zip(LABELS, labels, strict=True)]
    rows += [f"{DAMAGED}_{label},0" for label in LABELS]
    rows += rows[:6]  # the real table repeats some rows
    write_text(folder / "kaggle" / "stage_2_train.csv", "\n".join(["ID,Label", *rows]) + "\n")
    write_json(folder / MARKER, {"heads": source, "whole": True})


def _is_complete(marker: Path, source: str) -> bool:
    """Whether the phantoms are there; claims an empty folder for them, refuses any other folder."""
    folder = marker.parent
    found = read_json(marker) if marker.exists() else {}
    if folder.exists() and any(folder.iterdir()) and found.get("heads") != source:
        raise InputError(f"{folder} holds other files: expected slices of these phantoms; delete it or name another")
    if not found:
        write_json(marker, {"heads": source, "whole": False})
    return bool(found.get("whole"))


def write_patient(numbered: tuple[int, ct_ich.Case], folder: Path, labelled: int) -> list[Labelled]:
    """Write the chosen slices of one patient in both layouts; return their names and LABELS.

    From number `labelled` on, patients go to the test folder, and not to the competition's layout.
    """
    place, case = numbered
    image = nifti.read_nifti(case.ct)
    where, hu = nifti.grid(image, ""), nifti.read_hu(image)
    written = []
    for row in _chosen(case).itertuples():
        pixels = where.upright(hu[:, :, row.slice - 1])
        if place % 5 == 4:  # some slices are not square
            pixels = pixels[len(pixels) // 8 : -(len(pixels) // 8)]
        found = tuple(int(getattr(row, kind)) for kind in TYPES)
        content = dicom_bytes(pixels, FORMS[place % len(FORMS)], case.patient, row.slice, WINDOWS[place % len(WINDOWS)])
        folders = [kind for kind, flag in zip(TYPES, found, strict=True) if flag] or [CLASSES[0]]
        for name in folders if place < labelled else [TEST_FOLDER]:
            _write(folder / "classes" / name / f"{case.patient}_{row.slice:03d}.dcm", content)
        if place < labelled:
            name = "ID_" + fingerprint(f"{case.patient} {row.slice}")[:9]
            _write(folder / "kaggle" / "stage_2_train" / f"{name}.dcm", content)
            written.append((name, (max(found), *found)))
    return written


def _chosen(case: ct_ich.Case) -> pd.DataFrame:
    """All slices with blood, and some without from the middle half of the head."""
    flags = case.flags
    blood = flags[list(TYPES)].max(axis=1) > 0
    clean = flags[~blood & flags["slice"].between(len(flags) // 4, 3 * len(flags) // 4)]
    number = HEALTHY_EACH if len(clean) else 0
    places = np.unique(np.linspace(0, len(clean) - 1, number).round().astype(int))
    return flags[blood | flags.index.isin(clean.index[places])]


def dicom_bytes(hu: np.ndarray, form: Form, patient: str, number: int, window: tuple, kind: str = "AXIAL") -> bytes:
    """A DICOM file of one slice, HU int16 (rows, columns)."""
    header = _header(patient, number, kind)
    header.WindowCenter, header.WindowWidth = window
    pixels = stored(hu, form)
    header.Rows, header.Columns = pixels.shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, form.bits, form.bits - 1
    header.PixelRepresentation = int(form.signed)
    header.RescaleSlope, header.RescaleIntercept = 1, form.intercept
    if form.padded:
        header.PixelPaddingValue = int(_padding(form))
    header.PixelData = pixels.tobytes()
    if form.syntax != ExplicitVRLittleEndian:
        header.compress(form.syntax, generate_instance_uid=False)
    content = io.BytesIO()
    header.save_as(content, enforce_file_format=True)
    return content.getvalue()


def stored(hu: np.ndarray, form: Form) -> np.ndarray:
    """What the scanner of `form` writes for HU (rows, columns): int16 or uint16."""
    kind = np.int16 if form.signed else np.uint16
    if form.wrapped:
        return (hu.clip(-1000, 3095).astype(np.int32) % 4096).astype(kind)
    values = (hu.clip(-1024, 3071).astype(np.int32) - form.intercept).astype(kind)
    if form.padded:
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in hu.shape)
        values[np.hypot(rows[:, None], columns) > max(hu.shape) / 2] = _padding(form)
    return values


def _padding(form: Form) -> int:
    """-2000 as the file's own kind of number."""
    return PADDING if form.signed else PADDING % 2**16


def _header(patient: str, number: int, kind: str) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.Modality = CTImageStorage, "CT"
    header.SOPInstanceUID = generate_uid(entropy_srcs=["phantom", patient, str(number)])
    header.PatientID, header.InstanceNumber = patient, number
    header.ImageType, header.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", kind], [1, 0, 0, 0, 1, 0]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    return header


def _write_flaws(folder: Path, case: ct_ich.Case) -> None:
    """What is found among real slices: a file cut off in the middle, a scout, a slice of constant value."""
    air = np.full((128, 128), -1000, np.int16)
    whole = dicom_bytes(air, FORMS[1], case.patient, 900, WINDOWS[0])
    healthy = folder / "classes" / CLASSES[0]
    _write(folder / "kaggle" / "stage_2_train" / f"{DAMAGED}.dcm", whole[: len(whole) // 2])
    _write(healthy / f"{DAMAGED}.dcm", whole[: len(whole) // 2])
    _write(healthy / "black.dcm", dicom_bytes(air, FORMS[0], case.patient, 901, WINDOWS[0]))
    _write(healthy / "scout.dcm", dicom_bytes(air, FORMS[0], case.patient, 902, WINDOWS[0], "LOCALIZER"))


def _write(path: Path, content: bytes) -> None:
    with atomic(path, sync=False) as temporary:
        temporary.write_bytes(content)
