"""Which networks predict, with which windows, from which files: the requested ones, or an error."""

import errno
import html
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from predict_files import SIZE, THRESHOLD, bright_is_blood, phantom, write_nifti, write_run

import config as settings
import predict
from ich.base import backend, record
from ich.base.errors import InputError
from ich.base.files import read_json, write_json
from ich.data import identity, origin
from ich.predict import engines, method, networks
from ich.scans.window import Window
from ich.score.operating import Point

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = phantom()
    return write_nifti(tmp_path_factory.mktemp("head") / "head.nii.gz", made.hu, made.affine)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs", [bright_is_blood(150)])


def with_identity(folder: Path, **changes: object) -> Path:
    for path in folder.rglob("run.json"):
        told = read_json(path)
        told["identity"] |= changes
        write_json(path, told)
    return folder


def call(trained: Path, head: Path, *given: object) -> None:
    predict.main([str(head), "--runs", str(trained), "--out", str(trained.parent / "out"), *map(str, given)])


def mask(trained: Path) -> np.ndarray:
    return nib.load(trained.parent / "out" / "head" / "mask.nii.gz").get_fdata() > 0


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (["40/120"], ["40/120"]),
        (["40/120", "80/200"], ["40/120", "80/200"]),
        ("['40/120']", ["40/120"]),  # as earlier versions wrote it
        ("['40/120', '80/200']", ["40/120", "80/200"]),
        ([], []),
        (identity.UNKNOWN, []),
        (None, []),
    ],
)
def test_windows_of_a_run(stored: object, expected: list[str]) -> None:
    assert identity.windows(Path("run.json"), stored, len(expected)) == expected


@pytest.mark.parametrize("stored", ["['40/120'", "__import__('os')", "[" * 5000, "4", [7], ["40/120", "80/200"], ["a"]])
def test_damaged_windows_of_a_run(stored: object) -> None:
    with pytest.raises(InputError, match=r"run\.json: windows are .* expected 1 such as 40/120"):
        identity.windows(Path("run.json"), stored, 1)


@pytest.mark.parametrize(
    ("windows", "given", "reason"),
    [
        (identity.UNKNOWN, (), r"run dunet: was trained on own PNGs, whose HU window is unknown; .*--windows 40/120"),
        ([], (), r"run dunet: was trained on own PNGs, whose HU window is unknown; .*--windows 40/120"),
        ([], ("40/120", "80/200"), r"--windows 40/120 80/200: the network of run dunet takes 1, here are 2"),
        (["40/120"], ("80/200",), r"--windows 80/200: run dunet was trained with 40/120; leave it out"),
        ([], ("head.nii.gz",), r"--windows: 'head.nii.gz' is not a level/width .*name scans before the flags"),
        ([], ("40/120", "a/head.nii"), r"--windows: 'a/head.nii' is not a level/width"),
        ([], ("40/0",), r"--windows '40/0'"),
    ],
)
@pytest.mark.parametrize("engine", ["keras", "auto"])
def test_windows_that_are_unknown_or_others(
    trained: Path, head: Path, windows: object, given: tuple[str, ...], reason: str, engine: str
) -> None:
    with_identity(trained, windows=windows)
    with pytest.raises(InputError, match=reason):
        call(trained, head, "--engine", engine, *(["--windows", *given] if given else []))


@pytest.mark.parametrize(("windows", "given"), [(identity.UNKNOWN, "40/120"), ([], "50/100"), ("['50/100']", "50/100")])
def test_given_windows_are_used_by_every_engine(trained: Path, head: Path, windows: object, given: str) -> None:
    with_identity(trained, windows=windows)
    window = Window.parse(given)
    grey = window(nib.load(head).get_fdata()).astype(float)
    expected = 1 / (1 + np.exp(150 - grey)) >= THRESHOLD
    for engine in filter(engines.installed, engines.PACKAGES):
        call(trained, head, "--engine", engine, "--windows", given)
        np.testing.assert_array_equal(mask(trained), expected)


@pytest.mark.parametrize(("source", "is_said"), [(origin.PHANTOMS, True), (origin.CT_ICH, False), (None, False)])
def test_networks_of_phantoms_say_so_on_the_terminal_and_on_the_page(
    trained: Path, head: Path, capsys: pytest.CaptureFixture, source: str | None, is_said: bool
) -> None:
    for path in trained.rglob("run.json"):
        write_json(path, {**read_json(path), "origin": source or ""})
    call(trained, head, "--view")
    page = (trained.parent / "out" / "head" / "view.html").read_text()
    header = html.unescape(page.partition("<header>")[2].partition("</header>")[0])
    assert (origin.PHANTOM_NETWORKS in capsys.readouterr().out, origin.PHANTOM_NETWORKS in header) == (is_said, is_said)
    assert record.RESEARCH_ONLY in header


def test_results_and_exports_depend_on_the_windows(trained: Path, head: Path, capsys: pytest.CaptureFixture) -> None:
    with_identity(trained, windows=[])
    masks = []
    for window in ("40/120", "80/200"):
        call(trained, head, "--windows", window)
        told = capsys.readouterr().out
        assert "already predicted" not in told
        assert "exporting" in told or engines.lacks_for_export()
        masks.append(mask(trained))
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--run", "unet"], "--run"),
        (["--fold", "2"], "--fold"),
        (["--weights", "best"], "--weights"),
        (["--windows", "40/120"], "--windows"),
        (["--protocol", "slice"], "--protocol"),
        (["--runs", "elsewhere"], "--runs"),
        (["--run", "unet", "--fold", "2"], "--run, --fold"),
    ],
)
def test_flags_of_a_run_are_refused_beside_model(tmp_path: Path, head: Path, flags: list[str], named: str) -> None:
    with pytest.raises(InputError, match=f"--model .*leave out {named}, or leave out --model"):
        predict.main([str(head), "--model", str(tmp_path), *flags])


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["head.nii.gz"], "the scans"),
        (["--threshold", "0.3"], "--threshold"),
        (["--min-lesion-mm3", "0"], "--min-lesion-mm3"),
        (["--model", "exported"], "--model"),
        (["--flip", "--view"], "--flip, --view"),
        (["--engine", "onnx"], "--engine"),
    ],
)
def test_flags_of_a_prediction_are_refused_beside_export(tmp_path: Path, flags: list[str], named: str) -> None:
    with pytest.raises(InputError, match=f"--export: writes networks and predicts nothing; leave out {named}$"):
        predict.main(["--export", str(tmp_path / "exported"), *flags])


FLOAT32, INT8 = ("ich.onnx",), ("ich_int8.xml", "ich_int8.bin")
HOW = method.Method(SIZE, (Window(40, 120),), Point(0.25, 30), {"networks": ["a"], "folds": ["fold_01"]})


def written(folder: Path, names: tuple[str, ...], how: method.Method = HOW) -> None:
    """An export by hand."""
    for name in names:
        (folder / name).write_text(f"{name} of {how}")
    card = {"image_size": how.size, "windows": how.window_pairs, **how.point._asdict(), "facts": how.facts}
    write_json(folder / method.CARD, {**card, "files": record.fingerprints(folder / name for name in names)})


def changed(folder: Path, **values: object) -> None:
    write_json(folder / method.CARD, {**read_json(folder / method.CARD), **values})


def other(**changes: object) -> method.Method:
    return method.Method(**{**vars(HOW), **changes})


@pytest.mark.parametrize(
    ("change", "precision", "expected"),
    [
        (lambda folder: None, "float32", True),
        (lambda folder: None, "int8", False),  # it was exported without
        (lambda folder: written(folder, FLOAT32 + INT8), "int8", True),
        (lambda folder: written(folder, FLOAT32 + INT8), "float32", True),
        (lambda folder: [written(folder, FLOAT32 + INT8, other(facts={"networks": ["b"]})), written(folder, FLOAT32)],
         "int8", False),  # integers of an earlier training beside new float32 files
        (lambda folder: (folder / "ich.onnx").write_text("of another training"), "float32", False),
        (lambda folder: (folder / "ich.onnx").unlink(), "float32", False),
        (lambda folder: (folder / method.CARD).unlink(), "float32", False),
        (lambda folder: (folder / method.CARD).write_text("{}"), "float32", False),
        (lambda folder: written(folder, FLOAT32, other(facts={"networks": ["b"]})), "float32", False),
        (lambda folder: written(folder, FLOAT32, other(point=Point(0.5, 30))), "float32", False),
        (lambda folder: written(folder, FLOAT32, other(point=Point(0.25, 10))), "float32", False),
        (lambda folder: written(folder, FLOAT32, other(windows=(Window(80, 200),))), "float32", False),
        (lambda folder: written(folder, FLOAT32, other(size=64)), "float32", False),
    ],
)  # fmt: skip
def test_what_counts_as_exported(
    tmp_path: Path, change: Callable[[Path], object], precision: str, expected: bool
) -> None:
    written(tmp_path, FLOAT32)
    change(tmp_path)
    assert method.is_exported(tmp_path, HOW, engines.files(precision)) is expected


@pytest.mark.parametrize(
    ("change", "precision", "reason"),
    [
        (lambda folder: None, "int8", "was exported without ich_int8.xml; .*--export --precision int8"),
        (lambda folder: (folder / "ich.onnx").write_text("other"), "float32", "ich.onnx: is missing or is not the one"),
        (lambda folder: (folder / "ich.onnx").unlink(), "float32", "ich.onnx: is missing or is not the one"),
        (lambda folder: (folder / method.CARD).write_text("{}"), "float32", "model.json: lacks 'files'; export again"),
        (lambda folder: changed(folder, windows=[40, 120]), "float32", "model.json: is damaged .*export again"),
        (lambda folder: changed(folder, threshold=None), "float32", "model.json: is damaged .*export again"),
        (lambda folder: changed(folder, min_lesion_mm3="30 mm3"), "float32", "model.json: is damaged .*export again"),
        (lambda folder: changed(folder, files=["ich.onnx"]), "float32", "model.json: is damaged .*export again"),
    ],
)
def test_folder_of_an_export_that_is_not_whole(
    tmp_path: Path, head: Path, change: Callable[[Path], object], precision: str, reason: str
) -> None:
    pytest.importorskip("openvino")
    written(tmp_path, FLOAT32)
    change(tmp_path)
    with pytest.raises(InputError, match=reason):
        predict.main([str(head), "--model", str(tmp_path), "--engine", "openvino", "--precision", precision])


def without(patch: pytest.MonkeyPatch, *packages: str) -> None:
    has = backend.has
    patch.setattr(backend, "has", lambda name: name not in packages and has(name))


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (("keras",), r"run dunet is not exported for \w+, which needs keras .*can't predict instead without keras"),
        (("tensorflow",), r"which needs tensorflow .*Keras can't predict instead without tensorflow"),
        (("keras", "tensorflow", "onnx", "tf2onnx"), r"needs keras, tensorflow, onnx, tf2onnx .*--model exported"),
    ],
)
def test_neither_an_export_nor_keras(
    trained: Path, head: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], reason: str
) -> None:
    without(monkeypatch, *missing)
    with pytest.raises(InputError, match=reason):
        call(trained, head)


def test_keras_predicts_where_nothing_can_export(
    trained: Path, head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    without(monkeypatch, "tf2onnx")
    call(trained, head)
    assert "which needs tf2onnx" in (told := capsys.readouterr().out)
    assert "predicting with Keras" in told
    assert mask(trained).any()


@pytest.mark.parametrize(
    ("variable", "file", "expected"),
    [("jax", "", "jax"), ("", '{"backend": "torch"}', "torch"), ("", "no JSON", "tensorflow"), ("", "", "tensorflow")],
)
def test_what_keras_computes_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, file: str, expected: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", variable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(file)
    assert backend.name() == expected


exports = pytest.mark.skipif(
    engines.lacks_for_export() or not (engines.installed("openvino") or engines.installed("onnx")),
    reason="needs the packages that export and an engine",
)


@exports
@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES])
def test_read_only_runs(
    trained: Path, head: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, reason: int
) -> None:
    """Root may write everywhere, so the refusal is made up."""
    make, own = tempfile.TemporaryFile, trained.parent / "temporary"
    own.mkdir()

    def refused(*args: object, **options: object) -> object:
        if str(options.get("dir", "")).startswith(str(trained)):
            raise OSError(reason, "Read-only file system")
        return make(*args, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    call(trained, head)
    told = capsys.readouterr().out
    assert "exported: can't be written (Read-only file system); dunet is exported" in told
    assert mask(trained).any()
    assert not list(trained.rglob("exported"))
    assert not list(own.glob("ich_exported_*"))


HOLDER = """
import sys
from pathlib import Path
from ich.base import lock
with lock.writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@exports
def test_second_process_waits_for_the_export(
    trained: Path, head: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    call(trained, head)
    capsys.readouterr()
    folder = trained / "patient" / "dunet" / "exported"
    ready = Path(shutil.move(folder, tmp_path / "ready"))
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other_process:  # fmt: skip
        assert other_process.stdout.readline() == "held\n"

        def finish() -> None:
            shutil.copytree(ready, folder, dirs_exist_ok=True)
            other_process.stdin.write("\n")
            other_process.stdin.flush()

        timer = threading.Timer(1.0, finish)
        timer.start()
        call(trained, head, "--threshold", 0.9)
        timer.join()
    told = capsys.readouterr().out
    assert f"{folder}: waiting for process {other_process.pid} on host" in told
    assert "exporting" not in told
    assert mask(trained).any()


def test_usual_values_are_no_flags() -> None:
    networks.check(settings.Predict(export=Path("exported")))
    networks.check(settings.Predict(model=Path("exported")))
