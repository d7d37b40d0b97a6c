"""The operating point of a network: from which probability on a pixel is blood, and how small a lesion may be."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ich.score.metrics import TOUCHING, Mask, Probabilities

THRESHOLDS = np.arange(1, 32) / 32
"""Thresholds that may be chosen. Finer steps differ by noise; 0 calls every pixel blood."""
SIZES_MM3 = (0.0, 10.0, 30.0, 50.0, 100.0, 300.0)
"""Smallest lesion sizes that may be chosen; 0 removes nothing. A slice of 5 mm with pixels of 0.5 mm: 1.25 mm3."""
ROUNDING_MM3 = 1e-6  # a lesion of just the smallest size stays


class Point(NamedTuple):
    """A pixel is blood at `threshold` or above, in a predicted 3-D component of at least `min_lesion_mm3`."""

    threshold: float = 0.5
    min_lesion_mm3: float = 0.0

    @property
    def text(self) -> str:
        """As printed: `threshold 0.50, components below 30 mm3 removed`, the second part only where any are."""
        return f"threshold {self.threshold:.2f}" + f", {self.size_text}" * (self.min_lesion_mm3 > 0)

    @property
    def size_text(self) -> str:
        """What is removed."""
        return f"components below {self.min_lesion_mm3:g} mm3 removed" if self.min_lesion_mm3 else "nothing removed"


FIXED = Point()
"""Of all tables over folds: 0.5, and nothing is removed."""


def predicted(prob: Probabilities, voxel_mm3: float, point: Point) -> Mask:
    """The predicted mask of one scan (slices, rows, columns) without the 26-connected components that are too small.

    Raises ValueError where components are to be removed and `voxel_mm3` is NaN.
    """
    mask = prob >= point.threshold
    if not point.min_lesion_mm3:
        return mask
    if np.isnan(voxel_mm3):
        raise ValueError("sizes in mm3 need the spacing of the voxels")
    label, _ = ndimage.label(mask, TOUCHING)
    large = np.bincount(label.ravel()) * voxel_mm3 >= point.min_lesion_mm3 - ROUNDING_MM3
    large[0] = False
    return large[label]


def point_counts(truth: Mask, prob: Probabilities, voxel_mm3: float) -> list[dict[str, float]]:
    """Counts of one scan at all THRESHOLDS and SIZES_MM3: pixels, true lesions, found ones, invented ones.

    `truth` and `prob` are (slices, rows, columns). Sizes are 0 only where `voxel_mm3` is NaN.
    """
    sizes = SIZES_MM3[:1] if np.isnan(voxel_mm3) else SIZES_MM3
    true_label, lesions_true = ndimage.label(truth, TOUCHING)
    near = _box(prob >= THRESHOLDS[0])
    true_label, prob, blood = true_label[near], prob[near], int(np.count_nonzero(truth))
    rows = []
    for threshold in THRESHOLDS:
        label, _ = ndimage.label(prob >= threshold, TOUCHING)
        for size, counted in zip(sizes, _sized(label, true_label, voxel_mm3, sizes), strict=True):
            voxels, tp, found, invented = counted
            negative = {"fp": voxels - tp, "fn": blood - tp, "tn": truth.size - voxels - (blood - tp)}
            lesions = {"lesions_true": lesions_true, "lesions_found": found, "lesions_invented": invented}
            rows.append({"threshold": threshold, "min_lesion_mm3": size, "tp": tp, **negative, **lesions})
    return rows


def _sized(
    label: NDArray[np.int32], true_label: NDArray[np.int32], voxel_mm3: float, sizes: tuple[float, ...]
) -> list[tuple[int, int, int, int]]:
    """For each size: voxels and hits of the components that are as large, true lesions found, components invented."""
    voxels = np.bincount(label.ravel())
    hits = np.bincount(label[true_label > 0], minlength=len(voxels))
    both = (label > 0) & (true_label > 0)
    pairs = np.unique(np.stack([label[both], true_label[both]]), axis=1)  # which component is on which lesion
    voxels[0] = hits[0] = 0  # what is not predicted
    result = []
    for size in sizes:
        kept = (voxels > 0) & ((voxels * voxel_mm3 >= size - ROUNDING_MM3) | (not size))
        found = len(np.unique(pairs[1][kept[pairs[0]]]))
        result.append((int(voxels[kept].sum()), int(hits[kept].sum()), found, int((kept & (hits == 0)).sum())))
    return result


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds the mask; all of it for an empty one."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    return boxes[0] if boxes else (slice(None),) * mask.ndim
