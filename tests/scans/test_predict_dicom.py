"""DICOM folders: one series, in order, in its place; what does not belong to it is left out or refused."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from predict_files import phantom
from pydicom.uid import JPEG2000Lossless, RLELossless, generate_uid
from series_files import changed, read, slices_of

from ich.base.errors import InputError
from ich.phantom.series import write_series
from ich.scans import nifti


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All slices of a phantom and a scout."""
    folder = tmp_path_factory.mktemp("dicom") / "head"
    write_series(folder, phantom())
    return folder


@pytest.fixture
def copy(series: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(series, tmp_path / "head"))


def test_files_in_no_order_become_the_phantom(series: Path) -> None:
    made, scan = phantom(), read(series)
    where = nifti.Grid(made.hu.shape, made.affine)
    expected = np.stack([where.upright(made.hu[:, :, k]) for k in range(made.hu.shape[2])])
    np.testing.assert_array_equal(scan.upright(), expected)
    assert scan.notes == (f"left out 1 of {len(expected) + 1} files: scout (LOCALIZER)",)
    numbers = [pydicom.dcmread(path).InstanceNumber for path in scan.sources]
    assert numbers == list(range(1, len(expected) + 1))  # the files' names are shuffled


def test_every_voxel_lies_where_it_lies_in_the_nifti_file(series: Path) -> None:
    """The NIfTI phantom and its series hold their axes differently; the places in mm of a voxel agree."""
    made, scan = phantom(), read(series)
    assert np.abs(scan.affine - made.affine).max() > 0.1 or np.array_equal(scan.voxels, made.hu)
    place = np.array([10, 20, 7, 1])
    mm = scan.affine @ place
    there = np.linalg.solve(made.affine, mm)
    np.testing.assert_allclose(there, there.round(), atol=1e-4)
    i, j, k = there.round().astype(int)[:3]
    assert made.hu[i, j, k] == scan.voxels[10, 20, 7]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_files_give_the_same_voxels(series: Path, tmp_path: Path, syntax: str) -> None:
    write_series(tmp_path / "head", phantom(), syntax=syntax)
    np.testing.assert_array_equal(read(tmp_path / "head").voxels, read(series).voxels)


def test_gantry_tilt_is_noted_and_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "head", phantom(), tilt_deg=20, scout=False)
    scan = read(tmp_path / "head")
    assert scan.notes == ("gantry tilt of 20.0 degrees; kept in the affine",)
    # Each slice 5 mm higher lies 5 mm * tan(20) = 1.82 mm farther back, which is negative in RAS.
    np.testing.assert_allclose(scan.affine[:3, 2], (0, -1.8199, 5), atol=1e-3)
    assert (scan.image.header["qform_code"], scan.image.header["sform_code"]) == (0, 1)  # a qform holds no shear


def test_missing_slices_are_noted_and_left_empty(tmp_path: Path, series: Path) -> None:
    write_series(tmp_path / "head", phantom(), missing=(5, 6), scout=False)
    scan = read(tmp_path / "head")
    assert scan.notes[0].startswith("2 slices are missing")
    assert np.flatnonzero(scan.cells < 0).tolist() == [5, 6]
    on_grid = scan.on_grid(scan.voxels, -1024)
    assert (on_grid[:, :, 5:7] == -1024).all()
    np.testing.assert_array_equal(on_grid[:, :, 7], read(series).voxels[:, :, 7])
    assert len(scan.sources) == scan.voxels.shape[2] == scan.image.shape[2] - 2


def without_intercept(header: pydicom.Dataset) -> None:
    """12 bits of HU, negative ones wrapped around at 4096."""
    hu = np.frombuffer(header.PixelData, np.uint16).astype(int) - 1024
    header.PixelData = (hu.clip(-1000) % 4096).astype(np.uint16).tobytes()
    header.BitsStored, header.HighBit, header.RescaleIntercept = 12, 11, 0


def test_the_repair_of_12_bits_is_noted(copy: Path) -> None:
    expected = read(copy).voxels
    for path in slices_of(copy):
        changed(path, without_intercept)
    scan = read(copy)
    np.testing.assert_array_equal(scan.voxels, expected.clip(-1000))
    assert scan.notes[-1] == (
        "32 of 32 images with RescaleIntercept 0 in 12 bits; values from 3096 up were wrapped back to -1000 HU and up"
    )


def test_foreign_files_are_left_out_by_name(copy: Path) -> None:
    first, second, *_ = slices_of(copy)
    (copy / "notes.txt").write_text("no DICOM")
    shutil.copy(first, copy / "again.dcm")  # the same image twice
    for name, change in {
        "mr.dcm": lambda header: setattr(header, "Modality", "MR"),
        "dose.dcm": lambda header: (setattr(header, "SeriesInstanceUID", generate_uid()),
                                    setattr(header, "SeriesDescription", "Dose")),
    }.items():  # fmt: skip
        shutil.copy(second, copy / name)
        changed(copy / name, change)
    scan = read(copy)
    assert any("modality MR, expected CT" in note for note in scan.notes)
    assert any("'Dose' left out: has only 1 image" in note for note in scan.notes)
    assert scan.voxels.shape[2] == phantom().hu.shape[2]


def test_folder_of_scouts_is_refused(series: Path, tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    shutil.copy(series / "IM00000.dcm", tmp_path / "head")
    with pytest.raises(InputError, match=r"head: holds no NIfTI file and no axial CT series.*scout"):
        read(tmp_path / "head")


def test_damaged_pixels_are_told_with_the_file(copy: Path) -> None:
    path = slices_of(copy)[3]
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=rf"{path.name}: pixels cannot be read"):
        read(copy)


def test_sagittal_series_is_refused(copy: Path) -> None:
    for place, path in enumerate(slices_of(copy)):

        def turn(header: pydicom.Dataset, place: int = place) -> None:
            header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
            header.ImagePositionPatient = [place * 5.0, 0, 0]

        changed(path, turn)
    with pytest.raises(InputError, match=r"no axial CT series.*left out 32 of 33 files: not axial"):
        read(copy)
