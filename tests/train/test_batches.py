"""What an epoch holds: balanced, full, and a matter of seed and epoch alone."""

import contextlib
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from config import RECIPES
from ich.base.errors import InputError
from ich.data.pixels import Pairs, Slices
from ich.train import device
from ich.train.batches import EpochBatches, PlainBatches, TrainingBatches

BATCH, STEPS, SIZE = 4, 3, 8
LESIONS, FREE = 5, 20  # slices; five of the free ones are `in_training`
STILL = replace(
    RECIPES["paper"], rotation_deg=0, shift=0, shear_deg=0, scale=0, flip=False, brightness=0, contrast=0, noise=0
)  # nothing is changed, so that a slice can be told by its grey


@pytest.fixture(scope="module")
def slices() -> Slices:
    """25 slices; number n is of the grey 10 n, and the first five hold a lesion of n + 1 pixels."""
    number = LESIONS + FREE
    lesion = np.where(np.arange(number) < LESIONS, np.arange(number) + 1, 0)
    table = pd.DataFrame({"lesion_pixels": lesion, "in_training": np.arange(number) < 2 * LESIONS})
    images = np.broadcast_to((10 * np.arange(number, dtype=np.uint8))[:, None, None, None], (number, SIZE, SIZE, 1))
    masks = (np.arange(SIZE * SIZE) < lesion[:, None]).reshape(number, SIZE, SIZE).astype(np.uint8)
    return Slices(table, images.copy(), masks)


def batches(slices: Slices, fresh: bool = True, epoch: int = 0, workers: int = 0, seed: int = 7) -> TrainingBatches:
    return TrainingBatches(slices, STILL, BATCH, STEPS, seed, fresh, epoch, workers)


def numbers(found: TrainingBatches) -> list[int]:
    """The slices of an epoch, in order."""
    return [int(image[0, 0, 0]) // 10 for step in range(len(found)) for image in found[step][0]]


def test_an_epoch_is_balanced_and_all_its_batches_are_full(slices: Slices) -> None:
    found = batches(slices)
    assert [found[step][0].shape for step in range(len(found))] == [(BATCH, SIZE, SIZE, 1)] * STEPS
    assert found[0][1].shape == (BATCH, SIZE, SIZE, 1)
    shown = numbers(found)
    epoch, filled_up = shown[: 2 * LESIONS], shown[2 * LESIONS :]
    assert sorted(epoch)[:LESIONS] == list(range(LESIONS))  # every lesion slice once
    assert len(set(epoch)) == 2 * LESIONS  # and as many different ones without
    assert filled_up == epoch[: BATCH * STEPS - 2 * LESIONS]


def test_images_and_masks_are_of_the_same_slice(slices: Slices) -> None:
    found = batches(slices)
    for step in range(len(found)):
        images, masks = found[step]
        number = images[:, 0, 0, 0] // 10
        np.testing.assert_array_equal(masks.sum((1, 2, 3)), np.where(number < LESIONS, number + 1, 0))


def test_lesion_free_slices_are_drawn_once_or_each_epoch(slices: Slices) -> None:
    def free(fresh: bool, epoch: int) -> set[int]:
        return {number for number in numbers(batches(slices, fresh, epoch)) if number >= LESIONS}

    assert free(False, 0) == free(False, 1) == set(range(LESIONS, 2 * LESIONS))  # those marked `in_training`
    assert len({frozenset(free(True, epoch)) for epoch in range(5)}) > 1
    assert set.union(*(free(True, epoch) for epoch in range(30))) == set(range(LESIONS, LESIONS + FREE))


def test_order_follows_seed_and_epoch(slices: Slices) -> None:
    assert numbers(batches(slices, epoch=3)) == numbers(batches(slices, epoch=3))
    assert numbers(batches(slices, epoch=3)) != numbers(batches(slices, epoch=4))
    assert numbers(batches(slices, epoch=3)) != numbers(batches(slices, epoch=3, seed=8))


def test_a_slice_is_changed_by_seed_epoch_and_row_alone(slices: Slices) -> None:
    def changed(epoch: int, steps: list[int]) -> dict[int, np.ndarray]:
        found = TrainingBatches(slices, replace(STILL, noise=20), BATCH, STEPS, 7, False, epoch, 0)
        rows = np.resize(found._order(epoch), BATCH * STEPS).reshape(STEPS, BATCH)
        return {int(row): image for step in steps for row, image in zip(rows[step], found[step][0], strict=True)}

    forward, backward, next_epoch = changed(2, [0, 1, 2]), changed(2, [2, 1, 0]), changed(3, [0, 1, 2])
    assert len(forward) == 2 * LESIONS
    for row, image in forward.items():
        np.testing.assert_array_equal(image, backward[row])
        assert not np.array_equal(image, next_epoch[row])


def test_batches_made_ahead_are_those_that_are_asked_for(slices: Slices) -> None:
    """In order, out of order, twice, and in another epoch than the one that was expected next."""
    with contextlib.closing(batches(slices, workers=3)) as ahead:
        for epoch, step in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 0), (1, 2), (1, 1), (5, 0), (2, 2)]:
            ahead.begin(epoch)
            for found, expected in zip(ahead[step], batches(slices, epoch=epoch)[step], strict=True):
                np.testing.assert_array_equal(found, expected)


def test_a_damaged_slice_is_told_by_the_batch_that_needs_it(slices: Slices) -> None:
    def damaged(row: int, neighbours: int = 0) -> tuple[np.ndarray, np.ndarray]:
        raise InputError(f"row {row} is damaged")

    found = batches(Pairs(slices.table, damaged), workers=2)
    with contextlib.closing(found), pytest.raises(InputError, match="is damaged"):
        found[0]


class Counted(EpochBatches):
    """Two rows a batch, one epoch; keeps which rows it was asked for."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        super().__init__(2, STEPS, 0, workers=1, ends=True)

    def _order(self, epoch: int) -> np.ndarray:
        return np.arange(2 * STEPS)

    def _read(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        self.made.append(rows.tolist())
        return rows


def test_nothing_is_made_beyond_the_only_epoch() -> None:
    with contextlib.closing(Counted()) as found:
        assert [found[step].tolist() for step in range(STEPS)] == [[0, 1], [2, 3], [4, 5]]
        assert not found._ahead.waiting
    assert found.made == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about TensorFlow")
def test_tensorflow_reads_the_same_and_tunes_nothing(slices: Slices) -> None:
    found = batches(slices)
    dataset = device.feed(found)
    assert not dataset.options().autotune.enabled
    assert len(dataset) == STEPS
    for step, pair in enumerate(dataset):
        for given, expected in zip(pair, found[step], strict=True):
            np.testing.assert_array_equal(given, expected)


@keras.saving.register_keras_serializable("test")
class Recorder(keras.Model):
    """Learns nothing; keeps the numbers of the slices that `fit` gives it."""

    def train_step(self, data: tuple) -> dict[str, float]:
        self.seen += [int(image[0, 0, 0]) // 10 for image in np.asarray(data[0])]
        return {"loss": 0.0}


def seen_in_fit(found: TrainingBatches, first: int, last: int) -> list[list[int]]:
    inputs = keras.Input((SIZE, SIZE, 1))
    model = Recorder(inputs, inputs)
    model.compile(loss="mse", run_eagerly=True)
    epochs: list[list[int]] = []

    def begin(epoch: int, logs: object) -> None:
        found.begin(epoch)
        model.seen = []

    keeper = keras.callbacks.LambdaCallback(
        on_epoch_begin=begin, on_epoch_end=lambda epoch, logs: epochs.append(model.seen)
    )
    model.fit(device.feed(found), epochs=last, initial_epoch=first, verbose=0, callbacks=[keeper], shuffle=False)
    return epochs


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_fit_sees_the_epochs_whatever_the_workers_and_after_a_restart(slices: Slices, workers: int) -> None:
    expected = [numbers(batches(slices, epoch=epoch)) for epoch in range(4)]
    assert seen_in_fit(batches(slices, workers=workers), 0, 4) == expected
    assert seen_in_fit(batches(slices, workers=workers, epoch=2), 2, 4) == expected[2:]


@pytest.mark.parametrize(("batch", "steps"), [(10, 3), (25, 1), (40, 1)])
def test_plain_batches_are_all_slices_in_order_and_all_full(slices: Slices, batch: int, steps: int) -> None:
    found = PlainBatches(slices.images, batch)
    parts = [found[step] for step in range(len(found))]
    assert [len(images) for images in parts] == [batch] * steps
    np.testing.assert_array_equal(np.concatenate(parts), np.resize(slices.images, (batch * steps, SIZE, SIZE, 1)))
