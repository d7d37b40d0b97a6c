"""Which device the backend computes on: the one place that speaks to TensorFlow, JAX or PyTorch itself."""

import contextlib

import keras

from ich.errors import InputError


def gpu_name() -> str | None:
    """The name of the first GPU that the backend sees; None without one."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU") if found else None
    if backend == "jax":
        import jax

        found = [device for device in jax.devices() if device.platform == "gpu"]
        return found[0].device_kind if found else None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def choose_precision(wanted: str) -> str:
    """The Keras dtype policy for `auto`, `float32` or `mixed_bfloat16`; auto is mixed on a GPU."""
    if wanted != "auto":
        return wanted
    return "mixed_bfloat16" if gpu_name() else "float32"


def choose_jit(wanted: str) -> bool:
    """Whether to compile with XLA: `auto` on a GPU, and always with JAX, which knows no other way."""
    if wanted == "auto":
        return keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and gpu_name() is not None)
    return wanted == "on"


def all_gpus(batch_size: int) -> contextlib.AbstractContextManager:
    """Within it a network is built and trained on all GPUs, each taking a share of every batch; one or none: no change.

    TensorFlow and JAX only; PyTorch uses the first GPU. Raises InputError where JAX can't share the batch out evenly.
    """
    backend = keras.backend.backend()
    if gpu_name() is None:
        return contextlib.nullcontext()
    if backend == "tensorflow":
        import tensorflow as tf

        if len(tf.config.list_physical_devices("GPU")) > 1:
            return tf.distribute.MirroredStrategy().scope()
    elif backend == "jax" and len(devices := keras.distribution.list_devices("gpu")) > 1:
        if batch_size % len(devices):
            raise InputError(f"--batch-size {batch_size}: expected a multiple of the {len(devices)} GPUs")
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return contextlib.nullcontext()
