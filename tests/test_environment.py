"""What a user's shell, home and terminal set changes neither numbers nor pictures, or is refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import Project

ROOT = Path(__file__).parent.parent
MATPLOTLIBRC = "text.usetex: True\naxes.facecolor: black\nsavefig.format: pdf\nfont.family: Nonsense Sans\n"
OF_ANOTHER_PROJECT = {
    "floatx": "float16", "epsilon": 0.1, "backend": "tensorflow", "image_data_format": "channels_first"
}  # fmt: skip


def trained(project: Project, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """A tiny training in its own process; what it writes lies in `folder`."""
    flags = ["--data", str(project.data), "--runs", str(folder / "dünn"), "--models", "dunet=2", "--epochs", "2"]
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *flags, "--validate-every", "1"], cwd=folder,
        env={**os.environ, **environment}, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip


def test_numbers_and_pictures_do_not_depend_on_the_environment(project: Project, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("plain", "strange")]
    for folder in (*folders, tmp_path / "settings"):
        folder.mkdir()
    (folders[1] / "matplotlibrc").write_text(MATPLOTLIBRC)
    (tmp_path / "settings" / "matplotlibrc").write_text(MATPLOTLIBRC)
    (tmp_path / "settings" / "keras.json").write_text(json.dumps(OF_ANOTHER_PROJECT))
    settings = str(tmp_path / "settings")
    strange = {
        "MPLBACKEND": "module://matplotlib_inline.not_here", "MATPLOTLIBRC": settings, "KERAS_HOME": settings,
        "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1", "PYTHONIOENCODING": "ascii", "LC_ALL": "C",
        "HOME": str(tmp_path / "not" / "there"), "TMPDIR": str(tmp_path / "no"), "PYTHONOPTIMIZE": "2",
        "TF_USE_LEGACY_KERAS": "1", "COLUMNS": "5", "TERM": "dumb",
        "PYTHONWARNINGS": "error", "TQDM_MININTERVAL": "abc", "OPENCV_IO_MAX_IMAGE_PIXELS": "5",
        "OMP_NUM_THREADS": "abc", "MPLCONFIGDIR": "/proc/no", "XDG_CACHE_HOME": "/proc/no",
    }  # fmt: skip
    plain, other = trained(project, folders[0]), trained(project, folders[1], **strange)
    assert plain.returncode == other.returncode == 0, plain.stderr + other.stderr
    assert other.stderr == plain.stderr == ""
    assert "d\\xfcnn" in other.stdout
    runs = [folder / "dünn" / "patient" / "dunet" / "holdout" for folder in folders]
    histories = [pd.read_csv(run / "history.csv").drop(columns="seconds") for run in runs]
    assert len(histories[0]) == 2
    pd.testing.assert_frame_equal(*histories)
    for name in ("loss.png", "dice.png", "iou.png", "valid_patients.csv"):
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name


@pytest.mark.parametrize("variable", ["TQDM_MININTERVAL", "OPENCV_IO_MAX_IMAGE_PIXELS", "OPENCV_IO_MAX_IMAGE_WIDTH"])
def test_variables_of_libraries_that_are_no_numbers(variable: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "create_data_set.py"), "--data", str(tmp_path), "--raw", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, variable: "abc"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "holds no known data set" in done.stderr


@pytest.mark.parametrize(
    ("variable", "settings", "line"),
    [
        ("nonsense", {}, "error: KERAS_BACKEND: the backend is 'nonsense', expected tensorflow, jax, torch; change it"),
        ("numpy", {}, "error: KERAS_BACKEND: the backend is 'numpy', expected tensorflow, jax, torch"),
        ("", {"backend": "theano"}, "keras.json: the backend is 'theano', expected tensorflow, jax, torch"),
        ("", {"floatx": "float8"}, "keras.json: Keras refuses it (Invalid `floatx` configuration"),
        ("", [], "keras.json: Keras refuses it ("),
    ],
)
def test_backend_that_cannot_be_used(
    project: Project, tmp_path: Path, variable: str, settings: object, line: str
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    done = trained(project, tmp_path, KERAS_BACKEND=variable, KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_backend_that_is_not_installed(project: Project, tmp_path: Path) -> None:
    """A package that is not found, since its name is barred."""
    bar = "import importlib.util, sys\nfind = importlib.util.find_spec\n"
    bar += "importlib.util.find_spec = lambda name, *rest: None if name == 'jax' else find(name, *rest)\n"
    (tmp_path / "sitecustomize.py").write_text(bar)
    done = trained(project, tmp_path, KERAS_BACKEND="jax", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the backend jax is not installed; set KERAS_BACKEND=tensorflow, or pip install jax" in done.stderr
