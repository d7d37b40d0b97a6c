"""The classifier: networks, where their weights come from, schedule and loss."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import Project
from keras import layers

import config as settings
import rsna_preprocess
import rsna_train
from ich.base import paths
from ich.base.errors import InputError
from ich.rsna import classifier, scores
from ich.train import device
from ich.train.prediction import flat_layers

SIZE = 32


def small_backbone(name: str, image_size: int) -> keras.Model:
    """The input layers of an EfficientNet and little more."""
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Normalization(axis=-1)(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "backbone_of", small_backbone)


def test_the_schedule_steps_down_in_equal_shares() -> None:
    config = settings.RsnaTrain()
    rate = classifier.schedule(config, steps=10)
    at = [float(keras.ops.convert_to_numpy(rate(epoch * 10 + step))) for epoch in range(25) for step in (0, 9)]
    assert at == pytest.approx([value for value in (6e-5, 3e-5, 1e-5, 8e-6, 1e-6) for _ in range(10)])


def test_the_loss_is_the_competitions() -> None:
    rng = np.random.default_rng(0)
    truth, prob = (rng.random((5, 6)) < 0.5).astype(np.float32), rng.random((5, 6)).astype(np.float32)
    got = keras.ops.convert_to_numpy(classifier.competition_loss(truth, prob))
    assert got == pytest.approx(scores.log_losses(truth, prob, True), rel=1e-4)


def imagenet_like() -> keras.Model:
    """A backbone with the input statistics of the published files, and weights of its own."""
    backbone = small_backbone("", SIZE)
    normalization = next(layer for layer in backbone.layers if isinstance(layer, layers.Normalization))
    normalization.adapt_mean.assign(classifier.IMAGENET_MEAN)
    normalization.adapt_variance.assign(classifier.IMAGENET_SD**2)
    normalization.finalize_state()
    return backbone


def configured(weights: object) -> settings.RsnaTrain:
    return settings.RsnaTrain(network="EfficientNetB0", image_size=SIZE, weights=str(weights))


def test_published_weights_get_the_second_rescaling(small: None, tmp_path: Path) -> None:
    backbone = imagenet_like()
    backbone.save(tmp_path / "b0_notop.h5")  # legacy HDF5, as published
    network = classifier.build(configured(tmp_path / "b0_notop.h5"))
    image = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1)).astype(np.float32)
    grey = np.repeat(image, 3, axis=-1)
    # As Keras builds it for weights="imagenet": /255, normalise, divide by sqrt(sd), then the first convolution.
    normalised = (grey / 255 - classifier.IMAGENET_MEAN) / classifier.IMAGENET_SD / np.sqrt(classifier.IMAGENET_SD)
    rest = keras.Model(backbone.layers[3].input, backbone.output)
    expected = keras.ops.convert_to_numpy(rest(normalised.astype(np.float32)))
    features = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    assert keras.ops.convert_to_numpy(features(grey)) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_own_weights_are_taken_as_they_are(small: None, tmp_path: Path) -> None:
    network = classifier.build(configured("none"))
    network.save(tmp_path / "best.keras")
    loaded = classifier.build(configured(tmp_path / "best.keras"))
    for a, b in zip(network.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_weights_that_do_not_fit(small: None, tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_text("no weights")
    with pytest.raises(InputError, match=r"do not fit this network.*; expected efficientnetb0_notop\.h5 as Keras publ"):
        classifier.build(configured(tmp_path / "bad.h5"))
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="a training here with the same --network"):
        classifier.build(configured(tmp_path / "other.keras"))


def test_weights_of_a_training_with_neighbours_fit_one_without(small: None, tmp_path: Path) -> None:
    with_neighbours = classifier.build(dataclasses.replace(configured("none"), neighbours=1))
    with_neighbours.save(tmp_path / "best.keras")
    loaded = classifier.build(configured(tmp_path / "best.keras"))
    for a, b in zip(with_neighbours.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_without_a_network_the_two_other_ways_are_named(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: object) -> keras.Model:
        raise Exception("URL fetch failure on https://...: None -- no route")

    monkeypatch.setattr(keras.applications, "EfficientNetB0", offline)
    with pytest.raises(
        InputError, match=r"URL fetch failure.*efficientnetb0_notop.h5 .*\.keras/models, or .*--weights FILE"
    ):
        classifier.build(configured("imagenet"))


def test_the_default_network_is_b7() -> None:
    assert classifier.backbone_of(settings.RsnaTrain().network, SIZE).count_params() == 64_097_687  # as in Keras


def test_one_gpu_or_none_changes_nothing() -> None:
    with device.all_devices(7) as scope:
        assert scope is None


@pytest.mark.slow
def test_an_efficientnet_trains(project: Project, tmp_path: Path) -> None:
    data, runs = ["--data", str(tmp_path / "data"), "--quiet", "--workers", "1"], ["--runs", str(tmp_path / "runs")]
    raw = ["--raw", str(project.root / "rsna" / "classes"), "--variants", "1_roi"]
    rsna_preprocess.main([*data, *raw, "--valid-share", "0.2", "--test-share", "0.2"])
    how = ["--network", "EfficientNetB0", "--image-size", str(SIZE), "--weights", "none", "--epochs", "1"]
    rsna_train.main([*data, *runs, *how, "--variant", "1_roi", "--batch-size", "16"])
    files = paths.Classification(tmp_path / "runs", "multiclass", "1_roi")
    assert json.loads(files.run.read_text())["parameters"] == 4_049_571 + 6 * (1280 + 1)
    assert np.isfinite(pd.read_csv(files.history)["val_loss"]).all()


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_a_network_scales_grey_levels_itself_and_momentum_reaches_all_normalisations(name: str, tmp_path: Path) -> None:
    config = dataclasses.replace(configured("none"), network=name, batch_norm_momentum=0.9)
    network = classifier.build(config)
    norms = [layer for layer in flat_layers(network) if isinstance(layer, layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.9}
    published = classifier.build(dataclasses.replace(config, batch_norm_momentum=0.0))
    assert 0.9 not in {getattr(layer, "momentum", 0) for layer in flat_layers(published)}
    backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    (scaled,) = [layer for layer in backbone.layers if isinstance(layer, layers.Rescaling)]
    assert scaled.scale in (1 / 255, 1 / 127.5)
    network.save(tmp_path / "best.keras")
    loaded = classifier.build(dataclasses.replace(config, weights=str(tmp_path / "best.keras")))
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 1)).astype(np.float32)
    both = [keras.ops.convert_to_numpy(each(image, training=False)) for each in (network, loaded)]
    assert np.array_equal(*both)


def test_published_weights_of_a_mobilenet_are_taken_as_they_are(tmp_path: Path) -> None:
    config = dataclasses.replace(configured("none"), network="MobileNetV3Small")
    backbone = classifier.backbone_of(config.network, SIZE)
    backbone.save_weights(tmp_path / "own.weights.h5")
    path = tmp_path / classifier.NETWORKS["MobileNetV3Small"].file
    assert path.name == "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    backbone.save(path)
    network = classifier.build(dataclasses.replace(config, weights=str(path)))
    loaded = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    for a, b in zip(backbone.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", classifier.NETWORKS)
def test_files_of_published_weights_are_those_that_keras_downloads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(file: str, origin: str, **_: object) -> str:
        asked.append(origin)
        raise Exception(f"URL fetch failure on {origin}")

    monkeypatch.setattr(keras.utils, "get_file", download)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", download)
    with pytest.raises(InputError, match="could not be downloaded"):
        classifier._downloaded(name)
    assert asked == [classifier.NETWORKS[name].url]


@pytest.fixture
def policy_after() -> Iterator[None]:
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_trained_in_bfloat16_it_is_scored_and_kept_in_float32(name: str, policy_after: None, tmp_path: Path) -> None:
    """With ImageNet's statistics at its input, as every published EfficientNet has them."""
    config = settings.RsnaTrain(
        network=name, image_size=SIZE, weights="none", batch_norm_momentum=0.01, precision="mixed_bfloat16"
    )
    made = classifier.Classifier(config, steps=1)
    for layer in flat_layers(made.bare):
        if isinstance(layer, layers.Normalization):
            layer.adapt_mean.assign(classifier.IMAGENET_MEAN)
            layer.adapt_variance.assign(classifier.IMAGENET_SD**2)
            layer.finalize_state()
    grey = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 1)).astype(np.float32)
    made.bare(grey, training=True)  # statistics of batch normalization, without which nothing comes through
    made.exact.save(tmp_path / "best.keras")
    kept = keras.models.load_model(tmp_path / "best.keras", compile=False)
    assert {layer.compute_dtype for layer in flat_layers(kept) if layer.weights} == {"float32"}
    scored = made.exact.predictor.predict(grey, verbose=0)
    assert np.ptp(scored) > 1e-3  # it tells something
    np.testing.assert_allclose(kept.predict(grey, verbose=0), scored, atol=1e-5)
    made.bare.save_weights(tmp_path / "trained.weights.h5")
    keras.mixed_precision.set_dtype_policy("float32")
    exact = classifier.build(config)
    exact.load_weights(tmp_path / "trained.weights.h5")
    np.testing.assert_allclose(exact.predict(grey, verbose=0), scored, atol=1e-5)
