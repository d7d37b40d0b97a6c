"""Predicted masks back in the scans' own space, as NIfTI."""

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np

from ich.base.errors import InputError
from ich.base.files import atomic
from ich.scans import nifti

# Engines agree to within that; full float32 would take ten times the disk. Thresholds of the report are k/256.
PROBABILITY_STEP = 1 / 1024


def write_mask(
    path: Path, source: Path, prob: np.ndarray, threshold: float, orientation: str = "", note: str = ""
) -> None:
    """Write probabilities (slices, size, size), upright, as a mask 0/1 in exactly the grid and affine of `source`.

    Probabilities are resampled linearly to the scan's pixels and cut at `threshold` there. `note`: see `save_like`.
    Raises InputError when the scan can no longer be read.
    """
    scan = nifti.read_nifti(source)
    if scan.shape[2] != len(prob):
        raise InputError(f"{source}: has {scan.shape[2]} slices, {len(prob)} were cut from it; run step 1 again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # step 1 has warned about the header
        where = nifti.grid(scan, orientation)
    mask = nifti.to_file_grid(prob, where) >= threshold
    save_like(path, mask.astype(np.uint8), scan, note=note)


def save_probabilities(path: Path, prob: np.ndarray, scan: nib.Nifti1Image) -> None:
    """Write probabilities (0 to 1) like `save_like`, as whole numbers of PROBABILITY_STEP: their scl_slope.

    They are rounded down, so that the file, cut at a multiple of the step, gives the same mask as the probabilities.
    """
    steps = np.floor(np.clip(prob, 0, 1) / PROBABILITY_STEP).astype(np.uint16)
    save_like(path, steps, scan, PROBABILITY_STEP)


def save_like(
    path: Path, voxels: np.ndarray, scan: nib.Nifti1Image, slope: float | None = None, note: str = ""
) -> None:
    """Write voxels as NIfTI in exactly the grid, affine and orientation codes of `scan`.

    `slope` is its scl_slope; `note` its descrip, of which the format holds 79 letters.
    """
    image = nib.Nifti1Image(voxels, scan.affine)
    for kind in ("sform", "qform"):
        matrix, code = getattr(scan, f"get_{kind}")(coded=True)
        getattr(image, f"set_{kind}")(matrix, int(code))
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = note.encode()[:79]
    image.header.set_slope_inter(slope, None if slope is None else 0)
    with atomic(path) as temporary:
        nib.save(image, temporary)


def save_hu(path: Path, hu: np.ndarray, scan: nib.Nifti1Image) -> None:
    """Write HU as whole numbers of 16 bits, otherwise as `save_like`."""
    limits = np.iinfo(np.int16)
    save_like(path, np.rint(hu).clip(limits.min, limits.max).astype(np.int16), scan)
