"""A published network for one grey slice: six outputs, with or without ImageNet weights, compiled once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
from keras import layers

from ich.base.errors import InputError
from ich.rsna.batches import Batches
from ich.rsna.scores import ANY_WEIGHT
from ich.train import checkpoint, device
from ich.train.network import Exact, load_weights
from ich.train.prediction import flat_layers

if TYPE_CHECKING:
    import config as settings

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])  # of RGB in 0..1
IMAGENET_SD = np.array([0.229, 0.224, 0.225])
EFFICIENTNETS = "https://storage.googleapis.com/keras-applications"
MOBILENETS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3"
OUTPUTS = 6


class Published(NamedTuple):
    """A network of keras.applications: dropout before its outputs, where its weights without the top are."""

    dropout: float
    url: str

    @property
    def file(self) -> str:
        """The name under which Keras keeps the weights."""
        return self.url.rsplit("/", 1)[1]


NETWORKS = {
    **{f"EfficientNetB{k}": Published(dropout, f"{EFFICIENTNETS}/efficientnetb{k}_notop.h5")
       for k, dropout in enumerate((0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5))},
    **{f"MobileNetV3{size}": Published(0.2, f"{MOBILENETS}_{size.lower()}_224_1.0_float_no_top_v2.h5")
       for size in ("Small", "Large")},
}  # fmt: skip


def build(config: "settings.RsnaTrain") -> keras.Model:
    """(batch, image_size, image_size, channels) grey 0..255 -> six probabilities, with the weights that the user chose.

    One channel, or with neighbours three: the slices below, itself and above.
    Raises InputError when the weights can't be had or do not fit.
    """
    backbone = backbone_of(config.network, config.image_size)
    inputs = keras.Input((config.image_size, config.image_size, 3 if config.neighbours else 1))
    # In place of red, green and blue.
    features = backbone(inputs if config.neighbours else layers.Concatenate()([inputs] * 3))
    features = layers.Dropout(NETWORKS[config.network].dropout)(features)
    activation = "softmax" if config.task == "multiclass" else "sigmoid"
    outputs = layers.Dense(OUTPUTS, activation=activation, dtype="float32")(features)
    network = keras.Model(inputs, outputs, name=config.network)
    if config.weights == "imagenet":
        backbone.set_weights(_downloaded(config.network).get_weights())
        if _normalization(backbone):
            rescale_as_imagenet(backbone)
    elif config.weights != "none":
        _load(network, backbone, Path(config.weights))
    if config.batch_norm_momentum:
        for layer in flat_layers(backbone):
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = config.batch_norm_momentum
    return network


def backbone_of(name: str, image_size: int) -> keras.Model:
    """A network without its top, not yet trained; it takes grey levels 0..255 and scales them as its own."""
    shape = (image_size, image_size, 3)
    return getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape, pooling="avg")


def rescale_as_imagenet(backbone: keras.Model) -> None:
    """Divide the normalised input by the square root of ImageNet's deviations, which its weights expect.

    Keras adds a layer for it, but only to a network made with `weights="imagenet"`. Here it goes into the variance of
    the layer before: (x - mean) / sqrt(variance * sd), so that the network is the same wherever its weights are from.
    """
    normalization = _normalization(backbone)
    assert normalization
    normalization.adapt_variance.assign(keras.ops.convert_to_numpy(normalization.adapt_variance) * IMAGENET_SD)
    normalization.finalize_state()


def has_imagenet_input(backbone: keras.Model) -> bool:
    """Whether the normalisation takes off ImageNet's mean, as the published weights of an EfficientNet do."""
    if not (normalization := _normalization(backbone)):
        return False
    mean = np.ravel(keras.ops.convert_to_numpy(normalization.adapt_mean))
    return np.allclose(mean, IMAGENET_MEAN, atol=1e-3)


def _normalization(backbone: keras.Model) -> layers.Layer | None:
    """The layer that an EfficientNet begins with; a MobileNet has none."""
    return next((layer for layer in backbone.layers if isinstance(layer, layers.Normalization)), None)


def _downloaded(name: str) -> keras.Model:
    try:
        return getattr(keras.applications, name)(include_top=False, weights="imagenet", pooling="avg")
    except Exception as error:  # Keras raises a bare Exception when a download fails
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"ImageNet weights of {name} could not be downloaded ({first}); download {NETWORKS[name].url} where there "
            f"is a network and put it into {keras_models()}, or name it with --weights FILE; --weights none starts "
            "from nothing"
        ) from None


def keras_models() -> Path:
    """Where Keras keeps what it has downloaded, and looks before it downloads."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def _load(network: keras.Model, backbone: keras.Model, path: Path) -> None:
    """A .keras or .weights.h5 file is of the whole network, a plain .h5 of the part before the top, as published."""
    published = path.suffix == ".h5" and not path.name.endswith(".weights.h5")
    try:
        load_weights(backbone if published else network, path)
    except InputError as error:
        raise InputError(
            f"{error}; expected {NETWORKS[network.name].file} as Keras publishes it, without the top, or a .keras or "
            ".weights.h5 file of a training here with the same --network"
        ) from None
    if published and has_imagenet_input(backbone):  # a whole network was saved with the rescaling in it
        rescale_as_imagenet(backbone)


def competition_loss(truth: keras.KerasTensor, prob: keras.KerasTensor) -> keras.KerasTensor:
    """The competition's weighted log loss of each slice: the mean over labels, `any` counting 2 of 7."""
    prob = keras.ops.clip(prob, 1e-7, 1 - 1e-7)
    loss = keras.ops.binary_crossentropy(truth, prob)
    weight = keras.ops.convert_to_tensor([ANY_WEIGHT] + [1.0] * (OUTPUTS - 1))
    return keras.ops.sum(loss * weight, axis=-1) / keras.ops.sum(weight)


class Classifier:
    """`bare` is the network; `model` is compiled on the same layers, with the optimizer; `exact` is kept and scored.

    `reset` brings it back to the initial weights of a seed: those are the same for every variant.
    """

    def __init__(self, config: "settings.RsnaTrain", steps: int) -> None:
        keras.mixed_precision.set_dtype_policy(device.choose_precision(config.precision, depthwise=True))
        self.config, self.steps = config, steps
        self.bare, self.model = self._compiled(config.seed)
        self.exact = Exact(self.bare, self.model, config.jit)
        self._seed, self._initial = config.seed, checkpoint.read_state(self.model)

    def reset(self, seed: int) -> None:
        """Initial weights, optimizer and random states of `seed`, without compiling again."""
        if seed != self._seed:
            self._seed, self._initial = seed, checkpoint.read_state(self._compiled(seed)[1])
        checkpoint.write_state(self.model, self._initial)

    def predict(self, batches: Batches) -> np.ndarray:
        """Probabilities with the weights of now, float64 (n, 6), in the order of the slices."""
        prob = self.exact.predictor.predict(device.feed(batches), verbose=0)
        return np.asarray(prob, np.float64)[: batches.n]

    def _compiled(self, seed: int) -> tuple[keras.Model, keras.Model]:
        keras.utils.set_random_seed(seed)
        bare = build(self.config)
        model = keras.Model(bare.inputs, bare.outputs)
        multilabel = self.config.task == "multilabel"
        model.compile(
            optimizer=keras.optimizers.Adam(schedule(self.config, self.steps)),
            loss=competition_loss if multilabel else "categorical_crossentropy",
            metrics=[keras.metrics.BinaryAccuracy("accuracy") if multilabel else "accuracy"],
            jit_compile=device.choose_jit(self.config.jit),
        )
        return bare, model


def schedule(config: "settings.RsnaTrain", steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rates one after another, each for an equal share of the epochs; `steps` an epoch."""
    rates = list(config.learning_rates)
    ends = [round(config.epochs * k / len(rates)) * steps - 1 for k in range(1, len(rates))]  # last step of each
    return keras.optimizers.schedules.PiecewiseConstantDecay(ends, rates) if ends else rates[0]
