"""Scores by threshold, by type of hemorrhage and by size of lesion."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from ich.data.table import TYPES, scan_of
from ich.score import metrics
from ich.score.metrics import with_blood
from ich.score.patient import SIZE_CLASSES
from ich.score.summary import lesions_found


def by_threshold(thresholds: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """One row per threshold: pooled precision and sensitivity, mean Dice over patients with blood, false-positive ml.

    `thresholds`: rows of valid_thresholds.csv; `slices`: rows of slices.csv, for the voxel volume.
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
    """Voxel volume in ml, indexed by patient (of several scans the mean); NaN where the spacing is unknown."""
    first = slices.groupby(["patient", scan_of(slices).rename("scan")]).first()
    volume = first["spacing_row_mm"] * first["spacing_column_mm"] * first["spacing_slice_mm"] / 1000
    return volume.groupby("patient").mean()


def scan_roc(patients: pd.DataFrame) -> pd.DataFrame:
    """ROC over scans by their highest probability: columns threshold, sensitivity, specificity; empty for one class."""
    blood = (patients["tp"] + patients["fn"] > 0).to_numpy()
    if blood.all() or not blood.any():
        return pd.DataFrame(columns=["threshold", "sensitivity", "specificity"])
    false, true, threshold = roc_curve(blood, patients["score"].to_numpy(np.float64), drop_intermediate=False)
    return pd.DataFrame({"threshold": threshold, "sensitivity": true, "specificity": 1 - false})


def by_type(scores: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """One row per type, over slices of exactly that type: counts, Dice and sensitivity.

    `scores`: rows of valid_slices.csv; `slices`: rows of slices.csv (joined by id). `slices_found` is the share of
    slices with at least one lesion pixel found, `sensitivity_mean` the mean share of lesion pixels found. Slices of two
    types are left out, since it is unknown which pixels are of which type.
    """
    table = scores.merge(slices[["id", *TYPES]], on="id", validate="one_to_one")
    table = table[(table["tp"] + table["fn"] > 0) & (table[list(TYPES)].sum(axis=1) == 1)]
    return pd.DataFrame([_type_row(kind, table[table[kind] == 1]) for kind in TYPES])


def _type_row(kind: str, rows: pd.DataFrame) -> dict:
    patients = rows.groupby("patient")["dice"].mean()
    return {
        "type": kind, "patients": len(patients), "slices": len(rows),
        "dice_mean": rows["dice"].mean(), "dice_sd": rows["dice"].std(ddof=1), "dice_mean_of_patients": patients.mean(),
        "sensitivity_mean": rows["sensitivity"].mean(), "slices_found": (rows["tp"] > 0).mean(),
    }  # fmt: skip


def by_size(patients: pd.DataFrame) -> pd.DataFrame:
    """One row per size class of 3-D lesions (ml): how many there are and how many were found."""
    rows = [{"size_ml": size, **lesions_found(patients, f"_{ending}")} for size, ending in SIZE_CLASSES.items()]
    return pd.DataFrame(rows).rename(columns={"lesion_sensitivity": "sensitivity"})
