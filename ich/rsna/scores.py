"""How well six probabilities a slice fit the truth; counts first, so that bootstrap draws are sums over patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss")
MAIN = {"multiclass": "balanced_accuracy", "multilabel": "log_loss"}  # the one that answers; the competition's
LOWER_IS_BETTER = "log_loss"
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


class Draws(NamedTuple):
    """How often slices count: `times` (draws, groups), `group` (n,) of each slice. Slices of a patient are a group."""

    times: np.ndarray
    group: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Over the slices of each draw; `values` (n, columns) -> (draws, columns). Each group is added up once."""
        groups = self.times.shape[1]
        by_group = [np.bincount(self.group, column, groups) for column in values.T]
        return self.times @ np.stack(by_group, axis=1)


def once(n: int) -> Draws:
    """One draw, in which each of `n` slices counts once."""
    return Draws(np.ones((1, 1)), np.zeros(n, int))


def aurocs(positive: np.ndarray, score: np.ndarray, draws: Draws) -> np.ndarray:
    """Chance that a positive scores above a negative, ties counting half, in each draw (draws,).

    `positive` 0/1 and `score` (n,). NaN where a draw has no positives or no negatives. Scores are sorted once for all
    draws: scikit-learn's function takes a hundred times as long for a thousand.
    """
    order = np.argsort(score, kind="stable")
    ordered, group, is_positive = score[order], draws.group[order], positive[order].astype(bool)
    firsts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))  # of equal scores
    return np.array([_area(times[group].astype(float), is_positive, firsts) for times in draws.times])


def _area(weight: np.ndarray, is_positive: np.ndarray, firsts: np.ndarray) -> float:
    good = np.add.reduceat(np.where(is_positive, weight, 0), firsts)
    bad = np.add.reduceat(weight, firsts) - good
    total = good.sum() * bad.sum()
    return float(good @ (np.cumsum(bad) - bad / 2) / total) if total else float("nan")


def measures(predicted: Predicted, draws: Draws) -> dict[str, np.ndarray]:
    """MEASURES of each draw. Values (draws,).

    Means over classes leave out classes that a draw does not hold.
    """
    truth, decided = predicted.truth, predicted.decided
    tp, fp, fn, tn = counts(truth, decided, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, f1 = tp / (tp + fn), np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        balanced = (recall + tn / (tn + fp)) / 2 if predicted.multilabel else recall
    right = (truth == decided).mean(1) if predicted.multilabel else predicted.right
    loss = log_losses(truth, predicted.prob, predicted.multilabel)
    sums = draws.sums(np.stack([right, loss, np.ones(len(right))], axis=1))
    areas = [aurocs(*pair, draws) for pair in zip(truth.T, predicted.prob.T, strict=True)]
    return {
        "accuracy": sums[:, 0] / sums[:, 2], "balanced_accuracy": _mean_known(balanced), "macro_f1": _mean_known(f1),
        "auroc": _mean_known(np.stack(areas, axis=1)), "log_loss": sums[:, 1] / sums[:, 2],
    }  # fmt: skip


def counts(truth: np.ndarray, decided: np.ndarray, draws: Draws) -> tuple[np.ndarray, ...]:
    """True and false positives, false and true negatives of each draw (draws, classes)."""
    pairs = (truth * decided, (1 - truth) * decided, truth * (1 - decided), (1 - truth) * (1 - decided))
    return tuple(draws.sums(pair) for pair in pairs)


def per_class(predicted: Predicted, names: Sequence[str]) -> pd.DataFrame:
    """A row a class: slices, precision, recall, F1, specificity, AUROC (NaN where there is none of it)."""
    whole = once(len(predicted.truth))
    tp, fp, fn, tn = (count[0] for count in counts(predicted.truth, predicted.decided, whole))
    areas = [aurocs(*pair, whole)[0] for pair in zip(predicted.truth.T, predicted.prob.T, strict=True)]
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
