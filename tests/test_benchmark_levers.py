"""The benchmark that trains recipes with one change each and compares them."""

from pathlib import Path

import keras
import pandas as pd
import pytest
from conftest import Project

import models
from benchmarks import levers, mirror
from ich.base.files import read_json


@pytest.fixture
def call(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(models, "LEVELS", 2)
    start = tmp_path / "start.keras"
    models.build("dunet", 32, 3, 2).save(start)
    return [
        "levers.py", "--data", str(project.data), "--runs", str(tmp_path / "runs"), "--results", str(tmp_path),
        "--filters", "2", "--epochs", "1", "--folds", "1", "2", "--patch", "16", "--init-weights", str(start),
        "--levers", "neighbours_patch", "weights",
    ]  # fmt: skip


def test_each_lever_is_a_run_that_is_compared_with_fast(
    call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", call)
    levers.main()
    table = pd.read_csv(tmp_path / "runs" / "levers.csv").set_index("lever")
    assert list(table.index) == ["fast", "neighbours_patch", "weights"]
    assert list(table["epochs"]) == [1, 1, 1]
    assert table.loc["fast", "difference"] == 0
    for name in table.index:
        patients = pd.concat(map(pd.read_csv, (tmp_path / "runs" / "patient" / name).glob("fold_*/valid_patients.csv")))
        blood = patients[patients["tp"] + patients["fn"] > 0]
        assert table.loc[name, "n"] == len(blood)
        assert table.loc[name, "dice"] == pytest.approx(blood["dice"].mean(), abs=1e-6)
        expected = blood["dice"].mean() - table.loc["fast", "dice"]
        assert table.loc[name, "difference"] == pytest.approx(expected, abs=1e-6)
        assert table.loc[name, "clean_n"] == len(patients) - len(blood)
    identity = read_json(tmp_path / "runs" / "patient" / "neighbours_patch" / "fold_01" / "config.json")
    assert (identity["recipe"]["patch"], identity["recipe"]["neighbours"]) == (16, 1)
    fine_tuned = read_json(tmp_path / "runs" / "patient" / "weights" / "fold_01" / "config.json")
    assert fine_tuned["recipe"]["learning_rate"] == 5e-4
    assert fine_tuned["init_weights"]
    shown = capsys.readouterr().out
    assert "dunet n=2, 32 px, patches of 16, folds 1, 2 of 2, seed 0, on phantoms" in shown
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("last.keras")}
    levers.main()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    keras.config.set_dtype_policy("float32")


def test_lengths_of_best_are_compared_with_best(
    call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [*call[: call.index("--levers")], "--against", "best", "--levers", "best_half"])
    levers.main()
    table = pd.read_csv(tmp_path / "runs" / "levers.csv").set_index("lever")
    assert dict(table["epochs"]) == {"best": 4, "best_half": 2}
    assert table.loc["best", "difference"] == 0
    keras.config.set_dtype_policy("float32")


def test_mirror_is_measured_on_the_same_networks(
    call: list[str], project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [*call[: call.index("--levers")], "--levers", "fast"])
    levers.main()
    folders = ["--data", str(project.data), "--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["mirror.py", *folders, "--run", "fast"])
    mirror.main()
    (plain, mirrored), test = (read_json(tmp_path / "mirror.json")["result"][name] for name in ("rows", "test"))
    table = pd.read_csv(tmp_path / "runs" / "levers.csv").iloc[0]
    assert plain["dice"] == pytest.approx(table["dice"], abs=1e-6)
    assert (plain["n"], plain["clean_n"]) == (table["n"], table["clean_n"])
    assert plain["clean_false_ml"] == pytest.approx(table["clean_false_ml"], rel=1e-5)  # the CSV has six digits
    assert test["mean_difference"] == pytest.approx(mirrored["dice"] - plain["dice"], abs=1e-6)
    assert mirrored["clean_false_ml"] != plain["clean_false_ml"]
    keras.config.set_dtype_policy("float32")
