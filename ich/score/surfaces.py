"""The surface-distance package, sorting with NumPy: four fifths of its time went into sorting a Python list."""

import numpy as np
from surface_distance import metrics
from surface_distance.metrics import (
    compute_robust_hausdorff,
    compute_surface_dice_at_tolerance,
    compute_surface_distances,
)

__all__ = ["compute_robust_hausdorff", "compute_surface_dice_at_tolerance", "compute_surface_distances"]


def sort_by_distance(distances: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm in rising order, those that are equal by the area of their surface element, and the areas."""
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]


metrics._sort_distances_surfels = sort_by_distance  # the release is pinned, so its insides don't move
