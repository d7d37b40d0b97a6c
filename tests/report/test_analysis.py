"""Subgroups, calibration, agreement and operating point, by hand."""

import numpy as np
import pandas as pd
import pytest

from ich.data.table import TYPES
from ich.score import breakdown, calibration, statistics


def flags(**kinds: list[int]) -> dict[str, list[int]]:
    rows = len(next(iter(kinds.values())))
    return {name: kinds.get(name, [0] * rows) for name in TYPES}


def test_by_type_uses_slices_of_exactly_one_type() -> None:
    scores = pd.DataFrame({
        "id": ["a", "b", "c", "d"], "patient": ["1", "1", "2", "3"], "tp": [5, 0, 3, 9], "fn": [5, 4, 1, 0],
        "dice": [0.5, 0.0, 0.8, 1.0], "sensitivity": [0.5, 0.0, 0.75, 1.0],
    })  # fmt: skip
    # d holds two types and is left out
    slices = pd.DataFrame({"id": ["d", "c", "b", "a"], **flags(epidural=[1, 1, 1, 1], subdural=[1, 0, 0, 0])})
    row = breakdown.by_type(scores, slices).set_index("type").loc["epidural"]
    assert (row["patients"], row["slices"]) == (2, 3)
    assert row["dice_mean"] == pytest.approx((0.5 + 0 + 0.8) / 3)
    assert row["dice_mean_of_patients"] == pytest.approx((0.25 + 0.8) / 2)
    assert row["sensitivity_mean"] == pytest.approx((0.5 + 0 + 0.75) / 3)
    assert row["slices_found"] == pytest.approx(2 / 3)  # nothing of b was found


def test_by_size_adds_up_lesions() -> None:
    columns = {f"lesions_{kind}_{size}": [0, 0] for kind in ("true", "found")
               for size in ("under_1ml", "1_to_10ml", "over_10ml")}  # fmt: skip
    columns |= {"lesions_true_under_1ml": [3, 1], "lesions_found_under_1ml": [1, 0]}
    table = breakdown.by_size(pd.DataFrame(columns)).set_index("size_ml")
    assert table.loc["<1", "sensitivity"] == pytest.approx(1 / 4)
    assert np.isnan(table.loc[">10", "sensitivity"])


def test_calibration_counts_only_pixels_that_matter() -> None:
    """p = 0.005 without blood is not counted; p = 0 with blood is. Bins are 0.05 wide.

    Bin 0.00: one pixel, blood, p = 0. Bin 0.80: two pixels, one with blood, p = 0.8 and 0.82.
    Error = (|1 - 0| + |1 - 1.62|) / 3 = 1.62 / 3 = 0.54.
    """
    truth = np.array([[False, True], [True, False]])
    prob = np.array([[0.005, 0.0], [0.8, 0.82]])
    bins = calibration.pixel_bins(truth, prob)
    assert bins["pixels"].sum() == 3
    assert bins.loc[np.isclose(bins["bin"], 0.8), "positives"].item() == 1
    assert calibration.expected_error(bins) == pytest.approx(0.54)
    twice = calibration.add_up([bins, bins])
    assert twice["pixels"].sum() == 6
    assert calibration.expected_error(twice) == pytest.approx(0.54)


def test_calibration_of_nothing_is_not_a_number() -> None:
    bins = calibration.pixel_bins(np.zeros((2, 2), bool), np.zeros((2, 2)))
    assert np.isnan(calibration.expected_error(bins))


def test_probability_one_falls_into_the_last_bin() -> None:
    assert calibration.pixel_bins(np.array([True]), np.array([1.0]))["pixels"].iloc[-1] == 1


def test_bland_altman_by_hand() -> None:
    """Differences 1, 3: bias 2, deviation sqrt(2), limits 2 +- 1.96 sqrt(2)."""
    limits = statistics.bland_altman([10, 20], [11, 23])
    assert limits["bias_ml"] == 2
    assert limits["upper_ml"] == pytest.approx(2 + 1.96 * np.sqrt(2))
    assert limits["lower_ml"] == pytest.approx(2 - 1.96 * np.sqrt(2))


def test_intraclass_correlation_by_hand() -> None:
    """Pairs (1, 2), (3, 4), (5, 6): rows differ, columns by a constant 1, no error.

    Row means 1.5, 3.5, 5.5: MSR = 2 (4 + 0 + 4) / 2 = 8. Column means 3 and 4: MSC = 3 (0.25 + 0.25) = 1.5. MSE = 0.
    ICC(A,1) = 8 / (8 + 2 * 1.5 / 3) = 8 / 9: absolute agreement punishes the constant.
    """
    assert statistics.icc_a1([1, 3, 5], [2, 4, 6]) == pytest.approx(8 / 9)
    assert statistics.icc_a1([1, 3, 5], [1, 3, 5]) == pytest.approx(1)
    assert np.isnan(statistics.icc_a1([1], [1]))
    assert np.isnan(statistics.icc_a1([2, 2], [2, 2]))


def test_operating_point_by_hand() -> None:
    """Patient a has blood (10 voxels), b has none; a voxel is 2 x 0.5 x 1 mm = 0.001 ml."""
    thresholds = pd.DataFrame({
        "patient": ["a", "a", "b", "b"], "threshold": [0.25, 0.5] * 2,
        "tp": [8, 5, 0, 0], "fp": [8, 0, 40, 10], "fn": [2, 5, 0, 0],
    })  # fmt: skip
    slices = pd.DataFrame({"patient": ["a", "b"], "spacing_row_mm": [0.5] * 2, "spacing_column_mm": [1.0] * 2,
                           "spacing_slice_mm": [2.0] * 2})  # fmt: skip
    table = breakdown.by_threshold(thresholds, slices).set_index("threshold")
    assert table.loc[0.25, "precision"] == pytest.approx(8 / (8 + 48))
    assert table.loc[0.5, "sensitivity"] == pytest.approx(0.5)
    assert table.loc[0.25, "dice_mean"] == pytest.approx(16 / 26)  # of a alone
    assert table.loc[0.25, "false_positive_ml_per_clean_patient"] == pytest.approx(0.04)


def test_roc_of_scans_by_hand() -> None:
    patients = pd.DataFrame({"tp": [1, 0, 0], "fn": [0, 1, 0], "score": [0.9, 0.2, 0.5]})
    roc = breakdown.scan_roc(patients).set_index("threshold")
    assert roc.loc[0.9, "sensitivity"] == pytest.approx(0.5)
    assert roc.loc[0.9, "specificity"] == 1
    assert roc.loc[0.2, "sensitivity"] == 1
    assert roc.loc[0.2, "specificity"] == 0
    assert breakdown.scan_roc(patients.head(2)).empty  # all have blood: one class
