"""Writes slices of phantom heads as DICOM in both RSNA layouts, with the headers that scanners differ by."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydicom.uid import JPEG2000Lossless, RLELossless, generate_uid

from ich.base.errors import InputError
from ich.base.files import write_bytes, write_text
from ich.base.parallel import spread
from ich.base.record import fingerprint
from ich.phantom import dicom
from ich.phantom.ct_ich import patient_number
from ich.phantom.dicom import Form
from ich.phantom.head import Patient, make_patient
from ich.phantom.marker import is_complete
from ich.phantom.skull import SLICE_MM
from ich.phantom.style import Name
from ich.rsna.layouts import CLASSES, LABELS, TEST_FOLDER, TYPES
from ich.scans.nifti import Grid

HEALTHY_EACH = 4  # slices without blood of each patient
UNLABELLED = 2  # patients in the test folder
DAMAGED = "ID_6431af929"  # a name that is damaged in the real data too
TRAIN = Path("kaggle") / "stage_2_train"
TABLE = "kaggle/stage_2_train.csv"  # written last

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


def write_rsna(
    folder: Path, patients: int, size: int, seed: int, style: Name = "plain", workers: int = 0, quiet: bool = False
) -> None:
    """Write `classes/<class>/*.dcm`, `classes/test/*.dcm`, `kaggle/stage_2_train.csv` and `stage_2_train/ID_*.dcm`.

    Slices of the phantom heads 0 to `patients` - 1 of a seed, drawn with `size` pixels per side. A folder that holds
    these very slices is left as it is. Raises InputError for a folder with other contents.
    """
    if patients <= UNLABELLED:
        raise InputError(f"{patients} phantom patients for RSNA slices: expected {UNLABELLED + 1} or more")
    if is_complete(folder, {"patients": patients, "size": size, "seed": seed, "style": style}, [TABLE]):
        return
    work = partial(write_patient, folder, seed, size, style, patients - UNLABELLED)
    written = spread(work, range(patients), workers, "phantom heads, slices as DICOM", quiet)
    _write_flaws(folder)
    slices = [*(labelled for patient in written for labelled in patient), (DAMAGED, (0,) * len(LABELS))]
    rows = [f"{name}_{label},{value}" for name, labels in slices for label, value in zip(LABELS, labels, strict=True)]
    rows += rows[:6]  # the real table repeats some rows
    write_text(folder / TABLE, "\n".join(["ID,Label", *rows]) + "\n")


def write_patient(folder: Path, seed: int, size: int, style: Name, labelled: int, index: int) -> list[Labelled]:
    """Write the chosen slices of one phantom in both layouts; return their names and LABELS.

    From number `labelled` on, patients go to the test folder, and not to the competition's layout.
    """
    head, patient = make_patient(seed, index, size, style), _id(index)
    grid = Grid(head.hu.shape, head.affine)
    written = []
    for row in _chosen(head).itertuples():
        pixels = grid.upright(head.hu[:, :, row.slice - 1])
        if index % 5 == 4:  # some slices are not square
            pixels = pixels[len(pixels) // 8 : -(len(pixels) // 8)]
        flags = tuple(int(getattr(row, kind)) for kind in TYPES)
        content = dicom_bytes(pixels, FORMS[index % len(FORMS)], patient, row.slice, WINDOWS[index % len(WINDOWS)])
        classes = [kind for kind, flag in zip(TYPES, flags, strict=True) if flag] or [CLASSES[0]]
        for name in classes if index < labelled else [TEST_FOLDER]:
            write_bytes(folder / "classes" / name / f"{patient}_{row.slice:03d}.dcm", content, sync=False)
        if index < labelled:
            name = "ID_" + fingerprint(f"{patient} {row.slice}")[:9]
            write_bytes(folder / TRAIN / f"{name}.dcm", content, sync=False)
            written.append((name, (max(flags), *flags)))
    return written


def _id(index: int) -> str:
    """Of a phantom, as its files in the CT-ICH layout are called: `049`."""
    return f"{patient_number(index):03d}"


def _chosen(head: Patient) -> pd.DataFrame:
    """All slices with blood, and some without from the middle half of the head; `slice` counts from 1."""
    flags = pd.DataFrame(head.slices)
    flags["slice"] = np.arange(1, len(flags) + 1)
    blood = flags[list(TYPES)].max(axis=1) > 0
    clean = flags[~blood & flags["slice"].between(len(flags) // 4, 3 * len(flags) // 4)]
    number = HEALTHY_EACH if len(clean) else 0
    places = np.unique(np.linspace(0, len(clean) - 1, number).round().astype(int))
    return flags[blood | flags.index.isin(clean.index[places])]


def dicom_bytes(hu: np.ndarray, form: Form, patient: str, number: int, window: tuple, kind: str = "AXIAL") -> bytes:
    """A DICOM file of one slice, HU int16 (rows, columns)."""
    header = dicom.header(kind, PatientID=patient, InstanceNumber=number, WindowCenter=window[0], WindowWidth=window[1])
    header.SOPInstanceUID = generate_uid(entropy_srcs=["phantom", patient, str(number)])
    header.SeriesInstanceUID = generate_uid(entropy_srcs=["phantom", patient])
    header.ImagePositionPatient = [0, 0, SLICE_MM * number]
    return dicom.encode(header, hu, form)


def _write_flaws(folder: Path) -> None:
    """What is found among real slices: a file cut off in the middle, a scout, a slice of constant value."""
    air, healthy, patient = np.full((128, 128), -1000, np.int16), Path("classes") / CLASSES[0], _id(0)
    whole = dicom_bytes(air, FORMS[1], patient, 900, WINDOWS[0])
    files = {
        TRAIN / f"{DAMAGED}.dcm": whole[: len(whole) // 2],
        healthy / f"{DAMAGED}.dcm": whole[: len(whole) // 2],
        healthy / "black.dcm": dicom_bytes(air, FORMS[0], patient, 901, WINDOWS[0]),
        healthy / "scout.dcm": dicom_bytes(air, FORMS[0], patient, 902, WINDOWS[0], "LOCALIZER"),
    }
    for path, content in files.items():
        write_bytes(folder / path, content, sync=False)
