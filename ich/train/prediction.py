"""What networks say of slices: one network, or the mean of a run's folds."""

import contextlib
import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from ich.base import guard
from ich.base.errors import InputError, is_out_of_memory
from ich.base.paths import Training
from ich.data.pixels import Slices
from ich.train import device
from ich.train.batches import PlainBatches

BATCH_SIZE = 16
THREE = 3  # slices: below, itself, above
OWN_LAYERS = "models"  # what registers layers of the user's own, which a saved network names only
DAMAGED = "cannot be loaded", "; delete its folder and run main_kfold.py again"


def predict(model: keras.Model, slices: Slices, batch_size: int = BATCH_SIZE, flip: bool = False) -> np.ndarray:
    """Probabilities of blood, float32 (n, size, size), in the order of the rows.

    A network that takes three times the channels of a slice is given those of its neighbours too. With `flip` the mean
    with the answers to the left-right mirrored slices.
    """
    if flip:
        mirrored = dataclasses.replace(slices, images=np.ascontiguousarray(slices.images[:, :, ::-1]))
        return (predict(model, slices, batch_size) + predict(model, mirrored, batch_size)[:, :, ::-1]) / 2
    near = slices.near if model.input_shape[-1] == THREE * slices.images.shape[-1] else None
    prob = model.predict(device.feed(PlainBatches(slices.images, batch_size, near)), verbose=0)
    return np.asarray(prob, np.float32)[: len(slices.images), ..., 0]


def load(training: Training, weights: str) -> keras.Model:
    """The `last` or `best` network of a training, in float32. Raises InputError when the file is missing or damaged."""
    with reading(path := getattr(training, weights), *DAMAGED):
        if importlib.util.find_spec(OWN_LAYERS):
            importlib.import_module(OWN_LAYERS)
        return as_float32(keras.models.load_model(path, compile=False, safe_mode=True))  # no code from the file is run


def as_float32(network: keras.Model) -> keras.Model:
    """The network itself if all its layers compute in float32, else a copy of it that does, with the same weights.

    Weights are float32 in mixed precision too; only the layers' policy differs.
    """
    if all(layer.dtype_policy.name == "float32" for layer in flat_layers(network)):
        return network

    def exact(layer: keras.Operation) -> keras.Operation:
        """Bare operations, such as the additions of a MobileNet, have no policy: they compute as their inputs."""
        policy = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}
        return layer.__class__.from_config({**layer.get_config(), **policy})

    twin = keras.models.clone_model(network, clone_function=exact, recursive=True)
    take_weights(twin, network)
    return twin


def take_weights(network: keras.Model, source: keras.Model) -> None:
    """Give a network the weights of one like it, and what Keras derives from them only where it reads a file."""
    network.set_weights(source.get_weights())
    for layer in flat_layers(network):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def flat_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers, with those of networks within the network in their place."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer


def load_weights(network: keras.Model, training: Training, weights: str) -> None:
    """Put the weights of another fold into a loaded network. Raises InputError as `load` does."""
    with reading(path := getattr(training, weights), *DAMAGED):
        network.load_weights(path)


@contextlib.contextmanager
def reading(path: Path, problem: str, advice: str = "") -> Iterator[None]:
    """Turn whatever Keras, h5py and zipfile raise on a damaged file into an InputError of one line."""
    try:
        guard.check_file(path)
        guard.check_archive(path)
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: {problem} ({first}){advice}") from None


def predict_mean(trainings: list[Training], weights: str, slices: Slices, flip: bool = False) -> np.ndarray:
    """Mean of the networks' probabilities, float32 (n, size, size). One network is in memory at a time.

    `flip`: as for `predict`.
    """
    keras.backend.clear_session()
    network = load(trainings[0], weights)
    expected, actual = network.input_shape[1:], slices.images.shape[1:]
    if expected not in (actual, (*actual[:2], THREE * actual[2])):
        raise InputError(
            f"{getattr(trainings[0], weights)}: its network takes slices of {expected}, here are slices of {actual} "
            "(rows, columns, channels); it is of another run: train this one again"
        )
    total = predict(network, slices, flip=flip)
    for training in trainings[1:]:  # folds of a run are one network: only its weights change, nothing is compiled again
        load_weights(network, training, weights)
        total += predict(network, slices, flip=flip)
    return total / len(trainings)
