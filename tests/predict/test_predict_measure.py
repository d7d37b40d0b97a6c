"""What is measured of a mask, worked by hand."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from predict_files import write_nifti

from ich.base.record import RESEARCH_ONLY
from ich.data import origin
from ich.predict import measure, montage
from ich.scans.scan import Scan, read_nifti
from ich.scans.window import Window

SHAPE = (10, 8, 4)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """2 x 1 x 5 mm voxels = 10 mm3; HU is 100 * the first index."""
    hu = np.broadcast_to(np.arange(SHAPE[0])[:, None, None] * 100 - 300, SHAPE).astype(np.int16)
    return read_nifti(write_nifti(tmp_path / "a.nii", hu, np.diag([-1.5, -1.0, 5.0, 1.0])))


def test_two_lesions(scan: Scan) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 1, 1] = True  # 4 voxels of 7.5 mm3 in a line of 6 mm
    mask[6, 2, 2] = True  # touches it by a corner: the same lesion
    mask[9, 7, 3] = True
    found = measure.measures(mask, scan)
    assert found["lesions"] == 2
    assert found["volume_ml"] == pytest.approx(6 * 7.5 / 1000)
    assert found["lesion_ml"] == [pytest.approx(0.0375, abs=6e-4), pytest.approx(0.0075, abs=6e-4)]
    assert found["slices"] == 3
    # From corner to corner of the line: 4 * 1.5 mm along, 1 mm across.
    assert found["largest_diameter_mm"] == pytest.approx(np.hypot(6, 1))
    assert found["mean_hu"] == pytest.approx(np.mean([-100, 0, 100, 200, 300, 600]))


def test_empty_mask(scan: Scan) -> None:
    found = measure.measures(np.zeros(SHAPE, bool), scan)
    assert (found["lesions"], found["volume_ml"], found["slices"], found["largest_diameter_mm"]) == (0, 0, 0, 0)
    assert found["lesion_ml"] == []
    assert found["mean_hu"] is None


def test_specks_below_the_size_go(scan: Scan) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, :2] = mask[5, 5, 0] = True  # 15 and 7.5 mm3
    np.testing.assert_array_equal(measure.without_specks(mask, scan, 0), mask)
    np.testing.assert_array_equal(measure.without_specks(mask, scan, 7.5), mask)  # 7.5 mm3 is not below 7.5
    kept = measure.without_specks(mask, scan, 8)
    assert np.argwhere(kept).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_slices_of_unequal_thickness(scan: Scan) -> None:
    """Four slices of 2.5, 2.5, 5 and 5 mm on a grid of 2.5 mm, with a gap of one cell before the last."""
    cells = np.array([0, 1, 2, 2, -1, 3, 3])
    affine = np.diag([-1.5, -1.0, 2.5, 1.0])
    image = nib.Nifti1Image(np.zeros((10, 8, 7), np.uint8), affine)
    thickness = np.array([2.5, 2.5, 5.0, 5.0])
    uneven = dataclasses.replace(scan, image=image, affine=affine, cells=cells, thickness_mm=thickness)
    mask = np.zeros(SHAPE, bool)
    mask[2, 3, :] = True  # through all slices; the gap parts it
    found = measure.measures(mask, uneven)
    assert found["lesion_ml"] == pytest.approx([0.015, 0.0075], abs=6e-4)  # 10 and 5 mm of 1.5 mm2
    assert found["volume_ml"] == pytest.approx(0.0225)
    assert found["slices"] == 4
    assert uneven.on_grid(mask)[2, 3].tolist() == [True, True, True, True, False, True, True]
    assert uneven.grid.shape == (10, 8, 7)
    np.testing.assert_array_equal(uneven.on_slices(uneven.on_grid(mask)), mask)
    kept = measure.without_specks(mask, uneven, 10)
    assert kept[2, 3].tolist() == [True, True, True, False]


def test_montage_outlines_the_slices_with_blood() -> None:
    planes = np.full((5, 20, 30), 40, np.int16)  # grey in the window, and black where it is padded
    masks = np.zeros(planes.shape, bool)
    masks[3, 8:14, 10:20] = True
    picture = montage.montage(planes, masks, Window(40, 120), "name", "For research")
    tiles = [(montage.BAR + row * montage.TILE, column * montage.TILE) for row in range(2) for column in range(3)]
    coloured = [
        bool((np.ptp(picture[top : top + montage.TILE, left : left + montage.TILE].astype(int), axis=2) > 30).any())
        for top, left in tiles[:5]
    ]
    assert coloured == [False, False, False, True, False]


@pytest.mark.parametrize("slices", [12, 40, 41, 80, 239])
@pytest.mark.parametrize(
    "blood",
    [(0, 0), (0, 0.1), (0.9, 1), (0.4, 0.6), (0, 1)],
    ids=["no blood", "lowest tenth", "highest tenth", "middle fifth", "everywhere"],
)
def test_montage_of_many_slices_is_even_and_keeps_those_with_blood(slices: int, blood: tuple[float, float]) -> None:
    """From skull base to vertex; steps among the slices with blood, and among the others, differ by one at most."""
    masks = np.zeros((slices, 2, 2), bool)
    masks[round(blood[0] * slices) : round(blood[1] * slices), 0, 0] = True
    with_blood = set(np.flatnonzero(masks.any((1, 2))).tolist())
    shown = montage._shown(masks)
    assert len(shown) == min(slices, montage.MOST_TILES)
    assert (shown[0], shown[-1]) == (0, slices - 1)
    if len(with_blood) <= montage.MOST_TILES:
        assert with_blood <= set(shown.tolist())
    rest = sorted(set(range(slices)) - with_blood)
    of_rest = [rest.index(each) for each in shown.tolist() if each not in with_blood]
    of_blood = [sorted(with_blood).index(each) for each in shown.tolist() if each in with_blood]
    for places in (of_rest, of_blood):
        assert len(places) < 3 or np.ptp(np.diff(places)) <= 1


def test_montage_says_that_slices_are_left_out() -> None:
    few, many = (np.full((number, 20, 30), 40, np.int16) for number in (40, 41))
    foot = [montage.montage(planes, planes < 0, Window(40, 120), "", "")[-montage.BAR :] for planes in (few, many)]
    assert foot[0].shape == foot[1].shape
    assert not np.array_equal(*foot)


@pytest.mark.parametrize("slices", [1, 12, 40])
def test_texts_of_the_montage_are_broken_into_lines_that_fit(slices: int) -> None:
    """The right border is black: no text is cut there, however narrow the picture."""
    planes = np.full((slices, 20, 30), -1000, np.int16)
    title = "scan_of_a_long_name: 12.3 ml in 4 lesions (3 above 0.1 ml), longest 57 mm, 17 slices, threshold 0.50"
    notice = f"{origin.networks_notice(origin.PHANTOMS)}. {RESEARCH_ONLY}"
    picture = montage.montage(planes, planes > 0, Window(40, 120), title, notice)
    assert not picture[:, -4:].any()
    fewer = montage.montage(planes, planes > 0, Window(40, 120), "", "")
    assert len(picture) > len(fewer)
