"""Batches of slices that Keras reads while it trains; no more than a few are in memory."""

from dataclasses import dataclass

import cv2
import keras
import numpy as np
import pandas as pd

from ich.augment import random_affine
from ich.ct import read_image
from ich.paths import Rsna
from ich.rsna.layouts import targets


@dataclass(frozen=True)
class Change:
    """Augmentation as published: turned, moved, mirrored both ways. Fields as `ich.augment.Strength` reads them."""

    rotation_deg: float
    shift: float  # share of the image side
    shear_deg: float = 0.0
    scale: float = 0.0
    flip: bool = True


class Batches(keras.utils.PyDataset):
    """uint8 (batch, size, size, 1) and targets of the slices of `table` under one variant.

    With a `change`: shuffled and augmented; what an epoch holds follows from (seed, epoch), how a slice is changed from
    (seed, epoch, its row), so that the number of workers and a restart change nothing. Without: in order, as they are.
    The last batch is filled up from the start, since several GPUs need batches of one size: see `n`.
    """

    def __init__(
        self, table: pd.DataFrame, files: Rsna, variant: str, task: str, size: int, batch_size: int,
        change: Change | None = None, seed: int = 0, workers: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(workers=workers)
        self.paths = [files.png(variant, name) for name in table["id"]]
        self.n = len(self.paths)
        self.targets = targets(table, task)
        self.size, self.batch_size, self.change, self.seed = size, batch_size, change, seed
        self.begin(0)

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        places = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        rows = self.order[places % self.n]
        return np.stack([self._image(row) for row in rows]), self.targets[rows]

    def begin(self, epoch: int) -> None:
        """Draw the order of `epoch` (from 0); call it between epochs only."""
        self.epoch = epoch
        self.order = np.arange(self.n)
        if self.change:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.n)

    def _image(self, row: int) -> np.ndarray:
        image = read_image(self.paths[row], 1, self.size)
        if not self.change:
            return image
        return augment(image, self.change, np.random.default_rng([self.seed, self.epoch, int(row)]))


def augment(image: np.ndarray, change: Change, rng: np.random.Generator) -> np.ndarray:
    """Turn, move and mirror (size, size, 1) uint8; zeros come in from outside."""
    size = image.shape[0]
    moved = cv2.warpAffine(image, random_affine(size, change, rng), (size, size), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        moved = moved[::-1]
    return moved.reshape(image.shape)
