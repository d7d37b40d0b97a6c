"""A predicted mask goes back to the scan's own voxels, whatever way the file lies."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ich.base.errors import InputError
from ich.scans import native, nifti
from ich.scans.window import square_mask

SHAPE = (24, 16, 3)  # not square: the PNG is padded


def scan(path: Path, codes: str, qform: int = 1, sform: int = 2) -> nib.Nifti1Image:
    """A file of the given axis codes with 0.5 x 0.5 x 5 mm voxels and an origin off zero."""
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = np.zeros((4, 4))
    for axis, (target, sign) in enumerate(ornt):
        affine[int(target), axis] = sign * (5.0 if axis == 2 else 0.5)
    affine[:, 3] = (-7, 11, 40, 1)
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    nib.save(image, path)
    return nib.load(path)


def lesion() -> np.ndarray:
    voxels = np.zeros(SHAPE, bool)
    voxels[3:9, 2:5, 1] = True
    return voxels


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "RPS", "PRS", "ALI"])
@pytest.mark.parametrize("kind", [(1, 2), (1, 0), (0, 1)])
def test_mask_lies_on_the_voxels_it_was_predicted_from(tmp_path: Path, codes: str, kind: tuple[int, int]) -> None:
    source = scan(tmp_path / "049.nii", codes, *kind)
    where = nifti.grid(source)
    planes = [square_mask(where.upright(lesion()[:, :, index]), 24) for index in range(SHAPE[2])]
    native.write_mask(tmp_path / "out" / "mask.nii.gz", tmp_path / "049.nii", np.stack(planes).astype(np.float32), 0.5)
    mask = nib.load(tmp_path / "out" / "mask.nii.gz")
    np.testing.assert_array_equal(mask.get_fdata(), lesion())
    np.testing.assert_allclose(mask.affine, source.affine)
    assert mask.get_data_dtype() == np.uint8
    for name in ("qform_code", "sform_code"):
        assert mask.header[name] == source.header[name]
    np.testing.assert_allclose(mask.header.get_zooms(), (0.5, 0.5, 5.0))


def test_probabilities_are_resampled_before_the_threshold(tmp_path: Path) -> None:
    """At twice the size the edge between 0 and 1 has 0.25 and 0.75: the threshold decides how far the mask goes."""
    scan(tmp_path / "049.nii", "LPS")  # rows and columns of the file, transposed, are those of the picture
    prob = np.zeros((3, 12, 12), np.float32)
    prob[1, 4:8, 4:8] = 1
    sizes = []
    for threshold in (0.2, 0.5, 0.8):
        native.write_mask(tmp_path / "mask.nii.gz", tmp_path / "049.nii", prob, threshold)
        sizes.append(int(nib.load(tmp_path / "mask.nii.gz").get_fdata()[:, :, 1].sum()))
    # 4 pixels are 8; outside of them 0.25 is left, inside 0.75: along one axis 10, 8 and 6 columns
    # in the corners the product counts: 0.25 * 0.25 < 0.2 and 0.25 * 0.75 < 0.2, 0.75 * 0.75 = 0.5625 >= 0.5
    assert sizes[1] == 8 * 8
    assert sizes[0] == 10 * 10 - 4 * 3
    assert sizes[2] == 6 * 6


def test_scan_with_other_slices_than_were_predicted_is_refused(tmp_path: Path) -> None:
    scan(tmp_path / "049.nii", "RAS")
    with pytest.raises(InputError, match="has 3 slices, 2 were cut from it"):
        native.write_mask(tmp_path / "mask.nii.gz", tmp_path / "049.nii", np.zeros((2, 24, 24), np.float32), 0.5)
    assert not (tmp_path / "mask.nii.gz").exists()


@pytest.mark.filterwarnings("ignore:.*no orientation")
def test_scan_without_orientation_gives_a_mask_without_one(tmp_path: Path) -> None:
    source = scan(tmp_path / "049.nii", "RAS", 0, 0)
    native.write_mask(tmp_path / "mask.nii.gz", tmp_path / "049.nii", np.ones((3, 24, 24), np.float32), 0.5)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert (mask.header["qform_code"], mask.header["sform_code"]) == (0, 0)
    np.testing.assert_allclose(mask.affine, source.affine)
    np.testing.assert_allclose(mask.header.get_zooms(), source.header.get_zooms())
