"""Writes phantom head-CT slices as DICOM in both RSNA layouts, with the headers that scanners differ by."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydicom.uid import JPEG2000Lossless, RLELossless, generate_uid

from ich.base.errors import InputError
from ich.base.files import write_bytes, write_text
from ich.base.parallel import spread
from ich.base.paths import PHANTOM_MARKER
from ich.base.record import fingerprint
from ich.data import ct_ich
from ich.phantom import dicom
from ich.phantom.dicom import Form
from ich.phantom.marker import is_complete
from ich.rsna.layouts import CLASSES, LABELS, TEST_FOLDER, TYPES
from ich.scans import nifti

SLICE_MM = 5  # between slices
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


def write_rsna(folder: Path, heads: Path, workers: int = 0, quiet: bool = False) -> None:
    """Write `classes/<class>/*.dcm`, `classes/test/*.dcm`, `kaggle/stage_2_train.csv` and `stage_2_train/ID_*.dcm`.

    `heads` holds the CT-ICH phantoms that the slices are cut from. What was written from them before is left as it is.
    Raises InputError for a folder with other contents.
    """
    cases, problems = ct_ich.survey(heads)
    if problems:
        raise InputError(problems[0])
    if is_complete(folder, {"heads": fingerprint(heads / ct_ich.DIAGNOSIS, heads / PHANTOM_MARKER)}, [TABLE]):
        return
    work = partial(write_patient, folder=folder, labelled=len(cases) - UNLABELLED)
    patients = spread(work, list(enumerate(cases)), workers, "phantom slices", quiet)
    _write_flaws(folder, cases[0])
    slices = [*(labelled for patient in patients for labelled in patient), (DAMAGED, (0,) * len(LABELS))]
    rows = [f"{name}_{label},{value}" for name, labels in slices for label, value in zip(LABELS, labels, strict=True)]
    rows += rows[:6]  # the real table repeats some rows
    write_text(folder / TABLE, "\n".join(["ID,Label", *rows]) + "\n")


def write_patient(numbered: tuple[int, ct_ich.Case], folder: Path, labelled: int) -> list[Labelled]:
    """Write the chosen slices of one patient in both layouts; return their names and LABELS.

    From number `labelled` on, patients go to the test folder, and not to the competition's layout.
    """
    index, case = numbered
    image = nifti.read_nifti(case.ct)
    grid, hu = nifti.grid(image, ""), nifti.read_hu(image)
    written = []
    for row in _chosen(case).itertuples():
        pixels = grid.upright(hu[:, :, row.slice - 1])
        if index % 5 == 4:  # some slices are not square
            pixels = pixels[len(pixels) // 8 : -(len(pixels) // 8)]
        flags = tuple(int(getattr(row, kind)) for kind in TYPES)
        content = dicom_bytes(pixels, FORMS[index % len(FORMS)], case.patient, row.slice, WINDOWS[index % len(WINDOWS)])
        classes = [kind for kind, flag in zip(TYPES, flags, strict=True) if flag] or [CLASSES[0]]
        for name in classes if index < labelled else [TEST_FOLDER]:
            write_bytes(folder / "classes" / name / f"{case.patient}_{row.slice:03d}.dcm", content, sync=False)
        if index < labelled:
            name = "ID_" + fingerprint(f"{case.patient} {row.slice}")[:9]
            write_bytes(folder / TRAIN / f"{name}.dcm", content, sync=False)
            written.append((name, (max(flags), *flags)))
    return written


def _chosen(case: ct_ich.Case) -> pd.DataFrame:
    """All slices with blood, and some without from the middle half of the head."""
    flags = pd.DataFrame(case.flags)  # which CT-ICH always has
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


def _write_flaws(folder: Path, case: ct_ich.Case) -> None:
    """What is found among real slices: a file cut off in the middle, a scout, a slice of constant value."""
    air, healthy = np.full((128, 128), -1000, np.int16), Path("classes") / CLASSES[0]
    whole = dicom_bytes(air, FORMS[1], case.patient, 900, WINDOWS[0])
    files = {
        TRAIN / f"{DAMAGED}.dcm": whole[: len(whole) // 2],
        healthy / f"{DAMAGED}.dcm": whole[: len(whole) // 2],
        healthy / "black.dcm": dicom_bytes(air, FORMS[0], case.patient, 901, WINDOWS[0]),
        healthy / "scout.dcm": dicom_bytes(air, FORMS[0], case.patient, 902, WINDOWS[0], "LOCALIZER"),
    }
    for path, content in files.items():
        write_bytes(folder / path, content, sync=False)
