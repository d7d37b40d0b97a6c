"""A compiled network that many trainings use one after another: each starts from the same weights, compiled once."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from ich.base import paths
from ich.data.pixels import Slices
from ich.train import batch_norm, checkpoint, device, prediction
from ich.train.losses import LOSSES, epoch_metrics

if TYPE_CHECKING:
    import config as settings

WARM_UP = 0.05  # share of all steps in which the cosine schedule climbs to its peak


class Exact:
    """The float32 form of a network in training, for whole slices, which is saved, validated and scored.

    As a rule that is the network itself: `bare`, and `model` compiled on the same layers. Trained in mixed precision,
    on patches or with averaged weights, it has a `twin`, which takes over the weights at each use.
    """

    def __init__(self, bare: keras.Model, model: keras.Model, jit: str, twin: keras.Model | None = None) -> None:
        self._bare, self._model, self._predictor = bare, model, model
        self._network = prediction.as_float32(twin or bare)
        if self._network is not bare:
            self._predictor = keras.Model(self._network.inputs, self._network.outputs)
            self._predictor.compile(jit_compile=device.choose_jit(jit))

    @property
    def predictor(self) -> keras.Model:
        """Compiled for predictions, with the weights of now."""
        self._take_weights()
        return self._predictor

    def save(self, path: Path) -> None:
        """Write a .keras file without the optimizer, which would make it three times as large."""
        self._take_weights()
        self._network.save(path)

    def _take_weights(self) -> None:
        if self._network is not self._bare:
            prediction.take_weights(self._network, self._bare)
            self._model.optimizer.finalize_variable_values(self._network.trainable_variables)  # averages, if any


class Network:
    """`bare` is the network; `model` is compiled on the same layers, with the optimizer; `exact` is kept and scored.

    `build` makes it for slices of so many pixels a side: `recipe.patch`, or `size` where it is 0. `reset` brings it
    back to the initial weights of a seed.
    """

    def __init__(
        self, build: Callable[[int], keras.Model], size: int, config: "settings.Train", recipe: "settings.Recipe",
        steps: int,
    ) -> None:  # fmt: skip
        keras.mixed_precision.set_dtype_policy(device.choose_precision(config.precision))
        self._build, self._side, self.config, self._recipe, self._steps = (
            build, recipe.patch or size, config, recipe, steps
        )  # fmt: skip
        self.bare, self.model = self._compiled(config.seed)
        needs_twin = recipe.ema or self._side != size
        self.exact = Exact(self.bare, self.model, config.jit, build(size) if needs_twin else None)
        self._validation = epoch_metrics(paper=config.protocol == "slice")
        self._seed, self._initial = config.seed, checkpoint.read_state(self.model)

    def reset(self, seed: int) -> None:
        """Initial weights, optimizer and random states of `seed`, without compiling again."""
        if seed != self._seed:
            self._seed, self._initial = seed, checkpoint.read_state(self._compiled(seed)[1])
        checkpoint.write_state(self.model, self._initial)

    def _compiled(self, seed: int) -> tuple[keras.Model, keras.Model]:
        config, recipe = self.config, self._recipe
        keras.utils.set_random_seed(seed)
        bare = self._build(self._side)
        if config.init_weights:
            load_weights(bare, paths.starting_weights(config.init_weights))
        batch_norm.fuse(list(prediction.flat_layers(bare)))
        model = keras.Model(bare.inputs, bare.outputs)
        model.compile(
            optimizer=optimizer(recipe, self._steps), loss=LOSSES[recipe.loss](clean_weight=recipe.clean_weight),
            metrics=epoch_metrics(paper=config.protocol == "slice"), jit_compile=device.choose_jit(config.jit),
            steps_per_execution=device.steps_an_execution(self._steps),
        )  # fmt: skip
        return bare, model

    def validate(self, valid: Slices, batch_size: int) -> dict[str, float]:
        """`val_loss` and the metrics of all slices, as `evaluate` would give them.

        That one would have XLA compile again for the last, shorter batch of every fold.
        """
        prob = prediction.predict(self.exact.predictor, valid, batch_size)[..., None]
        total = 0.0
        for metric in self._validation:
            metric.reset_state()
        for start in range(0, len(prob), batch_size):
            truth, part = valid.masks[start : start + batch_size][..., None], prob[start : start + batch_size]
            total += len(truth) * float(self.model.loss(truth, part))
            for metric in self._validation:
                metric.update_state(truth, part)
        values = {f"val_{metric.name}": float(metric.result()) for metric in self._validation}
        return {**values, "val_loss": total / len(prob)}


def optimizer(recipe: "settings.Recipe", steps: int) -> keras.optimizers.Optimizer:
    """Adam; with `recipe.ema` it keeps averaged weights beside the others (Polyak and Juditsky 1992)."""
    rate = schedule(recipe, steps)
    if not recipe.ema:
        return keras.optimizers.Adam(rate)
    return keras.optimizers.Adam(rate, use_ema=True, ema_momentum=recipe.ema)


def schedule(recipe: "settings.Recipe", steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
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
    with prediction.reading(path, "its weights do not fit this network"):
        network.load_weights(path)
