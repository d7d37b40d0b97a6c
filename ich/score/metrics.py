"""How well a predicted mask covers the true one: pixel counts, and ratios computed from them.

A truth is a bool array (True = blood), a prediction a bool array or a float array of probabilities in 0..1.
A pixel is predicted as blood where `probability >= threshold`, here and everywhere else in the project.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Mask = NDArray[np.bool_]
Probabilities = NDArray[np.floating]
Ratio = NDArray[np.float64] | np.float64

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""26-connected: voxels that share a face, an edge or a corner belong to one lesion."""
THRESHOLDS = np.arange(256) / 256
"""The thresholds k/256 of `threshold_counts`; number 128 is 0.5."""

PAPER_SMOOTH = 100.0
"""Added above and below in the paper's metrics; large against a lesion of some hundred pixels."""


class Counts(NamedTuple):
    """Numbers of pixels (or voxels): true positive, false positive, false negative, true negative.

    Each is an int64 array with one value per mask; counting a whole array gives zero-dimensional values.
    """

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]


def counts(truth: Mask, pred: Mask, axis: int | tuple[int, ...] | None = None) -> Counts:
    """Compare two bool masks of the same shape, summed over `axis` (None: over the whole array).

    A stack (slices, rows, columns) with `axis=(-2, -1)` gives one value per slice.
    Raises ValueError where the shapes differ or a mask is not bool (0/255 bytes would count wrongly).
    """
    _check(truth, pred)
    if pred.dtype != bool:
        raise ValueError(f"the predicted mask must be bool, not {pred.dtype}: apply a threshold first")
    tp = np.count_nonzero(truth & pred, axis=axis)
    positive_truth = np.count_nonzero(truth, axis=axis)
    positive_pred = np.count_nonzero(pred, axis=axis)
    pixels = truth.size // max(np.size(tp), 1)
    fp, fn = positive_pred - tp, positive_truth - tp
    return Counts(*(np.asarray(number, dtype=np.int64)[()] for number in (tp, fp, fn, pixels - tp - fp - fn)))


def dice(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Ratio:
    """Dice coefficient 2 tp / (2 tp + fp + fn), 0..1 (Dice 1945). Both masks empty: NaN. One empty: 0."""
    tp, fp, fn = _floats(tp, fp, fn)
    return _ratio(2 * tp, 2 * tp + fp + fn, tp + fp + fn)


def iou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Ratio:
    """Intersection over union tp / (tp + fp + fn), 0..1 (Jaccard 1912). Both empty: NaN. One empty: 0."""
    tp, fp, fn = _floats(tp, fp, fn)
    return _ratio(tp, tp + fp + fn, tp + fp + fn)


def precision(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Ratio:
    """Share of the predicted pixels that are true, tp / (tp + fp), 0..1. Both empty: NaN. One empty: 0."""
    tp, fp, fn = _floats(tp, fp, fn)
    return _ratio(tp, tp + fp, tp + fp + fn)


def sensitivity(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Ratio:
    """Share of the true pixels that are found, tp / (tp + fn), 0..1. Both empty: NaN. One empty: 0."""
    tp, fp, fn = _floats(tp, fp, fn)
    return _ratio(tp, tp + fn, tp + fp + fn)


def slice_table(truth: Mask, pred: Mask, prob: Probabilities) -> dict[str, NDArray]:
    """Return the columns of `valid_slices.csv` that come from pixels, one value per slice.

    All have the shape (slices, rows, columns); `score` is the slice's highest probability.
    """
    _check(truth, prob)
    number = counts(truth, pred, axis=(-2, -1))
    overlap = number[:3]
    ratios = {function.__name__: function(*overlap) for function in (dice, iou, precision, sensitivity)}
    return {**number._asdict(), **ratios, "score": prob.max(axis=(-2, -1))}


def threshold_counts(truth: Mask, prob: Probabilities) -> Counts:
    """Count the pixels of one patient (any shape) at all 256 `THRESHOLDS`; every field has the shape (256,).

    The counts are exact, not rounded to bins: a threshold is k/256, multiplying a float by 256 = 2**8 is
    exact, so `prob >= k/256` and `floor(256 prob) >= k` are equivalent. At k = 0 every pixel is positive.
    Raises ValueError where a probability is NaN or outside 0..1.
    """
    _check(truth, prob)
    if prob.size and not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(f"probabilities must lie in 0..1, found {prob.min()} to {prob.max()}")
    level = np.minimum((prob * 256).astype(np.int16), 255)  # 1.0 lies above the last threshold, 255/256
    blood = np.bincount(level[truth], minlength=256)
    every = np.bincount(level.ravel(), minlength=256)
    tp, positive = (np.cumsum(histogram[::-1])[::-1] for histogram in (blood, every))
    fp, fn = positive - tp, blood.sum() - tp
    return Counts(tp, fp, fn, prob.size - tp - fp - fn)


def paper_dice(truth: Mask, prob: Probabilities) -> float:
    """Return the smoothed soft Dice of the paper, pooled over all pixels of one batch.

    (2 sum(t p) + smooth) / (sum t + sum p + smooth): two empty masks score 1, and a missed small lesion
    scores well above 0. Use it only for comparison with the published numbers.
    """
    both, total = _soft_sums(truth, prob)
    return (2 * both + PAPER_SMOOTH) / (total + PAPER_SMOOTH)


def paper_iou(truth: Mask, prob: Probabilities) -> float:
    """Return the paper's smoothed soft IoU: (sum(t p) + smooth) / (sum t + sum p - sum(t p) + smooth)."""
    both, total = _soft_sums(truth, prob)
    return (both + PAPER_SMOOTH) / (total - both + PAPER_SMOOTH)


def paper_scores(truth: Mask, prob: Probabilities, batch_size: int = 32) -> dict[str, float]:
    """Average `paper_dice` and `paper_iou` over batches of slices, taken in the order given.

    As in Keras, every batch has the same weight, even a shorter last one. Order and batch size change the result:
    batches of one reward empty slices most. No slices: NaN.
    """
    batches = [slice(start, start + batch_size) for start in range(0, len(truth), batch_size)]
    scores = {}
    for function in (paper_dice, paper_iou):
        values = [function(truth[batch], prob[batch]) for batch in batches]
        scores[function.__name__] = float(np.mean(values)) if values else float("nan")
    return scores


def _check(truth: Mask, other: NDArray) -> None:
    if truth.shape != other.shape:
        raise ValueError(f"truth has the shape {truth.shape}, the prediction {other.shape}; they must be equal")
    if truth.dtype != bool:
        raise ValueError(f"the true mask must be bool, not {truth.dtype}")


def _floats(*values: ArrayLike) -> list[NDArray[np.float64]]:
    return [np.asarray(value, dtype=np.float64) for value in values]


def _ratio(part: NDArray, whole: NDArray, present: NDArray) -> Ratio:
    """Divide; 0 where `whole` is 0, then NaN where nothing is `present` in either mask."""
    quotient = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    return np.where(present > 0, quotient, np.nan)[()]


def _soft_sums(truth: Mask, prob: Probabilities) -> tuple[float, float]:
    """Return sum(t p) and sum t + sum p in double precision: float32 sums drift over millions of pixels."""
    _check(truth, prob)
    both = np.sum(prob, where=truth, dtype=np.float64)
    total = np.count_nonzero(truth) + np.sum(prob, dtype=np.float64)
    return float(both), float(total)


def with_blood(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose reference holds blood."""
    return table[table["tp"] + table["fn"] > 0]
