"""Phantom head CTs: invented patients with the anatomy, the blood and the flaws of real scans.

`make_patient(seed, patient, size)` is all that other modules need.
"""

from dataclasses import dataclass, replace

import numpy as np

from ich.base.errors import InputError
from ich.data.table import TYPES
from ich.phantom import style as styles
from ich.phantom import trauma
from ich.phantom.blood import WHOLE_SKULL, bubbles, fracture_line, grow_blood, plan_blood, swelling
from ich.phantom.brain import brain_fields
from ich.phantom.face import face_fields
from ich.phantom.render import Lesion, render
from ich.phantom.shapes import Field
from ich.phantom.skull import SLICE_MM, Head, grid, outside_fields, skull_fields

SMALLEST_SIZE, LARGEST_SIZE, RENDER_AT_LEAST = 32, 512, 128  # pixels
PIXEL_AT_512_MM = 0.45
MIN_SLICES, MAX_SLICES = 24, 40
HEAD_TOP_MM, EMPTY_MM = 126.0, 8.0  # height of the head above the sella, and of the air above it
YOUNGEST, OLDEST = 5, 85  # years
COARSE_CELLS = 96  # the anatomy is drawn on this grid, about 2.4 mm a cell
FLAGS = (*TYPES, "no_hemorrhage", "fracture")
BLOOD_DECK = ("epidural", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
SECOND_KIND_ODDS = 0.15
FLIPS = ((1, 1), (-1, 1), (-1, -1))  # file axes x and y against left and back: LPS, RPS, RAS


@dataclass(frozen=True)
class Patient:
    """One phantom. Arrays lie as in the file: first axis x, second y, third the slice, lowest slice first."""

    hu: np.ndarray  # int16, (size, size, slices), Hounsfield units
    mask: np.ndarray  # uint8, same shape, 255 on blood, else 0
    affine: np.ndarray  # (4, 4), voxel indices to RAS millimetres
    slices: tuple[dict[str, int], ...]  # for each slice 0 or 1 under each name of FLAGS
    age: int  # years
    sex: str  # "Male" or "Female"


@dataclass(frozen=True)
class Scene:
    """A head as fields (slices, COARSE_CELLS, COARSE_CELLS), lesions, and the crack in its skull, if any."""

    head: Head
    look: styles.Look
    sex: str
    fields: dict[str, Field]
    lesions: list[Lesion]
    crack: Field | None


def make_patient(seed: int, patient: int, size: int, style: styles.Name = "plain", without: str = "") -> Patient:
    """Phantom number `patient` (from 0) of a seed, `size` pixels wide (32 to 512); the same at each call.

    `without`: a group of style.GROUPS, or style.BLOOD, that is as in `plain` heads.
    """
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise InputError(f"phantom size {size}: expected {SMALLEST_SIZE} to {LARGEST_SIZE} pixels")
    scene = make_scene(seed, patient, style, without)
    rng = np.random.default_rng([seed, patient, 4])
    hu, blood = _render(scene, size, rng)
    axes = FLIPS[rng.integers(len(FLIPS))]
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    mask = np.where((blood > 0.5).any(0), 255, 0).astype(np.uint8)
    affine = _affine(scene.head, size, axes)
    return Patient(_to_file(hu, axes), _to_file(mask, axes), affine, _flags(blood, scene), scene.head.age, scene.sex)


def make_scene(seed: int, patient: int, style: styles.Name = "plain", without: str = "") -> Scene:
    """The head of a phantom as fields, before any pixel is drawn: the same for every image size."""
    rng = np.random.default_rng([seed, patient])
    head, sex = _random_head(rng)
    look = styles.look(style, head.age, np.random.default_rng([seed, patient, 5]), without)
    head = _restyle(head, look)
    of_blood: styles.Name = "plain" if without == styles.BLOOD else style
    plan = plan_blood if of_blood == "plain" else trauma.plan_trauma
    plans = [plan(kind, rng) for kind in blood_kinds(seed, patient, of_blood)]
    space = grid(head, COARSE_CELLS)
    swollen = swelling(plans, space)
    fields = skull_fields(space, look, swollen, rng)
    fields |= outside_fields(space, fields, look, swollen, rng) | face_fields(space, rng)
    fields |= brain_fields(head, look, space, fields["vault"], plans, rng)
    lesions = [grow_blood(plan, fields["depth"], space, rng) for plan in plans]
    air = bubbles(plans, fields["depth"], space, rng)
    fields |= {} if air is None else {"bubbles": air}
    cracks = [fracture_line(plan, space) for plan in plans if plan.fracture]
    return Scene(head, look, sex, fields, lesions, cracks[0] if cracks else None)


def blood_kinds(seed: int, patient: int, style: styles.Name = "plain") -> tuple[str, ...]:
    """The types of bleeding of a patient: none for one of each two patients, dealt evenly from a shuffled deck."""
    pair = patient // 2
    cards, second_odds = (BLOOD_DECK, SECOND_KIND_ODDS) if style == "plain" else (trauma.DECK, trauma.SECOND_KIND_ODDS)
    if patient % 2 != np.random.default_rng([seed, pair, 1]).integers(2):
        return ()
    deck = np.random.default_rng([seed, pair // len(cards), 2]).permutation(cards)
    first = str(deck[pair % len(cards)])
    rng = np.random.default_rng([seed, patient, 3])
    others = [kind for kind in (TYPES if style == "plain" else trauma.SECOND_DECK) if kind != first]
    return (first, str(rng.choice(others))) if rng.random() < second_odds else (first,)


def _random_head(rng: np.random.Generator) -> tuple[Head, str]:
    sex = str(rng.choice(("Male", "Female")))
    large = rng.normal(1.0 if sex == "Male" else 0.96, 0.025)
    scale = tuple(float(large * rng.normal(1, 0.03)) for _ in range(3))
    slices = int(rng.integers(MIN_SLICES, MAX_SLICES + 1, 2).mean())  # mostly about 32
    top = HEAD_TOP_MM * scale[2] + rng.uniform(0, EMPTY_MM)
    head = Head(
        age=int(rng.integers(YOUNGEST, OLDEST + 1)),
        scale=scale,
        shift=tuple(rng.normal(0, 4, 2)),
        turn=float(rng.normal(0, 0.07)),
        pitch=float(rng.normal(0, 0.09)),
        roll=float(rng.normal(0, 0.04)),
        pixel=512 * PIXEL_AT_512_MM / COARSE_CELLS * float(rng.uniform(0.96, 1.06)),
        bottom=float(top - SLICE_MM * slices),
        slices=slices,
    )
    return head, sex


def _restyle(head: Head, look: styles.Look) -> Head:
    """The head widened, moved and turned as its look has it."""
    scale = (head.scale[0] * look.wide, *head.scale[1:])
    shift = (head.shift[0] + look.shift_mm, head.shift[1])
    return replace(head, scale=scale, shift=shift, turn=head.turn + look.turn)


def _render(scene: Scene, size: int, rng: np.random.Generator) -> tuple[Field, Field]:
    """HU (slices, size, size) and blood fraction (lesions, slices, size, size); small images are averaged down."""
    times = -(-RENDER_AT_LEAST // size)
    fine, width_mm = size * times, scene.head.pixel * COARSE_CELLS
    pixel, atrophy = width_mm / fine, scene.head.atrophy
    drawn = render(scene.fields, scene.lesions, scene.crack, atrophy, scene.look, pixel, fine, rng)
    hu, blood = (a.reshape(*a.shape[:-2], size, times, size, times).mean((-3, -1)) for a in drawn)
    return hu, blood


def _flags(blood: Field, scene: Scene) -> tuple[dict[str, int], ...]:
    table = [dict.fromkeys(FLAGS, 0) for _ in range(blood.shape[1])]
    for k, row in enumerate(table):
        for lesion, fraction in zip(scene.lesions, blood, strict=True):
            row[lesion.kind] |= int((fraction[k] > 0.5).any())
        row["no_hemorrhage"] = int(not any(row[kind] for kind in TYPES))
        row["fracture"] = int(scene.crack is not None and scene.crack[k].min() < WHOLE_SKULL)
    return tuple(table)


def _to_file(volume: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    """From (slice, row to the back, column to the left) to the file's (x, y, slice)."""
    return np.ascontiguousarray(volume.transpose(2, 1, 0)[:: axes[0], :: axes[1]])


def _affine(head: Head, size: int, axes: tuple[int, int]) -> np.ndarray:
    """Voxel to RAS mm; the scanner's origin is the middle of the lowest slice, at that slice's height."""
    pixel = head.pixel * COARSE_CELLS / size
    affine = np.diag([-axes[0] * pixel, -axes[1] * pixel, SLICE_MM, 1.0])
    affine[:2, 3] = -affine[:2, :2].sum(1) * (size - 1) / 2
    affine[2, 3] = head.bottom
    return affine
