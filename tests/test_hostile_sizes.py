"""Small files that declare a lot: they are refused before memory is taken for it."""

import contextlib
import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import broken
import cv2
import fuzz_targets
import nibabel as nib
import numpy as np
import pydicom
import pytest
from predict_files import bright_is_blood, find
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from ich.base import guard
from ich.base.errors import InputError
from ich.base.paths import Training
from ich.scans import dicom_slice, nifti
from ich.scans.png import png_bytes, read_image
from ich.train import checkpoint, network, prediction

LITTLE = 2**24  # bytes that a refusal may take
FRAME = r"compressed frame has \(60000, 60000\) pixels .*its header \(32, 32\)"


def refused(work: Callable[[], object], message: str) -> None:
    """In one line, and before memory is taken."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            work()
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


def nifti_of(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4) + content


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nii", nifti_of((512, 512, 200)), "cut off or damaged: has 352 bytes, its header declares 104857952"),
        ("a.nii.gz", gzip.compress(nifti_of((512, 512, 200))), "cut off or damaged: has .* its header declares"),
        ("a.nii.gz", gzip.compress(nifti_of((2, 2, 2), bytes(10**8))), "holds far more than its header declares"),
        ("a.nii", nifti_of((4096, 4096, 4096)), "declares 4096 x 4096 x 4096, expected at most 536,870,912 voxels"),
    ],
    ids=["cut off", "cut off, packed", "a thousandfold", "70 thousand million voxels"],
)
def test_volumes_that_declare_too_much(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    refused(lambda: nifti.read_hu(nifti.read_nifti(tmp_path / name)), message)


def test_an_extension_of_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    content = bytearray(fuzz_targets.nifti_bytes())
    content[348:352] = b"\1\0\0\0"  # there are extensions
    content[108:112] = struct.pack("<f", 384)  # the voxels begin after them
    content[352:352] = struct.pack("<2i", 2**31 - 16, 4) + bytes(24)
    (tmp_path / "a.nii").write_bytes(content)
    tracemalloc.start()
    nifti.read_hu(nifti.read_nifti(tmp_path / "a.nii"))
    assert tracemalloc.get_traced_memory()[1] < LITTLE
    tracemalloc.stop()


def test_a_png_that_declares_too_much(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(broken.declared_png(60_000)(png_bytes(np.zeros((8, 8), np.uint8))))
    refused(lambda: read_image(tmp_path / "a.png", 1, 16), "declares 60000 x 60000, expected at most 16,777,216 pix")
    small = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    (tmp_path / "a.png").write_bytes(small[:33] + struct.pack(">I", 2**30) + small[37:])
    refused(lambda: read_image(tmp_path / "a.png", 1, 16), "is not a readable PNG")


def larger_frame(syntax: str) -> bytes:
    """A slice whose compressed frame declares 60000 x 60000 pixels."""
    header = pydicom.dcmread(io.BytesIO(fuzz_targets.dicom_bytes(syntax)))
    frame = bytearray(next(generate_frames(header.PixelData, number_of_frames=1)))
    if syntax == JPEG2000Lossless:
        frame[8:16] = struct.pack(">2I", 60_000, 60_000)
    else:
        at = frame.index(b"\xff\xc3") + 5
        frame[at : at + 4] = struct.pack(">2H", 60_000, 60_000)
    return fuzz_targets.dicom_bytes(syntax, PixelData=encapsulate([bytes(frame)]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: fuzz_targets.dicom_bytes(Rows=60_000, Columns=60_000), "declares 60000 x 60000 x 1, expected at most"),
        (lambda: larger_frame(JPEG2000Lossless), FRAME),
        (lambda: larger_frame(JPEGLosslessSV1), FRAME),
    ],
)
def test_slices_that_declare_too_much(content: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(content())
    refused(lambda: dicom_slice.read_slice(tmp_path / "a.dcm"), message)


def test_run_lengths_that_are_too_long_leave_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The decoder of pylibjpeg panics on them: that is no Exception, and leaves a trace on the terminal."""
    header = pydicom.dcmread(io.BytesIO(fuzz_targets.dicom_bytes(RLELossless)))
    frame = bytearray(next(generate_frames(header.PixelData, number_of_frames=1)))
    frame[64] = 200  # the first run
    content = fuzz_targets.dicom_bytes(RLELossless, PixelData=encapsulate([bytes(frame)]))
    (tmp_path / "a.dcm").write_bytes(content)
    with contextlib.suppress(InputError):
        dicom_slice.read_slice(tmp_path / "a.dcm")
    assert capfd.readouterr().err == ""


def test_a_deflated_dicom_is_not_inflated(tmp_path: Path) -> None:
    header = pydicom.dcmread(io.BytesIO(fuzz_targets.dicom_bytes(PixelData=bytes(10**8))))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").stat().st_size < 200_000
    message = "is deflated as a whole, which is not read; unpack it first"
    refused(lambda: dicom_slice.read_slice(tmp_path / "a.dcm"), message)


def test_an_element_of_four_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    content = fuzz_targets.dicom_bytes(PatientComments="x" * 100)
    at = content.index(b"\x10\x00\x00\x40LT")
    element = b"\x10\x00\x00\x40UT\0\0" + struct.pack("<I", 2**32 - 16)
    (tmp_path / "a.dcm").write_bytes(content[:at] + element + content[at + 8 :])
    refused(lambda: dicom_slice.read_slice(tmp_path / "a.dcm"), r"a\.dcm: ")


def test_slices_far_apart_make_no_huge_volume(tmp_path: Path) -> None:
    for place in (*range(20), 900_000):
        content = fuzz_targets.dicom_bytes(ImagePositionPatient=[0, 0, place / 10], SOPInstanceUID=f"1.9.{place}")
        (tmp_path / f"{place}.dcm").write_bytes(content)
    (found,) = find([tmp_path])
    refused(found.read, "declares 32 x 32 x 900001, expected at most 536,870,912 voxels")


def bombed(path: Path) -> None:
    """The same archive, with a part of 100 MB of zeros."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more", bytes(10**8))


def test_archives_that_grow_are_refused(tmp_path: Path) -> None:
    training, model = Training(tmp_path), bright_is_blood(1)
    model.compile("adam", "mse")
    model.save(training.last)
    checkpoint.save(training.checkpoint, model, 1, [])
    guard.check_archive(training.last)
    guard.check_archive(training.checkpoint)
    for path in (training.last, training.checkpoint):
        bombed(path)
    refused(lambda: prediction.load(training, "last"), "its parts declare .* bytes, far more than it has")
    refused(lambda: network.load_weights(model, training.last), "its parts declare .* bytes, far more than it has")
    refused(lambda: checkpoint.restore(training.checkpoint, model), "its parts declare .* bytes, far more than it has")
