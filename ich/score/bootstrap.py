"""The bootstrap of a mean over patients. Without scipy.stats, which takes a second that a prediction does not need."""

import numpy as np
from numpy.typing import ArrayLike

FEWEST_PAIRS = 6
"""With five non-zero differences of the same sign, p is still 2/2**5 = 0.0625, so no result could be significant."""


def bootstrap_interval(values: ArrayLike, seed: int, draws: int = 10_000) -> tuple[float, float]:
    """95 % percentile interval of the mean of `values`, each draw taking as many values with replacement.

    NaN without any.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return float("nan"), float("nan")
    chosen = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def is_above_zero(values: ArrayLike) -> bool:
    """Whether the mean of paired differences is above 0 beyond noise: its bootstrap interval is, always with one seed.

    With fewer than FEWEST_PAIRS non-zero differences it is not.
    """
    if np.count_nonzero(values) < FEWEST_PAIRS:
        return False
    return bootstrap_interval(values, seed=0)[0] > 0
