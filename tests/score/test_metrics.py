"""Pixel counts and ratios: 3x3 masks worked by hand, empty masks, and a loop that counts one pixel at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ich.score import metrics

pytestmark = pytest.mark.filterwarnings("error")
RATIOS = (metrics.dice, metrics.iou, metrics.precision, metrics.sensitivity)

TRUTH = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
PRED = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=bool)
# both: (0,0) (1,0) -> tp 2; predicted only: (1,1) (2,1) -> fp 2; true only: (0,1) -> fn 1; the other four -> tn 4
EMPTY = np.zeros((3, 3), dtype=bool)


def test_counts_and_ratios_of_a_mask_worked_by_hand():
    assert metrics.counts(TRUTH, PRED) == (2, 2, 1, 4)
    assert metrics.dice(2, 2, 1) == pytest.approx(4 / 7)  # 2*2 / (2*2 + 2 + 1)
    assert metrics.iou(2, 2, 1) == pytest.approx(2 / 5)
    assert metrics.precision(2, 2, 1) == pytest.approx(1 / 2)
    assert metrics.sensitivity(2, 2, 1) == pytest.approx(2 / 3)


@pytest.mark.parametrize("ratio", RATIOS)
def test_empty_masks(ratio):
    assert np.isnan(ratio(0, 0, 0))
    assert ratio(0, 5, 0) == 0  # only the prediction holds something
    assert ratio(0, 0, 5) == 0  # only the truth does
    np.testing.assert_array_equal(ratio([0, 0, 3], [0, 1, 0], [0, 0, 0]), [np.nan, 0, 1])


def test_one_pixel_is_enough_for_a_ratio():
    assert metrics.precision(1, 0, 3) == metrics.sensitivity(1, 3, 0) == 1


def test_counts_of_a_stack_are_one_value_a_slice():
    truth, pred = np.stack([TRUTH, EMPTY, TRUTH, EMPTY]), np.stack([PRED, EMPTY, EMPTY, PRED])
    number = metrics.counts(truth, pred, axis=(-2, -1))
    np.testing.assert_array_equal(np.stack(number), [[2, 0, 0, 0], [2, 0, 0, 4], [1, 0, 3, 0], [4, 9, 6, 5]])
    assert all(field.dtype == np.int64 for field in number)


def test_masks_that_would_be_counted_wrongly_are_refused():
    with pytest.raises(ValueError, match="must be equal"):
        metrics.counts(TRUTH, PRED[:2])
    with pytest.raises(ValueError, match="true mask must be bool"):
        metrics.counts(TRUTH * np.uint8(255), PRED)
    with pytest.raises(ValueError, match="predicted mask must be bool"):
        metrics.counts(TRUTH, PRED.astype(np.float32))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_counts_agree_with_a_loop_over_pixels(data):
    shape = data.draw(array_shapes(min_dims=3, max_dims=3, max_side=5))
    truth, pred = (data.draw(arrays(bool, shape)) for _ in range(2))
    expected = np.zeros((4, shape[0]), dtype=int)
    for index in np.ndindex(shape):
        field = {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}
        expected[field[bool(truth[index]), bool(pred[index])], index[0]] += 1
    np.testing.assert_array_equal(np.stack(metrics.counts(truth, pred, axis=(-2, -1))), expected)
    np.testing.assert_array_equal(metrics.counts(truth, pred), expected.sum(axis=1))


def test_slice_table():
    prob = np.stack([np.where(PRED, 0.5, 0.25), np.full((3, 3), 0.125)]).astype(np.float32)
    table = metrics.slice_table(np.stack([TRUTH, EMPTY]), prob >= 0.5, prob)
    assert list(table) == ["tp", "fp", "fn", "tn", "dice", "iou", "precision", "sensitivity", "score"]
    expected = {"tp": [2, 0], "fp": [2, 0], "fn": [1, 0], "tn": [4, 9], "dice": [4 / 7, np.nan]}
    expected |= {"iou": [0.4, np.nan], "precision": [0.5, np.nan], "sensitivity": [2 / 3, np.nan]}
    for name, values in (expected | {"score": [0.5, 0.125]}).items():
        np.testing.assert_allclose(table[name], values, err_msg=name)
    assert metrics.slice_table(np.stack([TRUTH]), prob[:1] >= 0.51, prob[:1])["tp"] == 0


def test_a_set_without_slices_gives_empty_columns():
    table = metrics.slice_table(*np.zeros((2, 0, 3, 3), bool), np.zeros((0, 3, 3), np.float32))
    assert all(column.shape == (0,) for column in table.values())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_threshold_counts_are_exact_at_every_threshold(dtype):
    rng = np.random.default_rng(0)
    on_a_threshold = (rng.integers(0, 257, 2000) / 256).astype(dtype)
    one = dtype(1)
    beside = np.concatenate([np.nextafter(on_a_threshold, 0 * one), np.nextafter(on_a_threshold, one)])
    prob = np.concatenate([on_a_threshold, beside, rng.random(2000).astype(dtype), [0, 1]]).astype(dtype)
    truth = rng.random(prob.shape) < 0.3
    number = metrics.threshold_counts(truth, prob)
    for k, threshold in enumerate(metrics.THRESHOLDS):
        expected = metrics.counts(truth, prob >= threshold)
        assert tuple(field[k] for field in number) == expected
    assert metrics.THRESHOLDS[128] == 0.5


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1, np.inf])
def test_threshold_counts_refuse_what_is_no_probability(bad):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        metrics.threshold_counts(TRUTH, np.where(TRUTH, bad, 0.5))


def test_paper_metrics_worked_by_hand():
    truth = np.stack([TRUTH, EMPTY])  # sum t = 3
    prob = np.stack([np.where(PRED, 0.5, 0.0), np.full((3, 3), 0.25)])  # sum p = 4*0.5 + 9*0.25 = 4.25
    # sum(t p) = 2*0.5 = 1, pooled over both slices
    assert metrics.paper_dice(truth, prob) == pytest.approx(102 / 107.25)
    assert metrics.paper_iou(truth, prob) == pytest.approx(101 / 106.25)
    assert metrics.paper_dice(EMPTY, np.zeros((3, 3))) == metrics.paper_iou(EMPTY, np.zeros((3, 3))) == 1


def test_paper_scores_average_over_batches_in_the_order_given():
    truth = np.zeros((33, 10, 20), dtype=bool)
    truth[32] = True  # alone in the second batch: 200 true pixels and none found, so 100/300; the first batch: 1
    prob = np.zeros(truth.shape, dtype=np.float32)
    assert metrics.paper_scores(truth, prob) == pytest.approx({"paper_dice": 2 / 3, "paper_iou": 2 / 3})
    assert metrics.paper_scores(truth, prob, batch_size=33)["paper_dice"] == pytest.approx(1 / 3)
    assert metrics.paper_scores(truth, prob, batch_size=1)["paper_dice"] == pytest.approx((32 + 1 / 3) / 33)
    prob[32, :, :10] = 1  # 100 of 200 found: dice (200+100)/(300+100), iou (100+100)/(200+100)
    assert metrics.paper_scores(truth, prob) == pytest.approx({"paper_dice": 7 / 8, "paper_iou": 5 / 6})
    assert np.isnan(metrics.paper_scores(truth[:0], prob[:0])["paper_dice"])


def test_paper_sums_do_not_drift_in_single_precision():
    prob = np.full((32, 256, 256), 0.1, dtype=np.float32)
    truth = np.ones(prob.shape, dtype=bool)
    tenth, pixels = float(np.float32(0.1)), prob.size
    expected = (2 * pixels * tenth + 100) / (pixels + pixels * tenth + 100)
    assert metrics.paper_dice(truth, prob) == pytest.approx(expected, rel=1e-12)
