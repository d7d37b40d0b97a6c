"""The five types of intracranial bleeding, each at its anatomical place in a phantom head.

A bleeding is first planned (where, how large), because it pushes the brain aside; then grown in the fields of the head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ich.phantom.render import Lesion
from ich.phantom.shapes import Field, Space, ellipsoid, overlap, smooth_noise, union
from ich.phantom.skull import SLICE_MM, inner_table

SLICES, SLICE_ODDS = (2, 3, 4, 5, 6, 7, 8), (0.04, 0.05, 0.07, 0.1, 0.16, 0.24, 0.34)
FRESH_HU, FAINT_HU, FAINT_ODDS = (58.0, 78.0), (50.0, 56.0), 0.12
WHOLE_SKULL = 500.0  # mm, larger than any distance to a crack
FRACTURE_ODDS = 0.6  # of epidural bleedings
DEEP_CENTERS = ((25, -2, 46), (13, 10, 46), (32, -40, 56), (36, 20, 60), (26, 48, 52), (42, 4, 26))  # mm, left side
CLOT_HU = 3.5  # unevenness of the blood
SWELLING_REACH_MM = 26.0
Grown = tuple[Field, str, float]  # region (mm), place and oedema of a Lesion


@dataclass(frozen=True)
class Plan:
    """Where one bleeding lies: `center` in mm, `outward` a unit vector in the slice, and its extents in mm."""

    kind: str
    side: int  # 1 is the patient's left, -1 the right
    center: tuple[float, float, float]
    outward: tuple[float, float]
    thick: float
    length: float
    height: float  # half the extent along z
    hu: float
    push: float = 0.0  # how far the brain beside it is moved
    fracture: bool = False
    clots: float = CLOT_HU  # unevenness of the blood
    oedema: float = 1.0  # width of the dark rim of a clot in the brain, of the usual
    squeeze: float = 0.0  # sulci nearer than this, in mm, are pressed shut
    loose: float = 0.0  # mm that the outline of the mask lies outside the blood
    joined: float = 0.0  # mm; pieces nearer to each other than this are outlined as one
    below: float = 6.0  # mm between the inner table and a clot in the brain
    swelling: float = 0.0  # mm, of the scalp over it
    bubbles: bool = False  # air inside the skull beside it


def plan_blood(kind: str, rng: np.random.Generator) -> Plan:
    """Draw the place and size of one bleeding of a kind."""
    side = int(rng.choice((-1, 1)))
    height = 0.5 * SLICE_MM * float(rng.choice(SLICES, p=SLICE_ODDS))
    hu = float(rng.uniform(*(FAINT_HU if rng.random() < FAINT_ODDS else FRESH_HU)))
    small = float(rng.beta(1.4, 2.2))  # 0 tiny .. 1 large, small ones are more frequent
    return Plan(kind=kind, side=side, height=height, hu=hu, **PLAN[kind](side, small, rng))


def at_table(side: int, angle: float, z: float) -> dict:
    """`center` on the inner table at an angle and height, on one side, and `outward` from the middle of the slice."""
    x, y = inner_table(angle, z)
    norm = float(np.hypot(x, y))
    return {"center": (side * x, y, z), "outward": (side * x / norm, y / norm)}


def _plan_epidural(side: int, small: float, rng: np.random.Generator) -> dict:
    thick = 8 + 17 * small
    place = at_table(side, rng.uniform(-0.8, 0.75), rng.uniform(32, 70))
    return place | {"thick": thick, "length": rng.uniform(9, 15) + thick, "push": 0.35 * thick,
                    "fracture": bool(rng.random() < FRACTURE_ODDS)}  # fmt: skip


def _plan_subdural(side: int, small: float, rng: np.random.Generator) -> dict:
    thick = 6 + 8 * small
    place = at_table(side, rng.uniform(-0.6, 0.6), rng.uniform(45, 75))
    return place | {"thick": thick, "length": rng.uniform(38, 75), "push": 0.5 * thick}


def _plan_intraparenchymal(side: int, small: float, rng: np.random.Generator) -> dict:
    x, y, z = (rng.choice(DEEP_CENTERS) + rng.normal(0, 3, 3)).tolist()
    norm = float(np.hypot(x, y))
    radius = 4 + 15 * small
    outward = (-side * x / norm, -y / norm)
    return {"center": (side * x, y, z), "outward": outward, "thick": radius, "length": radius}


def _plan_intraventricular(side: int, small: float, rng: np.random.Generator) -> dict:
    center = (side * 22.0, rng.uniform(34, 46), rng.uniform(45, 54))
    return {"center": center, "outward": (0.0, 1.0), "thick": 0.0, "length": 24 + 42 * small}


def _plan_subarachnoid(side: int, small: float, rng: np.random.Generator) -> dict:
    if rng.random() < 0.5:  # around the Sylvian fissure and the basal cisterns
        center = (side * rng.uniform(6, 48), rng.uniform(-20, 0), rng.uniform(28, 46))
        place = {"center": center, "outward": (0.0, 0.0)}
    else:
        place = at_table(side, rng.uniform(-1.1, 1.1), rng.uniform(50, 85))
    return place | {"thick": 2.0, "length": 20 + 25 * small}


PLAN: dict[str, Callable[[int, float, np.random.Generator], dict]] = {
    "epidural": _plan_epidural, "subdural": _plan_subdural, "intraparenchymal": _plan_intraparenchymal,
    "intraventricular": _plan_intraventricular, "subarachnoid": _plan_subarachnoid,
}  # fmt: skip


class Around(NamedTuple):
    """A planned place in the fields of a head; all fields (slices, rows, columns) or broadcastable."""

    space: Space
    depth: Field  # mm below the inner table
    far: Field  # distance from the centre within the slice, 1 at the length of the plan
    high: Field  # the same along z, 1 at its height
    rough: Field  # noise of deviation 1 for uneven edges


def grow_blood(plan: Plan, depth: Field, space: Space, rng: np.random.Generator) -> Lesion:
    """The lesion of a plan in a head; `depth` is that below the inner table, in mm."""
    shape = depth.shape
    dx, dy, dz = (axis - c for axis, c in zip(space, plan.center, strict=True))
    rough = smooth_noise(rng, shape, (shape[0] / 2, 28, 28))
    around = Around(space, depth, np.hypot(dx, dy) / plan.length, abs(dz) / plan.height, rough)
    region, place, oedema = GROW[plan.kind](plan, around)
    clots = plan.clots * smooth_noise(rng, shape, (shape[0] / 2, 40, 40))
    return Lesion(
        plan.kind, region.astype(np.float32), place, plan.hu + clots, oedema * plan.oedema, plan.squeeze, plan.loose,
        plan.joined,
    )  # fmt: skip


def _epidural(plan: Plan, around: Around) -> Grown:
    """A lens: thickest at its centre, thin at its rim, between the inner table and the brain."""
    reach = plan.thick * (1 - around.far**2 - around.high**2) + 0.8 * around.rough
    return overlap(around.depth + 1, reach - around.depth), "cavity", 0.0


def _subdural(plan: Plan, around: Around) -> Grown:
    """A crescent: of even thickness over a long arc; it stops at the falx."""
    reach = plan.thick * np.minimum(1.3 * (1 - around.far**3 - around.high**2), 1) + around.rough
    one_side = plan.side * around.space.x - 2.5
    return overlap(around.depth + 1, reach - around.depth, one_side), "cavity", 0.0


def _intraparenchymal(plan: Plan, around: Around) -> Grown:
    """An uneven clot in the brain, a little longer from front to back, in a rim of oedema."""
    radii = (plan.thick, 1.25 * plan.thick, plan.height)
    clot = ellipsoid(around.space, plan.center, radii) * max(1.0, plan.thick / plan.height)
    clot += (0.6 + 0.12 * plan.thick) * around.rough
    return overlap(clot, around.depth - plan.below, 3 * (1 - around.high**2)), "cavity", 4 + 0.35 * plan.thick


def _intraventricular(plan: Plan, around: Around) -> Grown:
    """All of one side's ventricle behind a level: blood sinks to the back of a patient who lies."""
    level = around.space.y - (62 - plan.length) + 1.5 * around.rough
    return overlap(level, plan.side * around.space.x - 4, 4 * (1 - around.high**2)), "ventricles", 0.0


def _subarachnoid(plan: Plan, around: Around) -> Grown:
    """All sulci and cisterns in a ball."""
    ball = 0.5 * plan.length * (1 - around.far**2 - around.high**2)
    return ball + 5 * around.rough, "csf", 0.0


GROW: dict[str, Callable[[Plan, Around], Grown]] = {
    "epidural": _epidural, "subdural": _subdural, "intraparenchymal": _intraparenchymal,
    "intraventricular": _intraventricular, "subarachnoid": _subarachnoid,
}  # fmt: skip


def fracture_line(plan: Plan, space: Space) -> Field:
    """Signed distance (mm) to the crack beside an epidural bleeding; WHOLE_SKULL away from it."""
    across = (space.y - plan.center[1]) * plan.outward[0] - (space.x - plan.center[0]) * plan.outward[1]
    oblique = across + 0.5 * (space.z - plan.center[2]) - 4
    this_side = space.x * plan.outward[0] + space.y * plan.outward[1] > 20
    near = (abs(space.z - plan.center[2]) < plan.height) & this_side
    return np.where(near, oblique, WHOLE_SKULL).astype(np.float32)


def swelling(plans: list[Plan], space: Space) -> Field | None:
    """How much thicker (mm) the scalp is over the bleedings; None where none is."""
    swollen = [plan for plan in plans if plan.swelling]
    total = np.zeros_like(space.z)
    for plan in swollen:
        square = sum((axis - c) ** 2 for axis, c in zip(space, plan.center, strict=True))
        total = total + plan.swelling * np.exp(-square / (2 * SWELLING_REACH_MM**2))
    return total if swollen else None


def bubbles(plans: list[Plan], depth: Field, space: Space, rng: np.random.Generator) -> Field | None:
    """Signed distance (mm) to air between skull and brain, in front of the bleedings that have it; None if none has."""
    bodies = []
    for plan in plans:
        for _ in range(int(rng.integers(1, 4)) if plan.bubbles else 0):
            center = tuple(np.add(plan.center, (0.0, rng.uniform(-30, -12), rng.normal(0, 6))).tolist())
            bodies.append(ellipsoid(space, center, tuple(rng.uniform(2, 5, 3).tolist())))
    return overlap(union(*bodies), depth - 0.5, 6 - depth) if bodies else None
