"""What is said of a predicted mask: volume, lesions, diameter, slices, density."""

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial.distance import pdist

from ich.scans.scan import Scan
from ich.score.metrics import TOUCHING
from ich.score.operating import ROUNDING_MM3

SPECK_ML = 0.1  # a cube of 4.6 mm, one slice thick; most lesions below are noise of the network
CORNERS = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])  # of a pixel about its centre


def without_specks(mask: np.ndarray, scan: Scan, least_mm3: float) -> np.ndarray:
    """The bool mask (one plane a slice, the file's order of axes) without its lesions smaller than `least_mm3`."""
    if not least_mm3:
        return mask
    labels, number = labelled(mask, scan)
    large = lesions_mm3(labels, number, scan) > least_mm3 - ROUNDING_MM3
    return np.concatenate([[False], large])[labels]


def labelled(mask: np.ndarray, scan: Scan) -> tuple[np.ndarray, int]:
    """Number of each voxel's 26-connected lesion, 0 outside them, and how many there are.

    `mask`: one plane a slice, in the file's order of axes. Lesions are joined on the grid, so that slices with
    missing ones between them do not touch.
    """
    whole = scan.on_grid(mask)
    labels, number = np.zeros(whole.shape, np.int32), 0
    for box in ndimage.find_objects(whole.view(np.uint8)):  # one that holds all: a tenth of the scan, as a rule
        labels[box], number = ndimage.label(whole[box], TOUCHING)
    return scan.on_slices(labels), int(number)


def lesions_mm3(labels: np.ndarray, number: int, scan: Scan) -> np.ndarray:
    """Volume of lesions 1, 2 ... number in mm3; each slice counts with its own thickness."""
    total = np.zeros(number + 1)
    for plane, voxel_mm3 in zip(np.moveaxis(labels, scan.order[2], 0), scan.voxel_mm3, strict=True):
        total += np.bincount(plane.ravel(), minlength=number + 1) * voxel_mm3
    return total[1:]


def measures(mask: np.ndarray, scan: Scan) -> dict[str, object]:
    """Values of a bool mask (one plane a slice, the file's order of axes).

    `volume_ml`, `lesions` (number, 26-connected), `lesions_above_0.1_ml`, `lesion_ml` (largest first),
    `largest_diameter_mm` (longest line within one slice, over all lesions), `slices` (axial, touched), `mean_hu`;
    no blood: 0, and None for `mean_hu`.
    """
    labels, number = labelled(mask, scan)
    lesion_ml = np.sort(lesions_mm3(labels, number, scan))[::-1] / 1000
    planes = scan.upright(labels) if number else np.zeros((0, 1, 1), int)
    return {
        "volume_ml": float(lesion_ml.sum()),
        "lesions": number,
        "lesions_above_0.1_ml": int((lesion_ml > SPECK_ML).sum()),
        "lesion_ml": [round(float(each), 3) for each in lesion_ml],
        "largest_diameter_mm": largest_diameter_mm(planes, scan.grid.spacing_mm[1:]),
        "slices": int(planes.any(axis=(1, 2)).sum()),
        "mean_hu": float(scan.voxels[mask].mean()) if number else None,
    }


def largest_diameter_mm(planes: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """The longest line between two corners of pixels of one lesion in one slice.

    `planes`: labels (slices, rows, columns), 0 is no lesion; `spacing_mm` of rows and of columns.
    """
    longest = 0.0
    for plane in planes[planes.any(axis=(1, 2))]:
        for label, box in enumerate(ndimage.find_objects(plane), start=1):
            if box is None:  # this lesion is in other slices
                continue
            sides = [(side.stop - side.start) * step for side, step in zip(box, spacing_mm, strict=True)]
            if np.hypot(*sides) <= longest:
                continue  # no line within its box is longer
            hull = cv2.convexHull(np.argwhere(plane[box] == label).astype(np.int32))[:, 0]
            corners = (hull[:, None] + CORNERS).reshape(-1, 2) * spacing_mm
            longest = max(longest, float(pdist(corners).max()))
    return longest
