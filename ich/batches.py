"""The batches that Keras reads."""

import keras
import numpy as np

from ich.augment import Strength, augment
from ich.stack import Slices


class TrainingBatches(keras.utils.PyDataset):
    """Balanced, shuffled, augmented batches.

    What an epoch holds follows from (seed, epoch), how a slice is changed from (seed, epoch, its row): the number of
    workers, the order of reading and a restart change nothing. An epoch has `steps` full batches. `begin` draws an
    epoch; Keras's own `on_epoch_end` is not used, since it is called once more before the first epoch.
    """

    def __init__(
        self, slices: Slices, how: Strength, batch_size: int, steps: int, seed: int,
        fresh_negatives: bool, epoch: int, workers: int,
    ) -> None:  # fmt: skip
        super().__init__(workers=workers)
        self.slices, self.how, self.batch_size, self.steps = slices, how, batch_size, steps
        self.seed = seed
        lesion = slices.table["lesion_pixels"].to_numpy() > 0
        chosen = slices.table["in_training"].to_numpy()
        self.positives = np.flatnonzero(lesion)
        self.negatives = np.flatnonzero(~lesion if fresh_negatives else ~lesion & chosen)
        self.n_negatives = int((~lesion & chosen).sum())
        self.begin(epoch)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        places = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        rows = self.order[places % len(self.order)]  # the last one is filled up from the start of the epoch
        pairs = [self._changed(row) for row in rows]
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])[..., None]

    def begin(self, epoch: int) -> None:
        """Draw the slices and the order of `epoch` (from 0); call it between epochs only."""
        self.epoch = epoch
        rng = np.random.default_rng([self.seed, epoch])
        negatives = rng.choice(self.negatives, self.n_negatives, replace=False)
        self.order = rng.permutation(np.concatenate([self.positives, negatives]))

    def _changed(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, self.epoch, int(row)])
        return augment(self.slices.images[row], self.slices.masks[row], self.how, rng)


class PlainBatches(keras.utils.PyDataset):
    """All slices once, in order, unchanged; the last batch may be shorter."""

    def __init__(self, slices: Slices, batch_size: int) -> None:
        super().__init__()
        self.slices, self.batch_size = slices, batch_size

    def __len__(self) -> int:
        return -(-len(self.slices.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.slices.images[rows], self.slices.masks[rows][..., None]
