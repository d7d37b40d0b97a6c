"""Where the voxels of a file lie in the patient, the way back, and files that cannot be right."""

import itertools
import struct
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ich.base.errors import InputError
from ich.data.slicing import Slicing, slice_pixels
from ich.scans import nifti
from ich.scans.nifti import Grid
from ich.scans.window import Window, square, square_mask

RIGHT, ANTERIOR, SUPERIOR = 0, 1, 2  # axes of nibabel's patient space (left to right, and so on)
SPACING = (0.5, 0.75, 5.0)  # mm, along the patient's left-right, front-back and foot-head
SIZE = (6, 9, 4)  # voxels, along the same
IN_PLANE = ((0, 1), (1, 0))  # file axis 0 and 1 are left-right and front-back, or the other way round
AXIAL = [(order, flips) for order in IN_PLANE for flips in itertools.product((1, -1), repeat=3)]
MARK = 1000  # HU of the marker at the patient's right, front and foot


def filed(order: tuple[int, int], flips: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A volume of air with bone in one corner as it is stored under an axis order and flips, and its affine.

    The corner is the patient's right and anterior, in the lowest slice.
    """
    axes = (*order, SUPERIOR)
    volume = np.full([SIZE[axis] for axis in axes], -1000, np.int16)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for place, (axis, sign) in enumerate(zip(axes, flips, strict=True)):
        affine[axis, place] = sign * SPACING[axis]
    towards = {RIGHT: 1, ANTERIOR: 1, SUPERIOR: -1}  # RAS+: the last index of an unflipped axis is right, anterior
    corner = tuple(-1 if sign * towards[axis] > 0 else 0 for axis, sign in zip(axes, flips, strict=True))
    volume[corner] = MARK
    return volume, affine


def save(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None, codes: tuple[int, int] = (1, 1)) -> Path:
    """Write a NIfTI file with the codes of qform and sform."""
    affine = np.diag([0.5, 0.5, 5, 1.0]) if affine is None else affine
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine if codes[0] else None, codes[0])
    image.set_sform(affine if codes[1] else None, codes[1])
    if not any(codes):
        image.header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    nib.save(image, path)
    return path


def head(shape: tuple[int, ...] = (6, 5, 3), dtype: object = np.int16) -> np.ndarray:
    voxels = np.full(shape, -1000, dtype)
    voxels[2] = 500
    return voxels


def opened(path: Path) -> nib.Nifti1Image:
    return nifti.read_nifti(path)


@pytest.mark.parametrize(("order", "flips"), AXIAL)
def test_every_axial_orientation_comes_out_upright(
    order: tuple[int, int], flips: tuple[int, int, int], tmp_path: Path
) -> None:
    volume, affine = filed(order, flips)
    image = opened(save(tmp_path / "a.nii", volume, affine))
    where, hu = nifti.grid(image), nifti.read_hu(image)
    lowest = 0 if flips[2] > 0 else SIZE[SUPERIOR] - 1  # `slice` counts along the file, so the foot may come last
    upright = where.upright(hu[:, :, lowest])
    assert upright.shape == (SIZE[ANTERIOR], SIZE[RIGHT])  # rows from front to back, columns from right to left
    np.testing.assert_array_equal(np.argwhere(upright == MARK), [[0, 0]])  # right and anterior: top left
    assert where.spacing_mm == pytest.approx((SPACING[SUPERIOR], SPACING[ANTERIOR], SPACING[RIGHT]))


@pytest.mark.parametrize(("order", "flips"), AXIAL)
def test_image_and_label_are_turned_alike(order: tuple[int, int], flips: tuple[int, int, int]) -> None:
    volume, affine = filed(order, flips)
    index = 0 if flips[2] > 0 else SIZE[SUPERIOR] - 1
    how = Slicing(Path(), max(SIZE[:2]), (Window(40, 120),))
    where = Grid(volume.shape, affine)
    image, label = slice_pixels(volume[:, :, index], volume[:, :, index] == MARK, where, how)
    # 9 rows and 6 columns: (9 - 6) // 2 = 1 column of padding on the left
    np.testing.assert_array_equal(np.argwhere(image == 255), [[0, 1]])
    np.testing.assert_array_equal(np.argwhere(label), [[0, 1]])


@pytest.mark.parametrize(("order", "flips"), AXIAL)
def test_a_mask_comes_back_to_the_file_voxel_for_voxel(order: tuple[int, int], flips: tuple[int, int, int]) -> None:
    volume, affine = filed(order, flips)
    where = Grid(volume.shape, affine)
    mask = np.random.default_rng(0).random(volume.shape) < 0.3
    native = max(SIZE[:2])
    predicted = np.stack([square_mask(where.upright(mask[:, :, k]), native) for k in range(mask.shape[2])])
    back = nifti.to_file_grid(predicted.astype(np.float32), where)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back >= 0.5, mask)


def test_probabilities_are_resampled_linearly_before_the_cut() -> None:
    where = Grid((4, 4, 1), np.diag([-1, -1, 5, 1.0]))  # both in-plane axes as displayed: only transposed
    probability = np.array([[[0, 1], [0, 1]]], np.float32)
    # From 2 to 4 columns the new centres lie at -0.25, 0.25, 0.75, 1.25 of the old: 0, 0.25, 0.75, 1
    expected = [[value] * 4 for value in (0, 0.25, 0.75, 1)]
    np.testing.assert_allclose(nifti.to_file_grid(probability, where)[:, :, 0], expected)


@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_slices_that_are_not_axial_are_refused(axes: tuple[int, int, int], tmp_path: Path) -> None:
    affine = np.zeros((4, 4))
    affine[axes, range(3)], affine[3, 3] = 1, 1
    with pytest.raises(InputError, match=r"a\.nii: slices along the third axis are not axial \(axes "):
        nifti.grid(opened(save(tmp_path / "a.nii", head(), affine)))


def test_a_tilted_gantry_is_still_axial(tmp_path: Path) -> None:
    tilt = np.deg2rad(20)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    assert nifti.grid(opened(save(tmp_path / "a.nii", head(), affine))).ornt[2, 0] == SUPERIOR


def test_no_orientation_is_one_warning_and_nibabels_base_affine(tmp_path: Path) -> None:
    image = opened(save(tmp_path / "a.nii", head(), codes=(0, 0)))
    with pytest.warns(UserWarning, match=r"a\.nii: header has no orientation; taken as LAS") as caught:
        where = nifti.grid(image)
    assert len(caught) == 1
    np.testing.assert_allclose(where.affine, image.header.get_base_affine())
    assert where.spacing_mm == pytest.approx((5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("orientation", "bright", "corner"),
    [
        ("LPS", (0, 0), [0, 0]),  # indices grow to the left and to the back: the first is right and anterior, top left
        ("RAS", (0, 0), [8, 5]),  # left and posterior: bottom right of 9 rows and 6 columns
        ("ras", (5, 8), [0, 0]),
        ("ALS", (0, 0), [5, 0]),  # posterior and right: bottom left of 6 rows and 9 columns
    ],
)
def test_the_flag_is_taken_for_a_header_without_orientation(
    orientation: str, bright: tuple[int, int], corner: list[int], tmp_path: Path
) -> None:
    voxels = np.full((6, 9, 4), -1000, np.int16)
    voxels[*bright, :] = MARK
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        where = nifti.grid(opened(save(tmp_path / "a.nii", voxels, codes=(0, 0))), orientation)
    np.testing.assert_array_equal(np.argwhere(where.upright(voxels[:, :, 0]) == MARK), [corner])


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
def test_an_orientation_of_the_header_counts_whatever_the_flag_says(codes: tuple[int, int], tmp_path: Path) -> None:
    affine = np.diag([-0.5, 0.5, 5, 1])
    path = save(tmp_path / "a.nii", head(), affine, codes)
    with pytest.warns(UserWarning, match=r"a\.nii: --orientation is not used: the header has an orientation") as caught:
        where = nifti.grid(opened(path), "RPS")
    assert len(caught) == 1
    np.testing.assert_allclose(where.affine, affine)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("more", [(1,), (1, 1, 1)])
def test_trailing_axes_of_one_are_dropped(suffix: str, more: tuple[int, ...], tmp_path: Path) -> None:
    voxels = head()
    voxels[1, 2, 1] = 77
    image = opened(save(tmp_path / f"a{suffix}", voxels.reshape(voxels.shape + more)))
    assert image.shape == nifti.grid(image).shape == voxels.shape
    np.testing.assert_array_equal(nifti.read_hu(image), voxels)
    np.testing.assert_array_equal(image.affine, np.diag([0.5, 0.5, 5, 1]))


@pytest.mark.parametrize("shape", [(6, 5, 3, 2), (6, 5, 1, 3), (6, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected three dimensions"):
        opened(save(tmp_path / "a.nii", np.zeros(shape, np.int16)))


@pytest.mark.parametrize("orientation", ["RA", "RAX", "RRS", "RLS", "RASP", "123"])
def test_orientations_that_are_refused(orientation: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--orientation"):
        nifti.grid(opened(save(tmp_path / "a.nii", head())), orientation)


def test_an_orientation_that_is_not_axial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not axial"):
        nifti.grid(opened(save(tmp_path / "a.nii", head(), codes=(0, 0))), "RSA")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "slope", "inter"), [("<i2", 1, 0), (">i2", 1, 0), ("<f4", 1, 0), ("<i2", 2, -24)])
def test_hu_are_read_from_every_kind_of_storage(
    suffix: str, dtype: str, slope: float, inter: float, tmp_path: Path
) -> None:
    stored = np.array([-488, 32, 52, 300], dtype).reshape(2, 2, 1)
    image = nib.Nifti1Image(stored, np.eye(4), nib.Nifti1Header(endianness=dtype[0]))
    image.header.set_data_dtype(np.dtype(dtype))
    image.header.set_slope_inter(slope, inter)
    path = tmp_path / f"Kopf ä{suffix}"
    nib.save(image, path)
    hu = nifti.read_hu(opened(path))
    if (slope, inter) == (1, 0):
        np.testing.assert_array_equal(hu.ravel(), [-488, 32, 52, 300])
        # window 40/120: 32 -> 52 * 2.125 = 110.5 -> 110 (even), 52 -> 72 * 2.125 = 153
        np.testing.assert_array_equal(Window(40, 120)(hu[:, :, 0]).ravel(), [0, 110, 153, 255])
    else:
        np.testing.assert_array_equal(hu.ravel(), [-1000, 40, 80, 576])  # 2 * stored - 24
        # 40 -> 60 * 2.125 = 127.5 -> 128 (even), 80 -> 100 * 2.125 = 212.5 -> 212
        np.testing.assert_array_equal(Window(40, 120)(hu[:, :, 0]).ravel(), [0, 128, 212, 255])


def test_a_mask_without_orientation_takes_its_cts(tmp_path: Path) -> None:
    ct = opened(save(tmp_path / "ct.nii", head(), np.diag([-0.5, -0.5, 5, 1])))
    mask = opened(save(tmp_path / "mask.nii", np.zeros((6, 5, 3), np.uint8), codes=(0, 0)))
    nifti.check_mask(ct, mask)


@pytest.mark.parametrize(("shift", "fits"), [(0.0, True), (0.009, True), (0.011, False), (2.0, False), (np.nan, False)])
def test_a_mask_may_lie_a_hundredth_of_a_millimetre_off(shift: float, fits: bool, tmp_path: Path) -> None:
    affine = np.diag([0.5, 0.5, 5, 1.0])
    ct = opened(save(tmp_path / "ct.nii", head(), affine))
    moved = affine.copy()
    moved[0, 3] = shift
    mask = opened(save(tmp_path / "mask.nii", np.zeros((6, 5, 3), np.uint8), moved, codes=(0, 1)))
    if fits:
        nifti.check_mask(ct, mask)
    else:
        with pytest.raises(InputError, match=r"mask\.nii: mask lies .* mm off its CT"):
            nifti.check_mask(ct, mask)


def test_a_mask_with_its_axes_swapped_is_refused(tmp_path: Path) -> None:
    """The first and the last voxel of a square volume lie in the same place, the others do not."""
    affine = np.diag([0.5, 0.5, 5, 1.0])
    ct = opened(save(tmp_path / "ct.nii", head((5, 5, 3)), affine))
    mask = opened(save(tmp_path / "mask.nii", np.zeros((5, 5, 3), np.uint8), affine[[1, 0, 2, 3]]))
    with pytest.raises(InputError, match=r"mask lies 2\.00 mm off"):  # 4 voxels of 0.5 mm
        nifti.check_mask(ct, mask)


def test_a_mask_of_another_shape_is_refused_with_both(tmp_path: Path) -> None:
    ct = opened(save(tmp_path / "ct.nii", head((6, 5, 3))))
    mask = opened(save(tmp_path / "mask.nii", np.zeros((6, 5, 4), np.uint8)))
    with pytest.raises(InputError, match=r"mask\.nii: mask has shape \(6, 5, 4\), its CT has \(6, 5, 3\)"):
        nifti.check_mask(ct, mask)


def test_binary_masks() -> None:
    for value in (1, 255, -1):
        voxels = np.array([0, value, value, 0], np.int16)
        np.testing.assert_array_equal(nifti.check_binary(voxels, "a.nii"), [False, True, True, False])
    assert not nifti.check_binary(np.zeros(3, np.uint8), "a.nii").any()
    with pytest.raises(InputError, match=r"a\.nii: mask has values \[0 1 2\]"):
        nifti.check_binary(np.array([0, 1, 2, 1]), "a.nii")


def test_a_head_is_known_by_any_of_its_slices(tmp_path: Path) -> None:
    voxels = np.full((6, 5, 4), -1000, np.int16)
    voxels[2, 2, 3] = 500  # bone in the last slice only
    np.testing.assert_array_equal(nifti.read_hu(opened(save(tmp_path / "a.nii", voxels))), voxels)


def test_a_ct_in_place_of_a_mask_and_the_other_way_round(tmp_path: Path) -> None:
    voxels = np.zeros((6, 5, 3), np.uint8)
    voxels[2] = 255
    with pytest.raises(InputError, match=r"mask\.nii: values run from 0 to 255, expected HU of a head"):
        nifti.read_hu(opened(save(tmp_path / "mask.nii", voxels)))
    ct = head()
    ct[0] = 30
    with pytest.raises(InputError, match=r"ct\.nii: mask has values \[-1000    30   500\]"):
        nifti.check_binary(nifti.read_voxels(opened(save(tmp_path / "ct.nii", ct))), "ct.nii")


def use(path: Path) -> None:
    """Everything that slicing does with a CT."""
    image = nifti.read_nifti(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        where = nifti.grid(image)
    where.upright(square(nifti.read_hu(image)[:, :, 0], 16))


def spoiled(path: Path, at: int, content: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[at : at + len(content)] = content
    path.write_bytes(raw)
    return path


def good(folder: Path, codes: tuple[int, int] = (0, 1)) -> Path:
    return save(folder / "049.nii", head(), codes=codes)


def singular(folder: Path) -> Path:
    affine = np.diag([0.5, 0.5, 5, 1.0])
    affine[:3, 1] = affine[:3, 0]
    return save(folder / "049.nii", head(), affine, codes=(0, 1))


PIXDIM_X, SROW_X = 80, 280  # offsets of header fields in bytes
NOT_A_NUMBER = struct.pack("<f", float("nan"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "049.nii", "not found"),
        (singular, "affine or voxel size"),
        (lambda folder: spoiled(good(folder), SROW_X, bytes(12)), "affine or voxel size"),
        (lambda folder: spoiled(good(folder), SROW_X, NOT_A_NUMBER), "not a usable affine"),
        (lambda folder: spoiled(good(folder, (1, 0)), PIXDIM_X, bytes(4)), "expected numbers above 0"),
        (lambda folder: spoiled(good(folder, (0, 0)), PIXDIM_X, bytes(4)), "expected numbers above 0"),
        (lambda folder: spoiled(good(folder, (0, 0)), PIXDIM_X, NOT_A_NUMBER), "affine or voxel size"),
    ],
    ids=["missing", "singular", "zero sform", "NaN sform", "zero spacing qform", "zero spacing", "NaN spacing"],
)
def test_files_that_cannot_be_right_are_refused_by_name(make: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as refused:
        use(make(tmp_path))
    assert "049.nii" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_no_damage_to_the_header_ends_in_a_traceback(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = np.frombuffer(good(tmp_path, (1, 0)).read_bytes(), np.uint8)
    odd = [np.float32(value).tobytes() for value in (np.nan, np.inf, 0, -1, 1e30)]
    for trial in range(150):
        bad = raw.copy()
        bad[rng.integers(0, 352, 2)] = rng.choice([0, 127, 128, 255], 2)
        at = 4 * rng.integers(0, 88)
        bad[at : at + 4] = np.frombuffer(odd[trial % len(odd)], np.uint8)
        (tmp_path / "049.nii").write_bytes(bad.tobytes())
        try:
            use(tmp_path / "049.nii")
        except InputError as error:
            assert "049.nii" in str(error)
