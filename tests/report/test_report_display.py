"""The page's tables, by hand: few columns, plain words, a dash where a number would say nothing."""

import math

import pandas as pd
import pytest

from ich.report import display
from ich.report.words import heading

SCORES = {
    "run": "dunet", "n_with_blood": 12, "n_clean": 8, "dice_mean": 0.6129, "dice_sd": 0.2, "dice_ci_low": 0.5,
    "dice_ci_high": 0.7004, "scan_sensitivity": 11 / 12, "scan_specificity": 0.0, "hd95_mm_median": math.inf,
    "volume_error_ml_median": 3.25, "false_positive_ml_per_clean_patient": 0.04, "unknown_column": 7,
}  # fmt: skip


def test_first_table_by_patient() -> None:
    table = display.first_table(pd.DataFrame([SCORES]), "patient", "title")
    assert dict(zip(table.columns, table.rows[0], strict=True)) == {
        "Network": "dunet", "Dice, mean (95 % interval)": "0.613 (0.500 to 0.700)",
        "Scans with blood found": "92 % of 12", "Scans without blood left unmarked": "0 % of 8",
        "HD95, median (mm)": "inf", "Volume error, median (ml)": "3.2",
        "False-positive blood per scan without blood (ml)": "0.0",
    }  # fmt: skip


@pytest.mark.parametrize("lacking", [name for name in SCORES if name != "run"])
def test_what_a_table_lacks_is_a_dash(lacking: str) -> None:
    row = {name: value for name, value in SCORES.items() if name != lacking}
    table = display.first_table(pd.DataFrame([row, {"run": "other"}]), "patient", "title")
    assert len(table.columns) == 7
    assert table.rows[1] == ["other"] + ["-"] * 6


def test_first_table_by_slice_with_a_published_row() -> None:
    ours = {"run": "dunet", "paper_dice_mean": 0.7, "paper_dice_sd": 0.05, "paper_iou_mean": 0.6, "paper_iou_sd": 0.04,
            "lesion_slice_dice_mean": 0.5, "pooled_dice": 0.55, "slice_sensitivity": 0.9, "slice_specificity": 0.75,
            "n_slices": 100, "n_lesion_slices": 40}  # fmt: skip
    theirs = {"run": "dunet (published)", "paper_dice_mean": 0.84, "paper_dice_sd": 0.03}
    table = display.first_table(pd.DataFrame([ours, theirs]), "slice", "title")
    assert table.rows[0] == ["dunet", "0.700 ± 0.050", "0.600 ± 0.040", "0.500", "0.550", "90 % of 40", "75 % of 60"]
    assert table.columns[1] == "Dice as published, mean ± SD of folds"
    assert table.rows[1] == ["dunet (published)", "0.840 ± 0.030", "-", "-", "-", "-", "-"]


def test_patients_without_blood_have_a_dash_for_what_blood_defines() -> None:
    """The first has blood; the second has none and a false alarm of 2.5 ml, the third neither."""
    rows = pd.DataFrame({
        "run": "unet", "fold": "fold_01", "patient": ["049", "050", "051"], "tp": [5, 0, 0], "fn": [5, 0, 0],
        "dice": [0.5, 0.0, math.nan], "precision": [0.5, 0.0, math.nan], "hd95_mm": [3.0, math.inf, math.nan],
        "volume_true_ml": [4.0, 0.0, 0.0], "volume_pred_ml": [4.5, 2.5, 0.0], "lesions_invented": [0, 3, 0],
    })  # fmt: skip
    table = display.patients(rows)
    assert table.columns[3:] == ["Dice", "Precision", "HD95 (mm)", "Volume, reference (ml)", "Volume, predicted (ml)",
                                 "False-positive blood (ml)", "False-positive lesions"]  # fmt: skip
    assert [row[2:] for row in table.rows] == [
        ["049", "0.500", "0.500", "3.0", "4.0", "4.5", "-", "0"],
        ["050", "-", "-", "-", "0.0", "2.5", "2.5", "3"],
        ["051", "-", "-", "-", "0.0", "0.0", "0.0", "0"],
    ]


def test_statistics_in_words() -> None:
    tests = pd.DataFrame([
        {"test": "patients, out of fold: Wilcoxon signed-rank", "a": "dunet", "b": "unet", "metric": "dice", "n": 12,
         "mean_difference": 0.13, "ci_low": 0.007, "ci_high": 0.269, "p_value": 0.2, "p_holm": 0.36, "note": ""},
        {"test": "folds: corrected resampled t", "a": "dunet", "b": "unet", "metric": "iou", "n": 1,
         "mean_difference": -0.1, "p_holm": math.nan},
    ])  # fmt: skip
    first, second = display.statistics(tests).rows
    assert first[:2] + first[3:6] == ["dunet minus unet", "Dice", "12", "+0.130 (+0.007 to +0.269)", "0.36"]
    assert second[:2] + second[3:] == ["dunet minus unet", "IoU", "1", "-0.100", "-", "-"]


def test_words_of_a_column() -> None:
    assert heading("hd95_mm_median") == "HD95, median (mm)"
    assert heading("dice_of_tomorrow") == "dice_of_tomorrow"  # of a later version
