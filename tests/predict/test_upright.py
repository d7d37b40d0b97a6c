"""A sheared scan comes on an orthonormal grid too, which ITK opens; every voxel stays where it was."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from predict_files import SIZE, find, phantom, write_nifti
from predict_files import job as job_of

from ich.base import guard
from ich.phantom.series import write_series
from ich.predict import job, results, upright
from ich.predict.method import Method
from ich.scans.nifti import Grid
from ich.scans.scan import Scan, read_nifti
from ich.scans.window import Window
from ich.score.operating import FIXED

METHOD = Method(SIZE, (Window(40, 120),), FIXED, {})
NOTE = (
    "3D Slicer, ITK-SNAP, ANTs and other ITK programs cannot read the sheared grid of mask.nii.gz (gantry tilt); "
    "open mask_upright.nii.gz with scan_upright.nii.gz there"
)


def shear(degrees: float, in_plane: float = 0.0) -> np.ndarray:
    """Voxels of 0.5 x 0.5 x 5 mm, slices shifted to the back with height, as by a tilted gantry; LAS."""
    affine = np.array([[-0.5, 0, 0, 30], [0, 0.5, 0, -40], [0, 0, 5, -20], [0, 0, 0, 1.0]])
    affine[1, 2] = -5 * np.tan(np.radians(degrees))
    affine[0, 1] = in_plane
    return affine


def scan_of(path: Path, affine: np.ndarray, order: tuple[int, int, int] = (0, 1, 2), **codes: int) -> Scan:
    """A phantom of 32 x 32 x 32 voxels on any grid, its axes in any order."""
    voxels = np.transpose(phantom().hu, order)
    return read_nifti(write_nifti(path, voxels, affine[:, [*order, 3]], **{"qform": 0, "sform": 1, **codes}))


def test_itk_refuses_a_sheared_mask_and_opens_the_upright_one(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    scan = scan_of(tmp_path / "a.nii", shear(20))
    with pytest.raises(RuntimeError, match="only supports orthonormal direction cosines"):
        sitk.ReadImage(tmp_path / "a.nii")
    mask = np.zeros(scan.voxels.shape, bool)
    mask[10, 20, 5] = True
    assert upright.write(tmp_path, mask, scan) == [NOTE]
    for name in (upright.SCAN_UPRIGHT, upright.MASK_UPRIGHT):
        image = sitk.ReadImage(tmp_path / name)
        direction = np.reshape(image.GetDirection(), (3, 3))
        np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-6)
        np.testing.assert_allclose(image.GetSpacing(), (0.5, 0.5, 5), atol=1e-5)
    (found,) = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1].tolist()
    there = np.array(image.TransformIndexToPhysicalPoint(found)) * (-1, -1, 1)  # LPS
    np.testing.assert_allclose(there, (scan.affine @ (10, 20, 5, 1))[:3], atol=0.2501)  # half a pixel


@pytest.mark.parametrize("degrees", [-30, -12.5, 1, 20, 30])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_volume_and_place_of_the_mask_stay(tmp_path: Path, degrees: float, order: tuple[int, int, int]) -> None:
    """Whatever axis of the file is the axial one; voxels at all corners are kept."""
    scan = scan_of(tmp_path / "a.nii", shear(degrees), order)
    mask = np.zeros((32, 32, 32), bool)
    mask[3:9, 12:14, 4:9] = mask[20, 5, 30] = True
    mask[np.ix_((0, -1), (0, -1), (0, -1))] = True
    upright.write(tmp_path, np.transpose(mask, order), scan)
    made = nib.load(tmp_path / upright.MASK_UPRIGHT)
    assert made.get_data_dtype() == np.uint8
    found = made.get_fdata() > 0
    volume_mm3 = [voxels.sum() * abs(np.linalg.det(affine)) for voxels, affine in
                  ((mask, scan.affine), (found, made.affine))]  # fmt: skip
    assert volume_mm3[1] == pytest.approx(volume_mm3[0], rel=1e-6)
    there = np.argwhere(found) @ made.affine[:3, :3].T + made.affine[:3, 3]
    before = np.argwhere(np.transpose(mask, order)) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    nearest = np.linalg.norm(there[:, None] - before, axis=2).min(axis=1)
    assert nearest.max() <= 0.2501
    axes = made.affine[:3, :3] / np.linalg.norm(made.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(made.affine[:3, :3], axis=0), np.take((0.5, 0.5, 5), order), atol=1e-5)


def test_hu_between_two_pixels_is_their_mean_and_air_lies_outside(tmp_path: Path) -> None:
    """Each slice is shifted by half a pixel against the one below."""
    affine = shear(0)
    affine[1, 2] = 0.25
    scan = scan_of(tmp_path / "a.nii", affine)
    upright.write(tmp_path, np.zeros(scan.voxels.shape, bool), scan)
    made = nib.load(tmp_path / upright.SCAN_UPRIGHT)
    hu = np.asanyarray(made.dataobj)
    assert hu.dtype == np.int16
    assert hu.shape == (32, 32 + 16, 32)  # 31 half pixels
    np.testing.assert_array_equal(hu[:, :32, 0], scan.voxels[:, :, 0])
    np.testing.assert_array_equal(hu[:, 1:33, 2], scan.voxels[:, :, 2])
    pair = scan.voxels[:, :-1, 1].astype(float), scan.voxels[:, 1:, 1]
    np.testing.assert_array_equal(hu[:, 1:32, 1], np.rint((pair[0] + pair[1]) / 2))
    assert (hu[:, 33:, 0] == -1024).all()
    assert (hu[:, 0, 2] == -1024).all()


def test_shear_within_the_slices_is_taken_out_too(tmp_path: Path) -> None:
    scan = scan_of(tmp_path / "a.nii", shear(10, in_plane=0.02))
    mask = np.zeros(scan.voxels.shape, bool)
    mask[5:20, 8:20, 10:20] = True
    upright.write(tmp_path, mask, scan)
    made = nib.load(tmp_path / upright.MASK_UPRIGHT)
    assert abs(np.linalg.det(made.affine)) == pytest.approx(abs(np.linalg.det(scan.affine)))
    assert (made.get_fdata() > 0).sum() == pytest.approx(mask.sum(), rel=0.02)
    middle = [np.argwhere(voxels).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3] for voxels, affine in
              ((mask, scan.affine), (made.get_fdata(), made.affine))]  # fmt: skip
    np.testing.assert_allclose(*middle, atol=0.1)


@pytest.mark.parametrize(
    ("affine", "codes", "sheared"),
    [
        (shear(0), {}, False),
        (shear(0.005), {}, False),  # rounding noise of positions; ITK opens it
        (shear(0.02), {}, True),
        (shear(0.1), {"qform": 1}, True),
        (shear(0.01), {"qform": 1}, False),  # ITK reads the qform, which is the same within 1e-3 mm a slice
        (shear(20), {"qform": 1}, True),  # ITK reads the qform, and so another place
    ],
)
def test_sheared_is_what_itk_refuses_or_misplaces(
    tmp_path: Path, affine: np.ndarray, codes: dict, sheared: bool
) -> None:
    assert upright.is_sheared(scan_of(tmp_path / "a.nii", affine, **codes)) == sheared


def test_rotated_grids_are_not_sheared(tmp_path: Path) -> None:
    """A head that lay obliquely, or an oblique reformat: axes at right angles."""
    turn = np.linalg.qr(np.array([[-1, 0.1, 0.05], [0.1, 1, -0.3], [0, 0.3, 1.0]]))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * (0.5, 0.5, 5)
    assert not upright.is_sheared(scan_of(tmp_path / "a.nii", affine))


def test_grid_beyond_the_limit_is_a_note_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = scan_of(tmp_path / "a.nii", shear(30))
    monkeypatch.setattr(guard, "MOST_VOXELS", 40_000)
    (note,) = upright.write(tmp_path, np.zeros(scan.voxels.shape, bool), scan)
    assert "an upright one is not written" in note
    assert not (tmp_path / upright.MASK_UPRIGHT).exists()


def test_grid_without_shear_is_itself() -> None:
    same = upright.upright_grid(Grid((32, 30, 9), shear(0)))
    assert same.shape == (32, 30, 9)
    np.testing.assert_allclose(same.affine, shear(0))


def half(planes: np.ndarray) -> np.ndarray:
    """An engine: bone is blood."""
    return (planes > 300).astype(np.float32)


def run(path: Path, out: Path, **given: object) -> tuple[set[str], str]:
    """Names of the files that predicting a scan leaves, and the notes."""
    (found,) = find([path])
    work = job_of(out, METHOD, half, **given)
    job.predict_once(work, found)
    (folder,) = (each for each in out.iterdir() if each.is_dir())
    assert results.write_volumes(out) == []
    notes = pd.read_csv(out / "volumes.csv", keep_default_na=False)["notes"][0]
    return {each.name for each in folder.iterdir()} - {"mask.nii.gz", "overlay.png", "run.json"}, notes


UPRIGHT = {upright.SCAN_UPRIGHT, upright.MASK_UPRIGHT}


def test_tilted_dicom_gets_the_upright_pair_and_a_note(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    write_series(tmp_path / "tilted", phantom(), tilt_deg=15, missing=(7,), scout=False)
    files, notes = run(tmp_path / "tilted", tmp_path / "out")
    assert files - {"mask.dcm", "report.dcm"} == UPRIGHT
    assert NOTE in notes
    mask = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "tilted" / upright.MASK_UPRIGHT))
    sheared = nib.load(tmp_path / "out" / "tilted" / "mask.nii.gz").get_fdata()
    assert mask.sum() == sheared.sum()
    assert not mask[7].any()
    hu = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "tilted" / upright.SCAN_UPRIGHT))
    assert (hu[7] == -1024).all()  # the missing slice


def test_nifti_that_is_not_sheared_has_no_second_pair(tmp_path: Path) -> None:
    scan_of(tmp_path / "head.nii", shear(0))
    files, notes = run(tmp_path / "head.nii", tmp_path / "out")
    assert files == set()
    assert NOTE not in notes


def test_sheared_nifti_gets_the_pair(tmp_path: Path) -> None:
    scan_of(tmp_path / "head.nii", shear(15))
    files, notes = run(tmp_path / "head.nii", tmp_path / "out")
    assert files == UPRIGHT
    assert notes.endswith(NOTE)


def test_dicom_scan_as_nifti_on_request(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A second call writes what is missing, a third removes what is no longer asked for."""
    write_series(tmp_path / "head", phantom(), missing=(5,), scout=False)
    assert "scan.nii.gz" not in run(tmp_path / "head", tmp_path / "out")[0]
    assert "scan.nii.gz" in run(tmp_path / "head", tmp_path / "out", scan_nifti=True)[0]
    assert "already predicted" not in capsys.readouterr().out
    made, mask = (nib.load(tmp_path / "out" / "head" / name) for name in ("scan.nii.gz", "mask.nii.gz"))
    hu = np.asanyarray(made.dataobj)
    (found,) = find([tmp_path / "head"])
    scan = found.read()
    assert hu.dtype == np.int16
    np.testing.assert_array_equal(hu, scan.on_grid(scan.voxels, -1024))
    np.testing.assert_array_equal(made.affine, mask.affine)
    assert [made.header[code] for code in ("qform_code", "sform_code")] == [1, 1]
    run(tmp_path / "head", tmp_path / "out", scan_nifti=True)
    assert "already predicted" in capsys.readouterr().out
    assert "scan.nii.gz" not in run(tmp_path / "head", tmp_path / "out")[0]


def test_nifti_scan_is_not_copied(tmp_path: Path) -> None:
    scan_of(tmp_path / "head.nii", shear(0))
    assert run(tmp_path / "head.nii", tmp_path / "out", scan_nifti=True)[0] == set()


def test_upright_pair_of_an_earlier_scan_goes(tmp_path: Path) -> None:
    """The tilted scan is replaced by one without tilt."""
    scan_of(tmp_path / "head.nii", shear(15))
    assert run(tmp_path / "head.nii", tmp_path / "out")[0] == UPRIGHT
    scan_of(tmp_path / "head.nii", shear(0))
    assert run(tmp_path / "head.nii", tmp_path / "out", flip=True)[0] == set()
