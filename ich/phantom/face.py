"""Face and skull base of the phantom: orbits, air-filled sinuses, mastoid cells, jaw, as fields in mm.

The lowest slices of a head CT are full of bone, fat and air. They carry no lesions here, but a network must learn
to keep quiet there.
"""

import numpy as np

from ich.phantom.shapes import FAR, Field, Space, ellipsoid, overlap, ring, smooth_noise, tube, union

HIGHEST_MM = 45.0  # no part of the face lies above
# Bent tubes of the left side: x, y, z, radius (mm).
OPTIC_NERVE = [(31, -70, 8, 2.2), (13, -37, 9, 2.0)]
OUTER_EYE_MUSCLE = [(44, -78, 8, 1.2), (42, -62, 8, 2.4), (16, -38, 8, 1.0)]
INNER_EYE_MUSCLE = [(22, -78, 8, 1.2), (20, -64, 8, 2.4), (12, -38, 8, 1.0)]
EAR_CANAL = [(74, 16, -8, 3.2), (50, 18, -6, 2.5)]
CHEEK = [(46, -78, -14, 5), (64, -52, -10, 3), (67, -20, -8, 2.5), (64, 4, -6, 5)]
JAW = [(54, -4, -14, 4), (50, -8, -50, 5), (36, -58, -72, 5), (0, -84, -76, 6)]
PALATE = [(0, -78, -52, 6), (24, -64, -54, 6), (28, -38, -52, 5)]
SPHENOID_WING = [(20, -36, 14, 4), (40, -44, 14, 4), (58, -50, 16, 4)]


def face_fields(space: Space, rng: np.random.Generator) -> dict[str, Field]:
    """The fields of `_low_fields`, worked out only in the slices that reach the face."""
    low = int((space.z.min((1, 2)) < HIGHEST_MM).sum())
    fields = _low_fields(space._replace(z=space.z[:low]), rng)
    above = ((0, len(space.z) - low), (0, 0), (0, 0))
    return {name: np.pad(field, above, constant_values=FAR) for name, field in fields.items()}


def _low_fields(space: Space, rng: np.random.Generator) -> dict[str, Field]:
    """`orbit` (fat), `globe`, `eye_muscle` (and optic nerves), `face_bone`, `air`, `cells` (air with septa)."""
    shape = space.z.shape
    rough = smooth_noise(rng, shape, (shape[0], 56, 56))
    x, y = (axis + 2.2 * smooth_noise(rng, shape, (4, 12, 12)) for axis in (space.x, space.y))
    both = Space(abs(x), y, space.z)
    orbit = union(ellipsoid(both, (33, -70, 8), (20, 20, 18)), tube(both, [(30, -62, 8, 14), (14, -38, 8, 3)]))
    frontal = ellipsoid(both, (9, -84, 24), (9, 4.5, 12)) + rough
    sinus = union(ellipsoid(both, (30, -62, -28), (15, 17, 15)), ellipsoid(both, (7, -30, -1), (8.5, 12, 9)), frontal)
    nose = ellipsoid(both, (8, -62, -32), (7, 28, 20)) + 3 * rough
    throat = ellipsoid(both, (0, 0, -48), (11, 7, 22))
    ethmoid = ellipsoid(both, (6, -58, 6), (7, 24, 13))
    mastoid = overlap(ellipsoid(both, (56, 36, -10), (11, 14, 17)), 0.8 + 1.8 * rough)
    return {"orbit": orbit, "globe": ellipsoid(both, (33, -80, 8), (12, 12, 12)),
            "eye_muscle": union(tube(both, OPTIC_NERVE), tube(both, OUTER_EYE_MUSCLE), tube(both, INNER_EYE_MUSCLE)),
            "air": union(sinus, nose, throat, tube(both, EAR_CANAL)),
            "cells": union(overlap(ethmoid, 1.6 + 1.8 * rough), mastoid),
            "face_bone": _face_bone(both, orbit, sinus, ethmoid)}  # fmt: skip


def _face_bone(both: Space, orbit: Field, sinus: Field, ethmoid: Field) -> Field:
    """Thin walls of the orbits and sinuses, cheek, jaw, palate, sphenoid bone and the first vertebra."""
    walls = union(overlap(orbit + 2.2, -0.9 * (both.y + 84) + 12), sinus + 1.8, ethmoid + 1.5)
    bars = union(*(tube(both, points) for points in (CHEEK, JAW, PALATE, SPHENOID_WING)))
    sphenoid = union(ellipsoid(both, (14, -26, 2), (22, 14, 13)), ellipsoid(both, (0, -6, 0), (16, 20, 13)))
    vertebra = 8 + ring(both, (0, 36), 20) - np.maximum(both.z + 36, 0)
    return union(walls, bars, sphenoid, vertebra)
