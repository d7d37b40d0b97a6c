"""How well six probabilities a slice fit the truth; counts first, so that bootstrap draws are sums over patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss")
LOWEST = 1e-15  # probabilities are clipped here before the logarithm, as the competition does
ANY_WEIGHT = 2.0  # of the label `any` against 1 of each type, in the competition's log loss


@dataclass(frozen=True)
class Predicted:
    """One training's predictions: `truth` 0/1 and `prob` (n, 6), `patient` (n,) names."""

    truth: np.ndarray
    prob: np.ndarray
    patient: np.ndarray
    multilabel: bool

    @property
    def decided(self) -> np.ndarray:
        """0/1 (n, 6): the likeliest class, or every label with a probability of one half or more."""
        if self.multilabel:
            return (self.prob >= 0.5).astype(int)
        return (self.prob.argmax(1)[:, None] == np.arange(self.prob.shape[1])).astype(int)

    @property
    def right(self) -> np.ndarray:
        """Bool (n,): the class was found; in multilabel, `any` was."""
        same = self.decided == self.truth
        return same[:, 0] if self.multilabel else same.all(1)


def log_losses(truth: np.ndarray, prob: np.ndarray, multilabel: bool) -> np.ndarray:
    """(n,): -log of the true class's probability; in multilabel the competition's, `any` counting 2 of 7.

    Rows of six-way probabilities are scaled to sum 1 first.
    """
    if not multilabel:
        share = (prob * truth).sum(1) / prob.sum(1)
        return -np.log(share.clip(LOWEST, 1))
    prob = prob.clip(LOWEST, 1 - LOWEST)
    weight = np.array([ANY_WEIGHT, *np.ones(prob.shape[1] - 1)])
    return -(truth * np.log(prob) + (1 - truth) * np.log1p(-prob)) @ weight / weight.sum()


def auroc(positive: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half, each slice counting `weight` times.

    All (n,). NaN where positives or negatives have no weight. One pass over sorted scores: scikit-learn's takes a
    hundred times as long for a thousand draws.
    """
    _, rank = np.unique(score, return_inverse=True)
    good = np.bincount(rank, weight * positive)
    bad = np.bincount(rank, weight * (1 - positive))
    total = good.sum() * bad.sum()
    return float(good @ (np.cumsum(bad) - bad / 2) / total) if total else float("nan")


def measures(predicted: Predicted, weight: np.ndarray) -> dict[str, np.ndarray]:
    """MEASURES for each row of `weight` (draws, n): how often each slice counts. Values (draws,).

    Means over classes leave out classes that a draw does not hold.
    """
    truth, decided = predicted.truth, predicted.decided
    tp, fp, fn, tn = counts(truth, decided, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, f1 = tp / (tp + fn), np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        balanced = (recall + tn / (tn + fp)) / 2 if predicted.multilabel else recall
    right = (truth == decided).mean(1) if predicted.multilabel else predicted.right
    total = weight.sum(1)
    areas = [[auroc(truth[:, k], predicted.prob[:, k], row) for k in range(truth.shape[1])] for row in weight]
    return {
        "accuracy": weight @ right / total, "balanced_accuracy": _mean_known(balanced),
        "macro_f1": _mean_known(f1), "auroc": _mean_known(areas),
        "log_loss": weight @ log_losses(truth, predicted.prob, predicted.multilabel) / total,
    }  # fmt: skip


def counts(truth: np.ndarray, decided: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """True and false positives, false and true negatives (draws, classes), each slice counting `weight` times."""
    pairs = (truth * decided, (1 - truth) * decided, truth * (1 - decided), (1 - truth) * (1 - decided))
    return tuple(weight @ pair for pair in pairs)


def per_class(predicted: Predicted, names: Sequence[str]) -> pd.DataFrame:
    """A row a class: slices, precision, recall, F1, specificity, AUROC (NaN where there is none of it)."""
    once = np.ones((1, len(predicted.truth)))
    tp, fp, fn, tn = (count[0] for count in counts(predicted.truth, predicted.decided, once))
    areas = [auroc(truth, prob, once[0]) for truth, prob in zip(predicted.truth.T, predicted.prob.T, strict=True)]
    with np.errstate(invalid="ignore"):
        return pd.DataFrame({
            "class": names, "slices": (tp + fn).astype(int), "precision": tp / (tp + fp), "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn), "specificity": tn / (tn + fp), "auroc": areas,
        })  # fmt: skip


def confusion(predicted: Predicted) -> np.ndarray:
    """Slices by true (row) and predicted class (column), (6, 6)."""
    return predicted.truth.T.astype(int) @ predicted.decided


def _mean_known(values: ArrayLike) -> np.ndarray:
    """Mean of each row without its NaN; NaN where a row has nothing else."""
    return np.ma.masked_invalid(values).mean(1).filled(np.nan)
