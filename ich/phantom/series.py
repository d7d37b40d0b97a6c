"""Writes one phantom head as a DICOM series, as a scanner would send it: with a scout, and files in no order."""

import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ich.base.errors import InputError
from ich.base.files import atomic
from ich.phantom.ct_ich import write_nifti
from ich.phantom.head import Patient, blood_kinds, make_patient
from ich.scans.nifti import Grid

INTERCEPT = -1024
NAME = "Phantom^Head"  # in place of a patient's name, which must not reach any result
MADE = datetime.datetime(2026, 1, 1)


def write_unseen(folder: Path, patients: int, size: int, seed: int) -> None:
    """Write `scan.nii` and `dicom/*.dcm` of the first phantom with blood that is not among the first `patients`."""
    number = next(number for number in range(patients, patients + 2) if blood_kinds(seed, number))
    nifti, dicom = folder / "scan.nii", folder / "dicom"
    if nifti.exists():
        return
    if folder.exists() and any(folder.iterdir()) and not dicom.exists():
        raise InputError(f"{folder} holds other files: expected a new folder for a phantom; name another one")
    made = make_patient(seed, number, size)
    write_series(dicom, made)
    write_nifti(nifti, made.hu, made.affine)


def write_series(
    folder: Path, made: Patient, number: int = 2, description: str = "Head 5mm", scout: bool = True,
    tilt_deg: float = 0.0, missing: tuple[int, ...] = (), syntax: str = ExplicitVRLittleEndian, thin: int = 0,
) -> None:  # fmt: skip
    """Write the slices of a phantom, and a scout in a series of its own, as `IM00001.dcm` ... in no order.

    `tilt_deg` shifts each slice as a tilted gantry does; slices whose places (from 0) are `missing` are left out; the
    lowest `thin` slices are written as two of half the thickness each, as protocols of the head do.
    """
    where = Grid(made.hu.shape, made.affine)
    study, series, frame = (generate_uid(entropy_srcs=[str(made.affine), name]) for name in ("study", description, "f"))
    places = [place for k in range(made.hu.shape[2]) for place in ((k - 0.25, k + 0.25) if k < thin else (k,))]
    kept = [(number, place) for number, place in enumerate(places, start=1) if round(place) not in missing]
    common = {"StudyInstanceUID": study, "FrameOfReferenceUID": frame, "PatientSex": made.sex[0]}
    for file, index in enumerate(np.random.default_rng(0).permutation(len(kept)), start=1):
        instance, place = kept[index]
        header = _header(where, place, tilt_deg, common)
        header.InstanceNumber = instance
        header.SliceThickness = where.spacing_mm[0] / (1 if isinstance(place, int) else 2)
        header.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(place)])
        header.SeriesInstanceUID, header.SeriesNumber, header.SeriesDescription = series, number, description
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        _save(folder / f"IM{number * 1000 + file:05d}.dcm", header, where.upright(made.hu[:, :, round(place)]), syntax)
    if scout:
        header = _header(where, 0, 0.0, common)
        header.SeriesInstanceUID, header.SeriesNumber = generate_uid(entropy_srcs=[series, "scout"]), 1
        header.SOPInstanceUID = generate_uid(entropy_srcs=[series, "scout", "0"])
        header.SeriesDescription, header.ImageType = "Scout", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        _save(folder / "IM00000.dcm", header, made.hu[made.hu.shape[0] // 2].T[::-1], syntax)


def _header(where: Grid, place: float, tilt_deg: float, common: dict) -> FileDataset:
    """Header of a slice whose rows run to the patient's left and whose columns run to the back."""
    header = FileDataset("", {}, file_meta=FileMetaDataset())
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ends = np.array([[i, j, place, 1] for i in (0, where.shape[0] - 1) for j in (0, where.shape[1] - 1)])
    right, front, height = (ends @ where.affine.T)[:, :3].max(axis=0)  # RAS; the first pixel is at right and front
    back = -front + np.tan(np.radians(tilt_deg)) * place * where.spacing_mm[0]
    for name, value in common.items():
        setattr(header, name, value)
    header.SOPClassUID, header.Modality = CTImageStorage, "CT"
    header.PatientName, header.PatientID, header.PatientBirthDate = NAME, "phantom", ""
    header.StudyDate = header.ContentDate = MADE.strftime("%Y%m%d")
    header.StudyTime = header.ContentTime = MADE.strftime("%H%M%S")
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = "1", "", ""
    header.Manufacturer, header.PositionReferenceIndicator, header.InstanceNumber = "phantom", "", 1
    header.ImagePositionPatient = [round(float(value), 6) for value in (-right, back, height)]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [round(step, 6) for step in where.spacing_mm[1:]]
    header.SliceThickness = where.spacing_mm[0]
    return header


def _save(path: Path, header: FileDataset, hu: np.ndarray, syntax: str) -> None:
    header.Rows, header.Columns = hu.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = 1, INTERCEPT, "HU"
    header.PixelData = np.ascontiguousarray(hu.astype(np.int32) - INTERCEPT).astype(np.uint16).tobytes()
    if syntax != ExplicitVRLittleEndian:
        header.compress(syntax, generate_instance_uid=False)
    with atomic(path, sync=False) as temporary:
        header.save_as(temporary, enforce_file_format=True)
