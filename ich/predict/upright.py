"""A sheared scan and its mask on an orthonormal grid, for programs that refuse shear: all that read NIfTI with ITK.

Gantry tilt shifts each slice against the one below, so the axes of the grid are not at right angles. Here the axes
within the slices stay, and the third one is their normal. Slices stay where they are: they are shifted within their
planes only, so none is blended with another.
"""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from ich.base import guard
from ich.base.errors import InputError
from ich.predict.results import MASK_UPRIGHT, SCAN_UPRIGHT
from ich.scans import native
from ich.scans.dicom_slice import AIR_HU
from ich.scans.nifti import Grid
from ich.scans.scan import Scan

MOST_SHEAR = 1e-4  # cosine between two axes; ITK takes what is below for a right angle
SAME_MM = 1e-3  # the qform of a sheared scan that is off by less holds it well enough
ITK = "3D Slicer, ITK-SNAP, ANTs and other ITK programs cannot read the sheared grid of mask.nii.gz (gantry tilt)"


def is_sheared(scan: Scan) -> bool:
    """Whether ITK refuses the scan's header, or reads another place from it."""
    axes = scan.affine[:3, :3] / np.linalg.norm(scan.affine[:3, :3], axis=0)
    qform, code = scan.image.get_qform(coded=True)
    straight = np.abs(axes.T @ axes - np.eye(3)).max() <= MOST_SHEAR
    return not (straight or (code and np.allclose(qform, scan.affine, atol=SAME_MM)))


def write(folder: Path, mask: np.ndarray, scan: Scan) -> list[str]:
    """Write the HU and the bool mask (one plane a slice, the file's order of axes); notes on what they are for.

    HU are resampled linearly, with air outside; the mask takes the nearest voxel, which keeps its volume.
    """
    try:
        upright = upright_grid(scan.grid)
        guard.check_voxels(folder / SCAN_UPRIGHT, upright.shape)
    except InputError as error:
        return [f"{ITK}; an upright one is not written: {error}"]
    axes = np.argsort(scan.order)
    target = nib.Nifti1Image(np.broadcast_to(np.uint8(0), np.take(upright.shape, axes)), upright.affine[:, [*axes, 3]])
    code = int(scan.image.header["sform_code"]) or int(scan.image.header["qform_code"])
    target.set_sform(target.affine, code)
    target.set_qform(target.affine, code)
    hu = scan.on_grid(scan.voxels, AIR_HU).astype(np.float32)
    native.save_hu(folder / SCAN_UPRIGHT, _resampled(hu, scan.affine, target, 1, AIR_HU), target)
    labels = scan.on_grid(mask).astype(np.uint8)
    native.save_like(folder / MASK_UPRIGHT, _resampled(labels, scan.affine, target, 0, 0), target)
    return [f"{ITK}; open {MASK_UPRIGHT} with {SCAN_UPRIGHT} there"]


def upright_grid(grid: Grid) -> Grid:
    """The orthonormal grid with the axes and steps of the slices, and their normal, that holds every voxel of `grid`.

    Its voxels have the volume of those of `grid`.
    """
    axes, steps = _factors(grid)
    shear = steps / np.diag(steps)[:, None]
    corners = np.array(list(itertools.product(*((0, n - 1) for n in grid.shape)))) @ shear.T
    corners = corners.round(6)  # a hair's breadth is no voxel
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    affine = np.eye(4)
    affine[:3, :3] = axes * np.diag(steps)
    affine[:3, 3] = grid.affine[:3, 3] + affine[:3, :3] @ low
    return Grid(tuple(int(n) for n in high - low + 1), affine + 0.0)  # no negative zeros


def _resampled(voxels: np.ndarray, affine: np.ndarray, target: nib.Nifti1Image, order: int, fill: float) -> np.ndarray:
    """Voxels on the grid of `target`, `fill` outside; `order` 0: the nearest, 1: linear.

    Rounded, the way back keeps whole slices whole.
    """
    back = np.linalg.solve(affine, target.affine).round(9)
    return ndimage.affine_transform(
        voxels, back[:3, :3], back[:3, 3], target.shape, order=order, mode="grid-constant", cval=fill
    )


def _factors(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The affine's axes as orthonormal ones times steps and shears (upper triangular, positive diagonal)."""
    axes, steps = np.linalg.qr(grid.affine[:3, :3])
    signs = np.sign(np.diag(steps))
    return axes * signs, steps * signs[:, None]
