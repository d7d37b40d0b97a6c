"""Trained networks as OpenVINO and ONNX files that need neither TensorFlow nor Keras, with a model card."""

import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import onnx

from ich import paths, prediction, runs
from ich.errors import InputError
from ich.phantom import make_patient
from ich.predict import engines, onnx_graph, quantize
from ich.predict.method import CARD, Method
from ich.predict.model_card import CARD_PAGE, page

MOST_DIFFERENCE = 1e-3  # between the probabilities of an exported file and of Keras
PROBED = 8  # phantom slices that both predict


def write(
    folder: Path, method: Method, trainings: list[paths.Training], scores: dict, measured: np.ndarray | None = None
) -> None:
    """Write `ich.onnx`, `ich.xml` and `ich.bin` (with OpenVINO), `model.json` last, and `MODEL_CARD.md`.

    `measured`: slices for quantize.write, which adds `ich_int8.xml` and `.bin`; without them there are none.
    Raises InputError when an exported file disagrees with Keras.
    """
    (folder / CARD).unlink(missing_ok=True)
    networks = [_as_onnx(training, method) for training in trainings]
    with runs.atomic(folder / engines.FILES["onnx"]) as temporary:
        onnx.save(onnx_graph.build(networks, method.size, method.windows), temporary)
    if engines.installed("openvino"):
        import openvino

        model = openvino.convert_model(folder / engines.FILES["onnx"])
        engines.save_openvino(model, folder / engines.FILES["openvino"])
    agreement = _agreement(folder, method, trainings)
    card = {
        "note": runs.RESEARCH_ONLY, "image_size": method.size,
        "windows": [(window.level, window.width) for window in method.windows], "threshold": method.threshold,
        "facts": method.facts, "scores": scores, "largest_difference_from_keras": agreement,
        "int8_dice_with_float32": None if measured is None else quantize.write(folder, measured, method.threshold),
    }  # fmt: skip
    runs.write_text(folder / CARD_PAGE, page(card))
    runs.write_json(folder / CARD, card)


def _as_onnx(training: paths.Training, method: Method) -> onnx.ModelProto:
    """One network by Keras' own export (tf2onnx)."""
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"--export: Keras runs on {keras.backend.backend()}; run it with KERAS_BACKEND=tensorflow")
    network = prediction.load(training, method.facts["weights"])
    network(np.zeros((1, *network.input_shape[1:]), np.float32))  # Keras exports only what was called once
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy's names in tf2onnx
        path = Path(place) / "network.onnx"
        network.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def _agreement(folder: Path, method: Method, trainings: list[paths.Training]) -> dict[str, float]:
    """Largest difference of probabilities between Keras and each exported file, on phantom slices."""
    hu = make_patient(seed=0, patient=1, size=min(512, 2 * method.size)).hu
    middle = np.linspace(0, hu.shape[2] - 1, PROBED).astype(int)
    hu = np.ascontiguousarray(hu[:, :, middle].transpose(2, 1, 0))
    expected = engines.keras(trainings, method.facts["weights"], method)(hu)
    found = {}
    for name, make in (("openvino", engines.openvino), ("onnx", engines.onnx)):
        if engines.installed(name):
            found[name] = float(np.abs(make(folder)(hu) - expected).max())
            if found[name] > MOST_DIFFERENCE:
                raise InputError(f"{folder}: {name} differs from Keras by {found[name]:.4f}, expected at most "
                                 f"{MOST_DIFFERENCE}; predict with --engine keras")  # fmt: skip
    return found
