"""Checks a network of one's own before hours of training: its shapes, its probabilities, and that it can be loaded."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ich.base.errors import InputError, is_out_of_memory
from ich.train import device, prediction

LAST_LAYER = 'end with layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")'
TOLERANCE = 1e-5
MOST_CHARACTERS = 200  # of an error's text
SCALES = (0, 0.1, 10)  # standard deviations of the weights in the last layer; 0: as they are


def check(name: str, build: Callable[[], keras.Model], shape: tuple[int, int, int], precision: str) -> None:
    """Raise InputError unless `build` gives a network that can be trained, scored, saved and loaded again.

    `shape` is that of a slice (rows, columns, channels), `precision` as in config.Train.
    """
    keras.mixed_precision.set_dtype_policy(device.choose_precision(precision))
    try:
        problem = _problem(build(), shape)
    except Exception as error:  # a network of one's own raises anything
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        problem = f"cannot be built or applied ({_text(error)}); --debug shows where"
        raise InputError(f"models.py: network '{name}' {problem}") from error
    if problem:
        raise InputError(f"models.py: network '{name}' {problem}")


def check_sizes(name: str, make: Callable[[int], keras.Model], size: int, patch: int) -> None:
    """Raise InputError unless the weights of a network for patches fit the one for whole slices."""
    whole, part = ([variable.shape for variable in make(side).weights] for side in (size, patch))
    if whole != part:
        raise InputError(
            f"models.py: network '{name}' has other weights for patches of {patch} pixels than for slices of {size}; "
            "use layers whose weights do not depend on the size, such as convolutions, or a recipe without patches"
        )


def _problem(network: object, shape: tuple[int, int, int]) -> str:
    """What is wrong, and what to do; "" if nothing is."""
    if not isinstance(network, keras.Model):
        return f"is a {type(network).__name__}, expected a keras.Model; return keras.Model(inputs, outputs)"
    return _wrong_shape(network, shape) or _wrong_values(network, shape) or _wrong_file(network, shape)


def _wrong_shape(network: keras.Model, shape: tuple[int, int, int]) -> str:
    if not getattr(network, "inputs", None):
        return "is a subclass of keras.Model without fixed shapes, expected return keras.Model(inputs, outputs)"
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        return f"has {len(network.inputs)} inputs and {len(network.outputs)} outputs, expected one of each"
    for what, tensor, expected in (
        ("takes", network.inputs[0], (None, *shape)),
        ("gives", network.outputs[0], (None, *shape[:2], 1)),
    ):
        if tuple(tensor.shape) != expected:
            advice = LAST_LAYER if what == "gives" else "build it from image_size and channels"
            return f"{what} {tuple(tensor.shape)}, expected {expected}; {advice}"
    dtype = keras.backend.standardize_dtype(network.outputs[0].dtype)
    return "" if dtype == "float32" else f"gives {dtype}, expected float32 under any precision; {LAST_LAYER}"


def _wrong_values(network: keras.Model, shape: tuple[int, int, int]) -> str:
    """Tried with fresh weights, and with others in the last layer: in 0..1 by chance, or all alike, they may be too."""
    fresh, rng, spread = network.get_weights(), np.random.default_rng(0), 0.0
    last = next((layer for layer in reversed([*prediction.flat_layers(network)]) if layer.trainable_variables), None)
    for scale in SCALES:
        for variable in last.trainable_variables if last and scale else ():
            variable.assign(rng.normal(scale=scale, size=variable.shape))
        values = _applied(network, shape)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(values).all() or low < 0 or high > 1:
            return f"gives values of {low:.3g} to {high:.3g}, expected probabilities, 0 to 1; {LAST_LAYER}"
        spread = max(spread, high - low)
    network.set_weights(fresh)
    return "" if spread else f"gives {low:.3g} for every pixel (a softmax over one channel?); {LAST_LAYER}"


def _wrong_file(network: keras.Model, shape: tuple[int, int, int]) -> str:
    """Saved in float32 and loaded again it must give the same. Loading runs no code of the file, so no Lambda."""
    own = sorted({type(layer).__name__ for layer in prediction.flat_layers(network) if not _is_built_in(layer)})
    hint = f"its layers {', '.join(own)} need" if own else "layers of your own need"
    advice = f"{hint} @keras.saving.register_keras_serializable() and get_config; write a layer instead of Lambda"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        try:
            exact = prediction.as_float32(network)
            exact.save(path)
            loaded = keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises anything
            if is_out_of_memory(error) or isinstance(error, OSError):
                raise
            return f"can't be saved and loaded again{'' if own else f' ({_text(error)})'}; {advice}"
        difference = float(np.abs(_applied(exact, shape) - _applied(loaded, shape)).max())
    if difference > TOLERANCE:
        return f"differs by {difference:.2g} after it is saved and loaded again; {advice}"
    return ""


def _text(error: Exception) -> str:
    """Its kind and the beginning of its text, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MOST_CHARACTERS]}"


def _applied(network: keras.Model, shape: tuple[int, int, int]) -> np.ndarray:
    """The output of a slice of noise and one of a bright square, as float32."""
    slices = np.zeros((2, *shape), np.float32)
    slices[0] = np.random.default_rng(0).integers(0, 256, shape)
    slices[1, shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = 255
    return np.asarray(keras.ops.convert_to_numpy(network(slices, training=False)), np.float32)


def _is_built_in(layer: keras.layers.Layer) -> bool:
    return type(layer).__module__.startswith("keras.") and not isinstance(layer, keras.layers.Lambda)
