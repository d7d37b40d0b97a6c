"""A contact sheet of phantoms: a head from base to vertex, and each type of hemorrhage in its place."""

from itertools import count
from pathlib import Path

import numpy as np

from ich.data.table import TYPES
from ich.draw.colours import REFERENCE
from ich.draw.pictures import contact_sheet, outline
from ich.phantom.head import Patient, blood_kinds, make_patient
from ich.phantom.style import Name
from ich.scans.nifti import Grid
from ich.scans.window import Window

COLUMNS = 8
VARIED_ROWS = 3
PLACES = {
    "intraventricular": "inside the ventricles",
    "intraparenchymal": "inside the brain, with a rim of oedema",
    "subarachnoid": "in sulci and cisterns",
    "epidural": "between skull and dura, a lens",
    "subdural": "under the dura, a crescent",
}
Tile = tuple[np.ndarray, str]


def write(path: Path, size: int, seed: int, style: Name = "plain") -> None:
    """One row of a clean head, then one a type: slices without and with the outline of the blood.

    Of heads that differ (`calibrated`), then rows of other heads, each its slice with most blood, or its middle.
    """
    clean = next(patient for patient in count() if not blood_kinds(seed, patient))
    rows = {"no hemorrhage: from the skull base up": _levels(make_patient(seed, clean, size, style))}
    for kind in TYPES:
        patient = next(patient for patient in count() if blood_kinds(seed, patient, style) == (kind,))
        rows[f"{kind}: {PLACES[kind]}"] = _bleeding(make_patient(seed, patient, size, style))
    if style != "plain":
        for first in range(0, COLUMNS * VARIED_ROWS, COLUMNS):
            heads = range(first, first + COLUMNS)
            name = f"heads {first + 1} to {first + COLUMNS}: the slice with most blood, or the middle one"
            rows[name] = [_most_blood(make_patient(seed, patient, size, style)) for patient in heads]
    title = "Phantom head CTs, window 40/120 HU, blood outlined; image left = patient's right"
    contact_sheet(path, rows, title)


def _levels(patient: Patient) -> list[Tile]:
    indices = (np.linspace(0.2, 0.85, COLUMNS) * patient.hu.shape[2]).astype(int)
    return [_tile(patient, index, False) for index in indices]


def _bleeding(patient: Patient) -> list[Tile]:
    """The slices with most blood, in order, each beside its outline."""
    area = (patient.mask > 0).sum((0, 1))
    most = np.argsort(-area, kind="stable")[: COLUMNS // 2]
    return [_tile(patient, index, outlined) for index in np.sort(most[area[most] > 0]) for outlined in (False, True)]


def _most_blood(patient: Patient) -> Tile:
    area = (patient.mask > 0).sum((0, 1))
    return _tile(patient, int(area.argmax()) if area.any() else len(area) // 2, True)


def _tile(patient: Patient, index: int, outlined: bool) -> Tile:
    grid = Grid(patient.hu.shape, patient.affine)
    image = grid.upright(Window(40, 120)(patient.hu[:, :, index]))[..., None]
    mask = (grid.upright(patient.mask[:, :, index]) > 0) & outlined
    return outline(image, mask, REFERENCE), f"slice {index + 1}"
