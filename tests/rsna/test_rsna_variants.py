"""The steps of the preprocessing on slices worked by hand."""

import cv2
import numpy as np
import pytest

from benchmarks import phantoms
from ich.base.errors import InputError
from ich.rsna import variants
from ich.scans.window import Window


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


def discs(height: int, width: int, *circles: tuple[int, int, int]) -> np.ndarray:
    """Noise within circles (x, y, radius) on a black slice."""
    inside = np.zeros((height, width), np.uint8)
    for x, y, radius in circles:
        cv2.circle(inside, (x, y), radius, 1, cv2.FILLED)
    return inside * np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def slices_that_differ() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    sizes = {"small": (20, 17), "not square": (200, 300), "a column more": (130, 257), "usual": (256, 256)}
    made = {f"noise, {name}": rng.integers(0, 256, size, np.uint8) for name, size in sizes.items()}
    made |= {f"even {value}": np.full((130, 190), value, np.uint8) for value in (0, 7, 255)}
    for edge, (x, y) in {"left": (10, 120), "right": (246, 120), "top": (120, 5), "bottom": (120, 250)}.items():
        made[f"head at the {edge}"] = discs(256, 256, (x, y, 60))
        made[f"head at the {edge}, 300 wide"] = discs(256, 300, (x * 300 // 256, y, 60))
    made["head in the middle"] = discs(256, 320, (160, 128, 70))
    made["head within the last lanes"] = discs(256, 320, (290, 128, 20))
    made["head and table"] = discs(256, 320, (160, 100, 60), (160, 250, 3))
    made["one pixel"] = discs(256, 256, (255, 255, 0))
    return made


@pytest.mark.parametrize("name", slices_that_differ())
def test_the_bilateral_filter_of_a_part_gives_the_bytes_of_the_whole(name: str) -> None:
    grey = slices_that_differ()[name]
    for made in (grey, variants.clahe(grey), np.maximum(grey, 9)):
        assert np.array_equal(variants.bilateral(made), cv2.bilateralFilter(made, 20, 50, 50))


def test_even_surroundings_are_not_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, whole = [], cv2.bilateralFilter
    monkeypatch.setattr(
        cv2, "bilateralFilter", lambda grey, *given, **named: seen.append(grey.shape) or whole(grey, *given, **named)
    )
    variants.bilateral(discs(512, 512, (256, 256, 40)))
    variants.bilateral(np.full((512, 512), 9, np.uint8))
    assert seen == [(2 * (40 + variants.RADIUS + 1) + 1, 128)]


def test_phantoms_have_the_same_bytes() -> None:
    for hu in phantoms.middle_slices(2, 256):
        roi = variants.roi(Window(40, 120)(hu))
        for made in (variants.clahe(roi), variants.clahe(variants.noblank(roi))):
            assert np.array_equal(variants.bilateral(made), cv2.bilateralFilter(made, 20, 50, 50))


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
