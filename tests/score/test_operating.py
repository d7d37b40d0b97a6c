"""Thresholds and smallest lesion sizes: components worked by hand, and the tables of valid_operating.csv."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ich.data.pixels import Slices
from ich.score import evaluation, operating
from ich.score.operating import SIZES_MM3, THRESHOLDS, Point
from ich.score.patient import invented_lesions, lesions

VOXEL_MM3 = 10.0
PROB = np.zeros((3, 4, 8), np.float32)
PROB[0, 0, 0] = PROB[1, 1, 1] = PROB[2, 2, 2] = 0.9  # three voxels over corners: one component of 30 mm3
PROB[0, 0, 4] = 0.6  # 10 mm3
PROB[0, 0, 6:8] = 0.7  # 20 mm3
TRUTH = np.zeros(PROB.shape, bool)
TRUTH[0, 0, 0] = TRUTH[0, 0, 4] = TRUTH[2, 3, 7] = True  # three lesions, the last one is never found


@pytest.mark.parametrize(
    ("threshold", "size", "kept"),
    [
        (0.5, 0, 6),
        (0.5, 10, 6),  # 10 mm3 is not below 10
        (0.5, 10.1, 5),
        (0.5, 30, 3),
        (0.5, 30.1, 0),
        (0.65, 0, 5),
        (0.95, 30, 0),
    ],
)
def test_components_below_the_size_are_removed(threshold: float, size: float, kept: int) -> None:
    mask = operating.predicted(PROB, VOXEL_MM3, Point(threshold, size))
    assert mask.dtype == bool
    assert mask.sum() == kept
    assert (PROB[mask] >= threshold).all()


def test_sizes_need_the_spacing() -> None:
    assert operating.predicted(PROB, np.nan, Point(0.5)).sum() == 6
    with pytest.raises(ValueError, match="spacing"):
        operating.predicted(PROB, np.nan, Point(0.5, 10))


# threshold, size: tp, fp, lesions found, lesions invented
@pytest.mark.parametrize(
    ("threshold", "size", "counts"),
    [
        (0.5, 0, (2, 4, 2, 1)),
        (0.5, 10, (2, 4, 2, 1)),
        (0.5, 30, (1, 2, 1, 0)),  # of the two small ones one was a lesion
        (0.5, 100, (0, 0, 0, 0)),
        (0.625, 0, (1, 4, 1, 1)),
        (0.875, 30, (1, 2, 1, 0)),
        (0.9375, 0, (0, 0, 0, 0)),
    ],
)
def test_counts_worked_by_hand(threshold: float, size: float, counts: tuple[int, ...]) -> None:
    table = pd.DataFrame(operating.point_counts(TRUTH, PROB, VOXEL_MM3)).set_index(["threshold", "min_lesion_mm3"])
    row = table.loc[(threshold, size)]
    assert tuple(row[["tp", "fp", "lesions_found", "lesions_invented"]]) == counts
    assert (row["tp"] + row["fn"], row["fp"] + row["tn"]) == (3, PROB.size - 3)
    assert row["lesions_true"] == 3


@settings(max_examples=25, deadline=None)
@given(arrays(bool, (3, 5, 5)), arrays(np.float32, (3, 5, 5), elements=st.floats(0, 1, width=32)))
def test_counts_are_those_of_the_masks(truth: np.ndarray, prob: np.ndarray) -> None:
    """At every threshold and size: as if the mask were made and then measured."""
    for row in operating.point_counts(truth, prob, VOXEL_MM3):
        mask = operating.predicted(prob, VOXEL_MM3, Point(row["threshold"], row["min_lesion_mm3"]))
        assert (row["tp"], row["fp"]) == ((mask & truth).sum(), (mask & ~truth).sum())
        assert (row["fn"], row["tn"]) == ((~mask & truth).sum(), (~mask & ~truth).sum())
        found = lesions(truth, mask, (1, 1, 1))
        assert (row["lesions_true"], row["lesions_found"]) == (len(found), sum(each["found"] for each in found))
        assert row["lesions_invented"] == invented_lesions(truth, mask)


@pytest.fixture
def slices() -> Slices:
    """The hand-worked scan, with its slices in another order, between those of a patient without blood."""
    table = pd.DataFrame({
        "id": ["b_3", "a_1", "b_1", "a_2", "b_2"], "patient": ["b", "a", "b", "a", "b"], "slice": [3, 1, 1, 2, 2],
        "spacing_slice_mm": 5.0, "spacing_row_mm": 1.0, "spacing_column_mm": 2.0,
    })  # fmt: skip
    masks = np.zeros((5, 4, 8), np.uint8)
    masks[[2, 4, 0]] = TRUTH
    return Slices(table, np.zeros((5, 4, 8, 1), np.uint8), masks)


def test_removal_and_scores_go_scan_by_scan(slices: Slices) -> None:
    prob = np.zeros((5, 4, 8), np.float32)
    prob[[2, 4, 0]] = PROB
    prob[1, 3, 3] = 0.8  # alone in the clean scan
    point = Point(0.5, 30)
    masks = evaluation.predicted(slices, prob, point)
    assert masks.sum(axis=(1, 2)).tolist() == [1, 0, 1, 0, 1]
    patients = evaluation.patient_scores(slices, prob, point).set_index("patient")
    assert patients["fp"].to_dict() == {"a": 0, "b": 2}
    assert patients.loc["b", "volume_pred_ml"] == pytest.approx(3 * 10 / 1000)
    assert patients.loc["a", "score"] == pytest.approx(0.8)  # the highest probability, whatever is removed
    table = evaluation.slice_scores(slices, prob, point).set_index("id")
    assert table["tp"].to_dict() == {"b_3": 0, "a_1": 0, "b_1": 1, "a_2": 0, "b_2": 0}


def test_operating_counts_are_those_of_each_scan(slices: Slices) -> None:
    prob = np.zeros((5, 4, 8), np.float32)
    prob[[2, 4, 0]] = PROB
    table = evaluation.operating_counts(slices, prob)
    assert len(table) == 2 * len(THRESHOLDS) * len(SIZES_MM3)
    assert (table["voxel_mm3"] == 10).all()
    expected = pd.DataFrame(operating.point_counts(TRUTH, PROB, VOXEL_MM3))
    found = table[table["patient"] == "b"].drop(columns=["patient", "voxel_mm3"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_without_spacing_there_are_counts_but_no_sizes(slices: Slices) -> None:
    unknown = Slices(slices.table.assign(spacing_row_mm=np.nan), slices.images, slices.masks)
    table = evaluation.operating_counts(unknown, slices.masks.astype(np.float32))
    assert len(table) == 2 * len(THRESHOLDS)
    assert (table["min_lesion_mm3"] == 0).all()
    assert table["voxel_mm3"].isna().all()
