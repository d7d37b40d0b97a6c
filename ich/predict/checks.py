"""Is this a head CT in HU? Refuses what a network would answer for without knowing it."""

import numpy as np

from ich.base.errors import InputError

AIR, TISSUE, BRAIN, BONE = -300, -200, (0, 80), 300  # HU: below, above, within, above
LEAST_AIR, LEAST_BRAIN, LEAST_BONE = 0.02, 0.10, 0.02  # of all voxels; of tissue; of tissue
LOWEST, HIGHEST = -4096, 32767  # padding of scanners is -3024 at least; metal reaches 30710 at most
MOST_WIDE_MM = 270.0  # from left to right; heads are 190 mm wide at most, the head rest lies around them
LEAST_SLICES = 3


def check_head_ct(hu: np.ndarray, spacing_mm: tuple[float, float, float], name: str) -> None:
    """Raise InputError unless upright HU (slices, rows, columns) can be a head CT: air, brain, bone, and the size.

    `spacing_mm` is between slices, rows and columns. Every second pixel is looked at; that tells enough.
    """
    if len(hu) < LEAST_SLICES:
        raise InputError(f"{name}: has {len(hu)} axial slices, expected a scan of at least {LEAST_SLICES}")
    seen = hu[:, ::2, ::2]
    low, high = float(seen.min()), float(seen.max())
    if low < LOWEST or high > HIGHEST:
        raise InputError(f"{name}: values run from {low:.0f} to {high:.0f}, expected HU ({LOWEST} to {HIGHEST})")
    tissue = seen > TISSUE
    total = max(1, int(np.count_nonzero(tissue)))
    shares = {
        f"air (below {AIR} HU)": (np.count_nonzero(seen < AIR) / seen.size, LEAST_AIR, "voxels"),
        f"brain ({BRAIN[0]} to {BRAIN[1]} HU)": (
            np.count_nonzero((seen >= BRAIN[0]) & (seen <= BRAIN[1])) / total, LEAST_BRAIN, "tissue"),
        f"bone (above {BONE} HU)": (np.count_nonzero(seen > BONE) / total, LEAST_BONE, "tissue"),
    }  # fmt: skip
    for what, (share, least, of) in shares.items():
        if share < least:
            raise InputError(
                f"{name}: is not a head CT in HU: {share:.1%} of {of} is {what}, expected at least {least:.0%}; "
                "MR, windowed or skull-stripped images can't be predicted"
            )
    _check_width(tissue, spacing_mm[2], name)


def _check_width(tissue: np.ndarray, column_mm: float, name: str) -> None:
    """A chest or abdomen is wider than any head: from left to right in the middle slice."""
    crossed = np.flatnonzero(tissue[len(tissue) // 2].mean(axis=0) > 0.1)  # thin tubes and a table do not count
    extent = (np.ptp(crossed) + 1) * 2 * column_mm if crossed.size else 0.0
    if extent > MOST_WIDE_MM:
        raise InputError(
            f"{name}: the body is {extent:.0f} mm wide, expected a head, {MOST_WIDE_MM:.0f} mm at most; is it one?"
        )
