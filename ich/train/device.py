"""Which device the backend computes on: the place that speaks to TensorFlow, JAX or PyTorch itself."""

import contextlib
import os
from collections.abc import Iterator

import keras

from ich.base import cpu
from ich.base.errors import InputError, MachineError, is_out_of_memory

MOST_TOGETHER = 32  # steps; an interruption waits for their end


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


def choose_precision(wanted: str, depthwise: bool = False) -> str:
    """The Keras dtype policy for `auto`, `float32` or `mixed_bfloat16`; auto is mixed where that is faster.

    That is on a GPU, and on a CPU that multiplies tiles of bfloat16, except for a network of mainly `depthwise`
    convolutions: they have little to multiply, and converting their numbers costs more than is saved.
    """
    if wanted != "auto":
        return wanted
    return "mixed_bfloat16" if gpu_name() or (_gains_on_cpu() and not depthwise) else "float32"


def _gains_on_cpu() -> bool:
    """Whether the backend's convolutions use the CPU's bfloat16: oneDNN's do, those that XLA makes for JAX don't."""
    uses_onednn = {"tensorflow": os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0", "torch": True, "jax": False}
    return uses_onednn[keras.backend.backend()] and cpu.has_flag(cpu.BFLOAT16)


def choose_jit(wanted: str) -> bool:
    """Whether to compile with XLA: `auto` on a GPU, and always with JAX, which always compiles."""
    if wanted == "auto":
        return keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and gpu_name() is not None)
    return wanted == "on"


def steps_an_execution(steps: int) -> int:
    """Steps that the backend takes without Python in between: on a GPU many, where it can."""
    return min(steps, MOST_TOGETHER) if gpu_name() and keras.backend.backend() != "torch" else 1


def feed(batches: keras.utils.PyDataset) -> object:
    """What Keras reads `batches` from, which all have one shape: for TensorFlow a dataset that is not tuned.

    Keras would have it tuned, by a thread that sleeps twice as long each time and is not always woken (TensorFlow
    2.21): the end of an epoch may then wait for it as long again as the epoch took.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def once() -> Iterator[object]:
        return (batches[index] for index in range(len(batches)))

    shapes = keras.tree.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), batches[0])
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(once, output_signature=shapes).with_options(options)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return dataset.prefetch(steps_an_execution(len(batches)) + 1)


def choose_kernels(deterministic: bool) -> None:
    """Before the first computation: whether to take only kernels that give the same bits each time, some slower."""
    if not deterministic:
        return
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "jax":
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    else:
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def memory_for(name: str, batch_size: int) -> Iterator[None]:
    """Turn out-of-memory errors into a MachineError that names the training and suggests a fix."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        helps = f"halve --batch-size (now {batch_size})" if batch_size > 1 else "take a smaller network or image size"
        raise MachineError(f"{name}: out of memory on {gpu_name() or 'the CPU'}; {helps}") from error


def all_devices(batch_size: int) -> contextlib.AbstractContextManager:
    """Build and train a network in this context on all GPUs, each taking a share of a batch; one or none: no change.

    Without a GPU on all CPU devices, of which there is one unless the backend is set to more. JAX computes as one
    device would; under TensorFlow batch normalisation and pooled losses see a device's share only. PyTorch uses the
    first GPU. Raises InputError where JAX can't share the batch out evenly.
    """
    found = device_names()
    if len(found) == 1:
        return contextlib.nullcontext()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.MirroredStrategy(found).scope()
    if batch_size % len(found):
        raise InputError(f"--batch-size {batch_size}: expected a multiple of the {len(found)} devices")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found))
    return contextlib.nullcontext()


def device_names() -> list[str]:
    """What a training is shared out over: the GPUs, or the CPU's devices; one of PyTorch."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return [each.name for each in found]
    return keras.distribution.list_devices() if backend == "jax" else [gpu_name() or "cpu"]
