"""Skull, scalp and scanner of a phantom, as fields on a coarse grid (about 2 mm), one value per slice and cell.

The renderer enlarges the fields and turns them into HU, so edges stay sharp at any image size.
"""

from dataclasses import dataclass

import numpy as np

from ich.phantom.shapes import Field, Space, ellipsoid, overlap, ring, smooth_noise, soft_step, tube, union
from ich.phantom.style import Look

SLICE_MM = 5.0
# The cranial cavity: an egg, cut from below by the skull base (mm).
HALF_WIDTH, HALF_LENGTH, UP, DOWN, CENTER_Z = 67.0, 82.0, 74.0, 80.0, 40.0
ROUNDNESS = 2.2  # exponent of the egg: 2 is an ellipsoid, more is boxier
SKULL_MM = 6.0
FRONT_FLOOR, ROOF, MIDDLE_FLOOR, BACK_FLOOR, PETROUS = 15.0, 13.0, 0.0, -34.0, 42.0  # heights of the skull base, mm
CANAL_MM, CANAL_Y = 15.0, 40.0  # radius and place of the foramen magnum
STREAK_HU = 9.0  # beam hardening at the base
FINGER_MM, FINGERS_Y = 7.5, (-34.0, -14.0, 6.0)  # radius and places of the fingers that hold a head


@dataclass(frozen=True)
class Head:
    """What makes one head different from the next; lengths in mm, angles in radians."""

    age: int
    scale: tuple[float, ...]  # along x, y, z
    shift: tuple[float, float]  # of the head's origin in the image, along x and y
    turn: float  # in the image plane
    pitch: float  # z gained per mm along y
    roll: float  # z gained per mm along x
    pixel: float  # mm, of the coarse grid
    bottom: float  # z of the lowest slice
    slices: int

    @property
    def atrophy(self) -> float:
        """0 in the young, 1 at 85 years: widens sulci and ventricles."""
        return float(np.clip((self.age - 20) / 65, 0, 1)) ** 1.3


def grid(head: Head, cells: int) -> Space:
    """Coordinates of the coarse grid: x and y (1, cells, cells), z (slices, cells, cells)."""
    line = ((np.arange(cells) + 0.5 - cells / 2) * head.pixel).astype(np.float32)
    right, down = (line - head.shift[0])[None, None, :], (line - head.shift[1])[None, :, None]
    cos, sin = np.cos(head.turn), np.sin(head.turn)
    x, y = (cos * right + sin * down) / head.scale[0], (cos * down - sin * right) / head.scale[1]
    heights = (head.bottom + SLICE_MM * np.arange(head.slices))[:, None, None]
    z = (heights + head.pitch * y + head.roll * x) / head.scale[2]
    return Space(*(axis.astype(np.float32) for axis in (x, y, z)))


def inner_table(angle: float, z: float) -> tuple[float, float]:
    """The point (x, y) of the inner table at a height z; angle 0 is the patient's left, pi/2 the back."""
    height = min(abs(z - CENTER_Z) / (UP if z > CENTER_Z else DOWN), 0.95)
    level = (1 - height**ROUNDNESS) ** (1 / ROUNDNESS)
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (abs(cos / HALF_WIDTH) ** ROUNDNESS + abs(sin / HALF_LENGTH) ** ROUNDNESS) ** (-1 / ROUNDNESS)
    return float(radius * cos * level), float(radius * sin * level)


def skull_fields(space: Space, look: Look, swelling: Field | None, rng: np.random.Generator) -> dict[str, Field]:
    """`depth` below the inner table, `bone` below the outer table, `skin` below the skin, `vault` without the base.

    `swelling` (mm) makes the scalp thicker.
    """
    shape, (x, y, z) = space.z.shape, space
    vault = _egg_depth(space, 1.6 * smooth_noise(rng, shape, (3, 5, 5)))
    canal = CANAL_MM - np.hypot(x, y - CANAL_Y) - 3 * soft_step(-z, 38, 10)
    over_base = union(_above_base(space, rng), np.where(z < -20, canal, -50))
    inside = union(vault, np.where(z < -28, canal, -50))
    uneven = 2.0 * soft_step(abs(y), 66, 30) - 1.8 * soft_step(z, 92, 30)  # thick in front and behind, thin on top
    thick = look.skull * (SKULL_MM + 0.9 * smooth_noise(rng, shape, (4, 9, 9))) + min(look.skull, 1.0) * uneven
    petrous = ellipsoid(space.folded(), (44, 26, -4), (26, 14, 16))
    bone = union(overlap(inside + thick, over_base + 0.65 * thick), overlap(petrous, vault + thick))
    neck = ellipsoid(space, (0, 28, -60), (58, 62, 110)) - 14
    scalp = union(vault, neck) + thick + look.scalp_mm + 0.8 * smooth_noise(rng, shape, (3, 6, 6))
    scalp = scalp if swelling is None else scalp + swelling
    face = ellipsoid(space, (0, -24, -25), (68, 82, 80)) + 2 * smooth_noise(rng, shape, (3, 8, 8))
    return {"vault": vault, "depth": overlap(inside, over_base), "bone": bone, "skin": union(scalp, face)}


def _egg_depth(space: Space, bumps: Field) -> Field:
    """Depth under the vault of the skull, as if it were closed below; `bumps` (mm) make it uneven."""
    x, y, z = space
    up = z - CENTER_Z
    height = np.where(up > 0, up / UP, -up / DOWN)
    backward = y - 0.10 * np.clip(-up, 0, 80)  # the back fossa lies behind the middle of the head
    wide = HALF_WIDTH * (1 + 0.0009 * np.clip(y, -70, 40))  # narrower in front
    total = abs(x / wide) ** ROUNDNESS + abs(backward / HALF_LENGTH) ** ROUNDNESS + height**ROUNDNESS
    return (1 - total ** (1 / ROUNDNESS)) * 70 + bumps


def _above_base(space: Space, rng: np.random.Generator) -> Field:
    """Distance above the floor of the cranial cavity."""
    x, y, z = space
    rough = smooth_noise(rng, (1, *x.shape[1:]), (1, 14, 14))
    floor = _base_height(abs(x + 3 * rough), y + 3 * rough[:, ::-1]) + 2 * rough
    step = float(x[0, 0, 1] - x[0, 0, 0])
    slope = np.sqrt(1 + sum(g * g for g in np.gradient(floor[0], step)))
    gap = z - floor
    return gap / slope + np.maximum(gap - 8, 0)  # the slope counts near the floor only


def _base_height(side: Field, y: Field) -> Field:
    """Height z of the floor: orbital roofs in front, sella and middle fossae, petrous ridges, back fossa."""
    front = soft_step(-y - 30 + 0.004 * (side - 34) ** 2, 0, 12)
    back = soft_step(y - 14 - 0.34 * side, 0, 14)
    middle = MIDDLE_FLOOR + 14 - 14 * soft_step(side, 17, 12) - 5 * soft_step(side, 34, 16)
    floor = middle * (1 - back) + BACK_FLOOR * back
    ridge = np.exp(-(((y - 10 - 0.36 * side) / 9) ** 2)) * soft_step(side, 14, 10)
    floor = np.maximum(floor, PETROUS * ridge - 30)
    roofs = FRONT_FLOOR + ROOF * np.exp(-(((side - 31) / 17) ** 2) - ((y + 56) / 22) ** 2)
    return floor * (1 - front) + roofs * front


def outside_fields(
    space: Space, skull: dict[str, Field], look: Look, swelling: Field | None, rng: np.random.Generator
) -> dict[str, Field]:
    """`muscle` (and swollen scalp), head `rest`; `texture` (noise of deviation 1), `noise` (its gain), `streaks` (HU).

    Where they are there: `fingers`, and `front` (the part of the face that is blurred).
    """
    shape = space.z.shape
    texture = smooth_noise(rng, shape, (shape[0], 40, 40))
    temporal = ellipsoid(space.folded(), (66, -26, 18), (12, 30, 34))
    deep = overlap(ellipsoid(space.folded(), (26, 0, -45), (44, 92, 66)), skull["skin"] - 6)
    meat = 4 * smooth_noise(rng, shape, (shape[0] / 2, 18, 18)) + 2 * texture + 3  # muscles and fat between them
    muscle = union(overlap(temporal, skull["skin"] - 3), overlap(deep, meat))
    if swelling is not None:
        muscle = union(muscle, overlap(swelling - 1.5, skull["skin"] - 2))
    rest = overlap(look.rest_mm + ring(space, (0, 4), look.rest_radius), space.y - look.rest_from)
    low = soft_step(-space.z, -18, 36)
    streaks = STREAK_HU * look.streaks * low * _streaks(space, rng) * soft_step(skull["depth"], 0, 6)
    if look.band_hu:
        streaks -= look.band_hu * _petrous_band(space)
    fields = {"muscle": muscle, "rest": np.broadcast_to(rest, shape), "texture": texture, "noise": 1 + 0.45 * low,
              "streaks": streaks}  # fmt: skip
    if look.fingers:
        fields["fingers"] = _fingers(space, rng)
    if look.face_blur_mm:
        fields["front"] = overlap(-space.y - 68, 30 - space.z)
    return fields


def _petrous_band(space: Space) -> Field:
    """Share 0..1 of the dark band that beam hardening draws from one petrous bone to the other."""
    across = np.exp(-(((space.y - 20) / 8) ** 2) - ((space.z - 8) / 14) ** 2)
    return across * soft_step(-abs(space.x), -46, 14)


def _fingers(space: Space, rng: np.random.Generator) -> Field:
    """Distance inside the fingers of two hands, left and right of the head."""
    bodies = []
    for side in (-1, 1):
        out, low = side * rng.uniform(86, 92), rng.uniform(10, 50)
        for y in (FINGERS_Y + rng.normal(0, 3, len(FINGERS_Y))).tolist():
            low_end = (out, y, low, FINGER_MM)
            bodies.append(tube(space, [low_end, (out + side * rng.uniform(0, 6), y + 6, low + 45, FINGER_MM - 1)]))
    return union(*bodies)


def _streaks(space: Space, rng: np.random.Generator) -> Field:
    """Beam hardening: bright and dark lines across the image, mostly from one petrous bone to the other."""
    total = np.zeros_like(space.z)
    for angle in rng.normal(0, 0.35, 4).astype(np.float32):
        across = np.sin(angle) * space.x[0] + np.cos(angle) * space.y[0]
        profiles = smooth_noise(rng, (len(total), 1, 240), (len(total), 2, 60))[:, 0]
        at = np.clip(across + 120, 0, 238)
        low = at.astype(np.int32)
        total += 0.6 * (profiles[:, low] * (1 - at + low) + profiles[:, low + 1] * (at - low))
    return total
