"""A mask, or probabilities, on the grid of a scan."""

import nibabel as nib
import numpy as np
from scipy import ndimage

from ich.base.errors import InputError
from ich.scans import nifti

LEAST_COVERED = 0.5  # share of a scan's voxels that a mask must reach; a mask of another scan may lie beside it


def on_grid_of(voxels: np.ndarray, image: nib.Nifti1Image, scan: nib.Nifti1Image) -> np.ndarray:
    """The voxels of `image` on the grid of `scan`: themselves where they are on it, otherwise resampled.

    Bool voxels by the nearest one, numbers linearly; 0 outside. A header without orientation is taken as that of the
    scan. Raises InputError where the shapes differ without one, and where the volume lies beside the scan.
    """
    known = nifti.has_orientation(image) and nifti.has_orientation(scan)
    same = image.shape == scan.shape
    if same and not (known and nifti.shift(scan.shape, scan.affine, image.affine) > nifti.AFFINE_TOLERANCE_MM):
        return voxels
    name = image.get_filename()
    if not known:
        raise InputError(f"{name}: has shape {image.shape}, its scan {scan.shape}, and no header says how they lie; "
                         "export it on the scan's grid")  # fmt: skip
    to_image = np.linalg.inv(image.affine) @ scan.affine
    share = _moved(np.ones(image.shape, np.uint8), to_image, scan.shape, 0).mean()
    if share < LEAST_COVERED:
        raise InputError(f"{name}: reaches {share:.0%} of its scan {scan.get_filename()}; is it of another one?")
    if voxels.dtype == bool:
        return _moved(voxels.astype(np.uint8), to_image, scan.shape, 0) > 0
    return _moved(voxels, to_image, scan.shape, 1).clip(0, 1)


def _moved(voxels: np.ndarray, affine: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    # grid-constant: a voxel at the edge stays where rounding puts it a little outside
    return ndimage.affine_transform(
        voxels, affine[:3, :3], affine[:3, 3], shape, order=order, mode="grid-constant", cval=0
    )
