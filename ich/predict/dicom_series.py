"""A folder of DICOM files as one scan: the series chosen, its slices in order, their place in the patient.

Positions are turned from DICOM's LPS (x to the patient's left, y to the back) to NIfTI's RAS (right, front).
"""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np

from ich import guard
from ich.errors import InputError
from ich.predict.dicom_choice import LEAST_IMAGES, Image, choose, read_header
from ich.predict.scan import Scan, check_axial
from ich.rsna import dicom_file
from ich.rsna.dicom import to_hu

SAME_PLACE_MM = 0.01
EQUAL_STEPS = 0.1  # a step may differ from the usual one by this share
NOTED_TILT_DEG = 1.0
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
SCANNER = 1  # NIfTI code: the affine is in the coordinates of the scanner


def read(folder: Path, files: tuple[Path, ...], wanted: str = "") -> Scan:
    """Read the axial CT series of `folder`; `wanted` is its number, description or UID where there are several.

    Raises InputError when there is none, or several and none is wanted, or slices do not make a whole scan.
    """
    images, notes = choose([read_header(path) for path in files], folder, wanted)
    images, left_out = one_form(images)
    images = in_order(images, folder)
    places, step, missing = places_on_grid(images, folder)
    affine = _affine(images[0], step)
    notes += [*left_out, *missing, *_tilt(images[0], step), *check_axial(affine, str(folder))]
    first = images[0].header
    shape = (first.Columns, first.Rows, places[-1] + 1)
    guard.check_voxels(folder, shape)
    voxels = np.stack([_pixels(image).T for image in images], axis=2)
    cells = np.full(shape[2], -1)
    cells[places] = np.arange(len(images))
    thickness = np.full(len(images), abs(np.linalg.det(affine[:3, :3])) / np.prod(np.array(first.PixelSpacing, float)))
    sources = tuple(image.path for image in images)
    return Scan(folder, _empty(shape, affine), voxels, affine, tuple(notes), sources, cells, thickness)


def one_form(images: list[Image]) -> tuple[list[Image], list[str]]:
    """The images of the commonest size, spacing and orientation, and a note on the others."""
    groups: dict[tuple, list[Image]] = {}
    for image in images:
        groups.setdefault(image.form, []).append(image)
    most = max(groups.values(), key=len)
    others = len(images) - len(most)
    return most, [f"{others} images left out: other size or orientation than the rest"] if others else []


def in_order(images: list[Image], folder: Path) -> list[Image]:
    """Sorted along the normal of the slices, from the feet up; copies of one image count once.

    Raises InputError for different images at one place.
    """
    unique = list({str(image.header.get("SOPInstanceUID", image.path)): image for image in images}.values())
    normal = np.cross(*unique[0].axes)
    normal *= np.sign(normal[2]) or 1
    ordered = sorted(unique, key=lambda image: image.place @ normal)
    for below, above in itertools.pairwise(ordered):
        if (above.place - below.place) @ normal < SAME_PLACE_MM:
            raise InputError(
                f"{folder}: {below.path.name} and {above.path.name} are different slices at one place; "
                "expected one reconstruction a folder or series, move the other one away"
            )
    return ordered


def places_on_grid(images: list[Image], folder: Path) -> tuple[list[int], np.ndarray, list[str]]:
    """The index of each image on a grid of equal steps, the step (LPS, mm), and a note on steps without image.

    Raises InputError when distances are not multiples of the usual one.
    """
    if len(images) < LEAST_IMAGES:
        raise InputError(f"{folder}: has {len(images)} slices, expected at least {LEAST_IMAGES}")
    normal = np.cross(*images[0].axes)
    heights = np.array([image.place @ normal for image in images]) * np.sign(normal[2])
    usual = float(np.median(np.diff(heights)))
    steps = np.diff(heights) / usual
    whole = np.rint(steps).astype(int)
    if (whole < 1).any() or (np.abs(steps - whole) > EQUAL_STEPS).any():
        raise InputError(
            f"{folder}: slice distances run from {steps.min() * usual:.2f} to {steps.max() * usual:.2f} mm, expected "
            "equal ones; reslice the scan to equal distances first"
        )
    places = [0, *np.cumsum(whole).tolist()]
    step = (images[-1].place - images[0].place) / places[-1]
    gaps = places[-1] + 1 - len(images)
    note = f"{gaps} slices are missing (distances are multiples of {usual:.2f} mm); they are left empty, so the volume "
    return places, step, [note + "may be too small"] if gaps else []


def _tilt(image: Image, step: np.ndarray) -> list[str]:
    normal = np.cross(*image.axes)
    angle = float(np.degrees(np.arccos(min(1.0, abs(normal @ step) / np.linalg.norm(step)))))
    return [f"gantry tilt of {angle:.1f} degrees; kept in the affine"] if angle > NOTED_TILT_DEG else []


def _affine(first: Image, step: np.ndarray) -> np.ndarray:
    """Voxel (column, row, slice) to RAS mm."""
    between_rows, between_columns = (float(value) for value in first.header.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * between_columns
    affine[:3, 1] = first.axes[1] * between_rows
    affine[:3, 2], affine[:3, 3] = step, first.place
    affine[:3] *= LPS_TO_RAS[:, None]
    return affine + 0.0  # no negative zeros


def _pixels(image: Image) -> np.ndarray:
    try:
        whole = dicom_file.read(image.path)
        hu, _ = to_hu(dicom_file.pixel_array(whole), whole)
    except Exception as error:  # decoders raise anything
        raise InputError(f"{image.path}: pixels cannot be read ({dicom_file.one_line(error)})") from None
    return hu


def _empty(shape: tuple[int, ...], affine: np.ndarray) -> nib.Nifti1Image:
    """A header with the scan's place; a tilted grid fits the sform alone."""
    image = nib.Nifti1Image(np.broadcast_to(np.uint8(0), shape), affine)
    image.set_sform(affine, SCANNER)
    sheared = not np.allclose(image.get_qform(), affine, atol=1e-3)
    image.set_qform(affine, 0 if sheared else SCANNER)
    return image
