"""What a reader has to know before trusting a score: cautions in plain sentences, from the tables of the report."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

FEWEST_CLEAN = 0.5  # share of the scans (or slices) without blood; below it a positive finding says little
FAILED_DICE = 0.05  # of a fold: the network finds next to nothing
FAILED_SHARE = 0.25  # of the median of the run's other folds


def cautions(scores: Mapping[str, float], name: str) -> list[str]:
    """Of one network or test set: too many scans called bleeding, more lesions invented than found.

    `scores` has names of comparison.csv or of a test's summary.csv; what is missing or NaN is not judged.
    """
    found = [_false_alarms(scores, name, "scan", "n_clean"), _invented(scores, name)]
    if "scan_specificity" not in scores:
        found.append(_false_alarms(scores, name, "slice", ""))
    return [text for text in found if text]


def _false_alarms(scores: Mapping[str, float], name: str, kind: str, count: str) -> str:
    specificity = scores.get(f"{kind}_specificity", math.nan)
    if not specificity < FEWEST_CLEAN:  # NaN too
        return ""
    number = scores[count] if count else scores["n_slices"] - scores["n_lesion_slices"]
    alarms = round((1 - specificity) * number)
    many = "every" if specificity == 0 else f"{alarms:.0f} of {number:.0f}"
    plural = "" if specificity == 0 else "s"
    return f"{name} marks blood in {many} {kind}{plural} without any: a mark alone does not mean blood."


def _invented(scores: Mapping[str, float], name: str) -> str:
    invented, found = scores.get("lesions_invented", math.nan), scores.get("lesions_found", math.nan)
    if not invented > found:
        return ""
    return f"{name} marks more false lesions than it finds true ones: {invented:.0f} false, {found:.0f} found."


def of_report(comparison: pd.DataFrame, folds: pd.DataFrame) -> list[str]:
    """Of all networks (rows of comparison.csv) and of their folds (rows of folds.csv)."""
    of_runs = [text for row in comparison.to_dict("records") for text in cautions(row, row["run"])]
    return of_runs + (failed_folds(folds) if len(folds) else [])


def failed_folds(folds: pd.DataFrame) -> list[str]:
    """Of the rows of folds.csv: trainings that failed, by the mean Dice of their fold."""
    texts = []
    for run, rows in folds.groupby("run", sort=False):
        failed = [row for row in rows.itertuples() if _has_failed(row, rows)]
        if len(failed) == len(rows) > 1:
            best = rows["dice_mean"].max()
            texts.append(f"{run}: all {len(rows)} trainings seem to have failed, mean Dice at most {best:.3f}.")
            continue
        for row in failed:
            beside = f", median of its other folds {_others(row, rows):.3f}" if len(rows) > 1 else ""
            texts.append(
                f"{run}, {row.fold}: this training seems to have failed, mean Dice {row.dice_mean:.3f}{beside}."
            )
    return texts


def _others(row: Any, rows: pd.DataFrame) -> float:
    return rows.loc[rows["fold"] != row.fold, "dice_mean"].median()


def _has_failed(row: Any, rows: pd.DataFrame) -> bool:
    return row.dice_mean < FAILED_DICE or row.dice_mean < FAILED_SHARE * _others(row, rows)
