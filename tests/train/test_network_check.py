"""A network of one's own is refused before it trains, unless it can be trained, scored, saved and loaded."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import pandas as pd
import pytest
from conftest import Project
from keras import layers

import main_kfold
import models
from ich.base.errors import InputError
from ich.predict import engines
from ich.train import network_check

ROOT = Path(__file__).parents[2]
SHAPE = (32, 32, 1)


@keras.saving.register_keras_serializable("tests")
class Scale(layers.Layer):
    """Registered, with a weight and without settings."""

    def build(self, shape: tuple) -> None:
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, x: object) -> object:
        return x * self.factor


class Unregistered(layers.Layer):
    def call(self, x: object) -> object:
        return x * 0.5


@keras.saving.register_keras_serializable("tests")
class Forgetful(layers.Layer):
    """Has a setting that get_config lacks, so a loaded one has another."""

    def __init__(self, factor: float = 0.1, **others: object) -> None:
        super().__init__(**others)
        self.factor = factor

    def get_config(self) -> dict:
        return {key: value for key, value in super().get_config().items() if key != "factor"}

    def call(self, x: object) -> object:
        return x * self.factor


class Subclassed(keras.Model):
    def call(self, x: object) -> object:
        return x


def network(
    *middle: layers.Layer, filters: int = 1, activation: str | None = "sigmoid", dtype: str | None = "float32",
    shape: tuple[int | None, ...] = SHAPE, **last: object,
) -> Callable[[], keras.Model]:  # fmt: skip
    def build() -> keras.Model:
        x = inputs = keras.Input(shape)
        for layer in (layers.Conv2D(2, 3, padding="same", activation="relu"), *middle):
            x = layer(x)
        outputs = layers.Conv2D(filters, 1, activation=activation, dtype=dtype, **last)(x)
        return keras.Model(inputs, outputs)

    return build


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build",
    [
        network(), network(Scale()), network(layers.BatchNormalization(), layers.Dropout(0.5)),
        network(kernel_initializer="zeros"), network(activation="hard_sigmoid"),
        *(lambda name=name: models.build(name, 32, 1, 2) for name in models.MODELS),
    ],
)  # fmt: skip
def test_networks_that_can_be_trained(build: Callable[[], keras.Model], precision: str) -> None:
    network_check.check("mine", build, SHAPE, precision)


def two_outputs() -> keras.Model:
    made = network()()
    return keras.Model(made.inputs, [made.outputs[0], made.outputs[0]])


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (network(filters=2), r"gives \(None, 32, 32, 2\), expected \(None, 32, 32, 1\); end with layers.Conv2D\(1, 1,"),
        (network(layers.MaxPooling2D(2)), r"gives \(None, 16, 16, 1\), expected \(None, 32, 32, 1\)"),
        (network(shape=(None, None, 1)), r"takes \(None, None, None, 1\), expected \(None, 32, 32, 1\)"),
        (network(shape=(32, 32, 3)), r"takes \(None, 32, 32, 3\), expected .*; build it from image_size and channels"),
        (network(activation=None), r"gives values of .* to .*, expected probabilities, 0 to 1; end with"),
        (network(activation="relu"), r"gives values of 0 to .*, expected probabilities, 0 to 1"),
        (network(activation="tanh"), r"gives values of -.* to .*, expected probabilities, 0 to 1"),
        (network(activation="softmax"), r"gives 1 for every pixel \(a softmax over one channel\?\)"),
        (network(layers.Lambda(lambda x: x * 2)), r"can't be saved and loaded again; its layers Lambda need @keras"),
        (network(Unregistered()), r"can't be saved and loaded again; its layers Unregistered need @keras.saving."),
        (network(Forgetful(0.7)), r"differs by .* after it is saved and loaded again; its layers Forgetful need"),
        (two_outputs, r"has 1 inputs and 2 outputs, expected one of each"),
        (Subclassed, r"is a subclass of keras.Model without fixed shapes"),
        (lambda: "network", r"is a str, expected a keras.Model; return keras.Model\(inputs, outputs\)"),
        (lambda: 1 / 0, r"cannot be built or applied \(ZeroDivisionError: division by zero\); --debug shows where"),
    ],
)  # fmt: skip
def test_networks_that_are_refused(build: Callable[[], keras.Model], line: str) -> None:
    with pytest.raises(InputError, match=r"^models.py: network 'mine' " + line):
        network_check.check("mine", build, SHAPE, "float32")


def test_half_precision_at_the_end_is_refused() -> None:
    with pytest.raises(InputError, match="gives bfloat16, expected float32 under any precision"):
        network_check.check("mine", network(dtype=None), SHAPE, "mixed_bfloat16")


def test_it_is_refused_before_anything_is_trained(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models.MODELS, "mine", lambda size, channels, n: network(filters=2, shape=(size, size, 1))())
    flags = ["--data", str(project.data), "--runs", str(tmp_path), "--epochs", "1"]
    with pytest.raises(InputError, match="network 'mine' gives"):
        main_kfold.main([*flags, "--models", "dunet=2", "mine=2"])
    assert not [*tmp_path.rglob("history.csv"), *tmp_path.rglob("*.keras")]


LAYER_OF_ONES_OWN = """

@keras.saving.register_keras_serializable("mine")
class Scale(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return x * self.factor


def mine(image_size, channels, n_filters):
    inputs = keras.Input((image_size, image_size, channels))
    x = Scale()(layers.Conv2D(n_filters, 3, padding="same", activation="relu")(inputs))
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x))


MODELS["mine"] = mine
"""


@pytest.mark.slow
def test_a_layer_of_ones_own_through_every_later_step(project: Project, tmp_path: Path) -> None:
    """Each step is a process of its own, which knows the layer from models.py alone."""
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "ich"]:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / path.name)
    with (tmp_path / "models.py").open("a") as file:
        file.write(LAYER_OF_ONES_OWN)

    def call(script: str, *flags: str) -> None:
        command = [sys.executable, str(tmp_path / script), *flags, "--runs", str(tmp_path / "runs")]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    data, reports = ["--data", str(project.data)], ["--reports", str(tmp_path / "reports")]
    call("main_kfold.py", *data, "--models", "mine=2", "--epochs", "1", "--precision", "mixed_bfloat16")
    call("trials.py", *data, *reports)
    call("tests.py", *data, *reports)
    head = str(next((project.root / "unseen").glob("*.nii*")))
    call("predict.py", head, "--engine", "keras", "--out", str(tmp_path / "keras"))
    by_keras = volume(tmp_path / "keras")
    if not engines.lacks_for_export() and engines.installed("onnx"):
        call("predict.py", head, "--engine", "onnx", "--out", str(tmp_path / "onnx"))
        assert volume(tmp_path / "onnx") == pytest.approx(by_keras, rel=0.01)


def volume(folder: Path) -> float:
    return float(pd.read_csv(folder / "volumes.csv")["volume_ml"].item())
