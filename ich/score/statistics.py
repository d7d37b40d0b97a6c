"""Is one model better than another? Tests on paired values.

`paired_by_patient` is the primary test, `corrected_resampled_t` the one by fold; `holm` corrects for many
tests. A difference is always a - b, so positive means that a is larger.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ich.score.bootstrap import FEWEST_PAIRS, bootstrap_interval

LIMITS = 1.96  # standard deviations that hold 95 % of normal differences


def paired_by_patient(a: ArrayLike, b: ArrayLike, seed: int, draws: int = 10_000) -> dict[str, float | int | str]:
    """Compare two models by one value per patient (such as Dice), out of fold, shape (patients,) each.

    Wilcoxon signed-rank test (Wilcoxon 1945), two-sided; the ranks of zero differences are split between both
    signs. The interval is the 95 % percentile bootstrap of the mean difference over patients (Efron 1979). It
    takes the trained networks as given: variation between repeated trainings is not included.
    `note` is "too few pairs" below six non-zero differences. All differences zero: p = 1. No patients: NaN.
    Raises ValueError if the lengths differ or a value is NaN or infinite.
    """
    difference = _differences(a, b)
    n, n_nonzero = len(difference), np.count_nonzero(difference)
    note = "too few pairs" if n_nonzero < FEWEST_PAIRS else ""
    result: dict[str, float | int | str] = {"n": n, "n_nonzero": int(n_nonzero), "note": note}
    names = ("mean_difference", "ci_low", "ci_high", "p_value", "rank_biserial")
    if n == 0:
        return result | dict.fromkeys(names, float("nan"))
    # identical models: p = 1 (SciPy fails on a single zero)
    p_value = stats.wilcoxon(difference, zero_method="zsplit").pvalue if n_nonzero else 1.0
    low, high = bootstrap_interval(difference, seed, draws)
    values = (difference.mean(), low, high, p_value, rank_biserial(difference))
    return result | {name: float(value) for name, value in zip(names, values, strict=True)}


def rank_biserial(difference: ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation (King and Minium 2003; Kerby 2014), -1..1.

    (R+ - R-) / (R+ + R-), where R are the sums of the ranks of |difference|. Zeros are ranked and split evenly,
    as in the test: they cancel above and pull the value towards 0. All differences zero: 0.
    """
    difference = np.asarray(difference, dtype=np.float64)
    ranks = stats.rankdata(np.abs(difference))
    return float(np.sum(np.sign(difference) * ranks) / np.sum(ranks))


def corrected_resampled_t(a: ArrayLike, b: ArrayLike) -> dict[str, float | int]:
    """Compare two models by one value per fold (Nadeau and Bengio 2003), two-sided, shape (folds,) each.

    t = mean(d) / sqrt((1/k + 1/(k-1)) var(d)) with k - 1 degrees of freedom. The term 1/(k-1), test size over
    training size, corrects for the trainings sharing most of their data; a plain t-test is overconfident.
    Equal differences in all folds: t = 0 and p = 1 where they are zero, else t infinite and p = 0.
    Fewer than two folds: t and p are NaN. Raises ValueError as `paired_by_patient` does.
    """
    difference = _differences(a, b)
    k = len(difference)
    mean = float(difference.mean()) if k else float("nan")
    result = {"n": k, "mean_difference": mean, "df": max(k - 1, 0)}
    if k < 2:
        return result | {"t": float("nan"), "p_value": float("nan")}
    scale = float(np.sqrt((1 / k + 1 / (k - 1)) * difference.var(ddof=1)))
    constant = np.copysign(np.inf, mean) if mean else 0.0
    t = mean / scale if scale > 0 else float(constant)
    return result | {"t": t, "p_value": float(2 * stats.t.sf(abs(t), k - 1))}


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the number of tests, step down (Holm 1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on, never below the previous adjusted value
    and never above 1. NaN stays NaN and does not count as a test.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known])]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two lists of the same length, found the shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a value is NaN or infinite: leave out such pairs first (patients without blood, for example)")
    return a - b


def bland_altman(true_ml: ArrayLike, pred_ml: ArrayLike) -> dict[str, float]:
    """Bias (mean of predicted - true, ml) and 95 % limits of agreement (Bland and Altman 1986); NaN below 2 pairs."""
    difference = np.asarray(pred_ml, float) - np.asarray(true_ml, float)
    if len(difference) < 2:
        return dict.fromkeys(("bias_ml", "lower_ml", "upper_ml"), float("nan"))
    bias, spread = difference.mean(), difference.std(ddof=1)
    return {
        "bias_ml": float(bias),
        "lower_ml": float(bias - LIMITS * spread),
        "upper_ml": float(bias + LIMITS * spread),
    }


def icc_a1(true_ml: ArrayLike, pred_ml: ArrayLike) -> float:
    """Intraclass correlation ICC(A,1): two-way, absolute agreement, single measurement (McGraw and Wong 1996).

    (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n) with k = 2 raters; at most 1. NaN below 2 pairs or where
    nothing varies.
    """
    table = np.column_stack([np.asarray(true_ml, float), np.asarray(pred_ml, float)])
    n, k = table.shape
    if n < 2:
        return float("nan")
    total = table.mean()
    between_rows = k * ((table.mean(1) - total) ** 2).sum() / (n - 1)
    between_columns = n * ((table.mean(0) - total) ** 2).sum() / (k - 1)
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + total
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = between_rows + (k - 1) * error + k * (between_columns - error) / n
    return float((between_rows - error) / below) if below else float("nan")
