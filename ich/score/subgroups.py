"""Scores by type of hemorrhage and by size of lesion: small and faint bleeds are what readers miss."""

import pandas as pd

from ich.data.ct_ich import TYPES
from ich.score.scan_metrics import SIZE_CLASSES


def by_type(scores: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """One row a type, over slices of exactly that type: numbers, Dice, and sensitivity.

    `scores` are rows of valid_slices.csv, `slices` those of slices.csv (joined by id). `slices_found` is the share of
    slices with at least one lesion pixel found, `sensitivity_mean` the mean share of lesion pixels found. Slices of two
    types are left out, since nothing says which pixels are which.
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
    """One row a size class of 3-D lesions (ml): how many there are and how many were found."""
    rows = []
    for size, ending in SIZE_CLASSES.items():
        true, found = (int(patients[f"lesions_{kind}_{ending}"].sum()) for kind in ("true", "found"))
        rows.append({"size_ml": size, "lesions_true": true, "lesions_found": found,
                     "sensitivity": found / true if true else float("nan")})  # fmt: skip
    return pd.DataFrame(rows)
