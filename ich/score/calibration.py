"""Does a probability of 0.7 mean blood in seven of ten cases? Reliability and expected calibration error."""

import numpy as np
import pandas as pd

BINS = 20  # of equal width over 0..1
LEAST_PROBABILITY = 0.01
AT_ONCE = 16  # slices; binning all at once would take ten times the memory of the probabilities


def pixel_bins(truth: np.ndarray, prob: np.ndarray) -> pd.DataFrame:
    """Reliability of pixels with probability >= 0.01 or reference blood, in `BINS` bins.

    Over all pixels the error is trivially near 0: nearly all are clearly not blood. `truth` (bool) and `prob` (float32)
    have the same shape. Columns: bin (lower edge), pixels, positives, probability_sum. `add_up` sums tables of folds.
    """
    tables = []
    for start in range(0, len(prob), AT_ONCE):
        part_prob, part_truth = prob[start : start + AT_ONCE], truth[start : start + AT_ONCE]
        counted = (part_prob >= LEAST_PROBABILITY) | part_truth
        tables.append(_binned(part_truth[counted], part_prob[counted]))
    return add_up(tables)


def slice_bins(scores: pd.DataFrame) -> pd.DataFrame:
    """The same for slices: their highest probability against whether the reference holds blood."""
    truth = (scores["tp"] + scores["fn"] > 0).to_numpy()
    return _binned(truth, scores["score"].to_numpy())


def add_up(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Sum the counts of several tables, bin by bin."""
    return pd.concat(tables).groupby("bin", as_index=False)[["pixels", "positives", "probability_sum"]].sum()


def expected_error(bins: pd.DataFrame) -> float:
    """Expected calibration error 0..1 (Naeini, Cooper and Hauskrecht 2015): mean over pixels of |share - probability|.

    NaN without pixels.
    """
    total = bins["pixels"].sum()
    return float((bins["positives"] - bins["probability_sum"]).abs().sum() / total) if total else float("nan")


def _binned(truth: np.ndarray, prob: np.ndarray) -> pd.DataFrame:
    bin_index = np.minimum((prob * BINS).astype(int), BINS - 1)
    count = [np.bincount(bin_index, weights, BINS) for weights in (None, truth, prob.astype(np.float64))]
    return pd.DataFrame(
        {"bin": np.arange(BINS) / BINS, "pixels": count[0], "positives": count[1], "probability_sum": count[2]}
    )
