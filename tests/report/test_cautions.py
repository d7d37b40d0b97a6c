"""Cautions, each by hand: they come when a reader needs them, and not before."""

import math

import pandas as pd
import pytest

from ich.report.cautions import cautions, failed_folds

MARKS = "a mark alone does not mean blood."


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"n_clean": 8, "scan_specificity": 0.0}, [f"net marks blood in every scan without any: {MARKS}"]),
        ({"n_clean": 8, "scan_specificity": 0.375}, [f"net marks blood in 5 of 8 scans without any: {MARKS}"]),
        ({"n_clean": 8, "scan_specificity": 0.5}, []),  # 4 of 8
        ({"n_clean": 0, "scan_specificity": math.nan}, []),
        # by slice: 100 slices, 40 with blood, so 60 without; a fifth of them is called clean
        ({"n_slices": 100, "n_lesion_slices": 40, "slice_specificity": 0.2},
         [f"net marks blood in 48 of 60 slices without any: {MARKS}"]),
        # of whole scans the slices are not judged
        ({"n_clean": 2, "scan_specificity": 1.0, "n_slices": 9, "n_lesion_slices": 1, "slice_specificity": 0.2}, []),
        ({"lesions_invented": 34, "lesions_found": 5, "lesions_true": 6},
         ["net marks more false lesions than it finds true ones: 34 false, 5 found."]),
        ({"lesions_invented": 5, "lesions_found": 5, "lesions_true": 6}, []),
        ({"slice_specificity": math.nan, "n_slices": math.nan}, []),  # a published row
        ({}, []),
    ],
)  # fmt: skip
def test_cautions(scores: dict[str, float], expected: list[str]) -> None:
    assert cautions(scores, "net") == expected


@pytest.mark.parametrize(
    ("dice", "failed"),
    [
        ([0.60, 0.62, 0.70], []),
        ([0.60, 0.02, 0.70], ["fold_02"]),  # next to nothing
        ([0.60, 0.15, 0.70], ["fold_02"]),  # less than a quarter of 0.65, the median of the others
        ([0.60, 0.17, 0.70], []),
        ([0.08, 0.06, 0.07], []),  # poor, all alike
        ([0.01, 0.00, 0.60], ["fold_01", "fold_02"]),
        ([0.04], ["fold_01"]),
        ([math.nan, 0.5], []),  # a fold without any blood
    ],
)
def test_failed_folds(dice: list[float], failed: list[str]) -> None:
    names = [f"fold_{number:02d}" for number in range(1, len(dice) + 1)]
    texts = failed_folds(pd.DataFrame({"run": "net", "fold": names, "dice_mean": dice}))
    assert [text.split(":")[0] for text in texts] == [f"net, {name}" for name in failed]


def test_all_folds_of_a_run_failed() -> None:
    folds = pd.DataFrame({"run": "net", "fold": ["fold_01", "fold_02", "fold_03"], "dice_mean": [0.01, 0.0, 0.02]})
    assert failed_folds(folds) == ["net: all 3 trainings seem to have failed, mean Dice at most 0.020."]


def test_a_fold_is_compared_with_those_of_its_own_run() -> None:
    folds = pd.DataFrame({"run": ["a", "a", "b", "b"], "fold": ["fold_01", "fold_02"] * 2,
                          "dice_mean": [0.8, 0.8, 0.1, 0.1]})  # fmt: skip
    assert failed_folds(folds) == []
    folds.loc[3, "dice_mean"] = 0.02
    assert failed_folds(folds) == [
        "b, fold_02: this training seems to have failed, mean Dice 0.020, median of its other folds 0.100."
    ]
