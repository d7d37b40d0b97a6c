"""What training minimises and what it shows each epoch; the tables are computed elsewhere, from whole scans."""

from typing import Any

import keras
from keras import ops

from ich.score.metrics import PAPER_SMOOTH

PAPER_BATCH = 32  # slices over which the published metric is pooled
FAST_SMOOTH = 1.0
EPSILON = 1e-7  # keeps the logarithm of cross-entropy finite


@keras.saving.register_keras_serializable("ich")
class DiceLoss(keras.losses.Loss):
    """1 - smoothed soft Dice, pooled over all pixels of the batch (the published loss: smooth 100).

    `clean_weight` above 0: of each slice by itself, and the mean over slices, in which one without blood has this
    weight (Spahr 2023: 0.2); large bleeds no longer outweigh small ones.
    """

    def __init__(
        self, smooth: float = PAPER_SMOOTH, name: str = "dice_loss", clean_weight: float = 0, **kwargs: object
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.smooth, self.clean_weight = smooth, clean_weight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """One number for masks and probabilities (batch, rows, columns, 1)."""
        both, total = _soft_sums(y_true, y_pred, axis=(1, 2, 3) if self.clean_weight else None)
        loss = 1 - (2 * both + self.smooth) / (total + self.smooth)
        if not self.clean_weight:
            return loss
        has_blood = ops.any(ops.cast(y_true, "float32") > 0, axis=(1, 2, 3))
        weight = ops.where(has_blood, 1.0, self.clean_weight)
        return ops.sum(weight * loss) / ops.sum(weight)


@keras.saving.register_keras_serializable("ich")
class DiceCrossEntropy(DiceLoss):
    """Soft Dice loss (smooth 1) + binary cross-entropy: its gradient does not vanish where nothing is found yet."""

    def __init__(self, smooth: float = FAST_SMOOTH, name: str = "dice_bce", **kwargs: Any) -> None:
        super().__init__(smooth, name, **kwargs)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The loss of DiceLoss plus the mean over all pixels."""
        truth, prob = ops.cast(y_true, "float32"), ops.clip(y_pred, EPSILON, 1 - EPSILON)
        entropy = -ops.mean(truth * ops.log(prob) + (1 - truth) * ops.log(1 - prob))
        return super().call(y_true, y_pred) + entropy


LOSSES = {"dice": DiceLoss, "dice_bce": DiceCrossEntropy}


class PooledOverlap(keras.metrics.Metric):
    """Dice or IoU at threshold 0.5, counts summed over all pixels of the epoch; nothing there and found: 0."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.counts = self.add_weight(shape=(2,), initializer="zeros", name="overlap_and_sum")

    def update_state(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: object = None) -> None:
        truth, found = ops.cast(y_true, "float32"), ops.cast(y_pred >= 0.5, "float32")
        both = ops.sum(truth * found)
        self.counts.assign_add(ops.stack([both, ops.sum(truth) + ops.sum(found)]))

    def result(self) -> keras.KerasTensor:
        both, total = self.counts[0], self.counts[1]
        above, below = (2 * both, total) if self.name == "dice" else (both, total - both)
        return above / ops.maximum(below, 1.0)


class PaperOverlap(keras.metrics.Mean):
    """The published metric: smoothed (100) soft Dice or IoU of each batch, averaged over batches."""

    def update_state(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: object = None) -> None:
        both, total = _soft_sums(y_true, y_pred)
        above, below = (2 * both, total) if self.name == "paper_dice" else (both, total - both)
        super().update_state((above + PAPER_SMOOTH) / (below + PAPER_SMOOTH))


def epoch_metrics(paper: bool) -> list[keras.metrics.Metric]:
    """What each epoch shows; `paper` adds the published metric."""
    own = [PooledOverlap("dice"), PooledOverlap("iou")]
    return own + ([PaperOverlap("paper_dice"), PaperOverlap("paper_iou")] if paper else [])


def _soft_sums(
    y_true: keras.KerasTensor, y_pred: keras.KerasTensor, axis: tuple[int, ...] | None = None
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Sums over all axes, or over `axis`, of the overlap and of both together."""
    truth, prob = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    return ops.sum(truth * prob, axis), ops.sum(truth, axis) + ops.sum(prob, axis)
