"""How well predicted volumes agree with true ones: Bland-Altman limits and intraclass correlation."""

import numpy as np
from numpy.typing import ArrayLike

LIMITS = 1.96  # standard deviations that hold 95 % of normal differences


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
