"""A compiled network that many trainings use one after another: each starts from the same weights, compiled once."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import keras

from ich import checkpoint, device
from ich.errors import InputError
from ich.losses import LOSSES, epoch_metrics

WARM_UP = 0.05  # share of all steps in which the cosine schedule climbs to its peak


class Network:
    """`bare` is the network that is saved; `model` is compiled on the same layers, with the optimizer.

    Saving the bare one leaves the optimizer out of the .keras file, which would be three times as large.
    """

    def __init__(self, build: Callable[[], keras.Model], config: object, recipe: object, steps: int) -> None:
        keras.utils.set_random_seed(config.seed)
        keras.mixed_precision.set_dtype_policy(device.choose_precision(config.precision))
        self.bare = build()
        if config.init_weights:
            load_weights(self.bare, config.init_weights)
        self.model = keras.Model(self.bare.inputs, self.bare.outputs)
        self.model.compile(
            optimizer=keras.optimizers.Adam(schedule(recipe, steps)), loss=LOSSES[recipe.loss](),
            metrics=epoch_metrics(paper=config.protocol == "slice"), jit_compile=device.choose_jit(config.jit),
        )  # fmt: skip
        self._initial = checkpoint.read_state(self.model)

    def reset(self) -> None:
        """Back to the initial weights, optimizer and random states, without compiling again."""
        checkpoint.write_state(self.model, self._initial)


def schedule(recipe: object, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Learning rate by step, for `steps` an epoch.

    `inverse_time`, as published: lr / (1 + step * lr / epochs). `cosine`: climb to lr, then down to 0.
    """
    peak = recipe.learning_rate
    if recipe.schedule == "inverse_time":
        return keras.optimizers.schedules.InverseTimeDecay(peak, decay_steps=1, decay_rate=peak / recipe.epochs)
    total = steps * recipe.epochs
    climb = max(1, round(WARM_UP * total))
    return keras.optimizers.schedules.CosineDecay(
        peak / climb, max(1, total - climb), warmup_target=peak, warmup_steps=climb
    )


def load_weights(network: keras.Model, path: Path) -> None:
    """Start from the weights of a .keras or .weights.h5 file. Raises InputError when they do not fit."""
    try:
        network.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: its weights do not fit this network ({first})") from None
