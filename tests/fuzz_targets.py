"""Readers as functions of bytes, for test_fuzz.py and the coverage-guided fuzzer in fuzz_atheris.py.

Each must return or raise InputError, in seconds, with little memory, and write nothing but below the given folder.
"""

import contextlib
import gzip
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pandas as pd
from broken import write_raw
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from ich.base.errors import InputError
from ich.base.files import read_json
from ich.base.paths import Rsna
from ich.data import ct_ich, patients
from ich.data.slicing import Slicing, slice_pixels
from ich.data.table import COLUMNS, read_parts, read_slices
from ich.rsna import layouts, split
from ich.scans import dicom_series, dicom_slice, native, nifti, scan
from ich.scans.png import png_bytes, read_image, read_label
from ich.scans.window import Window

SIZE, SIDE = 12, 32  # pixels per side of the whole inputs: NIfTI and DICOM (JPEG 2000 needs 32)


def nifti_file(folder: Path, content: bytes, suffix: str = ".nii") -> None:
    """As step 1 reads a CT and its mask, and as predict.py reads a scan and writes a mask like it."""
    path = folder / f"049{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        image = nifti.read_nifti(path)
        nifti.check_mask(image, image)
        where = nifti.grid(image)
        slice_pixels(nifti.read_hu(image)[:, :, 0], np.ones(image.shape[:2], bool), where, _slicing(folder))
    with contextlib.suppress(InputError):
        nifti.check_binary(nifti.read_voxels(nifti.read_nifti(path)), "a")
    read = scan.read_nifti(path)
    read.upright()
    native.save_like(folder / "out" / "mask.nii.gz", np.zeros(read.voxels.shape, np.uint8), read.image)


def dicom_file(folder: Path, content: bytes) -> None:
    """As the RSNA pipeline reads a slice, and as predict.py reads a folder of slices, one of them damaged."""
    path = folder / "slice.dcm"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        found = dicom_slice.read_slice(path)
        (found.window or Window(40, 120))(found.hu)
    others = [folder / f"{place}.dcm" for place in range(4)]
    for place, other in enumerate(others):
        if not other.exists():
            other.write_bytes(dicom_bytes(place=place + 1))
    for series in dicom_series.find((path, *others))[0]:
        series.read().upright()


def diagnosis(folder: Path, content: bytes) -> None:
    """The table of CT-ICH beside two whole patients."""
    if not (folder / "raw").exists():
        write_raw(folder / "raw")
    (folder / "raw" / ct_ich.DIAGNOSIS).write_bytes(content)
    ct_ich.survey(folder / "raw")


def slices_csv(folder: Path, content: bytes) -> None:
    """slices.csv and a split of it."""
    (folder / "slices.csv").write_bytes(content)
    read_slices(folder)
    (folder / "patient").mkdir(exist_ok=True)
    (folder / "patient" / "kfold.csv").write_bytes(split_bytes())
    read_parts(folder, "patient", "kfold")


def split_csv(folder: Path, content: bytes) -> None:
    """A split of whole slices."""
    (folder / "slices.csv").write_bytes(slices_bytes())
    (folder / "patient").mkdir(exist_ok=True)
    (folder / "patient" / "kfold.csv").write_bytes(content)
    read_parts(folder, "patient", "kfold")


def patients_csv(folder: Path, content: bytes) -> None:
    """A user's own table of patients."""
    (folder / "patients.csv").write_bytes(content)
    patients._from_csv(folder / "patients.csv", pd.Series(["a"]))


def labels_csv(folder: Path, content: bytes) -> None:
    """The competition's table, beside one file."""
    (folder / "stage_2_train").mkdir(exist_ok=True)
    (folder / "stage_2_train" / "ID_a.dcm").touch()
    (folder / "stage_2_train.csv").write_bytes(content)
    found = layouts.find(folder)
    layouts.class_of(found.table)


def rsna_csv(folder: Path, content: bytes) -> None:
    """slices.csv of the RSNA pipeline."""
    files = Rsna(folder)
    files.folder.mkdir(exist_ok=True)
    files.slices.write_bytes(content)
    layouts.targets(split.read(files), "multiclass")


def png(folder: Path, content: bytes) -> None:
    """A slice and a mask."""
    path = folder / "a.png"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_image(path, 1, 16)
    with contextlib.suppress(InputError):
        read_image(path, 3, 16)
    read_label(path, 16)


def json_file(folder: Path, content: bytes) -> None:
    """run.json."""
    (folder / "run.json").write_bytes(content)
    read_json(folder / "run.json", ("identity",))


def _slicing(folder: Path) -> Slicing:
    return Slicing(folder, 16, (Window(40, 120),))


def nifti_bytes(packed: bool = False) -> bytes:
    """A whole head of a few voxels."""
    hu = np.full((SIZE, SIZE + 2, 3), -1000, np.int16)
    hu[3:9, 3:9], hu[3] = 30, 1000
    affine = np.diag([-0.5, -0.75, 5.0, 1.0])
    image = nib.Nifti1Image(hu, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    content = image.to_bytes()
    return gzip.compress(content, mtime=0) if packed else content


def dicom_bytes(syntax: str = ExplicitVRLittleEndian, place: int = 0, **values: object) -> bytes:
    """A whole slice of a series; `values` come on top, None removes an element."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = CTImageStorage, f"1.2.{place + 3}", "CT"
    header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = "1.2.1", "1.2.2", "1.2.9"
    header.PatientID, header.SamplesPerPixel, header.PhotometricInterpretation = "007", 1, "MONOCHROME2"
    header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, 5 * place], [1, 0, 0, 0, 1, 0]
    header.PixelSpacing, header.WindowCenter, header.WindowWidth = [0.5, 0.5], "40", "120"
    header.ImageType, header.NumberOfFrames = ["ORIGINAL", "PRIMARY", "AXIAL"], 1
    header.Rows, header.Columns, header.PixelPaddingValue = SIDE, SIDE, 0
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    pixels = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 4
    header.PixelData = pixels.tobytes()
    if syntax == JPEGLosslessSV1:
        header.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        header.PixelData = encapsulate([imagecodecs.ljpeg_encode(pixels, bitspersample=16)])
        header["PixelData"].is_undefined_length = True
    elif syntax != ExplicitVRLittleEndian:
        header.compress(syntax, generate_instance_uid=False)
    for name, value in values.items():
        setattr(header, name, value) if value is not None else delattr(header, name)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.save_as(content, enforce_file_format=True)
    return content.getvalue()


SYNTAXES = (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLosslessSV1)


def slices_bytes() -> bytes:
    """slices.csv of three slices."""
    rows = [{"id": f"049_{k:03d}", "patient": "049", "slice": k, "image": f"image/049_{k:03d}.png",
             "label": f"label/049_{k:03d}.png", "lesion_pixels": k, "spacing_row_mm": 0.5,
             "source": "../raw/ct_scans/049.nii"} for k in (1, 2, 3)]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS)).to_csv(index=False).encode()


def split_bytes() -> bytes:
    """A split of them."""
    return b"id,in_training,fold\n049_001,True,1\n049_002,False,2\n049_003,True,test\n"


def patients_bytes() -> bytes:
    return "id,patient\na,1\nb,Müller\n".encode()


def labels_bytes() -> bytes:
    return ("ID,Label\n" + "".join(f"ID_a_{name},0\n" for name in layouts.LABELS)).encode()


def rsna_bytes() -> bytes:
    names = ",".join(layouts.LABELS)
    return f"id,patient,split,class,{names}\na,1,train,healthy,0,0,0,0,0,0\nb,2,test,,,,,,,\n".encode()


def diagnosis_bytes() -> bytes:
    folder = Path(tempfile.mkdtemp())
    content = (write_raw(folder) / ct_ich.DIAGNOSIS).read_bytes()
    shutil.rmtree(folder)
    return content


def eye_png() -> bytes:
    return png_bytes(np.eye(16, dtype=np.uint8) * 255)


Target = Callable[[Path, bytes], None]
TARGETS: dict[str, tuple[Target, Callable[[], bytes]]] = {
    "nifti": (nifti_file, nifti_bytes),
    "nifti.gz": (lambda folder, content: nifti_file(folder, content, ".nii.gz"), lambda: nifti_bytes(packed=True)),
    "dicom": (dicom_file, dicom_bytes),
    "diagnosis": (diagnosis, diagnosis_bytes),
    "slices": (slices_csv, slices_bytes),
    "split": (split_csv, split_bytes),
    "patients": (patients_csv, patients_bytes),
    "labels": (labels_csv, labels_bytes),
    "rsna": (rsna_csv, rsna_bytes),
    "png": (png, eye_png),
    "json": (json_file, lambda: b'{"identity": {"a": [1, 2.5, null, "x"]}}'),
}
