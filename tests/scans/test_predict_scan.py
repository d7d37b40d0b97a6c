"""A scan goes to the network and its mask comes back, whatever way the file lies."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from predict_files import SIZE, bright_is_blood, job, only, phantom, write_nifti

from ich.base.errors import InputError
from ich.predict import engines
from ich.predict import job as jobs
from ich.predict.method import Method
from ich.scans.scan import check_axial, read_nifti
from ich.scans.window import Window
from ich.score.operating import FIXED

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
MARK_HU = 3000
METHOD = Method(SIZE, (Window(1500, 3000),), FIXED, {})  # 3000 HU is grey 255, 1900 HU is 162


@pytest.fixture(scope="module")
def engine() -> engines.Engine:
    """The whole way of the Keras engine: window, pad to square, network, back."""
    network = bright_is_blood(200)

    class Files:
        last = best = None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ich.train.prediction.load", lambda training, weights: network)
        return engines.keras([Files()], "last", METHOD)


def marked() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, the true mask (no two axes alike, off the middle) and affine, 32 x 26 x slices: padded on one axis."""
    made = phantom()
    hu, affine = made.hu[:, 3:29].copy(), made.affine.copy()
    affine[:3, 3] += 3 * affine[:3, 1]
    mask = np.zeros(hu.shape, bool)
    mask[4:9, 10:12, 6:9] = mask[20, 3, 7] = mask[0, 0, 0] = mask[31, 25, -1] = True
    hu[mask] = MARK_HU
    return hu, mask, affine


def laid(volume: np.ndarray, order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """The volume with its axes in another order, some of them reversed."""
    return np.transpose(volume, order)[tuple(slice(None, None, sign) for sign in signs)]


@pytest.mark.parametrize(("order", "signs"), ORDERS, ids=str)
def test_known_mask_survives_every_order_and_flip_of_axes(
    tmp_path: Path, engine: engines.Engine, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    hu, mask, affine = marked()
    moved = affine[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):  # the last voxel becomes the first
        if sign < 0:
            moved[:3, 3] += moved[:3, axis] * (hu.shape[order[axis]] - 1)
            moved[:3, axis] *= -1
    path = write_nifti(tmp_path / "scan.nii", laid(hu, order, signs), moved)
    jobs.predict_once(job(tmp_path / "out", METHOD, engine), only(path))
    found = nib.load(tmp_path / "out" / "scan" / "mask.nii.gz")
    np.testing.assert_array_equal(found.get_fdata() > 0, laid(mask, order, signs))
    np.testing.assert_array_equal(found.affine, nib.load(path).affine)
    assert (found.header["qform_code"], found.header["sform_code"]) == (1, 2)
    assert found.get_data_dtype() == np.uint8


def test_network_sees_the_patient_right_on_the_left_and_the_front_above(tmp_path: Path) -> None:
    hu, _, affine = marked()
    upright = read_nifti(write_nifti(tmp_path / "a.nii", hu, affine))
    mark = np.zeros(hu.shape, np.uint8)
    # The voxel that lies farthest to the right, front and top in mm (RAS: x and y and z highest).
    corners = list(itertools.product(*((0, n - 1) for n in hu.shape)))
    place = max(corners, key=lambda corner: float((affine @ [*corner, 1])[:3].sum()))
    mark[place] = 1
    planes = upright.upright(mark)
    top = len(planes) - 1 if affine[2, 2] > 0 else 0
    assert planes[top, 0, 0] == 1  # first row: front; first column: right


def test_gap_and_shear_do_not_change_the_volume_of_a_voxel(tmp_path: Path) -> None:
    affine = np.array([[-0.5, 0, 0, 0], [0, -0.5, 2.0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1]])
    scan = read_nifti(write_nifti(tmp_path / "a.nii", marked()[0], affine, qform=0))
    assert scan.voxel_mm3 == pytest.approx(np.full(scan.voxels.shape[2], 0.5 * 0.5 * 5))


def rotated(degrees: float) -> np.ndarray:
    """Slices turned about the left-right axis."""
    angle = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.5, 0.5, 5])
    return affine


def test_tilted_slices_are_noted_and_oblique_ones_refused() -> None:
    assert check_axial(rotated(1), "a") == ()
    assert check_axial(rotated(20), "a") == ("slices are 20 degrees off axial; they are predicted as they lie",)
    with pytest.raises(InputError, match=r"a: slices are oblique, 44 degrees off axial.*reslice"):
        check_axial(rotated(44), "a")


def test_sagittal_acquisition_is_refused() -> None:
    """5 mm from left to right: its axial slices have oblong pixels."""
    with pytest.raises(InputError, match=r"axial slices are 0\.50 x 5\.00 mm.*reslice"):
        check_axial(np.diag([5.0, 0.5, 0.5, 1.0]), "a")


def test_header_without_orientation_is_noted_and_kept(tmp_path: Path) -> None:
    hu, _, affine = marked()
    path = write_nifti(tmp_path / "a.nii", hu, affine, qform=0, sform=0)
    assert read_nifti(path).notes == ("header has no orientation; taken as LAS (--orientation overrides)",)
    given = read_nifti(path, orientation="LPS")
    assert given.notes == ()
    assert not np.array_equal(given.upright(), read_nifti(path).upright())


def test_orientation_of_the_header_counts_and_one_note_says_so(tmp_path: Path) -> None:
    hu, _, affine = marked()
    path = write_nifti(tmp_path / "a.nii", hu, affine)
    given = read_nifti(path, orientation="RPS")
    assert given.notes == ("--orientation is not used: the header has an orientation, which counts",)
    np.testing.assert_array_equal(given.upright(), read_nifti(path).upright())
    np.testing.assert_array_equal(given.affine, nib.load(path).affine)


def test_volume_with_trailing_axes_gives_a_mask_of_three(tmp_path: Path, engine: engines.Engine) -> None:
    hu, mask, affine = marked()
    path = write_nifti(tmp_path / "scan.nii.gz", hu[..., None], affine)
    jobs.predict_once(job(tmp_path / "out", METHOD, engine), only(path))
    found = nib.load(tmp_path / "out" / "scan" / "mask.nii.gz")
    np.testing.assert_array_equal(found.get_fdata() > 0, mask)
    np.testing.assert_array_equal(found.affine, nib.load(path).affine)
