"""Results that can hardly be true: the scan is no head, its values are no HU, or the network does not fit."""

import cv2
import numpy as np

from ich.scans.scan import Scan

PREFIX = "warning: "
TISSUE, METAL = -200, 3000  # HU; the skin is above, air and hair below; a clip or a filling lies within the head anyway
# A head is 3 to 5 litres, all that a skull holds 1.4 to 1.7; of reported hemorrhages hardly one is above 200 ml.
MOST_ML = 300.0
MOST_OF_HEAD = 0.1  # the same bound for children, and for scans of a part of the head
MOST_LONG_MM = 200.0  # adult heads are 170 to 210 mm long outside, and the skull and scalp take 20 of them
MOST_TALL_MM = 300.0  # a head with its neck; more may be two scans in one series
MOST_OF_SLICES = 0.9  # a scan begins below the brain or ends above it, where there is no blood


def warnings(planes: np.ndarray, masks: np.ndarray, scan: Scan, found: dict) -> list[str]:
    """What can hardly be true of a mask and its scan; empty as a rule.

    `planes`: upright HU (slices, rows, columns); `masks`: bool of the same shape; `found`: `measure.measures` of it.
    """
    reasons = []
    if (tall_mm := scan.grid.shape[2] * scan.grid.spacing_mm[0]) > MOST_TALL_MM:
        reasons.append(f"the scan is {tall_mm:.0f} mm long, longer than a head and neck: are these two scans in one?")
    share = found["volume_ml"] / max(head_ml(planes, scan.voxel_mm3), 1e-9) if found["lesions"] else 0
    touched = np.asarray(masks.any(axis=(1, 2)))
    if found["volume_ml"] > MOST_ML or share > MOST_OF_HEAD:
        reasons.append(f"{found['volume_ml']:.0f} ml of blood, {share:.0%} of the head")
    if found["largest_diameter_mm"] > MOST_LONG_MM:
        reasons.append(f"one lesion is {found['largest_diameter_mm']:.0f} mm long, longer than a brain")
    if touched[[0, -1]].all() and touched.mean() > MOST_OF_SLICES:
        reasons.append(f"blood in {touched.sum()} of {len(touched)} slices, down to the first and up to the last")
    advice = "check that this is a head CT in HU and that the network fits; see overlay.png"
    return [f"{PREFIX}{'; '.join(reasons)}; {advice}"] if reasons else []


def head_ml(planes: np.ndarray, voxel_mm3: np.ndarray) -> float:
    """Volume of tissue in upright HU (slices, rows, columns), with all that it encloses in its slice."""
    return float(sum(_enclosed(plane) * volume for plane, volume in zip(planes, voxel_mm3, strict=True)) / 1000)


def _enclosed(plane: np.ndarray) -> int:
    """Pixels of tissue and of all that is not joined to the border of the slice through air."""
    air = np.ascontiguousarray((plane < TISSUE) | (plane > METAL), np.uint8)
    outside = np.pad(air, 1, constant_values=1)
    cv2.floodFill(outside, None, (0, 0), 2)
    return int(np.count_nonzero(outside != 2))
