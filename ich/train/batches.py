"""The batches that Keras reads."""

import abc
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import keras
import numpy as np

from ich.data.pixels import Pairs, Slices, stacked
from ich.data.split import epoch_slices
from ich.train.augment import augment

if TYPE_CHECKING:
    import config as settings

AHEAD = 2  # batches a thread may be ahead of the training
Batch = tuple[np.ndarray, np.ndarray]
Read = Batch | np.ndarray  # images alone to predict


class EpochBatches(keras.utils.PyDataset, abc.ABC):
    """Yields `steps` full batches per epoch. Subclasses choose the rows (`_order`) and load them (`_read`).

    `begin` chooses the epoch; Keras's own `on_epoch_end` is not used, since it is called once more before the first
    epoch. The last batch is filled up from the start of the epoch, so that all have one shape.

    `workers` threads make batches ahead, beyond the end of the epoch too unless it `ends` there: those of Keras stop
    and start at each epoch, and the first batch of each is waited for. 0: none are made ahead. `close` ends them.
    """

    def __init__(self, batch_size: int, steps: int, epoch: int, workers: int, ends: bool = False) -> None:
        super().__init__()
        self.batch_size, self.steps = batch_size, steps
        self._ahead = _Ahead(self._batch, workers, steps if ends else sys.maxsize) if workers else None
        self.begin(epoch)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Read:
        step = self._drawn[0] * self.steps + index
        return self._ahead.take(step) if self._ahead else self._batch(step)

    def begin(self, epoch: int) -> None:
        """Read `epoch` (from 0) from now on; call it between epochs only."""
        self._drawn = epoch, self._order(epoch)  # at once, since threads read both

    def close(self) -> None:
        """End the threads."""
        if self._ahead:
            self._ahead.close()

    def _batch(self, step: int) -> Read:
        """Batch `step`, counted from the first epoch on."""
        epoch, index = divmod(step, self.steps)
        drawn, order = self._drawn
        if epoch != drawn:
            order = self._order(epoch)
        indices = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        return self._read(epoch, order[indices % len(order)])

    @abc.abstractmethod
    def _order(self, epoch: int) -> np.ndarray:
        """The rows of an epoch, from 0, as they are shown."""

    @abc.abstractmethod
    def _read(self, epoch: int, rows: np.ndarray) -> Read:
        """The batch of some rows in an epoch; several threads call it at once."""


class TrainingBatches(EpochBatches):
    """Balanced, shuffled, augmented batches.

    What an epoch holds follows from (seed, epoch), how a slice is changed from (seed, epoch, its row): the number of
    workers, the order of reading and a restart change nothing.
    """

    def __init__(
        self, slices: Slices | Pairs, strength: "settings.Recipe", batch_size: int, steps: int, seed: int,
        fresh_negatives: bool, epoch: int, workers: int,
    ) -> None:  # fmt: skip
        self.slices, self.strength, self.seed = slices, strength, seed
        lesion = slices.table["lesion_pixels"].to_numpy() > 0
        chosen = slices.table["in_training"].to_numpy()
        self.positives = np.flatnonzero(lesion)
        self.negatives = np.flatnonzero(~lesion if fresh_negatives else ~lesion & chosen)
        self.n_negatives = min(
            epoch_slices(lesion, chosen, strength.negatives_per_positive) - len(self.positives), len(self.negatives)
        )
        super().__init__(batch_size, steps, epoch, workers)

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        negatives = rng.choice(self.negatives, self.n_negatives, replace=False)
        return rng.permutation(np.concatenate([self.positives, negatives]))

    def _read(self, epoch: int, rows: np.ndarray) -> Batch:
        pairs = [self._changed(epoch, row) for row in rows]
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])[..., None]

    def _changed(self, epoch: int, row: int) -> Batch:
        rng = np.random.default_rng([self.seed, epoch, int(row)])
        return augment(*self.slices.pair(row, self.strength.neighbours), self.strength, rng)


class _Ahead:
    """Makes what will be asked for next, in threads; nothing from step `end` on."""

    def __init__(self, make: Callable[[int], Read], workers: int, end: int) -> None:
        self.make, self.most, self.end = make, AHEAD * workers, end
        self.pool = ThreadPoolExecutor(workers)
        self.waiting: dict[int, Future[Read]] = {}

    def take(self, step: int) -> Read:
        """Batch `step`; those after it are begun."""
        wanted = range(step, min(step + self.most + 1, self.end))
        self.waiting = {number: self.waiting.get(number) or self.pool.submit(self.make, number) for number in wanted}
        return self.waiting.pop(step).result()

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


class PlainBatches(EpochBatches):
    """The images once, in order, unchanged; with `near` (Slices.near) each with the channels of its neighbours."""

    def __init__(self, images: np.ndarray, batch_size: int, near: np.ndarray | None = None) -> None:
        self.images, self.near = images, near
        super().__init__(batch_size, -(-len(images) // batch_size), epoch=0, workers=0)

    def _order(self, epoch: int) -> np.ndarray:
        return np.arange(len(self.images))

    def _read(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        return self.images[rows] if self.near is None else stacked(self.images, self.near[rows])
