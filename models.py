"""The networks, nothing else. To compare a third one: write one function and give it one entry in MODELS."""

from collections.abc import Callable

import keras
from keras import layers

from ich.base.errors import InputError

LEVELS = 5  # filters n, 2n, 4n, 8n, 16n
DROPOUT = 0.2  # of dunet, after each pooling
BN_MOMENTUM = 0.9  # Keras' 0.99 needs some hundred steps to forget the start; a small data set has not many more


def unet(image_size: int, channels: int, n_filters: int) -> keras.Model:
    """U-Net; each block is conv-ReLU-conv-BN-ReLU."""
    return _encoder_decoder("unet", image_size, channels, n_filters, norm_after_first=False, dropout=0)


def dunet(image_size: int, channels: int, n_filters: int) -> keras.Model:
    """D-Unet; each block is conv-BN-ReLU twice, and dropout follows each pooling."""
    return _encoder_decoder("dunet", image_size, channels, n_filters, norm_after_first=True, dropout=DROPOUT)


MODELS: dict[str, Callable[[int, int, int], keras.Model]] = {"unet": unet, "dunet": dunet}
PAPER_NAMES = {"UNet": "unet", "UNet1": "dunet"}  # what the published code calls them


def find(name: str) -> str:
    """The name in MODELS; the published code's names are accepted. Raises InputError."""
    name = PAPER_NAMES.get(name, name)
    if name not in MODELS:
        raise InputError(f"model '{name}': not in models.MODELS, expected one of {', '.join(MODELS)}")
    return name


def build(name: str, image_size: int = 256, channels: int = 1, n_filters: int = 32) -> keras.Model:
    """Build a network with fresh weights.

    Takes (batch, image_size, image_size, channels) grey levels 0..255 and gives (batch, image_size, image_size, 1)
    probabilities of blood, float32 whatever the precision of the layers. Raises InputError for an unknown name and
    for a size that cannot be halved four times.
    """
    if image_size % 2 ** (LEVELS - 1):
        raise InputError(f"image size {image_size}: expected a multiple of {2 ** (LEVELS - 1)}; cut the PNGs again")
    return MODELS[find(name)](image_size, channels, n_filters)


def _encoder_decoder(
    name: str, image_size: int, channels: int, n_filters: int, norm_after_first: bool, dropout: float
) -> keras.Model:
    inputs = keras.Input((image_size, image_size, channels), name="slice")
    x = layers.Rescaling(1 / 255)(inputs)
    skips = []
    for level in range(LEVELS):
        if level:
            skips.append(x)
            x = layers.MaxPooling2D(2)(x)
            x = layers.Dropout(dropout)(x) if dropout else x
        x = _block(x, n_filters * 2**level, norm_after_first)
    for level in reversed(range(LEVELS - 1)):
        filters = n_filters * 2**level
        x = layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _block(x, filters, norm_after_first)
    outputs = layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="blood")(x)
    return keras.Model(inputs, outputs, name=name)


def _block(x: keras.KerasTensor, filters: int, norm_after_first: bool) -> keras.KerasTensor:
    for norm in (norm_after_first, True):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
        x = layers.BatchNormalization(momentum=BN_MOMENTUM)(x) if norm else x
        x = layers.ReLU()(x)
    return x
