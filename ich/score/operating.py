"""Curves over thresholds and scans, from tables that trainings and tests leave behind."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from ich.score import metrics
from ich.score.metrics import with_blood


def by_threshold(thresholds: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """One row a threshold: pooled precision and sensitivity, mean Dice over patients with blood, false-positive ml.

    `thresholds` are rows of valid_thresholds.csv, `slices` those of slices.csv (for the volume of a voxel).
    """
    blood = with_blood(thresholds)
    dice = pd.Series(metrics.dice(blood["tp"], blood["fp"], blood["fn"]), index=blood.index)
    pooled = thresholds.groupby("threshold")[["tp", "fp", "fn"]].sum()
    table = pd.DataFrame({
        "precision": metrics.precision(pooled["tp"], pooled["fp"], pooled["fn"]),
        "sensitivity": metrics.sensitivity(pooled["tp"], pooled["fp"], pooled["fn"]),
        "dice_mean": dice.groupby(blood["threshold"]).mean(),
    }, index=pooled.index)  # fmt: skip
    clean = thresholds[~thresholds["patient"].isin(blood["patient"])]
    false_ml = clean["fp"] * clean["patient"].map(voxel_ml(slices))
    table["false_positive_ml_per_clean_patient"] = false_ml.groupby(clean["threshold"]).mean()
    return table.reset_index()


def voxel_ml(slices: pd.DataFrame) -> pd.Series:
    """Volume of a voxel in ml by patient; NaN where the spacing is unknown."""
    first = slices.groupby("patient").first()
    return first["spacing_row_mm"] * first["spacing_column_mm"] * first["spacing_slice_mm"] / 1000


def scan_roc(patients: pd.DataFrame) -> pd.DataFrame:
    """ROC over scans by their highest probability: columns threshold, sensitivity, specificity; empty for one class."""
    blood = (patients["tp"] + patients["fn"] > 0).to_numpy()
    if blood.all() or not blood.any():
        return pd.DataFrame(columns=["threshold", "sensitivity", "specificity"])
    false, true, threshold = roc_curve(blood, patients["score"].to_numpy(np.float64), drop_intermediate=False)
    return pd.DataFrame({"threshold": threshold, "sensitivity": true, "specificity": 1 - false})
