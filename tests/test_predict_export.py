"""Exported files say what Keras says, and need neither Keras nor TensorFlow."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import nibabel as nib
import numpy as np
import pytest
from predict_files import SIZE, bright_is_blood, phantom, write_nifti, write_run

import models
import predict
from ich import native, runs
from ich.ct import Window
from ich.predict import engines
from ich.predict.method import Method

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from ich.predict import onnx_graph  # noqa: E402  (needs onnx)

ROOT = Path(__file__).parent.parent


def first_channel(size: int, share: float = 1 / 255) -> onnx.ModelProto:
    """A stand-in for a network: its probability is `share` times the grey level of the last window."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Gather", ["grey", "last"], ["one"], axis=3),
        helper.make_node("Mul", ["one", "share"], ["out"]),
    ]
    constants = [onnx.numpy_helper.from_array(np.array([-1]), "last"),
                 onnx.numpy_helper.from_array(np.float32(share), "share")]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in ("grey", "out")]
    graph = helper.make_graph(nodes, "first", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])


def answer(model: onnx.ModelProto, hu: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {engines.INPUT: hu.astype(np.float32)})[0]


@pytest.mark.parametrize("shape", [(64, 64), (96, 96), (50, 41), (41, 50), (100, 37), (32, 32), (32, 20), (512, 512)])
def test_graph_makes_the_pictures_of_training(shape: tuple[int, int]) -> None:
    """Window, padding and area averaging in the graph against OpenCV, and the way back; both round to grey levels."""
    hu = np.random.default_rng(0).integers(-100, 200, (3, *shape)).astype(np.int16)
    method = Method(SIZE, (Window(40, 120),), 0.5, {})
    grey = method.grey(hu)[..., 0].astype(np.float32) / 255
    expected = np.stack([engines.unsquare(plane, *shape) for plane in grey])
    found = answer(onnx_graph.build([first_channel(SIZE)], SIZE, method.windows), hu)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_small_slices_are_enlarged() -> None:
    """OpenCV computes with 11 bits there: a grey level may differ by one."""
    hu = np.random.default_rng(0).integers(-100, 200, (2, 20, 17)).astype(np.int16)
    method = Method(SIZE, (Window(40, 120),), 0.5, {})
    expected = np.stack([engines.unsquare(plane, 20, 17) for plane in method.grey(hu)[..., 0].astype(np.float32)])
    found = 255 * answer(onnx_graph.build([first_channel(SIZE)], SIZE, method.windows), hu)
    np.testing.assert_allclose(found, expected, atol=1.01)


def test_each_window_is_a_channel_and_members_are_averaged() -> None:
    hu = np.full((1, SIZE, SIZE), 100, np.int16)
    windows = (Window(40, 120), Window(80, 200))  # 100 HU is grey 255 and 153
    members = [first_channel(SIZE, 1 / 255), first_channel(SIZE, 3 / 255)]
    found = answer(onnx_graph.build(members, SIZE, windows), hu)
    np.testing.assert_allclose(found, 2 * 153 / 255, atol=native.PROBABILITY_STEP)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two folds, D-Unets of two levels with weights and batch statistics away from their start."""
    rng = np.random.default_rng(0)

    def network() -> keras.Model:
        made = models.build("dunet", SIZE, 1, 2)
        made.set_weights([np.abs(weight) + rng.uniform(0, 0.3, weight.shape) if weight.ndim == 1
                          else rng.normal(0, 0.5, weight.shape) for weight in made.get_weights()])  # fmt: skip
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "LEVELS", 2)
        return write_run(tmp_path_factory.mktemp("trained") / "runs", [network(), network()])


@pytest.fixture(scope="module")
def exported(trained: Path) -> Path:
    if not engines.can_export():
        pytest.skip("tf2onnx is not installed")
    predict.main(["--runs", str(trained), "--export", str(trained.parent / "exported"), "--quiet"])
    return trained.parent / "exported"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = phantom(80)
    return write_nifti(tmp_path_factory.mktemp("scan") / "head.nii.gz", made.hu[:, 5:70], made.affine)


def probabilities(tmp_path: Path, scan: Path, *flags: str) -> np.ndarray:
    predict.main([str(scan), "--out", str(tmp_path / "out"), "--probabilities", "--quiet", *flags])
    return nib.load(tmp_path / "out" / "head" / "probabilities.nii.gz").get_fdata()


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_exported_files_agree_with_keras(
    trained: Path, exported: Path, scan: Path, tmp_path: Path, engine: str
) -> None:
    pytest.importorskip(engines.PACKAGES[engine])
    expected = probabilities(tmp_path / "k", scan, "--runs", str(trained), "--engine", "keras")
    found = probabilities(tmp_path / "e", scan, "--model", str(exported), "--engine", engine)
    assert np.ptp(expected) > 0.2  # it is no constant that is compared
    assert np.abs(found - expected).max() < 1e-3


BLOCKED = """
import sys
for name in ("tensorflow", "keras", "jax", "torch", "sklearn", "matplotlib", "surface_distance", "onnx", "tf2onnx"):
    sys.modules[name] = None  # importing it fails
import predict
predict.main(sys.argv[1:])
"""


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_neither_keras_nor_tensorflow_is_needed(exported: Path, scan: Path, tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engines.PACKAGES[engine])
    command = [sys.executable, "-c", BLOCKED, str(scan), "--out", str(tmp_path), "--model", str(exported), "--view"]
    answer = subprocess.run([*command, "--engine", engine], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "head" / "mask.nii.gz").exists()
    assert (tmp_path / "head" / "view.html").exists()


def test_card_says_what_the_networks_are(exported: Path) -> None:
    card = runs.read_json(exported / "model.json")
    assert card["facts"]["folds"] == ["fold_01", "fold_02"]
    assert max(card["largest_difference_from_keras"].values()) < 1e-3
    page = (exported / "MODEL_CARD.md").read_text()
    for told in ("not for diagnosis", "Split by **patient**", ">= **0.2500**", "patients with blood: 0.9", "limits"):
        assert told in page


def test_run_is_exported_once_for_the_fastest_engine(
    trained: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not engines.can_export():
        pytest.skip("tf2onnx is not installed")
    fastest = engines.choose("auto")
    for out, expected in (("a", 1), ("b", 0)):
        probabilities(tmp_path / out, scan, "--runs", str(trained))
        told = capsys.readouterr().out
        assert told.count("exporting") == expected
        assert f"engine {fastest} (the fastest that is installed)" in told


def test_engine_that_is_not_installed_is_refused(
    trained: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*names: str) -> Callable[[str], bool]:
        return lambda name: engines.PACKAGES.get(name, name) not in names

    monkeypatch.setattr(engines, "installed", without("openvino"))
    with pytest.raises(engines.InputError, match="--engine openvino: openvino is not installed"):
        probabilities(tmp_path, scan, "--runs", str(trained), "--engine", "openvino")
    assert engines.choose("auto") == "onnx"
    monkeypatch.setattr(engines, "installed", without("openvino", "onnxruntime"))
    assert engines.choose("auto") == "keras"


def test_probability_of_bright_pixels_through_all_engines(tmp_path: Path, scan: Path) -> None:
    """With one network of one weight the answer is known: sigmoid(grey - 128) of the window 40/120."""
    folder = write_run(tmp_path / "runs", [bright_is_blood(128, 80)])
    for path in folder.rglob("run.json"):
        told = runs.read_json(path)
        told["identity"]["image_size"] = 80  # the scan's own size: nothing is resampled
        runs.write_json(path, told)
    hu = nib.load(scan).get_fdata()
    grey = np.clip(np.rint((hu + 20) * 2.125), 0, 255)
    for engine in filter(engines.installed, engines.PACKAGES):
        found = probabilities(tmp_path / engine, scan, "--runs", str(folder), "--engine", engine)
        np.testing.assert_allclose(found, 1 / (1 + np.exp(128 - grey)), atol=native.PROBABILITY_STEP)
