"""Losses and epoch metrics on 2x2 masks worked by hand, and beside the NumPy versions of the tables."""

import keras
import numpy as np
import pytest

from ich.score import metrics
from ich.train import losses

TRUTH = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], np.uint8)[..., None]
PROB = np.array([[[0.8, 0.4], [0.6, 0.0]], [[0.2, 0.0], [0.0, 0.0]]], np.float32)[..., None]
# soft, both slices together: sum(t p) = 0.8 + 0.4 = 1.2; sum t = 2; sum p = 0.8 + 0.4 + 0.6 + 0.2 = 2.0
# hard (p >= 0.5): found are 0.8 (true) and 0.6 (false) -> both 1, true 2, found 2


def test_dice_loss_is_smoothed_by_100_and_pooled_over_the_batch() -> None:
    # 1 - (2*1.2 + 100) / (2 + 2 + 100) = 1 - 102.4/104; slice by slice it would be another number
    assert float(losses.DiceLoss()(TRUTH, PROB)) == pytest.approx(1 - 102.4 / 104, abs=1e-6)


def test_dice_cross_entropy_adds_the_mean_cross_entropy_of_all_pixels() -> None:
    dice = 1 - (2 * 1.2 + 1) / (2 + 2 + 1)  # smooth 1
    # true pixels: -ln 0.8, -ln 0.4; others: -ln(1-0.6), -ln(1-0.2); four certain and right ones: 0; of 8 pixels
    entropy = -(np.log(0.8) + np.log(0.4) + np.log(0.4) + np.log(0.8)) / 8
    assert float(losses.DiceCrossEntropy()(TRUTH, PROB)) == pytest.approx(dice + entropy, abs=1e-6)


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_cross_entropy_of_certain_and_wrong_pixels_is_finite(prob: float) -> None:
    loss = losses.DiceCrossEntropy()(np.full((1, 2, 2, 1), 1 - prob), np.full((1, 2, 2, 1), prob, np.float32))
    assert np.isfinite(float(loss))
    assert float(loss) > 10  # -ln of the smallest probability kept


def test_pooled_overlap_counts_over_batches_and_is_no_mean_of_ratios() -> None:
    # batch 1 (slice 1): both 1, true 2, found 2. batch 2: both 1, true 1, found 1.
    # pooled: Dice 2*2 / (3+3) = 2/3, IoU 2/4. The mean of the batches' Dice would be (1/2 + 1) / 2 = 3/4.
    perfect = np.array([[[[1], [0]], [[0], [0]]]], np.float32)
    for name, expected in (("dice", 2 / 3), ("iou", 1 / 2)):
        metric = losses.PooledOverlap(name)
        metric.update_state(TRUTH[:1], PROB[:1])
        metric.update_state(perfect, perfect)
        assert float(metric.result()) == pytest.approx(expected)
        metric.reset_state()
        assert float(metric.result()) == 0  # nothing there, nothing found


def test_paper_overlap_is_the_mean_over_batches() -> None:
    # slice 1: Dice (2*1.2 + 100) / (2 + 1.8 + 100), IoU (1.2 + 100) / (2 + 1.8 - 1.2 + 100)
    # slice 2 (empty, 0.2 found): Dice and IoU 100 / 100.2
    expected = {"paper_dice": (102.4 / 103.8 + 100 / 100.2) / 2, "paper_iou": (101.2 / 102.6 + 100 / 100.2) / 2}
    for name, value in expected.items():
        metric = losses.PaperOverlap(name)
        for each in (0, 1):
            metric.update_state(TRUTH[each : each + 1], PROB[each : each + 1])
        assert float(metric.result()) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("lesion_share", [0.0, 0.02, 0.5])
def test_agreement_with_the_numpy_metrics(lesion_share: float) -> None:
    rng = np.random.default_rng(1)
    truth = rng.random((70, 16, 16)) < lesion_share
    prob = rng.random((70, 16, 16), np.float32)
    shown = {metric.name: metric for metric in losses.epoch_metrics(paper=True)}
    for start in range(0, 70, losses.PAPER_BATCH):  # 32, 32 and 6 slices
        batch = slice(start, start + losses.PAPER_BATCH)
        for metric in shown.values():
            metric.update_state(truth[batch, ..., None], prob[batch, ..., None])
    tp, fp, fn, _ = metrics.counts(truth, prob >= 0.5)
    wanted = {"dice": metrics.dice(tp, fp, fn), "iou": metrics.iou(tp, fp, fn), **metrics.paper_scores(truth, prob)}
    for name, value in wanted.items():
        assert float(shown[name].result()) == pytest.approx(value, abs=1e-5), name
    loss = float(losses.DiceLoss()(truth[..., None], prob[..., None]))
    assert loss == pytest.approx(1 - metrics.paper_dice(truth, prob), abs=1e-5)


def test_only_the_slice_protocol_shows_the_published_metric() -> None:
    assert [metric.name for metric in losses.epoch_metrics(paper=False)] == ["dice", "iou"]


def test_bfloat16_probabilities_are_summed_in_float32() -> None:
    """65,536 pixels of 0.5 are 32,768; bfloat16 stops counting at 256."""
    prob = keras.ops.full((1, 256, 256, 1), 0.5, dtype="bfloat16")
    loss = losses.DiceLoss()(np.ones((1, 256, 256, 1), np.uint8), prob)
    assert float(loss) == pytest.approx(1 - (2 * 32768 + 100) / (65536 + 32768 + 100), abs=1e-5)
