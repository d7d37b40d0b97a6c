"""Colours that must be told apart are, with normal color vision and with the two common kinds of color blindness."""

import itertools

import numpy as np
import pytest

from ich.draw import colours, pictures

# Linear RGB as seen with dichromacy, severity 1.0: Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip
SRGB_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                        [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
WHITE = SRGB_TO_XYZ.sum(1)
PIXELS = [colours.HIT, colours.FALSE_ALARM, colours.MISS]


def lab(rgb: object, vision: str) -> np.ndarray:
    """CIELAB (D65) of sRGB 0..255 as seen with a kind of color vision."""
    share = np.asarray(rgb, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = SRGB_TO_XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: object, b: object, vision: str = "normal") -> float:
    """CIE 1976 colour difference; 2.3 is just noticeable (Mahy et al. 1994)."""
    return float(np.linalg.norm(lab(a, vision) - lab(b, vision)))


def closest(chosen: list, vision: str) -> float:
    return min(distance(a, b, vision) for a, b in itertools.combinations(chosen, 2))


def rgb(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text.removeprefix("#")))


def test_lab_of_known_colours() -> None:
    assert lab((255, 255, 255), "normal") == pytest.approx([100, 0, 0], abs=0.01)
    assert lab((255, 0, 0), "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    for vision in VISION:  # grey stays grey
        assert lab((128, 128, 128), vision)[1:] == pytest.approx([0, 0], abs=0.01)
    assert distance((0, 190, 90), (255, 140, 0), "protanopia") < 20  # a green and an orange that are alike


@pytest.mark.parametrize("vision", VISION)
def test_hit_false_alarm_and_miss_differ(vision: str) -> None:
    assert closest(PIXELS, vision) > 40


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("grey", [60, 100, 140, 180, 220])
def test_tints_differ_from_each_other_and_from_the_slice(vision: str, grey: int) -> None:
    """As the overlay shows them: fluid, brain, fresh blood and bone."""
    image = np.full((1, 4, 1), grey, np.uint8)
    truth, found = np.array([[1, 0, 1, 0]], bool), np.array([[1, 1, 0, 0]], bool)
    hit, alarm, miss, plain = pictures.overlay(image, truth, found, 4)[0]
    assert closest([hit, alarm, miss], vision) > 30
    assert min(distance(tint, plain, vision) for tint in (hit, alarm, miss)) > 18


@pytest.mark.parametrize("vision", VISION)
def test_the_two_networks_and_a_third_differ(vision: str) -> None:
    assert closest([rgb(colour) for colour in (*colours.KNOWN.values(), colours.OTHERS[0])], vision) > 30


def test_no_colour_has_two_meanings() -> None:
    chosen = [*PIXELS, colours.PREDICTION, colours.REFERENCE]
    chosen += [rgb(colour) for colour in (*colours.KNOWN.values(), *colours.OTHERS, colours.GREY, colours.BLACK)]
    assert closest(chosen, "normal") > 20


def test_a_run_keeps_its_colour() -> None:
    everything = colours.of_runs(["dunet", "mine", "unet", "yours"])
    assert len({everything[name] for name in ("dunet", "mine", "unet", "yours")}) == 4
    for alone in ("dunet", "unet"):  # also where the other was never trained
        assert colours.of_runs([alone])[alone] == everything[alone]
    many = colours.of_runs(f"run{number}" for number in range(9))
    assert {many[f"run{number}"] for number in range(9)} == set(colours.OTHERS)
