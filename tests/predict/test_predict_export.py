"""Exported files say what Keras says, and need neither Keras nor TensorFlow."""

import re
import shutil
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
from ich.base.files import read_json, write_json
from ich.predict import engines
from ich.predict.method import Method
from ich.scans import native
from ich.scans.window import Window
from ich.score.operating import FIXED

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
if engines.lacks_for_export():
    pytest.skip("tf2onnx is not installed, or Keras does not run on TensorFlow", allow_module_level=True)
from ich.predict import export, layers  # noqa: E402  (needs onnx)

ROOT = Path(__file__).parents[2]
SIZES = [(64, 64), (96, 96), (50, 41), (41, 50), (100, 37), (32, 32), (32, 20), (512, 512), (513, 471)]


def last_channel(share: float = 1 / 255) -> onnx.ModelProto:
    """A stand-in for a network: its probability is `share` times the grey level of the last window."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Gather", ["grey", "last"], ["one"], axis=3),
        helper.make_node("Mul", ["one", "share"], ["out"]),
    ]
    constants = [onnx.numpy_helper.from_array(np.array([-1]), "last"),
                 onnx.numpy_helper.from_array(np.float32(share), "share")]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in ("grey", "out")]
    graph = helper.make_graph(nodes, "last", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])


Answer = Callable[[np.ndarray], np.ndarray]


def answers(*networks: onnx.ModelProto, windows: tuple[Window, ...] = (Window(40, 120),), flip: bool = False) -> Answer:
    model = export.joined(networks, SIZE, windows, flip=flip).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda hu: session.run(None, {engines.INPUT: hu.astype(np.float32)})[0]


@pytest.fixture(scope="module")
def grey() -> Answer:
    return answers(last_channel())


@pytest.mark.parametrize("shape", SIZES)
def test_layers_make_the_pictures_of_training(grey: Answer, shape: tuple[int, int]) -> None:
    """Window, padding and area averaging in the file against OpenCV, and the way back; both round to grey levels."""
    hu = np.random.default_rng(0).integers(-100, 200, (3, *shape)).astype(np.int16)
    pictures = Method(SIZE, (Window(40, 120),), FIXED, {}).grey(hu)[..., 0].astype(np.float32) / 255
    expected = np.stack([engines.unsquare(plane, *shape) for plane in pictures])
    np.testing.assert_allclose(grey(hu), expected, atol=2e-6)


@pytest.mark.parametrize("window", ["40/120", "80/200", "50/100", "600/2800", "37.5/95", "75/215"])
def test_half_grey_levels_are_rounded_as_in_training(window: str) -> None:
    """Such as 20 HU * 255 / 200, where float32 and float64 may go different ways."""
    asked = Window.parse(window)
    hu = np.arange(-1024, 3072, 0.5, dtype=np.float32).reshape(1, 64, 128)
    np.testing.assert_array_equal(np.asarray(layers._grey(hu, asked)), asked(hu))


def test_small_slices_are_enlarged(grey: Answer) -> None:
    """OpenCV computes with 11 bits there: a grey level may differ by one."""
    hu = np.random.default_rng(0).integers(-100, 200, (2, 20, 17)).astype(np.int16)
    method = Method(SIZE, (Window(40, 120),), FIXED, {})
    expected = np.stack([engines.unsquare(plane, 20, 17) for plane in method.grey(hu)[..., 0].astype(np.float32)])
    np.testing.assert_allclose(255 * grey(hu), expected, atol=1.01)


def test_each_window_is_a_channel_and_members_are_averaged() -> None:
    hu = np.full((1, SIZE, SIZE), 100, np.int16)
    windows = (Window(40, 120), Window(80, 200))  # 100 HU is grey 255 and 153
    found = answers(last_channel(1 / 255), last_channel(3 / 255), windows=windows)(hu)
    np.testing.assert_allclose(found, 2 * 153 / 255, atol=1e-5)


@pytest.mark.parametrize("slices", [1, 3])
def test_the_mean_with_mirror_images_is_inside(slices: int) -> None:
    """Of networks whose probability grows from 0 on the patient's right to 1 on the left: with its mirror, one half."""
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32).reshape(1, 1, SIZE, 1)
    network = last_channel()
    network.graph.initializer.pop()
    network.graph.initializer.append(onnx.numpy_helper.from_array(ramp / 255, "share"))
    hu = np.random.default_rng(0).integers(-20, 100, (slices, SIZE, SIZE)).astype(np.int16)
    hu = np.round(hu / 8) * 8
    grey = Method(SIZE, (Window(40, 120),), FIXED, {}).grey(hu)[..., 0] / 255
    np.testing.assert_allclose(answers(network)(hu), grey * ramp[..., 0], atol=1e-5)
    np.testing.assert_allclose(answers(network, network, flip=True)(hu), grey / 2, atol=1e-5)


def soft(middle: float) -> keras.Model:
    """Probability sigmoid((grey - middle) / 16): many pixels of a head lie near any threshold."""
    network = bright_is_blood(middle)
    network.set_weights([np.full((1, 1, 1, 1), 1 / 16), np.full(1, -middle / 16)])
    return network


@pytest.fixture(scope="module")
def of_soft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported files of two such networks."""
    folder = tmp_path_factory.mktemp("soft")
    write_run(folder / "runs", [soft(120), soft(140)])
    predict.main(["--runs", str(folder / "runs"), "--export", str(folder / "exported"), "--quiet"])
    return folder / "exported"


def with_openvino(path: Path) -> Answer:
    network = pytest.importorskip("openvino").Core().compile_model(path, "CPU")
    return lambda hu: network(hu)[engines.OUTPUT]


def with_onnx_runtime(path: Path) -> Answer:
    session = onnxruntime.InferenceSession(path)
    return lambda hu: session.run(None, {engines.INPUT: hu})[0]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("runtime", [with_openvino, with_onnx_runtime])
def test_files_are_right_with_a_runtimes_own_settings(
    of_soft: Path, runtime: Callable[[Path], Answer], shape: tuple[int, int]
) -> None:
    """OpenVINO computes in bfloat16 where the CPU can: grey levels and weights are rounded then, places are not."""
    made = phantom(512).hu.transpose(2, 1, 0)[12:20:4]
    step = max(1, 512 // max(shape))
    hu = np.pad(made[:, ::step, ::step], ((0, 0), (0, 1), (0, 1)), mode="edge")[:, : shape[0], : shape[1]]
    hu = np.ascontiguousarray(hu, np.float32)
    grey = Method(SIZE, (Window(40, 120),), FIXED, {}).grey(hu)
    small = np.mean([soft(middle).predict_on_batch(grey)[..., 0] for middle in (120, 140)], axis=0)
    expected = np.stack([engines.unsquare(plane, *shape) for plane in small])
    found = runtime(of_soft / engines.NETWORK)(hu)
    assert np.ptp(expected) > 0.9
    assert np.abs(found - expected).max() < 0.05
    for threshold in (0.25, 0.5):
        both = ((found >= threshold) & (expected >= threshold)).sum()
        assert 2 * both / ((found >= threshold).sum() + (expected >= threshold).sum()) > 0.97


def run_shown_code(page: Path) -> list[dict]:
    """What each block of Python on a page leaves, run in the current folder."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2  # one for each runtime
    spaces: list[dict] = [{} for _ in blocks]
    for block, space in zip(blocks, spaces, strict=True):
        pytest.importorskip("openvino" if "openvino" in block else "onnxruntime")
        assert len(block.splitlines()) == 5
        exec(block, space)
    return spaces


@pytest.mark.parametrize(("page", "answers"), [("card", 1), ("docs", 3)])
def test_lines_of_code_that_are_shown_work(
    of_soft: Path, page: str, answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(of_soft if page == "card" else of_soft.parent)
    for space in run_shown_code(of_soft / "MODEL_CARD.md" if page == "card" else ROOT / "docs" / "predict.md"):
        np.testing.assert_allclose(space["probability"], 0.5 * (sigmoid(42.5, 120) + sigmoid(42.5, 140)), atol=2e-3)
        assert space["blood"].shape == (answers, 512, 512)


def test_documented_code_works_for_a_network_with_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "weights" / "patient" / "phantoms" / "exported", tmp_path / "exported")
    monkeypatch.chdir(tmp_path)
    for space in run_shown_code(ROOT / "docs" / "predict.md"):
        assert space["blood"].shape == (1, 512, 512)
        assert space["probability"].max() < 0.25  # slices of 0 HU


def sigmoid(grey: float, middle: float) -> float:
    return 1 / (1 + np.exp((middle - grey) / 16))


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
    card = read_json(exported / "model.json")
    assert card["facts"]["folds"] == ["fold_01", "fold_02"]
    assert max(card["largest_difference_from_keras"].values()) < 1e-3
    page = (exported / "MODEL_CARD.md").read_text()
    for told in ("not for diagnosis", "Split by **patient**", ">= **0.25**", "patients with blood: 0.9", "limits"):
        assert told in page


def test_run_is_exported_once_for_the_fastest_engine(
    trained: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastest = engines.choose("auto")
    for out, expected in (("a", 1), ("b", 0)):
        probabilities(tmp_path / out, scan, "--runs", str(trained))
        told = capsys.readouterr().out
        assert told.count("exporting") == expected
        assert f"engine {fastest} (the first installed of openvino, onnx, keras)" in told


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
        told = read_json(path)
        told["identity"]["image_size"] = 80  # the scan's own size: nothing is resampled
        write_json(path, told)
    hu = nib.load(scan).get_fdata()
    grey = np.clip(np.rint((hu + 20) * 2.125), 0, 255)
    for engine in filter(engines.installed, engines.PACKAGES):
        found = probabilities(tmp_path / engine, scan, "--runs", str(folder), "--engine", engine)
        np.testing.assert_allclose(found, 1 / (1 + np.exp(128 - grey)), atol=native.PROBABILITY_STEP)
