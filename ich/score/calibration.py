"""Whether a probability of 0.7 is blood in seven of ten cases: reliability and expected calibration error."""

import numpy as np
import pandas as pd

BINS = 20  # of equal width over 0..1
LEAST_PROBABILITY = 0.01
AT_ONCE = 16  # slices; the bins of all at once would take ten times the memory of the probabilities


def pixel_bins(truth: np.ndarray, prob: np.ndarray) -> pd.DataFrame:
    """Reliability of pixels with probability >= 0.01 or reference blood, in `BINS` bins.

    Over all pixels the error is trivially near 0: nearly all are surely not blood. `truth` bool and `prob` float32 have
    one shape. Columns: bin (lower edge), pixels, positives, probability_sum. Tables of several folds may be added up.
    """
    tables = []
    for place in range(0, len(prob), AT_ONCE):
        here, given = prob[place : place + AT_ONCE], truth[place : place + AT_ONCE]
        counted = (here >= LEAST_PROBABILITY) | given
        tables.append(_binned(given[counted], here[counted]))
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
    place = np.minimum((prob * BINS).astype(int), BINS - 1)
    count = [np.bincount(place, weights, BINS) for weights in (None, truth, prob.astype(np.float64))]
    return pd.DataFrame(
        {"bin": np.arange(BINS) / BINS, "pixels": count[0], "positives": count[1], "probability_sum": count[2]}
    )
