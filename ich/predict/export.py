"""Trained networks as an ONNX file that needs neither TensorFlow nor Keras, with a model card."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import atomic, write_json, write_text
from ich.phantom.head import make_patient
from ich.predict import engines, layers, quantize
from ich.predict.engines import INPUT, OUTPUT
from ich.predict.method import CARD, Method
from ich.predict.model_card import CARD_PAGE, page
from ich.scans.scan import consecutive
from ich.scans.window import Window
from ich.train import prediction

MOST_DIFFERENCE = 1e-3  # between the probabilities of an exported file and of Keras
# Of the operation Slice: columns (axis 2) from the last to the first. And one half.
MIRRORING = [
    onnx.numpy_helper.from_array(np.array([value], np.int64), f"mirroring/{name}")
    for name, value in (("start", -1), ("end", np.iinfo(np.int64).min), ("axis", 2), ("step", -1))
]
HALF = onnx.numpy_helper.from_array(np.float32(0.5), "mirroring/half")
PROBED = 8  # phantom slices that both predict


def write(
    folder: Path, method: Method, trainings: list[paths.Training], scores: dict, measured: np.ndarray | None = None
) -> None:
    """Write `ich.onnx`, `MODEL_CARD.md`, and `model.json` last.

    `measured`: slices for quantize.write, which adds `ich_int8.xml` and `.bin`; without them there are none.
    Files of an earlier export are removed first. Raises InputError when an exported file disagrees with Keras.
    """
    for name in (CARD, CARD_PAGE, *engines.WRITTEN):
        (folder / name).unlink(missing_ok=True)
    networks = [_network(training, method) for training in trainings]
    with atomic(folder / engines.NETWORK) as temporary:
        onnx.save(joined(networks, method.size, method.windows, method.neighbours, method.flip), temporary)
    agreement = _agreement(folder, method, trainings)
    int8 = None if measured is None else quantize.write(folder, measured, method.point.threshold)
    card = {
        "note": record.RESEARCH_ONLY, "image_size": method.size, "windows": method.window_pairs,
        "neighbours": method.neighbours, "test_time_flip": method.flip,
        **method.point._asdict(), "facts": method.facts, "scores": scores,
        "largest_difference_from_keras": agreement, "int8_dice_with_float32": int8,
        "files": record.fingerprints(folder / name for name in engines.WRITTEN),
    }  # fmt: skip
    write_text(folder / CARD_PAGE, page(card, method.choice))
    write_json(folder / CARD, card)


def joined(
    networks: Sequence[onnx.ModelProto], size: int, windows: Sequence[Window], neighbours: int = 0,
    flip: bool = False,
) -> onnx.ModelProto:  # fmt: skip
    """One model of `networks`, which take grey levels (n, size, size, windows), and of the layers around them.

    With `flip` each answers to the slices and to their left-right mirror images, and the mean counts.

    Input `hu`: float32 (slices, rows, columns), upright HU. Output `probability`: the same shape, 0 to 1; where the
    networks see neighbours, (slices - 2, rows, columns), since the outermost slices are nothing but neighbours.
    Each part is exported by itself: all ten networks at once would take Keras 12 GB.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def add(part: onnx.ModelProto, name: str, *given: str) -> str:
        """Append a part, its tensors renamed, that takes the tensors `given`; return the name of its result."""
        graph = compose.add_prefix(part, f"{name}/").graph
        for tensor, end in zip(given, graph.input, strict=True):
            nodes.append(helper.make_node("Identity", [tensor], [end.name]))
        nodes.extend(graph.node)
        constants.extend(graph.initializer)
        return graph.output[0].name

    before = _as_onnx(layers.before(size, windows, neighbours), slices=3 if neighbours else 1)
    pictures = add(before, "before", INPUT)
    if flip:
        constants.extend([*MIRRORING, HALF])
        nodes.append(_mirrored(pictures, "mirrored"))
        nodes.append(helper.make_node("Concat", [pictures, "mirrored"], [pictures := "both"], axis=0))
    found = [add(network, f"network_{k}", pictures) for k, network in enumerate(networks, start=1)]
    if flip:
        found = [_mean_with_mirrored(nodes, prob) for prob in found]
    result = add(_as_onnx(layers.after(size, len(found))), "after", INPUT, *found)
    nodes.append(helper.make_node("Identity", [result], [OUTPUT]))
    lengths = {INPUT: "slices", OUTPUT: "predicted" if neighbours else "slices"}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [slices, "rows", "columns"])
        for name, slices in lengths.items()
    ]
    graph = helper.make_graph(nodes, "ich", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=before.opset_import, ir_version=before.ir_version)
    onnx.checker.check_model(model)
    return model


def _mirrored(tensor: str, name: str) -> onnx.NodeProto:
    """The node that mirrors pictures (n, rows, columns, channels) left to right; it takes the constants MIRRORING."""
    return helper.make_node("Slice", [tensor, *(each.name for each in MIRRORING)], [name])


def _mean_with_mirrored(nodes: list[onnx.NodeProto], prob: str) -> str:
    """Append the mean of a network's answers: of the first half, and of the second half mirrored back."""
    plain, other, back, total, mean = (f"{prob}/{name}" for name in ("plain", "other", "back", "total", "mean"))
    nodes += [
        helper.make_node("Split", [prob], [plain, other], axis=0),
        _mirrored(other, back),
        helper.make_node("Add", [plain, back], [total]),
        helper.make_node("Mul", [total, "mirroring/half"], [mean]),
    ]
    return mean


def _network(training: paths.Training, method: Method) -> onnx.ModelProto:
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"--export: Keras runs on {keras.backend.backend()}; run it with KERAS_BACKEND=tensorflow")
    return _as_onnx(prediction.load(training, method.facts["weights"]))


def _as_onnx(model: keras.Model, slices: int = 1) -> onnx.ModelProto:
    """A Keras model by Keras' own export (tf2onnx), tried on so many slices."""
    shapes = [(slices, *(length or 1 for length in tensor.shape[1:])) for tensor in model.inputs]
    zeros = [np.zeros(shape, np.float32) for shape in shapes]
    model(zeros if len(zeros) > 1 else zeros[0])  # Keras exports only what was called once
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy's names in tf2onnx
        path = Path(place) / "model.onnx"
        model.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def _agreement(folder: Path, method: Method, trainings: list[paths.Training]) -> dict[str, float]:
    """Largest difference of probabilities between Keras and each engine with the exported file, on phantom slices."""
    hu = make_patient(seed=0, patient=1, size=min(512, 2 * method.size)).hu
    middle = np.linspace(0, hu.shape[2] - 1, PROBED).astype(int)
    hu = np.ascontiguousarray(hu[:, :, middle].transpose(2, 1, 0))
    near = consecutive(len(hu)) if method.neighbours else None
    expected = engines.keras(trainings, method.facts["weights"], method)(hu, near)
    found = {}
    for name in filter(engines.installed, ("openvino", "onnx")):
        found[name] = float(np.abs(engines.exported(name, folder)(hu, near) - expected).max())
        if found[name] > MOST_DIFFERENCE:
            raise InputError(f"{folder}: {name} differs from Keras by {found[name]:.4f}, expected at most "
                             f"{MOST_DIFFERENCE}; predict with --engine keras")  # fmt: skip
    return found
