"""Writes one phantom head as a DICOM series, as a scanner would send it: with a scout, and files in no order."""

from itertools import count
from pathlib import Path

import numpy as np
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ich.base.files import write_bytes
from ich.phantom import dicom
from ich.phantom.ct_ich import write_nifti
from ich.phantom.head import Patient, blood_kinds, make_patient
from ich.phantom.marker import refuse_other_files
from ich.phantom.style import Name
from ich.scans.nifti import Grid

NAME = "Phantom^Head"  # in place of a patient's name, which must not reach any result
DATE, TIME = "20260101", "000000"
SAME = {  # in every file
    "PatientName": NAME, "PatientID": "phantom", "PatientBirthDate": "", "Manufacturer": "phantom", "StudyID": "1",
    "AccessionNumber": "", "ReferringPhysicianName": "", "PositionReferenceIndicator": "", "StudyDate": DATE,
    "ContentDate": DATE, "StudyTime": TIME, "ContentTime": TIME, "RescaleType": "HU",
}  # fmt: skip


def unseen(patients: int, size: int, seed: int, style: Name = "plain") -> Patient:
    """The first phantom with blood that is not among the first `patients`."""
    bleeding = (number for number in count(patients) if blood_kinds(seed, number, style))
    heads = (make_patient(seed, number, size, style) for number in bleeding)
    return next(head for head in heads if head.mask.any())  # a bleeding may be too small to be seen


def write_unseen(folder: Path, patients: int, size: int, seed: int, style: Name = "plain") -> None:
    """Write `scan.nii` and `dicom/*.dcm` of the `unseen` phantom."""
    nifti, series = folder / "scan.nii", folder / "dicom"
    if nifti.exists():
        return
    refuse_other_files(folder, series)
    patient = unseen(patients, size, seed, style)
    write_series(series, patient)
    write_nifti(nifti, patient.hu, patient.affine)


def write_series(
    folder: Path, patient: Patient, number: int = 2, description: str = "Head 5mm", scout: bool = True,
    tilt_deg: float = 0.0, missing: tuple[int, ...] = (), syntax: str = ExplicitVRLittleEndian, thin: int = 0,
) -> None:  # fmt: skip
    """Write the slices of a phantom, and a scout in a series of its own, as `IM00001.dcm` ... in no order.

    `tilt_deg` shifts each slice as a tilted gantry does; slices whose heights (from 0) are `missing` are left out; the
    lowest `thin` slices are written as two of half the thickness each, as protocols of the head do.
    """
    hu, grid = patient.hu, Grid(patient.hu.shape, patient.affine)
    form = dicom.Form(signed=False, bits=16, intercept=-1024, padded=False, syntax=syntax)
    study, series, frame = (_uid(str(patient.affine), name) for name in ("study", description, "f"))
    common = SAME | {"StudyInstanceUID": study, "FrameOfReferenceUID": frame, "PatientSex": patient.sex[0]}
    heights = [height for k in range(hu.shape[2]) for height in ((k - 0.25, k + 0.25) if k < thin else (k,))]
    kept = [(instance, height) for instance, height in enumerate(heights, start=1) if round(height) not in missing]
    for file, index in enumerate(np.random.default_rng(0).permutation(len(kept)), start=1):
        instance, height = kept[index]
        header = dicom.header(
            "AXIAL", **common, **_place(grid, height, tilt_deg), SOPInstanceUID=_uid(series, str(height)),
            SeriesInstanceUID=series, SeriesNumber=number, SeriesDescription=description, InstanceNumber=instance,
        )  # fmt: skip
        if not isinstance(height, int):
            header.SliceThickness = grid.spacing_mm[0] / 2
        content = dicom.encode(header, grid.upright(hu[:, :, round(height)]), form)
        write_bytes(folder / f"IM{number * 1000 + file:05d}.dcm", content, sync=False)
    if scout:
        header = dicom.header(
            "LOCALIZER", **common, **_place(grid, 0, 0.0), SOPInstanceUID=_uid(series, "scout", "0"),
            SeriesInstanceUID=_uid(series, "scout"), SeriesNumber=1, SeriesDescription="Scout", InstanceNumber=1,
        )  # fmt: skip
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        write_bytes(folder / "IM00000.dcm", dicom.encode(header, hu[len(hu) // 2].T[::-1], form), sync=False)


def _uid(*parts: str) -> str:
    return generate_uid(entropy_srcs=list(parts))


def _place(grid: Grid, height: float, tilt_deg: float) -> dict[str, object]:
    """Position, spacing and thickness of a slice whose rows run to the patient's left and columns to the back."""
    ends = np.array([[i, j, height, 1] for i in (0, grid.shape[0] - 1) for j in (0, grid.shape[1] - 1)])
    right, front, up = (ends @ grid.affine.T)[:, :3].max(axis=0)  # RAS; the first pixel is at right and front
    back = -front + np.tan(np.radians(tilt_deg)) * height * grid.spacing_mm[0]
    return {
        "ImagePositionPatient": [round(float(value), 6) for value in (-right, back, up)],
        "PixelSpacing": [round(step, 6) for step in grid.spacing_mm[1:]], "SliceThickness": grid.spacing_mm[0],
    }  # fmt: skip
