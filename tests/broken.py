"""Small inputs to break, one folder each, and ways to break them; shared by the table of test_bad_input.py."""

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import generate_uid

from ich.base.files import write_text
from ich.data import ct_ich
from ich.phantom.series import write_series

HEADER = ("PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
          "No_Hemorrhage,Fracture_Yes_No")  # fmt: skip
SHAPE, AFFINE = (20, 24, 3), np.diag([-0.5, -0.75, 5.0, 1.0])
DIMS, DATATYPE, PIXDIM, MAGIC, QUATERN_B, SROW_X = 40, 70, 76, 344, 256, 280  # offsets in a NIfTI-1 header
NAN = struct.pack("<f", float("nan"))


def write_raw(raw: Path) -> Path:
    """CT-ICH with two patients of three slices: 049 with epidural blood in slice 2, 103 without."""
    for patient in ("049", "103"):
        hu = np.full(SHAPE, -1000, np.int16)
        hu[4:16, 4:20], hu[4:6] = 30, 1000
        mask = np.zeros(SHAPE, np.uint8)
        mask[8:12, 10:14, 1] = 255 * (patient == "049")
        for folder, voxels in (("ct_scans", hu), ("masks", mask)):
            save(raw / folder / f"{patient}.nii", voxels)
    rows = [f"{patient},{k},0,0,0,{int((patient, k) == (49, 2))},0,{int((patient, k) != (49, 2))},0"
            for patient in (49, 103) for k in (1, 2, 3)]  # fmt: skip
    write_text(raw / ct_ich.DIAGNOSIS, "\n".join([HEADER, *rows]) + "\n")
    return raw


def write_pairs(raw: Path, images: str = "imagesTr", masks: str = "labelsTr", ending: str = "_0000.nii.gz") -> Path:
    """Two scans and their masks as other data sets have them: `a` with label 2 in slice 2, `b` without blood."""
    for name in ("a", "b"):
        hu = np.full(SHAPE, -1000, np.int16)
        hu[4:16, 4:20], hu[4:6] = 30, 1000
        mask = np.zeros(SHAPE, np.uint8)
        mask[8:12, 10:14, 1] = 2 * (name == "a")
        save(raw / images / f"{name}{ending}", hu)
        save(raw / masks / f"{name}.nii.gz", mask)
    labels = {"background": 0, "intraventricular": 1, "Epidural hematoma": 2}
    write_text(raw / "dataset.json", json.dumps({"channel_names": {"0": "CT"}, "labels": labels}))
    return raw


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, kind: type = nib.Nifti1Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(voxels, affine)
    image.set_sform(affine, 1)
    nib.save(image, path)


def ct(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Changes the bytes of patient 049's CT."""
    return lambda raw: at(raw / "ct_scans" / "049.nii", change)


def packed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Compresses patient 049's CT, then changes the bytes."""

    def pack(raw: Path) -> None:
        path = raw / "ct_scans" / "049.nii"
        content = gzip.compress(path.read_bytes(), mtime=0)
        path.unlink()
        path.with_suffix(".nii.gz").write_bytes(change(content))

    return pack


def at(path: Path, change: Callable[[bytes], bytes]) -> int:
    return path.write_bytes(change(path.read_bytes()))


def put(place: int, content: bytes) -> Callable[[bytes], bytes]:
    """Overwrites bytes from `place` on."""
    return lambda raw: raw[:place] + content + raw[place + len(content) :]


def voxels(change: Callable[[np.ndarray], np.ndarray], folder: str = "ct_scans") -> Callable[[Path], object]:
    """Changes the voxels of patient 049's CT or mask."""

    def write(raw: Path) -> None:
        path = raw / folder / "049.nii"
        save(path, change(np.asanyarray(nib.load(path).dataobj).copy()))

    return write


def with_value(value: object, dtype: type) -> Callable[[np.ndarray], np.ndarray]:
    """One voxel of another value, all of another type."""

    def change(found: np.ndarray) -> np.ndarray:
        found = found.astype(dtype)
        found[0, 0, 0] = value
        return found

    return change


def table(change: Callable[[str], str], encoding: str = "utf-8") -> Callable[[Path], object]:
    """Changes the text of the diagnosis table."""
    return lambda raw: at(raw / ct_ich.DIAGNOSIS, lambda content: change(content.decode()).encode(encoding))


def instead(make: Callable[[Path], object], name: str = "ct_scans/049.nii") -> Callable[[Path], object]:
    """Removes a file and puts something else in its place."""

    def change(root: Path) -> None:
        (root / name).unlink()
        make(root / name)

    return change


def write_own(data: Path, rows: int = 20) -> Path:
    """Nine pairs of PNGs of three patients with blood in the second slice of each."""
    for name in (f"p{patient}_{number}" for patient in range(3) for number in (1, 2, 3)):
        image, label = np.full((rows, 24), 90, np.uint8), np.zeros((rows, 24), np.uint8)
        label[6:14, 8:16] = 255 * name.endswith("2")
        for folder, pixels in (("image", image), ("label", label)):
            png(data / folder / f"{name}.png", pixels)
    return data


def png(path: Path, pixels: np.ndarray, suffix: str = ".png") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def declared_png(side: int) -> Callable[[bytes], bytes]:
    """A PNG whose header speaks of another size."""
    return put(16, struct.pack(">II", side, side))


def patients_csv(*rows: str, encoding: str = "utf-8", end: str = "\n") -> Callable[[Path], object]:
    """Writes `patients.csv` beside the PNGs."""
    return lambda data: (data / "patients.csv").write_bytes((end.join(rows) + end).encode(encoding))


def series(folder: Path, made: object) -> Path:
    """A DICOM series without a scout."""
    write_series(folder, made, scout=False)
    return folder


def every(change: Callable[[pydicom.Dataset], object]) -> Callable[[Path], object]:
    """Changes each DICOM file of a folder."""

    def write(folder: Path) -> None:
        for path in folder.iterdir():
            header = pydicom.dcmread(path)
            change(header)
            header.save_as(path)

    return write


def patients_called(*names: str) -> Callable[[Path], object]:
    """Gives the DICOM files below a folder these PatientIDs, in order."""

    def write(folder: Path) -> None:
        for path, name in zip(sorted(folder.rglob("*.dcm")), names, strict=True):
            header = pydicom.dcmread(path)
            header.PatientID = name
            header.save_as(path)

    return write


def one(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Changes the bytes of one DICOM file of a folder."""
    return lambda folder: at(sorted(folder.iterdir())[3], change)


def without(name: str) -> Callable[[Path], object]:
    return every(lambda header: delattr(header, name))


def of(**values: object) -> Callable[[Path], object]:
    """Gives elements of each DICOM file other values; those of the file's own group too."""

    def change(header: pydicom.Dataset) -> None:
        for name, value in values.items():
            setattr(header.file_meta if name == "TransferSyntaxUID" else header, name, value)
        header.SOPInstanceUID = generate_uid()

    return every(change)


def moved(name: str, to: str) -> Callable[[Path], object]:
    return lambda root: shutil.move(root / name, root / to)
