"""The networks are exactly the published ones."""

import keras
import numpy as np
import pytest

import models
from ich.base.errors import InputError


@pytest.mark.parametrize(
    ("name", "filters", "total", "trainable"),
    [
        ("unet", 32, 7_765_409, 7_762_465),
        ("unet", 64, 31_042_369, 31_036_481),
        ("dunet", 16, 1_946_705, 1_943_761),
        ("dunet", 32, 7_771_297, 7_765_409),
    ],
)
def test_number_of_parameters(name: str, filters: int, total: int, trainable: int) -> None:
    model = models.build(name, 32, 1, filters)
    assert model.count_params() == total
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable


def test_names_of_the_published_code_are_accepted() -> None:
    assert models.find("UNet") == "unet"
    assert models.find("UNet1") == "dunet"
    with pytest.raises(InputError, match="unet, dunet"):
        models.find("resnet")


@pytest.mark.parametrize("name", models.MODELS)
def test_saved_and_loaded_network_predicts_the_same(name: str, tmp_path) -> None:
    model = models.build(name, 32, 3, 2)
    slices = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    before = model.predict(slices, verbose=0)
    assert before.shape == (2, 32, 32, 1)
    assert ((before > 0) & (before < 1)).all()
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded.predict(slices, verbose=0), before, rtol=0, atol=1e-6)


def test_layers_follow_the_definition() -> None:
    """unet has one batch normalisation a block, dunet two and a dropout of 0.2 after each of four poolings."""
    kinds = {}
    for name in ("unet", "dunet"):
        layers = models.build(name, 32, 1, 2).layers
        kinds[name] = [type(layer).__name__ for layer in layers]
        assert kinds[name].count("MaxPooling2D") == 4
        assert kinds[name].count("Conv2DTranspose") == 4
    assert kinds["unet"].count("BatchNormalization") == 9
    assert kinds["dunet"].count("BatchNormalization") == 18
    assert "Dropout" not in kinds["unet"]
    after_pooling = [kinds["dunet"][place + 1] for place, kind in enumerate(kinds["dunet"]) if kind == "MaxPooling2D"]
    assert after_pooling == ["Dropout"] * 4


def test_precision_of_the_output_is_float32_under_mixed_precision() -> None:
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.build("dunet", 32, 1, 2)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
