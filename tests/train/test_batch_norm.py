"""Batch normalisation in one operation: it learns what Keras' own does, and leaves everything else alone."""

import keras
import numpy as np
import pytest
from keras import layers

import config as settings
import models
from ich.train import batch_norm, device, prediction
from ich.train.network import Network

WEIGHTS = list(np.array([[1, 2, 0.5], [0, 1, -1], [0.1, 0.2, 0.3], [1, 2, 3]]))  # gamma, beta, moving mean, variance
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's operation")


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpu_name", lambda: None)


def network(dtype: str = "mixed_bfloat16", **settings: object) -> keras.Model:
    x = inputs = keras.Input((4, 4, 3))
    x = layers.BatchNormalization(dtype=dtype, name="norm", momentum=0.9, **settings)(x)
    return keras.Model(inputs, x)


def is_fused(model: keras.Model) -> bool:
    batch_norm.fuse(list(prediction.flat_layers(model)))
    return "call" in vars(model.get_layer("norm"))


def batch(seed: int) -> np.ndarray:
    """float32 (2, 4, 4, 3): eighths, which are exact in bfloat16; channels of different means and deviations."""
    values = np.random.default_rng(seed).normal([0, 3, -1], [1, 0.5, 2], (2, 4, 4, 3))
    return np.round(values * 8).astype(np.float32) / 8


def gradients(model: keras.Model, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Outputs in training, and the gradients of a weighted sum of them by input, gamma and beta."""
    import tensorflow as tf

    weights = batch(1)
    with tf.GradientTape() as tape:
        given = tf.Variable(x)
        outputs = tf.cast(model(given, training=True), "float32")
        total = tf.reduce_sum(outputs * weights)
    found = tape.gradient(total, [given, *[each.value for each in model.trainable_variables]])
    return outputs.numpy(), [each.numpy() for each in found]


@tensorflow_only
def test_outputs_gradients_and_moving_moments_are_those_of_keras() -> None:
    fused, plain = network(), network("float32")
    assert is_fused(fused)
    for model in (fused, plain):
        model.get_layer("norm").set_weights(WEIGHTS)
    (output, gradient), (expected, exact) = gradients(fused, batch(0)), gradients(plain, batch(0))
    np.testing.assert_allclose(output, expected, atol=0.02)  # of values up to 4: bfloat16 has 8 bits
    for one, other in zip(gradient, exact, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max() + 0.02)
    for one, other in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)  # a variance of 31 instead of 32 values would be 0.004 off


@tensorflow_only
def test_predictions_use_the_moving_moments() -> None:
    fused, plain = network(), network()
    assert is_fused(fused)
    for model in (fused, plain):
        model.get_layer("norm").set_weights(WEIGHTS)
    one, other = (keras.ops.convert_to_numpy(keras.ops.cast(each(batch(0)), "float32")) for each in (fused, plain))
    np.testing.assert_array_equal(one, other)


@tensorflow_only
def test_the_exact_twin_is_as_keras_makes_it() -> None:
    fused = network()
    assert is_fused(fused)
    twin = prediction.as_float32(fused).get_layer("norm")
    assert type(twin) is layers.BatchNormalization
    assert "call" not in vars(twin)


@tensorflow_only
@pytest.mark.parametrize("precision, expected", [("mixed_bfloat16", True), ("float32", False)])
def test_of_a_network_in_training(precision: str, expected: bool) -> None:
    def build(side: int) -> keras.Model:
        return models.build("dunet", side, 1, 2)

    made = Network(build, 32, settings.Train(precision=precision), settings.RECIPES["fast"], steps=2)
    norms = [layer for layer in made.model.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 18
    assert {"call" in vars(norm) for norm in norms} == {expected}


@tensorflow_only
@pytest.mark.parametrize(
    "given", [{"dtype": "float32"}, {"scale": False}, {"center": False}, {"axis": 1}, {"renorm": True}]
)
def test_others_stay(given: dict) -> None:
    assert not is_fused(network(**given))


def test_stays_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpu_name", lambda: "a GPU")
    assert not is_fused(network())


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_stays_with_another_backend(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert not is_fused(network())
