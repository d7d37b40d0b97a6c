"""Writes phantom head CTs as a folder of the CT-ICH layout, with the quirks of the real tables."""

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from ich.base.errors import InputError
from ich.base.files import atomic, write_text
from ich.base.parallel import spread
from ich.data.table import TYPES
from ich.phantom.head import make_patient
from ich.phantom.marker import is_complete
from ich.phantom.style import Name

FIRST_NUMBER, SKIPPED_NUMBERS = 49, range(59, 66)  # as in CT-ICH 1.3.1
DIAGNOSIS_CSV, DEMOGRAPHICS_CSV = "hemorrhage_diagnosis_raw_ct.csv", "Patient_demographics.csv"
DIAGNOSIS_HEADER = ("PatientNumber", "SliceNumber", "Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural",
                    "Subdural", "No_Hemorrhage", "Fracture_Yes_No")  # fmt: skip
SCANNER = 1  # NIfTI code: the affine is in the coordinates of the scanner

Record = tuple[int, int, str, tuple[dict[str, int], ...]]  # number, age, sex, flags of each slice


def patient_number(patient: int) -> int:
    """Number in the file names of the phantom with index `patient` (from 0): 49, 50 ... 58, 66 ..."""
    number = FIRST_NUMBER + patient
    return number + len(SKIPPED_NUMBERS) if number >= SKIPPED_NUMBERS.start else number


def write_ct_ich(
    folder: Path, patients: int, size: int, seed: int, style: Name = "plain", workers: int = 0, quiet: bool = False
) -> None:
    """Write `ct_scans/`, `masks/` and both tables, on `workers` cores (0: all).

    A folder that holds these very phantoms is left as it is. Raises InputError for a folder with other contents.
    """
    if patients < 1:
        raise InputError(f"{patients} phantom patients: expected 1 or more")
    scans = [f"{part}/{patient_number(k):03d}.nii" for k in range(patients) for part in ("ct_scans", "masks")]
    origin = {"patients": patients, "size": size, "seed": seed} | ({} if style == "plain" else {"style": style})
    if is_complete(folder, origin, [*scans, DIAGNOSIS_CSV, DEMOGRAPHICS_CSV]):
        return
    records = spread(
        partial(write_patient, folder, seed, size, style), range(patients), workers, "phantom heads", quiet
    )
    for name, rows in ((DEMOGRAPHICS_CSV, _demographics(records, seed)), (DIAGNOSIS_CSV, _diagnosis(records))):
        write_text(folder / name, pd.DataFrame(rows).to_csv(header=False, index=False, lineterminator="\n"))


def write_patient(folder: Path, seed: int, size: int, style: Name, patient: int) -> Record:
    """Make one phantom and write its CT and mask."""
    head, number = make_patient(seed, patient, size, style), patient_number(patient)
    for part, volume in (("ct_scans", head.hu), ("masks", head.mask)):
        write_nifti(folder / part / f"{number:03d}.nii", volume, head.affine)
    return number, head.age, head.sex, head.slices


def write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    """Write a volume with its affine in both forms, atomically."""
    image = nib.Nifti1Image(volume, affine)
    image.set_qform(affine, SCANNER)
    image.set_sform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    with atomic(path) as temporary:
        nib.save(image, temporary)


def _diagnosis(records: list[Record]) -> list[tuple]:
    rows = [
        (number, index, *(flags[kind] for kind in TYPES), flags["no_hemorrhage"], flags["fracture"])
        for number, _, _, slices in records
        for index, flags in enumerate(slices, start=1)
    ]
    return [DIAGNOSIS_HEADER, *rows]


def _demographics(records: list[Record], seed: int) -> list[tuple]:
    """The real table's quirks: two header rows, a line break in a name, gaps, patients without a scan."""
    rng = np.random.default_rng([seed, len(records)])
    headers = [
        ("Patient Number", "Age\n(years)", "Gender ", "Hemorrhage type", "", "", "", "", "Fracture (yes 1/no 0)"),
        ("", "", "", "Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural", ""),
    ]
    rows = []
    for number, age, sex, slices in records:
        types = [1 if any(flags[kind] for flags in slices) else "" for kind in (*TYPES, "fracture")]
        rows.append((number, age if rng.random() > 0.05 else "", sex if rng.random() > 0.1 else sex.lower(), *types))
    rows += [(number, int(rng.integers(5, 86)), "", *[""] * 6) for number in SKIPPED_NUMBERS]
    return [*headers, *sorted(rows)]
