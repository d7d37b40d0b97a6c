"""One page that shows a scan with its mask, in any browser, without a network: NiiVue and both volumes inside."""

import base64
import gzip
import html
import json
import math
import string
from pathlib import Path

import nibabel as nib
import numpy as np

from ich.base.files import write_text
from ich.draw.colours import PREDICTION
from ich.scans.scan import Scan
from ich.scans.window import Window

HERE = Path(__file__).parent
NIIVUE = HERE / "niivue" / "niivue.umd.js"  # 2.3 MB, BSD-2; its licence lies beside it
THINNEST_MM = 2.5  # of slabs: thinner slices are noisier, and a page of them is too large for some browsers
LOWEST_HU, HU_STEP = -100.0, 1.5  # of the page: to 282.5 HU, so that brain, subdural and blood windows can be set
HIGHEST_HU = LOWEST_HU + 255 * HU_STEP


def write(path: Path, scan: Scan, mask: np.ndarray, window: Window, title: str, notice: str) -> None:
    """Write the page of a scan and its bool mask (one plane a slice, the file's order of axes).

    It opens at the slice with most blood, and numbers slices as overlay.png does. Thin slices are averaged to slabs and
    HU have 8 bits, so that the page stays small enough for a browser; it says so. mask.nii.gz keeps every slice.
    `title` and `notice` are shown at the top of the page.
    """
    number = slices_in_slab(scan.grid.spacing_mm[0])
    grey, marked, affine = slabs(scan, mask, number)
    area = np.count_nonzero(marked, axis=scan.order[:2])
    most = int(area.argmax()) if area.any() else len(area) // 2
    page = string.Template((HERE / "view.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=html.escape(title), note=html.escape(notice), niivue=NIIVUE.read_text(encoding="utf-8"),
        scan=_base64(grey, affine, HU_STEP, LOWEST_HU), mask=_base64(marked.astype(np.uint8), affine),
        red=PREDICTION[0], green=PREDICTION[1], blue=PREDICTION[2],
        low=window.level - window.width / 2, high=window.level + window.width / 2,
        lowest=f"{LOWEST_HU:g}", highest=f"{HIGHEST_HU:g}", shown=_shown(number, scan.grid.spacing_mm[0]),
        names=json.dumps(slab_names(scan, number)), first=most, from_head=json.dumps(bool(scan.grid.ornt[2, 1] < 0)),
    )  # fmt: skip
    write_text(path, text)


def slices_in_slab(spacing_mm: float) -> int:
    """How many slices make a slab of at least THINNEST_MM; 1 where they are that thick."""
    return max(1, math.ceil(THINNEST_MM / spacing_mm - 0.01))


def slabs(scan: Scan, mask: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey levels uint8 and a bool mask on a grid whose slices are `number` slices of the scan's one, and its affine.

    HU are the mean over the slices that were measured, LOWEST_HU + HU_STEP * grey; the mask is all that is marked in
    any of them. The last slab may hold fewer.
    """
    axis, members = scan.order[2], _members(scan, number)
    shape = [*scan.grid.shape[:2], len(members)]
    grey, marked = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    voxels, mask = np.moveaxis(scan.voxels, axis, 2), np.moveaxis(mask, axis, 2)
    for slab, slices in enumerate(members):
        if slices.size:
            hu = voxels[:, :, slices].mean(axis=2)
            grey[:, :, slab] = np.rint(np.clip((hu - LOWEST_HU) / HU_STEP, 0, 255))
            marked[:, :, slab] = mask[:, :, slices].any(axis=2)
    affine = scan.affine.copy()
    affine[:3, axis] *= number
    affine[:3, 3] += scan.affine[:3, axis] * (number - 1) / 2
    return np.moveaxis(grey, 2, axis), np.moveaxis(marked, 2, axis), affine


def slab_names(scan: Scan, number: int) -> list[str]:
    """For each slab of `slabs` the slices that it shows, counted from 1 in the file's order."""
    total = scan.voxels.shape[scan.order[2]]

    def name(slices: np.ndarray) -> str:
        if not slices.size:
            return "no slice was measured here"
        first, last = slices.min() + 1, slices.max() + 1
        return f"slice {first} of {total}" if first == last else f"slices {first} to {last} of {total}"

    return [name(slices) for slices in _members(scan, number)]


def _members(scan: Scan, number: int) -> list[np.ndarray]:
    """For each slab of `number` planes of the scan's grid the indices of the slices that were measured there."""
    cells = np.arange(scan.voxels.shape[scan.order[2]]) if scan.cells is None else scan.cells
    parts = np.split(cells, range(number, len(cells), number))
    return [part[part >= 0] for part in parts]


def _shown(number: int, spacing_mm: float) -> str:
    slab = f"{number} slices averaged to slabs of {number * spacing_mm:.1f} mm; " if number > 1 else ""
    return f"{slab}HU from {LOWEST_HU:g} to {HIGHEST_HU:g} in steps of {HU_STEP:g}"


def _base64(voxels: np.ndarray, affine: np.ndarray, slope: float = 1, intercept: float = 0) -> str:
    """A NIfTI file, compressed, as text."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_slope_inter(slope, intercept)
    return base64.b64encode(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)).decode()
