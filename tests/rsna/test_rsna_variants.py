"""The steps of the preprocessing on slices worked by hand."""

import cv2
import numpy as np
import pytest

from ich.base.errors import InputError
from ich.rsna import variants


@pytest.fixture
def head() -> np.ndarray:
    """A ring of bone around grey brain with a black hole in it, and apart from it a bright table."""
    grey = np.zeros((40, 40), np.uint8)
    cv2.circle(grey, (20, 18), 12, 255, cv2.FILLED)
    cv2.circle(grey, (20, 18), 9, 90, cv2.FILLED)
    grey[18, 20] = 0
    grey[36, 5:35] = 200
    return grey


def test_roi_keeps_the_largest_contour_filled_and_nothing_else(head: np.ndarray) -> None:
    kept = variants.roi(head)
    assert np.array_equal(kept[:34], head[:34])  # ring and what is inside it, the hole too
    assert not kept[34:].any()


def test_roi_fills_a_hole_instead_of_cutting_it_out() -> None:
    grey = np.full((9, 9), 50, np.uint8)
    grey[0, :] = grey[-1, :] = grey[:, 0] = grey[:, -1] = 0
    grey[4, 4] = 0
    grey[2, 2] = 255
    assert np.array_equal(variants.roi(grey), grey)


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_slice_stays_as_it_is(value: int) -> None:
    grey = np.full((16, 16), value, np.uint8)
    assert np.array_equal(variants.roi(grey), grey)
    for pixels in variants.apply(grey, list(variants.VARIANTS)).values():
        assert pixels.shape == grey.shape
        assert pixels.dtype == np.uint8


def test_noblank_removes_saturated_pixels_only() -> None:
    assert variants.noblank(np.array([[0, 90, 253, 254, 255]], np.uint8)).tolist() == [[0, 90, 253, 254, 0]]


def test_clahe_and_bilateral_are_opencvs_with_the_published_numbers(head: np.ndarray) -> None:
    equalised = cv2.createCLAHE(5.0, (8, 8)).apply(variants.roi(head))
    made = variants.apply(head, list(variants.VARIANTS))
    assert np.array_equal(made["2_roi_clahe"], equalised)
    assert np.array_equal(made["3_roi_clahe_bilateral"], cv2.bilateralFilter(equalised, 20, 50, 50))


def test_a_variant_is_its_tuple_of_steps_in_order(head: np.ndarray) -> None:
    made = variants.apply(head, list(variants.VARIANTS))
    for name, steps in variants.VARIANTS.items():
        pixels = head
        for step in steps:
            pixels = variants.STEPS[step](pixels)
        assert np.array_equal(made[name], pixels), name
        assert name.split("_")[1:] == (list(steps) or ["dicom2png"])


def test_shared_steps_are_done_once(head: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    counted = {name: lambda grey, name=name, step=step: done.append(name) or step(grey)
               for name, step in variants.STEPS.items()}  # fmt: skip
    monkeypatch.setattr(variants, "STEPS", counted)
    variants.apply(head, list(variants.VARIANTS))
    assert sorted(done) == ["bilateral", "bilateral", "clahe", "clahe", "noblank", "roi"]


def test_chosen_variants() -> None:
    assert variants.chosen([]) == variants.chosen(["all"]) == list(variants.VARIANTS)
    assert variants.chosen(["2_roi_clahe", "0_dicom2png"]) == ["0_dicom2png", "2_roi_clahe"]
    with pytest.raises(InputError, match="'3_roi' is not a variant"):
        variants.chosen(["3_roi"])
