"""What computes: OpenVINO or ONNX Runtime with exported networks, or Keras with the trained ones.

An engine takes upright HU (slices, rows, columns) and gives probabilities float32 of the same shape. Networks that see
neighbouring slices need `near`, int (slices, 3), too: for each slice the one below, itself, and the one above.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ich.base.environment import requirements

import numpy as np

from ich.base import backend
from ich.base.errors import InputError
from ich.base.files import unfinished
from ich.base.paths import Training
from ich.data.pixels import stacked
from ich.predict.method import Method
from ich.scans.window import unsquare

INPUT, OUTPUT = "hu", "probability"  # names of an exported file's tensors
NETWORK = "ich.onnx"  # what both engines of exported files read
INT8 = "ich_int8.xml"  # what OpenVINO reads for --precision int8; its weights are beside it
WRITTEN = (NETWORK, INT8, "ich_int8.bin", "ich.xml", "ich.bin")  # all that an export may write, or once did
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "keras": "keras"}  # engine -> package; fastest first
EXPORTERS = ("keras", "tensorflow", "onnx", "tf2onnx")  # packages that write them
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # of integers the rest of the network is float32


class Engine(Protocol):
    """See above."""

    def __call__(self, hu: np.ndarray, near: np.ndarray | None = None) -> np.ndarray: ...


def installed(engine: str) -> bool:
    """Whether the engine's package can be imported; of Keras also the one that it computes with."""
    return backend.has(PACKAGES[engine]) and (engine != "keras" or backend.has(backend.name()))


def lacks_for_export() -> str:
    """What is missing here to write exported files, as text; empty where nothing is."""
    if missing := [name for name in EXPORTERS if not backend.has(name)]:
        return f"{', '.join(missing)} (pip install {requirements('requirements.txt', 'requirements-predict.txt')})"
    return "" if (name := backend.name()) == "tensorflow" else f"KERAS_BACKEND=tensorflow (it is {name})"


def files(precision: str) -> tuple[str, ...]:
    """What is read for a precision: the network, and of integers its weights."""
    return (INT8, str(Path(INT8).with_suffix(".bin"))) if precision == "int8" else (NETWORK,)


def choose(wanted: str, precision: str = "float32") -> str:
    """The fastest installed engine for `auto`, else `wanted`. Raises InputError when it can't do that."""
    name = next(filter(installed, PACKAGES if wanted == "auto" else [wanted]), None)
    if name is None and wanted == "auto":
        raise InputError(f"none of {', '.join(PACKAGES.values())} is installed; pip install openvino")
    if name is None:
        raise InputError(f"--engine {wanted}: {PACKAGES[wanted]} is not installed; pip install {PACKAGES[wanted]}")
    if precision != "float32" and name != "openvino":
        raise InputError(f"--precision {precision}: only OpenVINO computes in it, and the engine is {name}; "
                         "pip install openvino, or leave --precision out")  # fmt: skip
    return name


def exported(name: str, folder: Path, precision: str = "float32") -> Engine:
    """The engine `openvino` or `onnx` with the files in `folder`."""
    return openvino(folder, precision) if name == "openvino" else onnx(folder)


def openvino(folder: Path, precision: str = "float32") -> Engine:
    """OpenVINO on the CPU. bfloat16 is a hint: CPUs without it compute in float32. int8 has a file of its own."""
    import openvino as ov

    core = ov.Core()
    network = core.read_model(folder / files(precision)[0])
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "ENABLE_CPU_PINNING": False,  # threads may leave a core that another program uses
    }
    compiled: dict[tuple[int, ...], ov.CompiledModel] = {}

    def predict(part: np.ndarray) -> np.ndarray:
        """Probability of a slice in HU, float32 (1, rows, columns); its neighbours may be before and after it."""
        if part.shape not in compiled:  # a fixed shape lets OpenVINO plan its memory
            network.reshape(part.shape)
            compiled[part.shape] = core.compile_model(network, "CPU", hints)
        return compiled[part.shape](part)[0]

    return lambda hu, near=None: _one_by_one(predict, hu, near)


def onnx(folder: Path) -> Engine:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    session = onnxruntime.InferenceSession(folder / NETWORK, options, providers=["CPUExecutionProvider"])
    return lambda hu, near=None: _one_by_one(lambda part: session.run(None, {INPUT: part})[0], hu, near)


def keras(trainings: list[Training], weights: str, method: Method) -> Engine:
    """Keras with the networks of some folds; one network is in memory, the folds' weights take turns in it."""
    from ich.train import prediction

    network = prediction.load(trainings[0], weights)
    members = [network.get_weights()]
    for training in trainings[1:]:
        prediction.load_weights(network, training, weights)
        members.append(network.get_weights())

    def plain(grey: np.ndarray) -> np.ndarray:
        """Probabilities (n, size, size) of grey levels (n, size, size, channels), by the weights of now."""
        return network.predict(grey, prediction.BATCH_SIZE, verbose=0)[..., 0]

    answers = with_flip(plain) if method.flip else plain

    def predict(hu: np.ndarray, near: np.ndarray | None = None) -> np.ndarray:
        """Probabilities of upright HU, the mean of the folds."""
        grey, total = method.grey(hu), np.zeros((len(hu), method.size, method.size), np.float32)
        if near is not None:
            grey = stacked(grey, near)
        for member in members:
            network.set_weights(member)
            total += answers(grey)
        return np.stack([unsquare(plane, *hu.shape[1:]) for plane in total / len(members)])

    return predict


def with_flip(engine: Engine) -> Engine:
    """The mean of an engine's answers to the slices (n, rows, columns, ...) and to their left-right mirror images."""
    return lambda hu, *near: (engine(hu, *near) + engine(np.ascontiguousarray(hu[:, :, ::-1]), *near)[:, :, ::-1]) / 2


def save_openvino(model: object, path: Path) -> None:
    """Write an OpenVINO model as `path` (.xml) and its weights beside it (.bin).

    Two files that belong together: both are written elsewhere, then moved, weights first.
    """
    import openvino as ov

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{unfinished(path).name}.") as folder:
        temporary = Path(folder) / path.name
        ov.save_model(model, temporary, compress_to_fp16=False)  # halves would cost the agreement with Keras
        for written in (temporary.with_suffix(".bin"), temporary):
            written.replace(path.parent / written.name)


def _one_by_one(predict: Callable[[np.ndarray], np.ndarray], hu: np.ndarray, near: np.ndarray | None) -> np.ndarray:
    """A slice at a time: as fast on a CPU as several, and memory does not grow with the scan."""
    each = np.arange(len(hu))[:, None] if near is None else near
    return np.concatenate([predict(hu[rows].astype(np.float32)) for rows in each])
