"""One head CT, whatever file it came from: upright axial slices in HU, and the way back to the file's voxels."""

import dataclasses
import functools
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation

from ich.base.errors import InputError
from ich.scans import nifti

MOST_OBLIQUE_DEG = 40.0  # gantries tilt by at most 30 degrees; beyond that slices are not axial
FARTHEST_MM = 1e5  # from the scanner's origin
NOTED_DEG = 2.0
MOST_OBLONG = 1.5  # longer over shorter pixel side; above, the slices were taken in another direction


@dataclasses.dataclass(frozen=True)
class Scan:
    """A CT as its file holds it, and where it lies.

    Slices are what was measured; the grid is what results are written on: `image` has its shape, affine and
    orientation codes (the image's voxels are not used). `voxels` are HU in the file's order of axes, one plane a slice
    along the axial axis; so are masks and probabilities until `on_grid`.

    `cells`: for each plane of the grid along the axial axis the slice that lies there, -1 where none was measured;
    None: plane k is slice k. `thickness_mm`: the length that each slice counts for, along its normal; None: that of a
    cell. `sources`: the DICOM files of the slices, in order; empty for NIfTI.
    """

    source: Path
    image: nib.Nifti1Image
    voxels: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    cells: np.ndarray | None = None
    thickness_mm: np.ndarray | None = None

    @functools.cached_property
    def order(self) -> tuple[int, int, int]:
        """The file's axes so that the axial one comes last."""
        return _axial_last(self.affine)

    @functools.cached_property
    def grid(self) -> nifti.Grid:
        """Where the voxels lie once the axial axis is the last one."""
        return nifti.Grid(tuple(self.image.shape[axis] for axis in self.order), self.affine[:, [*self.order, 3]])

    @functools.cached_property
    def near(self) -> np.ndarray:
        """For each slice the one below, itself, and the one above, int (slices, 3); itself where none was measured."""
        near = consecutive(self.voxels.shape[self.order[2]])
        if self.cells is not None:
            slices, first = np.unique(self.cells, return_index=True)
            last = len(self.cells) - 1 - np.unique(self.cells[::-1], return_index=True)[1]
            first, last = first[slices >= 0], last[slices >= 0]
            below = np.flatnonzero(first[1:] - last[:-1] > 1)  # slices with a gap above them
            near[below, 2], near[below + 1, 0] = below, below + 1
        return near

    @functools.cached_property
    def voxel_mm3(self) -> np.ndarray:
        """Volume of a voxel of each slice, shape (slices,)."""
        if self.thickness_mm is None:  # the determinant is right for sheared grids too
            return np.full(self.voxels.shape[self.order[2]], abs(np.linalg.det(self.affine[:3, :3])))
        return np.linalg.norm(np.cross(*self.affine[:3, self.order[:2]].T)) * self.thickness_mm

    def on_grid(self, voxels: np.ndarray, fill: float = 0) -> np.ndarray:
        """Voxels of the slices (the file's order of axes) on the grid; `fill` where no slice was measured."""
        if self.cells is None:
            return voxels
        planes = np.take(voxels, self.cells, axis=self.order[2])
        np.moveaxis(planes, self.order[2], 0)[self.cells < 0] = fill
        return planes

    def on_slices(self, voxels: np.ndarray) -> np.ndarray:
        """Undo `on_grid`: for each slice the first plane of the grid that shows it."""
        if self.cells is None:
            return voxels
        slices, first = np.unique(self.cells, return_index=True)
        return np.take(voxels, first[slices >= 0], axis=self.order[2])

    def upright(self, voxels: np.ndarray | None = None) -> np.ndarray:
        """The HU, or other voxels in the file's order, as (slices, rows, columns); right of the patient on the left."""
        volume = np.transpose(self.voxels if voxels is None else voxels, self.order)
        return np.stack([self.grid.upright(plane) for plane in np.moveaxis(volume, 2, 0)])

    def as_filed(self, planes: np.ndarray) -> np.ndarray:
        """Undo `upright`: (slices, rows, columns) to the file's order of axes. No voxel is resampled."""
        volume = np.stack([self.grid.as_filed(plane) for plane in planes], axis=2)
        return np.ascontiguousarray(np.transpose(volume, np.argsort(self.order)))


def consecutive(slices: int) -> np.ndarray:
    """For each of so many slices the one before, itself, and the one after, int (slices, 3); the ends repeat."""
    return np.clip(np.arange(slices)[:, None] + (-1, 0, 1), 0, slices - 1)


def _axial_last(affine: np.ndarray) -> tuple[int, int, int]:
    axial = int(np.flatnonzero(io_orientation(affine)[:, 0] == 2)[0])
    return ((1, 2, 0), (0, 2, 1), (0, 1, 2))[axial]


def read_nifti(path: Path, orientation: str = "") -> Scan:
    """Read a NIfTI file with its axes in any order. Raises InputError when it is no volume of axial slices."""
    image = nifti.read_nifti(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        affine = nifti.any_grid(image, orientation).affine
    notes = tuple(str(warning.message).removeprefix(f"{path}: ") for warning in caught)
    return Scan(path, image, nifti.read_hu(image), affine, notes + check_axial(affine, str(path)))


def check_axial(affine: np.ndarray, name: str) -> tuple[str, ...]:
    """A note when slices are tilted. Raises InputError for slices that are not axial."""
    across = affine[:3, _axial_last(affine)[:2]].T
    normal = np.cross(*across)
    tilt = float(np.degrees(np.arccos(min(1.0, abs(normal[2]) / np.linalg.norm(normal)))))
    if tilt > MOST_OBLIQUE_DEG:
        raise InputError(
            f"{name}: slices are oblique, {tilt:.0f} degrees off axial, expected at most {MOST_OBLIQUE_DEG:.0f}; "
            "reslice the scan to axial slices first"
        )
    short, long = sorted(np.linalg.norm(across, axis=1))
    if long > MOST_OBLONG * short:
        raise InputError(
            f"{name}: pixels of the axial slices are {short:.2f} x {long:.2f} mm, so the scan was made in another "
            "direction; expected axial slices, reslice the scan first"
        )
    return (f"slices are {tilt:.0f} degrees off axial; they are predicted as they lie",) if tilt > NOTED_DEG else ()
