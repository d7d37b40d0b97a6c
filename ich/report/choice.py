"""The operating point of a run, chosen on its out-of-fold predictions: the threshold, then the smallest lesion kept."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich.report.folds import Run
from ich.score import metrics
from ich.score.operating import FIXED, THRESHOLDS, Point

TOLERANCE = 0.01  # of mean Dice; less is not worth a false alarm
LEAST_FOUND = 0.95  # share of the found lesions that removing small components must leave
FEWEST = 6  # patients with blood, and patients that differ: fewer show nothing (see statistics.FEWEST_PAIRS)
OLDER = "trained by an earlier version, which did not count lesions by size"
KEYS = ["threshold", "min_lesion_mm3"]


@dataclass(frozen=True)
class Choice:
    """`point`, and in words where it comes from: `threshold_is`, `size_is`.

    `candidates`: a row for each threshold with nothing removed, then for each size at the chosen threshold; see
    `_candidates` for its columns. Empty where nothing could be chosen.
    """

    point: Point
    threshold_is: str
    size_is: str
    candidates: pd.DataFrame


def of_run(run: Run) -> Choice:
    """The operating point of a run; split by slice there are no whole scans to choose on, so it is 0.5."""
    if run.identity()["protocol"] != "patient":
        return Choice(FIXED, "default", "whole scans only", pd.DataFrame())
    return choose(by_patient(run.table("operating") if run.has("operating") else _older(run)))


def by_patient(counts: pd.DataFrame) -> pd.DataFrame:
    """One row per patient, threshold and size from rows of valid_operating.csv: means over repeated trainings.

    Columns `blood` (bool), `dice` (NaN where both masks are empty), `false_pixels`, `false_ml` (NaN where the spacing
    is unknown), `lesions_found`, `lesions_invented`, `is_found` (share of the trainings that found a lesion).
    """
    table = counts.assign(
        blood=counts["tp"] + counts["fn"] > 0,
        dice=metrics.dice(counts["tp"], counts["fp"], counts["fn"]),
        false_pixels=counts["fp"],
        false_ml=counts["fp"] * counts["voxel_mm3"] / 1000,
        is_found=counts["lesions_found"] > 0,
    )
    columns = ["dice", "false_pixels", "false_ml", "lesions_found", "lesions_invented", "is_found"]
    return table.groupby(["patient", "blood", *KEYS], as_index=False)[columns].mean()


def choose(patients: pd.DataFrame) -> Choice:
    """The operating point, from `by_patient`.

    Threshold: among those whose mean Dice over patients with blood is within TOLERANCE of the best, the one with the
    least false-positive volume in patients without blood (pixels where the spacing is unknown); of equal ones the one
    with the highest mean Dice, of those the middle one, farthest from where the score drops. 0.5 is kept unless that one
    is better beyond noise: the bootstrap 95 % interval over patients of its gain in Dice lies above 0, or that of the
    false-positive volume saved. The interval leaves out that the threshold was picked from 31.

    Size: with this threshold, the one that leaves the fewest invented lesions, of equal ones the smallest, if the mean
    Dice falls by TOLERANCE at most, LEAST_FOUND of the lesions found without it are still found, and no patient with
    blood in whom a lesion was found has none left.

    With fewer than FEWEST patients with blood: 0.5, and nothing removed.
    """
    bleeding = patients.loc[patients["blood"], "patient"].nunique()
    number = patients["patient"].nunique()
    if bleeding < FEWEST:
        few = f"default: {bleeding} patients with blood are too few to choose on"
        return Choice(FIXED, few, few, pd.DataFrame())
    of = f"out of fold on {number} patients, {bleeding} of them with blood"
    whole = patients[patients["min_lesion_mm3"] == 0]
    thresholds = _candidates(whole)
    threshold = _threshold(thresholds)
    chosen_is = f"chosen {of}"
    if threshold != FIXED.threshold and not _is_better(whole, threshold):
        threshold, chosen_is = FIXED.threshold, f"no other is better beyond noise {of}"
    at = patients[patients["threshold"] == threshold]
    sizes = _candidates(at)
    size, size_is = _size(at, sizes), f"chosen {of}"
    if at["lesions_found"].isna().any():
        size_is = f"not chosen: {OLDER}"
    elif len(sizes) == 1:
        size_is = "not chosen: the spacing of the slices is unknown"
    table = pd.concat([thresholds, sizes[sizes["min_lesion_mm3"] > 0]], ignore_index=True)
    table["chosen"] = (table["threshold"] == threshold) & (table["min_lesion_mm3"] == size)
    return Choice(Point(threshold, size), chosen_is, size_is, table)


def _candidates(patients: pd.DataFrame) -> pd.DataFrame:
    """One row per threshold and size: means over patients with blood and over clean ones, lesions of all patients."""
    keys = [patients[name] for name in KEYS]
    blood, clean = patients["blood"], ~patients["blood"]
    table = pd.DataFrame({
        "dice_mean": patients["dice"].where(blood).groupby(keys).mean(),
        "false_positive_ml_per_clean_patient": _mean(patients["false_ml"].where(clean), clean).groupby(keys).mean(),
        "false_positive_pixels_per_clean_patient": patients["false_pixels"].where(clean).groupby(keys).mean(),
        "lesions_found": patients["lesions_found"].groupby(keys).sum(min_count=1),
        "lesions_invented": patients["lesions_invented"].groupby(keys).sum(min_count=1),
        "patients_found": patients["is_found"].where(blood).groupby(keys).sum(min_count=1),
    })  # fmt: skip
    return table.reset_index()


def _threshold(table: pd.DataFrame) -> float:
    """The best of the thresholds, all at size 0."""
    near = table[table["dice_mean"] >= table["dice_mean"].max() - TOLERANCE - 1e-9]
    false = near[_false(table)].fillna(0)  # without clean patients: Dice alone
    near = near[np.isclose(false, false.min(), rtol=0, atol=1e-9)]
    best = near[np.isclose(near["dice_mean"], near["dice_mean"].max(), rtol=0, atol=1e-9)]
    return float(best["threshold"].iloc[len(best) // 2])
