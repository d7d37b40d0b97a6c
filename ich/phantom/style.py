"""What makes a phantom head look as it does: the same in every `plain` head, drawn for each `calibrated` one.

The percentiles of `calibrated` are chosen so that `benchmarks/phantom_figures.py` finds those of CT-ICH 1.3.1.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Name = Literal["plain", "calibrated"]
Percentiles = tuple[float, float, float, float, float]  # 5, 25, 50, 75, 95

BRAIN_HU: Percentiles = (0.8, 3.2, 4.0, 5.6, 10.0)  # added to every tissue of the brain
NOISE_HU: Percentiles = (1.65, 1.8, 1.88, 2.0, 2.4)
SKULL: Percentiles = (0.48, 0.56, 0.76, 1.08, 1.9)  # of the plain thickness
SULCI: Percentiles = (0.25, 0.6, 0.9, 1.1, 1.3)  # of the plain width
SHIFT_MM: Percentiles = (-13.0, -2.5, 0.0, 2.5, 14.0)  # to the left, beside the usual deviation of 4
TURN = 0.09  # deviation, radians
TURNED_ODDS, MOST_TURNED = 0.12, 0.52  # heads that lie turned, by up to 30 degrees
SHARP_ODDS = 0.3  # of scans with a sharp kernel: fine noise, crisp edges
CHILD = 14  # years; below it skulls are thin and brains smooth
REST_ODDS = (0.45, 0.4, 0.15)  # of a curved head rest, a U-shaped one close to the head, none
HELD_ODDS, BLURRED_ODDS, BAND_ODDS, MOVED_ODDS = 0.08, 0.6, 0.35, 0.1


@dataclass(frozen=True)
class Look:
    """One head's figures; the defaults are those of all `plain` heads. Lengths in mm, angles in radians."""

    brain_hu: float = 0.0  # added to the tissues of the brain
    contrast: float = 1.0  # between grey and white matter, of the usual
    sulci: float = 1.0  # their width, of the usual
    ventricles_mm: float = 0.0  # wider than the age has it
    noise_hu: float = 3.4  # after reconstruction
    grain_mm: float = 0.55  # of the noise
    blur_mm: float = 0.45  # of the reconstruction kernel
    cupping_hu: float = 9.0  # beam hardening: brain looks brighter next to bone
    streaks: float = 1.0  # of the usual streaks at the skull base
    band_hu: float = 0.0  # dark band between the petrous bones
    moved_mm: float = 0.0  # how far the head moved during the scan
    skull: float = 1.0  # thickness, of the usual
    scalp_mm: float = 6.5
    wide: float = 1.0  # width of the head, of the usual
    shift_mm: float = 0.0  # of the head, to the left, added to the usual
    turn: float = 0.0  # of the head, added to the usual
    rest_mm: float = 1.5  # half the thickness of the head rest; far below 0: none
    rest_radius: float = 106.0
    rest_from: float = 30.0  # the rest reaches forward to this y
    fingers: bool = False  # of someone who holds the head
    face_blur_mm: float = 0.0  # of a face made unrecognisable
    vein_hu: float = 56.0  # of the venous sinuses
    tentorium_hu: float = 46.0
    falx_hu: float = 58.0
    gap_mm: float = 0.0  # that outlines of blood stay away from bone, beside the usual


PLAIN = Look()
# Figures that belong together: any group can be left as it is in `plain`, to learn what it is worth.
GROUPS: dict[str, tuple[str, ...]] = {
    "density": ("brain_hu", "contrast", "vein_hu", "tentorium_hu", "falx_hu"),
    "shape": ("sulci", "ventricles_mm", "skull", "scalp_mm", "wide", "gap_mm"),
    "scanner": ("noise_hu", "grain_mm", "blur_mm", "cupping_hu", "streaks", "band_hu", "moved_mm"),
    "place": ("shift_mm", "turn"),
    "surroundings": ("rest_mm", "rest_radius", "rest_from", "fingers", "face_blur_mm"),
}
BLOOD = "blood"  # one more group: kinds, places, sizes and densities of bleedings (trauma.py)


def draw(rng: np.random.Generator, percentiles: Percentiles) -> float:
    """A number whose percentiles are those given; a little beyond them in the outer twentieths."""
    p = percentiles
    ends = p[0] - 0.3 * (p[1] - p[0]), p[4] + 0.3 * (p[4] - p[3])
    return float(np.interp(rng.random(), (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), (ends[0], *p, ends[1])))


def look(style: Name, age: int, rng: np.random.Generator, without: str = "") -> Look:
    """The look of a head of `age` years; `plain` draws nothing, and neither is what the group `without` holds."""
    if style == "plain":
        return PLAIN
    return replace(_drawn(age, rng), **{name: getattr(PLAIN, name) for name in GROUPS.get(without, ())})


def _drawn(age: int, rng: np.random.Generator) -> Look:
    """A calibrated look: every figure of its own."""
    child = min(age / CHILD, 1.0)  # below 1 in a child
    sharp = rng.random() < SHARP_ODDS
    turned = rng.random() < TURNED_ODDS
    return Look(
        brain_hu=draw(rng, BRAIN_HU), contrast=float(rng.uniform(0.75, 1.1)),
        sulci=draw(rng, SULCI) * child, ventricles_mm=float(rng.normal(0, 0.7)),
        noise_hu=draw(rng, NOISE_HU) * (1.15 if sharp else 1.0),
        grain_mm=float(rng.uniform(0.4, 0.55) if sharp else rng.uniform(0.6, 0.85)),
        blur_mm=float(rng.uniform(0.35, 0.5) if sharp else rng.uniform(0.5, 0.8)),
        cupping_hu=float(rng.uniform(3, 10)), streaks=float(rng.uniform(0.3, 1.3)),
        band_hu=float(rng.uniform(3, 14)) if rng.random() < BAND_ODDS else 0.0,
        moved_mm=float(rng.uniform(0.5, 2.0)) if rng.random() < MOVED_ODDS else 0.0,
        skull=draw(rng, SKULL) * (0.6 + 0.4 * child), scalp_mm=float(rng.uniform(3, 9)) * (0.5 + 0.5 * child),
        wide=1.03, shift_mm=draw(rng, SHIFT_MM),
        turn=float(rng.uniform(-MOST_TURNED, MOST_TURNED) if turned else rng.normal(0, TURN)),
        **_surroundings(rng), vein_hu=float(rng.uniform(50, 76)), tentorium_hu=float(rng.uniform(40, 62)),
        falx_hu=float(rng.uniform(48, 70) if rng.random() < 0.8 else rng.uniform(70, 160)),
        gap_mm=float(rng.uniform(0.1, 1.1)),
    )  # fmt: skip


def _surroundings(rng: np.random.Generator) -> dict[str, Any]:
    """Head rest, fingers, and whether the face is blurred."""
    kind = rng.choice(3, p=REST_ODDS)
    curved = {"rest_radius": float(rng.uniform(101, 125)), "rest_from": float(rng.uniform(10, 45))}
    close = {"rest_radius": float(rng.uniform(98, 104)), "rest_from": float(rng.uniform(-40, -5))}
    thick = float(rng.uniform(1.0, 3.0)) if kind < 2 else -50.0
    blur = float(rng.uniform(3, 8)) if rng.random() < BLURRED_ODDS else 0.0
    return {
        **(curved if kind == 0 else close),
        "rest_mm": thick,
        "fingers": bool(rng.random() < HELD_ODDS),
        "face_blur_mm": blur,
    }
