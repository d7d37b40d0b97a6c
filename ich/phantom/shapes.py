"""Building blocks of the phantom: distances to simple bodies and smooth noise.

All distances are signed, in mm, float32: positive inside, negative outside, zero on the surface.
"""

from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

FAR = -10.0  # mm, stands where a distance is not worked out
Field = np.ndarray  # float32, (slices, rows, columns) or anything that broadcasts to it


class Space(NamedTuple):
    """Coordinates of every cell in mm of a standard head.

    x runs to the patient's left, y to the back, z up; the origin lies in the midline, half way from forehead to
    occiput, at the height of the sella. z has all slices, x and y may have one for all.
    """

    x: Field
    y: Field
    z: Field

    def folded(self) -> "Space":
        """Both sides laid on the left one: a body drawn in it appears on both."""
        return self._replace(x=abs(self.x))


def union(*bodies: Field) -> Field:
    """Distance to the nearest of several bodies: inside at least one of them."""
    return reduce(np.maximum, bodies)


def overlap(*bodies: Field) -> Field:
    """Distance inside all of several bodies."""
    return reduce(np.minimum, bodies)


def ellipsoid(space: Space, center: tuple, radii: tuple) -> Field:
    """Distance to an ellipsoid (exact on a sphere, close to the surface elsewhere)."""
    scaled = [(axis - np.float32(c)) * np.float32(1 / r) for axis, c, r in zip(space, center, radii, strict=True)]
    return (1 - np.sqrt(sum(axis * axis for axis in scaled))) * np.float32(min(radii))


def ring(space: Space, center: tuple[float, float], radius: float) -> Field:
    """Minus the distance in the slice to an upright cylinder: 0 on its wall, negative on both sides."""
    return -abs(np.hypot(space.x - center[0], space.y - center[1]) - radius)


def tube(space: Space, points: list[tuple]) -> Field:
    """Distance to a bent tube; each point is (x, y, z, radius), the radius changes linearly between points.

    In slices that the tube does not reach the distance is FAR.
    """
    x, _, z = space
    sparse = z[:, ::8, ::8]
    lowest, highest = min(p[2] - p[3] for p in points) + FAR, max(p[2] + p[3] for p in points) - FAR
    near = (sparse.max((1, 2)) > lowest) & (sparse.min((1, 2)) < highest)
    distance = np.full(np.broadcast_shapes(x.shape, z.shape), FAR, np.float32)
    part = Space(*(axis[near] if len(axis) == len(z) else axis for axis in space))
    distance[near] = union(*(_segment(part, *ends) for ends in pairwise(points)))
    return distance


def _segment(space: Space, start: tuple, end: tuple) -> Field:
    *step, widening = np.subtract(end, start).astype(np.float32)
    away = [axis - s for axis, s in zip(space, start[:3], strict=True)]
    scale = 1 / sum(s * s for s in step)
    along = sum(a * (s * scale) for a, s in zip(away, step, strict=True))
    np.clip(along, 0, 1, out=along)
    square = sum((a - along * s) ** 2 for a, s in zip(away, step, strict=True))
    return along * widening - np.sqrt(square) + start[3]


def soft_step(value: Field, center: float, width: float) -> Field:
    """Smooth 0..1 step of `value` (mm) around `center`, `width` mm wide."""
    t = value * np.float32(1 / width) + np.float32(0.5 - center / width)
    np.clip(t, 0, 1, out=t)
    return t * t * (3 - 2 * t)


def smooth_noise(rng: np.random.Generator, shape: tuple, cells: tuple) -> Field:
    """Noise of mean 0 and deviation about 1 that changes over shape/cells voxels along each axis."""
    cells = tuple(max(2, round(c)) for c in cells)
    coarse = rng.standard_normal(cells, dtype=np.float32)
    planes = np.stack([cv2.resize(p, shape[:0:-1], interpolation=cv2.INTER_CUBIC) for p in coarse])
    at = np.linspace(0, cells[0] - 1, shape[0], dtype=np.float32)
    low = np.minimum(at.astype(int), cells[0] - 2)
    high_part = (at - low).astype(np.float32)[:, None, None]
    mixed = planes[low] * (1 - high_part) + planes[low + 1] * high_part
    return mixed * (1.25 / np.sqrt(high_part**2 + (1 - high_part) ** 2))  # mixing must not calm the noise
