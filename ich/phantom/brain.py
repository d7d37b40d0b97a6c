"""The brain of a phantom as fields in mm: folds, ventricles, cisterns, deep grey matter, falx, tentorium, calcium."""

import cv2
import numpy as np

from ich.phantom.shapes import Field, Space, ellipsoid, overlap, ring, smooth_noise, soft_step, tube, union
from ich.phantom.skull import Head
from ich.phantom.style import Look

# Tubes of the left lateral ventricle and of the Sylvian fissure: x, y, z, radius (mm).
BODY = [
    (14, -36, 42, 2.5), (9, -24, 48, 3.6), (6.5, -12, 53, 3.2), (10, 4, 60, 3.6), (15, 20, 60, 4.2), (23, 34, 51, 5.6)
]  # fmt: skip
OCCIPITAL_HORN = [(23, 34, 50, 5.4), (23, 47, 46, 3.8), (19, 62, 43, 1.2)]
TEMPORAL_HORN = [(23, 34, 46, 4.2), (32, 18, 30, 2.0), (30, -2, 18, 1.2)]
SYLVIAN = [(64, -14, 44, 1.7), (50, -16, 44, 1.6), (39, -14, 44, 1.6)]
INSULA = [(36, -25, 44, 0.6), (39, -14, 44, 1.6), (40, 8, 44, 0.4)]
SYLVIAN_FLATTENED = 4.0  # its walls stand this much taller than a tube's
SAGITTAL_SINUS = [
    (0, -66, 84, 1.5), (0, -30, 106, 2.5), (0, 20, 110, 3), (0, 62, 86, 3.5), (0, 79, 48, 4), (0, 78, 18, 4.5)
]  # fmt: skip
TRANSVERSE_SINUS = [(0, 78, 18, 4), (34, 66, 16, 4), (54, 44, 10, 4), (52, 34, -4, 4)]
CHOROID_MM, PINEAL_MM = (3.4, 5.9, 5.5), (3.4, 4.1, 4.4)  # largest radii of the calcified parts
WIDENING_MM = 2.6  # of the ventricles at full atrophy
PUSH_REACH_MM = 32.0  # how far the pressure of a bleeding is felt
GYRUS_MM = 12.0  # from fold to fold


def brain_fields(
    head: Head, look: Look, space: Space, vault: Field, plans: list, rng: np.random.Generator
) -> dict[str, Field]:
    """All fields of the brain. `plans` are the bleedings that push it aside (`center`, `outward`, `push`)."""
    space = _bend(space, plans, rng)
    wide = WIDENING_MM * head.atrophy + look.ventricles_mm
    fluid = _fluid_fields(space, wide, smooth_noise(rng, space.z.shape, (len(space.z), 40, 40)))
    fields = fluid | _grey_and_bright_fields(space)
    return fields | {"calcium": _calcium(space, head, rng), "fold": _fold(space, vault, head.pixel, rng)}


def _bend(space: Space, plans: list, rng: np.random.Generator) -> Space:
    """Coordinates bent by a few mm, so that no two brains and no two sides are alike, and pushed by bleedings."""
    amounts = ((0.9, 5), (0.9, 5), (1.2, 5), (0.7, 14), (0.7, 14))
    bend = [mm * smooth_noise(rng, space.z.shape, (5, n, n)) for mm, n in amounts]
    x, y, z = space.x + bend[0] + bend[3], space.y + bend[1] + bend[4], space.z + bend[2]
    for plan in plans:
        square = sum((axis - c) ** 2 for axis, c in zip((x, y, z), plan.center, strict=True))
        pull = plan.push * np.exp(-square / (2 * PUSH_REACH_MM**2))
        x, y = x + pull * plan.outward[0], y + pull * plan.outward[1]
    return Space(x, y, z)


def _fluid_fields(space: Space, wide: float, uneven: Field) -> dict[str, Field]:
    """`ventricles` and `cisterns` (with the Sylvian fissures): where fluid is; `wide` (mm): how much has shrunk."""
    both = space.folded()
    lateral = union(tube(both, BODY), tube(both, OCCIPITAL_HORN)) + wide - 0.6
    lateral = union(lateral, tube(both, TEMPORAL_HORN) + 0.6 * wide - 0.6)
    third = ellipsoid(space, (0, 2, 43), (1.6 + 1.2 * wide, 15, 10))
    fourth = ellipsoid(space, (0, 33, 13), (7.5 + wide, 5 + 0.5 * wide, 11))
    tall = both._replace(z=44 + (both.z - 44) / SYLVIAN_FLATTENED)
    sylvian = union(tube(tall, SYLVIAN), tube(tall, INSULA)) + 0.35 * wide
    return {"ventricles": union(overlap(lateral, both.x - 1), third, fourth),
            "cisterns": union(sylvian, _basal_cisterns(space, wide, uneven))}  # fmt: skip


def _basal_cisterns(space: Space, wide: float, uneven: Field) -> Field:
    """Star above the sella, ring around the midbrain, smile behind it, cleft before the pons, cisterna magna."""
    x, y, z = space
    angle, radius = np.arctan2(x, -(y + 6)), np.hypot(x, y + 6) + 1.8 * uneven
    star = overlap((9.5 + 0.6 * wide + 3.6 * np.cos(5 * angle) - radius) * 0.7, 6.5 - abs(z - 27))
    around = overlap(0.7 + 0.3 * wide + 0.8 * uneven + ring(space, (0, 9), 17), 11 - abs(z - 32))
    smile = overlap(1.6 + 0.4 * wide + 0.5 * uneven + ring(space, (0, 8), 17), y - 12, 7 - abs(z - 41))
    pons = overlap(2.2 + ring(space, (0, 14), 17), 4 - y, 10 - abs(z - 12))
    return union(star, around, smile, pons, ellipsoid(space, (0, 66, -14), (10, 6, 12)))


def _grey_and_bright_fields(space: Space) -> dict[str, Field]:
    """`nuclei`, `brainstem`, `veins`; `falx` (where the sheet reaches) and `midline` (x); `tentorium`."""
    x, y, z = space
    both = space.folded()
    caudate = ellipsoid(both, (14.5, -22, 48), (5, 9, 10))
    lentiform = ellipsoid(both._replace(x=both.x - 0.25 * (y + 4)), (26, -3, 44), (7, 16, 11))
    thalamus = ellipsoid(both._replace(x=both.x - 0.35 * (y - 20)), (15, 11, 46), (8.5, 13, 10))
    falx = np.sqrt((y / 1.15) ** 2 + ((z - 44) * 1.5) ** 2) - 40  # the corpus callosum lies in its hollow
    sheet = 0.9 - 0.8 * abs(z - 46 + 0.55 * both.x + 0.42 * (y - 20))
    return {"nuclei": union(caudate, lentiform, thalamus), "brainstem": ellipsoid(space, (0, 10, 18), (15, 14, 34)),
            "veins": union(tube(space, SAGITTAL_SINUS), tube(both, TRANSVERSE_SINUS)), "midline": x,
            "falx": np.where(z > 28 - 0.1 * y, falx, z - 28),
            "tentorium": np.where(y > 12 + 0.25 * both.x, sheet, -5)}  # fmt: skip


def _calcium(space: Space, head: Head, rng: np.random.Generator) -> Field:
    """Pineal gland and the choroid plexus of both sides: in nearly all adults, of any size, never blood."""
    size = rng.uniform(0.3, 1.0, 3) * np.clip((head.age - 5) / 25, 0.3, 1)
    spots = [ellipsoid(space, (0, 22, 44), tuple(size[0] * np.array(PINEAL_MM)))]
    for sign, part in ((-1, size[1]), (1, size[2])):
        center = tuple(rng.normal((sign * 22, 35, 52), (1, 1, 2)))
        spots.append(ellipsoid(space, center, tuple(part * np.array(CHOROID_MM))))
    return union(*spots)


def _fold(space: Space, vault: Field, pixel: float, rng: np.random.Generator) -> Field:
    """Signed distance (mm) from the middle of the nearest sulcus: 0 on the fold, up to +-6 on a gyrus."""
    x, y, z = space
    slices, width_mm = len(z), z.shape[2] * pixel
    even = smooth_noise(rng, z.shape, (slices / 2.2, width_mm / GYRUS_MM, width_mm / GYRUS_MM))
    side_share = soft_step(np.sqrt(x * x + 0.7 * y * y), 36, 30)  # folds run inwards at the sides, anyhow on top
    fold = even + side_share * (_radial_folds(space, vault, rng) - even)
    steep = np.sqrt(sum(g * g for g in np.gradient(fold, pixel, axis=(1, 2))))
    return np.clip(fold / (steep + 0.03), -8, 8)


def _radial_folds(space: Space, vault: Field, rng: np.random.Generator) -> Field:
    """Noise drawn over angle and depth, so that it changes along the surface much faster than inwards."""
    slices = len(space.z)
    bend = smooth_noise(rng, space.z.shape, (8, 14, 14))
    angle = np.arctan2(space.y * 0.8 + 2.5 * bend, space.x)
    noise = smooth_noise(rng, (slices, 48, 256), (slices / 2.2, 4, 50))
    seam = noise[:, :, :1] - noise[:, :, -1:]  # both ends are the same angle
    noise[:, :, -8:] += seam * np.linspace(0, 1, 8, dtype=np.float32)
    column = (angle / np.pi + 1) * np.float32(127.5)
    row = np.clip(vault * 0.7 + 2 * bend, 0, 47)
    return np.stack([cv2.remap(n, c, r, cv2.INTER_LINEAR) for n, c, r in zip(noise, column, row, strict=True)])
