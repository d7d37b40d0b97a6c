"""Batch normalisation in bfloat16 on a CPU: one operation of TensorFlow instead of the dozen that Keras makes of it.

Those convert their input to float32, and each reads and writes all of it: nearly half of a training step. The one
reads bfloat16, computes in float32 and writes bfloat16.
"""

import functools
from collections.abc import Callable

import keras

from ich.train import device


def fuse(layers: list[keras.layers.Layer]) -> None:
    """Have the batch normalisations among these layers compute in one operation, where that is faster and the same.

    Nothing else of a layer changes: neither its weights nor its class or configuration, so copies are as Keras made
    them. Layers that compute in float32 are left as they are, to the bit.
    """
    if keras.backend.backend() == "tensorflow" and not device.gpu_name():
        for layer in filter(_can_be_fused, layers):
            setattr(layer, "call", functools.partial(_call, layer, layer.call))  # noqa: B010  mypy knows it as a method


def _can_be_fused(layer: keras.layers.Layer) -> bool:
    """A plain batch normalisation of the last of four axes, in bfloat16."""
    if type(layer) is not keras.layers.BatchNormalization or layer.compute_dtype != "bfloat16":
        return False
    is_plain = layer.scale and layer.center and not layer.renorm and not layer.synchronized
    return is_plain and layer.input_spec.ndim == 4 and layer.axis in (-1, 3)


def _call(
    layer: keras.layers.BatchNormalization,
    otherwise: Callable[..., keras.KerasTensor],
    inputs: keras.KerasTensor,
    training: bool | None = None,
    mask: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """As BatchNormalization.call: (batch, rows, columns, channels) bfloat16 -> the same; moves mean and variance."""
    if not (training and layer.trainable) or mask is not None:
        return otherwise(inputs, training=training, mask=mask)
    import tensorflow as tf

    weights = {"scale": layer.gamma.value, "offset": layer.beta.value, "mean": [], "variance": []}
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(x=inputs, epsilon=layer.epsilon, **weights)
    number = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
    variance *= (number - 1) / number  # Keras divides by the number of values, this operation by one less
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + now * (1 - layer.momentum))
    return outputs
