"""Bleedings as trauma makes them: sizes, places and densities of the `calibrated` phantoms.

Most lie beside bone and have little oedema; sizes spread over two orders of magnitude, and some blood is old.
"""

from collections.abc import Callable
from dataclasses import replace
from math import exp

import numpy as np

from ich.phantom.blood import DEEP_CENTERS, FRACTURE_ODDS, Plan, at_table
from ich.phantom.skull import SLICE_MM

DECK = (
    *("epidural",) * 12, *("intraparenchymal",) * 5, *("subdural",) * 4, "intraventricular", *("subarachnoid",) * 2
)  # fmt: skip
SECOND_DECK = ("intraventricular", "epidural", "epidural", "intraparenchymal", "subdural", "subarachnoid")
SECOND_KIND_ODDS = 0.25
TINY_ODDS, TINY = 0.07, (-3.2, -2.3)  # bleedings of a few pixels: their share, and their sizes in deviations
FRESH_HU, OLD_HU, OLD_ODDS = (61.5, 7.5), (4.0, 32.0), 0.105  # mean and deviation; range; share of old blood
SLICES, SLICES_BY_SIZE, SLICES_FREE = 9.7, 4.7, 2.6  # mean, and deviations that go with the size and without it
FEWEST, MOST = 1.5, 20  # slices
FEWER_SLICES = {"intraventricular": 0.6, "subarachnoid": 0.6, "intraparenchymal": 0.85}
CLOT_HU = 3.8  # unevenness of the blood, median
MIXED, MIXED_ODDS = 1.6, 0.2  # more uneven: blood of different ages in one bleeding
LARGEST_MM = 34.0  # thickness of the largest
SQUEEZE_MM = 14.0  # sulci nearer than this are pressed shut
LOOSE_MM = (-0.3, 1.3)  # how far outlines lie outside the blood
JOINED_MM = 8.0  # blood in neighbouring sulci is outlined as one where the gap is smaller
SWELLING_ODDS, BUBBLES_ODDS = 0.35, 0.07
LOW_CENTERS = ((0, 12, 18), (22, 48, 2), (12, 56, -8), (0, 30, -2))  # mm: brain stem and posterior fossa
CONTUSION_ODDS = 0.96  # of blood in the brain that lies just below the skull


def plan_trauma(kind: str, rng: np.random.Generator) -> Plan:
    """Draw the place, size and density of one bleeding of a kind."""
    side, large = int(rng.choice((-1, 1))), float(np.clip(rng.normal(), TINY[1], 2.3))
    if rng.random() < TINY_ODDS:
        large = float(rng.uniform(*TINY))
    slices = SLICES + SLICES_BY_SIZE * large + SLICES_FREE * rng.normal()
    height = 0.5 * SLICE_MM * float(np.clip(FEWER_SLICES.get(kind, 1.0) * slices, FEWEST, MOST)) * 1.1
    old = rng.random() < OLD_ODDS
    hu = float(rng.uniform(*OLD_HU) if old else np.clip(rng.normal(*FRESH_HU), 40, 80))
    clots = CLOT_HU * exp(rng.normal(0, 0.4)) * (MIXED if rng.random() < MIXED_ODDS else 1.0)
    plan = Plan(kind=kind, side=side, height=height, hu=hu, **PLAN[kind](side, large, rng))
    outside = rng.random() < SWELLING_ODDS and kind in ("epidural", "subdural", "intraparenchymal")
    return replace(
        plan, clots=clots, oedema=float(rng.uniform(0, 0.35)), squeeze=SQUEEZE_MM, loose=float(rng.uniform(*LOOSE_MM)),
        joined=JOINED_MM if kind == "subarachnoid" else 0.0,
        push=plan.push * float(rng.uniform(0.5, 1.8)), swelling=float(rng.uniform(3, 12)) if outside else 0.0,
        bubbles=bool(rng.random() < BUBBLES_ODDS),
    )  # fmt: skip


def _plan_epidural(side: int, large: float, rng: np.random.Generator) -> dict:
    thick = min(10 * exp(0.72 * large), LARGEST_MM)
    place = at_table(side, rng.uniform(-1.2, 1.1), rng.uniform(15, 78))
    return place | {"thick": thick, "length": 28 * exp(0.6 * large) * rng.uniform(0.85, 1.15), "push": 0.35 * thick,
                    "fracture": bool(rng.random() < FRACTURE_ODDS)}  # fmt: skip


def _plan_subdural(side: int, large: float, rng: np.random.Generator) -> dict:
    thick = 8.0 * exp(0.5 * large)
    place = at_table(side, rng.uniform(-0.9, 0.9), rng.uniform(30, 78))
    return place | {"thick": thick, "length": 44 * exp(0.35 * large), "push": 0.5 * thick}


def _plan_intraparenchymal(side: int, large: float, rng: np.random.Generator) -> dict:
    """Contusions below the inner table, and clots deep in the brain, its stem and the posterior fossa."""
    radius = min(7.5 * exp(0.65 * large), 0.65 * LARGEST_MM)
    if rng.random() < CONTUSION_ODDS:
        place = at_table(side, rng.uniform(-1.3, 0.9), rng.uniform(25, 70))
        (x, y, z), inwards = place["center"], 0.55 * radius + rng.uniform(1, 5)
        place["center"] = (x - inwards * place["outward"][0], y - inwards * place["outward"][1], z)
        return place | {"thick": radius, "length": radius, "below": float(rng.uniform(0.5, 2))}
    x, y, z = (rng.choice(DEEP_CENTERS + LOW_CENTERS) + rng.normal(0, 3, 3)).tolist()
    norm = float(np.hypot(x, y)) + 1e-3
    return {"center": (side * x, y, z), "outward": (-side * x / norm, -y / norm), "thick": radius, "length": radius}


def _plan_intraventricular(side: int, large: float, rng: np.random.Generator) -> dict:
    center = (side * 22.0, rng.uniform(34, 46), rng.uniform(45, 54))
    return {"center": center, "outward": (0.0, 1.0), "thick": 0.0, "length": 38 + 12 * large}


def _plan_subarachnoid(side: int, large: float, rng: np.random.Generator) -> dict:
    place = at_table(side, rng.uniform(-1.1, 1.1), rng.uniform(40, 80))
    return place | {"thick": 2.0, "length": 18 * exp(0.3 * large)}


PLAN: dict[str, Callable[[int, float, np.random.Generator], dict]] = {
    "epidural": _plan_epidural, "subdural": _plan_subdural, "intraparenchymal": _plan_intraparenchymal,
    "intraventricular": _plan_intraventricular, "subarachnoid": _plan_subarachnoid,
}  # fmt: skip
