"""Masks and probabilities of others on the grid of a scan."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from broken import AFFINE, SHAPE, save

from ich.base.errors import InputError
from ich.scans.nifti import read_nifti
from ich.scans.resample import on_grid_of


def at(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> nib.Nifti1Image:
    save(path, np.asarray(voxels, np.float32), affine)
    return read_nifti(path)


@pytest.fixture
def scan(tmp_path: Path) -> nib.Nifti1Image:
    return at(tmp_path / "scan.nii", np.zeros(SHAPE))


@pytest.fixture
def mask() -> np.ndarray:
    """Not symmetric in any direction, and with voxels at the edge."""
    voxels = np.zeros(SHAPE, bool)
    voxels[0:5, 3:5, 0], voxels[12, 20:24, 2] = True, True
    return voxels


def test_on_the_grid_nothing_is_touched(scan: nib.Nifti1Image, mask: np.ndarray, tmp_path: Path) -> None:
    assert on_grid_of(mask, at(tmp_path / "mask.nii", mask), scan) is mask
    assert on_grid_of(mask, at(tmp_path / "near.nii", mask, AFFINE + np.eye(4, k=3) * 0.005), scan) is mask


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flipped_file_comes_back_exactly(axis: int, scan: nib.Nifti1Image, mask: np.ndarray, tmp_path: Path) -> None:
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, SHAPE[axis] - 1
    stored = np.flip(mask, axis)
    image = at(tmp_path / "mask.nii", stored, AFFINE @ flip)
    np.testing.assert_array_equal(on_grid_of(stored, image, scan), mask)
    soft = np.float32(0.75) * stored
    np.testing.assert_allclose(on_grid_of(soft, image, scan), 0.75 * mask, atol=1e-6)


def test_finer_voxels_are_taken_by_the_nearest(scan: nib.Nifti1Image, mask: np.ndarray, tmp_path: Path) -> None:
    fine = np.repeat(np.repeat(mask, 3, axis=0), 3, axis=1)
    scale = np.diag([1 / 3, 1 / 3, 1, 1])
    scale[:2, 3] = -1 / 3  # the middle one of three lies on the voxel
    found = on_grid_of(fine, at(tmp_path / "fine.nii", fine, AFFINE @ scale), scan)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, mask)


def test_without_orientation_the_shape_decides(scan: nib.Nifti1Image, mask: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "plain.nii"
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), None), path)
    assert on_grid_of(mask, read_nifti(path), scan) is mask
    nib.save(nib.Nifti1Image(mask[1:].astype(np.uint8), None), path)
    with pytest.raises(InputError, match=r"plain\.nii: has shape \(19, 24, 3\), its scan \(20, 24, 3\), and no header"):
        on_grid_of(mask[1:], read_nifti(path), scan)


def test_a_mask_beside_its_scan_is_refused(scan: nib.Nifti1Image, mask: np.ndarray, tmp_path: Path) -> None:
    elsewhere = AFFINE + np.eye(4, k=3) * 100
    with pytest.raises(InputError, match=r"mask\.nii: reaches 0% of its scan .*scan\.nii; is it of another one\?"):
        on_grid_of(mask, at(tmp_path / "mask.nii", mask, elsewhere), scan)
