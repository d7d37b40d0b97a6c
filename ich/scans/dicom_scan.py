"""One DICOM series as one scan: its slices in order, on a grid, in their place in the patient.

Positions are turned from DICOM's LPS (x to the patient's left, y to the back) to NIfTI's RAS (right, front).
"""

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from ich.base.errors import InputError
from ich.scans import dicom_file, slice_geometry, slice_stack
from ich.scans.dicom_choice import LEAST_IMAGES, Group, first_few, images_text
from ich.scans.dicom_image import Image
from ich.scans.dicom_slice import to_hu
from ich.scans.scan import Scan, check_axial

NOTED_TILT_DEG = 1.0
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SCANNER = 1  # NIfTI code: the affine is in the coordinates of the scanner


def read(group: Group, notes: Sequence[str] = ()) -> Scan:
    """Put the slices of a series together; `notes` come before those on its slices.

    Raises InputError for what cannot be one volume, and for pixels that cannot be decoded.
    """
    folder = group.folders[0]
    name = f"{folder}: series {group.label}"
    slice_stack.check_one_patient(group.images, name)
    images, strays = slice_stack.one_form(group.images, name)
    images, heights = slice_stack.in_order(images)
    slice_stack.check_one_acquisition(images, heights, name)
    images, heights, copies = slice_stack.without_copies(images, heights, lambda image: _pixels(image)[0], name)
    if len(images) < LEAST_IMAGES:
        raise InputError(f"{name}: has {images_text(len(images))} of one form, expected at least {LEAST_IMAGES}")
    slice_stack.check_line(images, heights, name)
    nominal, (rows, columns) = np.array([image.thickness for image in images]), images[0].size
    layout = slice_geometry.lay_out(heights, nominal, name, (columns, rows))
    affine = _affine(images, heights, layout)
    decoded = [_pixels(image) for image in images]
    all_notes = (
        *notes, *_folders(group), *strays, *copies, *slice_geometry.notes(layout, nominal), *_tilt(images, heights),
        *check_axial(affine, name), *_repairs([repaired for _, repaired in decoded]),
    )  # fmt: skip
    grid = _empty((columns, rows, len(layout.cells)), affine)
    voxels, sources = np.stack([hu.T for hu, _ in decoded], axis=2), tuple(image.path for image in images)
    return Scan(folder, grid, voxels, affine, all_notes, sources, layout.cells, layout.thickness)


def _folders(group: Group) -> list[str]:
    text = f"series {group.label} was gathered from {len(group.folders)} folders: {first_few(group.folders)}"
    return [text] * (len(group.folders) > 1)


def _repairs(repaired: Sequence[bool]) -> list[str]:
    text = f"{sum(repaired)} of {images_text(len(repaired))} with RescaleIntercept 0 in 12 bits"
    return [f"{text}; values from 3096 up were wrapped back to -1000 HU and up"] * any(repaired)


def _tilt(images: Sequence[Image], heights: np.ndarray) -> list[str]:
    length = np.linalg.norm(images[-1].position - images[0].position)
    angle = np.degrees(np.arccos(min(1.0, heights[-1] / length)))
    return [f"gantry tilt of {angle:.1f} degrees; kept in the affine"] if angle > NOTED_TILT_DEG else []


def _affine(images: Sequence[Image], heights: np.ndarray, layout: slice_geometry.Layout) -> np.ndarray:
    """Voxel (column, row, cell) to RAS mm. Cells lie along the line of the slices, which may be tilted."""
    first, last = images[0], images[-1]
    line = (last.position - first.position) / heights[-1]  # for 1 mm along the normal
    affine = np.eye(4)
    affine[:3, :2] = first.axes.T * first.spacing[::-1]
    affine[:3, 2] = line * layout.step
    affine[:3, 3] = first.position + line * (layout.start + layout.step / 2)
    return LPS_TO_RAS @ affine + 0.0  # no negative zeros


def _pixels(image: Image) -> tuple[np.ndarray, bool]:
    """HU (rows, columns), and whether 12-bit values were repaired."""
    try:
        header = dicom_file.read(image.path)
        return to_hu(dicom_file.pixel_array(header), header)
    except Exception as error:  # decoders raise anything
        raise InputError(f"{image.path}: pixels cannot be read ({dicom_file.one_line(error)})") from None


def _empty(shape: tuple[int, ...], affine: np.ndarray) -> nib.Nifti1Image:
    """A header with the scan's place; a tilted grid fits the sform alone."""
    image = nib.Nifti1Image(np.broadcast_to(np.uint8(0), shape), affine)
    image.set_sform(affine, SCANNER)
    sheared = not np.allclose(image.get_qform(), affine, atol=1e-3)
    image.set_qform(affine, 0 if sheared else SCANNER)
    return image
