"""What a measuring process needs: this project's network, and one batch in memory to train it on. Imports Keras."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np

import config as settings
import models
from benchmarks import common
from ich.train import device
from ich.train.network import Network


class SameBatch(keras.utils.PyDataset):
    """The same uint8 images and targets `steps` times."""

    def __init__(self, images: np.ndarray, targets: np.ndarray, steps: int) -> None:
        super().__init__()
        self.pair, self.steps = (images, targets), steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.pair


def device_name() -> str:
    """The GPU that the backend sees, or CPU."""
    return device.gpu_name() or "CPU"


def segmenter(part: dict) -> Network:
    """The compiled network of a part: `network size filters precision jit`, with the recipe `fast`."""
    config = settings.Train(precision=part["precision"], jit=part["jit"])
    return Network(
        lambda side: models.build(part["network"], side, 1, part["filters"]),
        part["size"],
        config,
        settings.RECIPES["fast"],
        steps=100,
    )


def fit(model: keras.Model, batches: keras.utils.PyDataset, epochs: int = 1) -> None:
    """Train; it ends when the device has the loss of the last step."""
    begin = getattr(batches, "begin", None)  # draws the slices of an epoch
    draw = [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: begin(epoch))] if begin else []
    model.fit(device.feed(batches), epochs=epochs, verbose=0, shuffle=False, callbacks=draw)


def epochs_and_same_batch(
    model: keras.Model, make: Callable[[], keras.utils.PyDataset], epochs: int, rounds: int
) -> dict[str, float]:
    """Least seconds of some `epochs` of the batches, of as many steps on the `same_batch` in memory, and their ratio.

    The batches are made again each time: what an earlier round has left waiting would flatter.
    """
    with closing(make()) as batches:
        same = SameBatch(*batches[0], epochs * len(batches))

    def train() -> None:
        with closing(make()) as batches:
            fit(model, batches, epochs)

    best = in_turns({"epochs": train, "same_batch": functools.partial(fit, model, same)}, rounds)
    return {**best, "epoch_ratio": best["epochs"] / best["same_batch"]}


@contextlib.contextmanager
def closing(batches: keras.utils.PyDataset) -> Iterator[keras.utils.PyDataset]:
    """Stop the threads of batches that have any."""
    yield batches
    if hasattr(batches, "close"):
        batches.close()


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Shortest time of each in seconds, after a first round that compiles."""
    timed = {name: functools.partial(common.seconds, work) for name, work in works.items()}
    common.best_of(timed, 1)
    return common.best_of(timed, rounds)
