"""The page of a scan and the file of probabilities: what they show, where it lies, and how large they are."""

import base64
import dataclasses
import gzip
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from predict_files import write_nifti

from ich.predict import view
from ich.scans import native
from ich.scans.scan import Scan, read_nifti
from ich.scans.window import Window

SHAPE = (5, 4, 7)
BRAIN = Window(40, 120)


def thin(path: Path, spacing_mm: float, order: tuple[int, int, int] = (0, 1, 2)) -> Scan:
    """Air, and in plane k of seven 10 * k HU, but for one voxel of bone."""
    hu = np.broadcast_to(np.arange(SHAPE[2], dtype=np.int16) * 10, SHAPE).copy()
    hu[0, 0] = -1000
    hu[1, 1] = 1500
    affine = np.diag([-0.5, 0.5, spacing_mm, 1.0])
    affine[:3, 3] = (10, 20, -30)
    return read_nifti(write_nifti(path, np.transpose(hu, order), affine[:, [*order, 3]]))


def volumes(page: Path) -> list[nib.Nifti1Image]:
    """The two volumes in a page, as NiiVue gets them."""
    texts = re.findall(r'load\("([^"]+)"', page.read_text())
    return [nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text))) for text in texts]


@pytest.mark.parametrize(
    ("spacing_mm", "number"), [(0.5, 5), (0.625, 4), (1.0, 3), (1.25, 2), (2.0, 2), (2.5, 1), (3.0, 1), (5.0, 1)]
)
def test_slabs_are_of_2_5_to_5_mm(spacing_mm: float, number: int) -> None:
    assert view.slices_in_slab(spacing_mm) == number
    assert number == 1 or 2.5 <= number * spacing_mm < 5


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_page_shows_slabs_where_their_slices_lie(tmp_path: Path, order: tuple[int, int, int]) -> None:
    """Slabs of three slices of 1 mm: HU 10, 40 and 60, the last of one slice alone."""
    scan = thin(tmp_path / "a.nii", 1.0, order)
    mask = np.zeros(SHAPE, bool)
    mask[3, 2, 5] = True
    view.write(tmp_path / "view.html", scan, np.transpose(mask, order), BRAIN, "name", "For research")
    hu, marked = volumes(tmp_path / "view.html")
    axial = order.index(2)
    upright = np.transpose(hu.get_fdata(), np.argsort(order))
    assert upright.shape == (5, 4, 3)
    np.testing.assert_allclose(upright[3, 3], (10, 40, 60), atol=view.HU_STEP / 2)
    assert upright[0, 0].tolist() == [view.LOWEST_HU] * 3
    assert upright[1, 1].tolist() == [view.LOWEST_HU + 255 * view.HU_STEP] * 3
    assert np.argwhere(np.transpose(marked.get_fdata(), np.argsort(order))).tolist() == [[3, 2, 1]]
    middle, voxel = np.zeros(4), np.zeros(4)  # the second slab is slices 3 to 5, so that its middle is slice 4
    middle[axial], voxel[axial], middle[3], voxel[3] = 1, 4, 1, 1
    np.testing.assert_allclose(hu.affine @ middle, scan.affine @ voxel)
    np.testing.assert_array_equal(marked.affine, hu.affine)
    page = (tmp_path / "view.html").read_text()
    assert "shown: 3 slices averaged to slabs of 3.0 mm; HU from -100 to 282.5 in steps of 1.5" in page
    assert "go(1);" in page  # the slab with most blood


def test_slices_that_were_not_measured_are_no_part_of_a_mean(tmp_path: Path) -> None:
    scan = thin(tmp_path / "a.nii", 1.0)
    cells = np.array([0, 1, -1, -1, -1, -1, 2, 3, 4, 5, 6])
    grid = nib.Nifti1Image(np.zeros((5, 4, 11), np.uint8), scan.affine)
    hu, marked, _ = view.slabs(dataclasses.replace(scan, image=grid, cells=cells), np.ones(SHAPE, bool), 3)
    found = hu[3, 3] * view.HU_STEP + view.LOWEST_HU
    np.testing.assert_allclose(found, (5, view.LOWEST_HU, 30, 55), atol=view.HU_STEP / 2)
    assert marked[3, 3].tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("number", "cells", "names"),
    [
        (1, None, [f"slice {k} of 7" for k in range(1, 8)]),
        (3, None, ["slices 1 to 3 of 7", "slices 4 to 6 of 7", "slice 7 of 7"]),
        (1, [0, 1, -1, 2, 2, 3, 4, 5, 6], ["slice 1 of 7", "slice 2 of 7", "no slice was measured here", "slice 3 of 7",
         "slice 3 of 7", "slice 4 of 7", "slice 5 of 7", "slice 6 of 7", "slice 7 of 7"]),
        (2, [0, 1, -1, -1, -1, 2, 3, 4, 5, 6], ["slices 1 to 2 of 7", "no slice was measured here", "slice 3 of 7",
         "slices 4 to 5 of 7", "slices 6 to 7 of 7"]),
    ],
)  # fmt: skip
def test_slabs_are_called_after_the_slices_of_the_scan(
    tmp_path: Path, number: int, cells: list[int] | None, names: list[str]
) -> None:
    """Counted as on overlay.png, which shows the slices that were measured."""
    scan = thin(tmp_path / "a.nii", 1.0)
    if cells:
        grid = nib.Nifti1Image(np.zeros((5, 4, len(cells)), np.uint8), scan.affine)
        scan = dataclasses.replace(scan, image=grid, cells=np.array(cells))
    assert view.slab_names(scan, number) == names


def test_thick_slices_are_shown_as_they_are(tmp_path: Path) -> None:
    scan = thin(tmp_path / "a.nii", 5.0)
    view.write(tmp_path / "view.html", scan, np.zeros(SHAPE, bool), BRAIN, "name", "For research")
    hu, marked = volumes(tmp_path / "view.html")
    np.testing.assert_allclose(hu.get_fdata()[3, 3], np.arange(7) * 10, atol=view.HU_STEP / 2)
    np.testing.assert_allclose(hu.affine, scan.affine)
    assert not marked.get_fdata().any()
    assert "averaged" not in (tmp_path / "view.html").read_text().split("</header>")[0]


def test_page_of_thin_slices_is_small(tmp_path: Path) -> None:
    """Noise, which no compression helps, in 120 slices of 128 px and 0.625 mm: 2 bytes a voxel would be 5.2 MB."""
    rng = np.random.default_rng(0)
    hu = rng.normal(40, 15, (128, 128, 120)).astype(np.int16)
    affine = np.diag([-0.5, 0.5, 0.625, 1])
    scan = Scan(Path("a"), nib.Nifti1Image(hu, affine), hu, affine)
    view.write(tmp_path / "view.html", scan, hu > 90, BRAIN, "name", "For research")
    own = (tmp_path / "view.html").stat().st_size - view.NIIVUE.stat().st_size
    assert own < 0.6e6


def test_probabilities_take_little_and_give_the_mask_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    prob = rng.uniform(0, 1, (64, 64, 40)).astype(np.float32) ** 8
    prob.ravel()[:4] = 0, 1, 1.0000001, np.nextafter(np.float32(0.25), np.float32(0))
    path = tmp_path / "probabilities.nii.gz"
    native.save_probabilities(path, prob, nib.Nifti1Image(np.zeros(prob.shape, np.uint8), np.diag([1, 1, 5, 1])))
    image = nib.load(path)
    found = image.get_fdata()
    assert image.get_data_dtype() == np.uint16
    assert found.ravel()[:3].tolist() == [0, 1, 1]
    np.testing.assert_allclose(found, np.minimum(prob, 1), atol=native.PROBABILITY_STEP)
    for threshold in np.arange(256) / 256:
        np.testing.assert_array_equal(found >= threshold, prob >= threshold)
    assert path.stat().st_size < prob.nbytes / 3
