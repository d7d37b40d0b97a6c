"""The figures that compare phantoms with real scans, on a slice drawn by hand."""

import cv2
import numpy as np
import pytest

from benchmarks import phantom_figures as figures

BRAIN, BLOOD = 34.0, 58.0  # HU


def grey(hu: float) -> int:
    return round((hu + 20) * 255 / 120)


@pytest.fixture
def slice_and_blood() -> tuple[np.ndarray, np.ndarray]:
    """A round skull of outer radius 40 px and 4 px thick, 6 px right of the middle; blood of 11 by 11 px inside."""
    picture, blood = np.zeros((128, 128), np.uint8), np.zeros((128, 128), np.uint8)
    cv2.circle(picture, (70, 64), 40, 255, -1)
    cv2.circle(picture, (70, 64), 36, grey(BRAIN), -1)
    picture[60:71, 75:86] = grey(BLOOD)
    blood[60:71, 75:86] = 1
    return picture, blood > 0


def test_figures_of_a_drawn_slice(slice_and_blood):
    found = figures.measure(*slice_and_blood)
    assert found["brain, median HU"] == pytest.approx(BRAIN, abs=0.3)
    assert found["noise, HU"] == 0
    assert found["head width / frame"] == found["head height / frame"] == 81 / 128
    assert found["head centre, columns / frame"] == pytest.approx(6.5 / 128)
    assert found["skull thickness, px of 128"] == pytest.approx(4, abs=0.6)
    assert found["blood, median HU"] == pytest.approx(BLOOD, abs=0.3)
    assert found["contrast, blood - ring, HU"] == pytest.approx(BLOOD - BRAIN, abs=0.5)
    assert found["blood, % of the frame"] == pytest.approx(100 * 121 / 128**2)
    assert found["pieces of blood in a slice"] == 1


def test_noise_is_the_deviation_of_what_a_mean_of_nine_pixels_leaves(slice_and_blood):
    picture, blood = slice_and_blood
    noisy = picture + 10 * np.random.default_rng(0).standard_normal(picture.shape) * ((picture > 0) & (picture < 255))
    sigma = 10 * figures.WIDTH_HU / 255
    assert figures.measure(noisy.astype(np.uint8), blood)["noise, HU"] == pytest.approx(
        sigma * (8 / 9) ** 0.5, rel=0.06
    )


def test_a_slice_without_brain_has_no_figures():
    assert figures.measure(np.zeros((128, 128), np.uint8), np.zeros((128, 128), bool)) == {}


def test_table_of_a_data_folder(project):
    found = figures.percentiles(figures.measure_folder(project.data))
    text = figures.as_table(found)
    assert text.count("\n") == len(figures.CT_ICH) + 1
    assert found["slices with blood a patient"][2] >= 1
    assert "| brain, median HU | 31.3 33.7 34.6 36.5 40.7 |" in text
