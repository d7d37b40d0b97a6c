"""What a network must compute and move, by its own layers, and what a device can do at most. Imports Keras."""

import math
import re
from collections.abc import Callable

import keras

from benchmarks.common import seconds

MIB = 2**20
# Dense peaks of the vendor's data sheets: FLOP/s in bfloat16, and in float32 as the backends multiply it on these GPUs
# (TF32); bytes/s of the memory. Patterns are tried in order.
PEAKS = (
    (r"H200", {"mixed_bfloat16": 989e12, "float32": 494e12, "bytes_per_s": 4.8e12}),
    (r"H100 PCIe", {"mixed_bfloat16": 756e12, "float32": 378e12, "bytes_per_s": 2.0e12}),
    (r"H100", {"mixed_bfloat16": 989e12, "float32": 494e12, "bytes_per_s": 3.35e12}),
    (r"A100.*80GB", {"mixed_bfloat16": 312e12, "float32": 156e12, "bytes_per_s": 1.94e12}),
    (r"A100", {"mixed_bfloat16": 312e12, "float32": 156e12, "bytes_per_s": 1.56e12}),
)


def facts(network: keras.Model, device: str, precision: str) -> dict[str, object]:
    """What a training process reports of its network and device."""
    return {
        "parameters": network.count_params(), "device": device, "forward_macs": forward_macs(network),
        "forward_values": forward_values(network), "peaks": peaks(device, precision),
    }  # fmt: skip


def forward_macs(network: keras.Model) -> int:
    """Multiplications with additions of one image through all convolutions and dense layers; the rest is left out."""
    return sum(math.prod(layer.kernel.shape) * positions(layer) for layer in weighted(network))


def forward_values(network: keras.Model) -> int:
    """Values of one image that convolutions and dense layers read and write, if all between them were fused."""
    return sum(math.prod(shape[1:]) for layer in weighted(network) for shape in (layer.input.shape, layer.output.shape))


def weighted(network: keras.Model) -> list[keras.Layer]:
    """The layers with a kernel, of networks within the network too."""
    nested = [weighted(layer) if isinstance(layer, keras.Model) else [layer] for layer in network.layers]
    return [layer for layers in nested for layer in layers if hasattr(layer, "kernel")]


def positions(layer: keras.Layer) -> int:
    """How often a kernel is applied: at each pixel it writes, of a transposed convolution at each it reads."""
    turned = isinstance(layer, keras.layers.Conv2DTranspose)
    return math.prod((layer.input if turned else layer.output).shape[1:-1])


def peaks(device: str, precision: str) -> dict[str, object]:
    """FLOP/s and bytes/s at most: of the data sheet, or measured here where the device is not in the table."""
    for pattern, known in PEAKS:
        if re.search(pattern, device):
            return {"flop_per_s": known[precision], "bytes_per_s": known["bytes_per_s"], "of": "data sheet"}
    dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    return {"flop_per_s": matmul_rate(dtype), "bytes_per_s": copy_rate(), "of": "measured here"}


def matmul_rate(dtype: str, size: int = 2048, rounds: int = 5) -> float:
    """FLOP/s of a product of square matrices, the best of some rounds."""
    matrix = keras.ops.ones((size, size), dtype)
    return 2 * size**3 / _least(lambda: keras.ops.matmul(matrix, matrix), rounds)


def copy_rate(size: int = 256 * MIB, rounds: int = 5) -> float:
    """Bytes/s read and written by adding one to a large array."""
    values = keras.ops.ones((size // 4,), "float32")
    return 2 * size / _least(lambda: values + 1, rounds)


def _least(work: Callable[[], object], rounds: int) -> float:
    def wait() -> None:
        keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.ravel(work())[0], "float32"))  # waits for the device

    return min(seconds(wait) for _ in range(rounds + 1))  # the first one compiles
