"""Batches of slices that Keras reads while it trains; no more than a few are in memory."""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from ich.base.paths import Rsna
from ich.rsna.layouts import targets
from ich.scans.png import read_image
from ich.train.augment import random_affine
from ich.train.batches import Batch, EpochBatches


@dataclass(frozen=True)
class Change:
    """Augmentation: turned, moved, mirrored; as published upside down too. An `AffineStrength`."""

    rotation_deg: float
    shift: float  # share of the image side
    shear_deg: float = 0.0
    scale: float = 0.0
    flip: bool = True
    upside_down: bool = True


class Batches(EpochBatches):
    """uint8 (batch, size, size, channels) and targets of the slices of `table` under one variant.

    One channel, or three with `near`, the ids below and above each slice: below, itself, above.

    With a `change`: shuffled and augmented, and drawn with `balance` (see `shares`). What an epoch holds follows from
    (seed, epoch), how a slice is changed from (seed, epoch, its row, how often it came before), so that the number of
    workers and a restart change nothing. Without: in order, as they are, all `n` of them; the last batch may hold some
    again.
    """

    def __init__(
        self, table: pd.DataFrame, files: Rsna, variant: str, task: str, size: int, batch_size: int,
        change: Change | None = None, seed: int = 0, workers: int = 0, near: pd.DataFrame | None = None,
        balance: float = 0.0,
    ) -> None:  # fmt: skip
        ids = table["id"]
        channels = [ids] if near is None else [near.loc[ids, "below"], ids, near.loc[ids, "above"]]
        self.paths = [[files.png(variant, name) for name in names] for names in zip(*channels, strict=True)]
        self.n = len(self.paths)
        self.targets = targets(table, task)
        self.size, self.change, self.seed = size, change, seed
        self.shares = shares(self.targets, balance) if balance else None
        super().__init__(batch_size, -(-self.n // batch_size), 0, workers, ends=change is None)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.change:
            return np.arange(self.n)
        rng = np.random.default_rng([self.seed, epoch])
        if self.shares is None:
            return rng.permutation(self.n)
        drawn = pd.Series(rng.choice(self.n, self.n, p=self.shares))
        return (drawn + self.n * drawn.groupby(drawn).cumcount()).to_numpy()  # each time changed in another way

    def _read(self, epoch: int, rows: np.ndarray) -> Batch:
        return np.stack([self._image(epoch, row) for row in rows]), self.targets[rows % self.n]

    def _image(self, epoch: int, row: int) -> np.ndarray:
        image = np.dstack([read_image(path, 1, self.size) for path in self.paths[row % self.n]])
        if not self.change:
            return image
        return augment(image, self.change, np.random.default_rng([self.seed, epoch, int(row)]))


def shares(targets: np.ndarray, balance: float) -> np.ndarray:
    """How often each slice is drawn (n,), in sum 1; `targets` 0/1 (n, labels).

    In proportion to the frequency of its rarest label, or of having none, to the power of -`balance`: with 1 six
    exclusive classes come equally often.
    """
    labels = np.column_stack([targets > 0, ~(targets > 0).any(1)])
    rarest = np.where(labels, labels.sum(0), np.inf).min(1)
    weight = rarest**-balance
    return weight / weight.sum()


def augment(image: np.ndarray, change: Change, rng: np.random.Generator) -> np.ndarray:
    """Turn, move and mirror (size, size, channels) uint8; zeros come in from outside."""
    size = image.shape[0]
    moved = cv2.warpAffine(image, random_affine(size, change, rng), (size, size), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.5 and change.upside_down:
        moved = moved[::-1]
    return moved.reshape(image.shape)
