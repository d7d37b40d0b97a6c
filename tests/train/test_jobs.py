"""Which trainings a command starts, in which order, and what is refused before the first one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, Project

import config as settings
import main
import main_kfold
from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import write_csv, write_json
from ich.data.pixels import Slices
from ich.data.split import Split, read_split
from ich.train import jobs, runner, training

PRINTS = {"image_size": 32, "channels": 1}


def split_of(parts: list[str], in_training: list[bool] | None = None, lesion: list[int] | None = None) -> Split:
    chosen = in_training or [True] * len(parts)
    table = pd.DataFrame({"part": parts, "in_training": chosen, "lesion_pixels": lesion or [0] * len(parts)})
    pixels = np.zeros((len(parts), 2, 2), np.uint8)
    split = Split(Path(), table, PRINTS, {"split_audit": {}, "origin": ""}, whole_scans=True)
    split.__dict__["slices"] = Slices(table, pixels[..., None], pixels)  # as if read
    return split


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[jobs.Job]:
    """The trainings that a command would run."""
    found: list[jobs.Job] = []
    monkeypatch.setattr(runner, "run_all", lambda todo, split, build: found.extend(todo))
    return found


@pytest.fixture
def flags(project: Project, tmp_path: Path) -> list[str]:
    return [*project.flags, "--runs", str(tmp_path), "--quiet"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["unet/fold_01", "unet/fold_02", "dunet/fold_01", "dunet/fold_02"]),
        (["--fold", "2"], ["unet/fold_02", "dunet/fold_02"]),
        (["--model", "UNet1", "--fold", "1"], ["dunet/fold_01"]),  # what the published code calls it
        (["--model", "unet", "--run", "wide"], ["wide/fold_01", "wide/fold_02"]),
        (
            ["--model", "unet", "--repeats", "2"],  # the second seed comes after all folds have the first
            ["unet/fold_01", "unet/fold_02", "unet/fold_01/repeat_02", "unet/fold_02/repeat_02"],
        ),
        (
            ["--fold", "2", "--repeats", "2"],
            ["unet/fold_02", "unet/fold_02/repeat_02", "dunet/fold_02", "dunet/fold_02/repeat_02"],
        ),
    ],
)
def test_trainings_of_a_command(
    recorded: list[jobs.Job], flags: list[str], given: list[str], expected: list[str]
) -> None:
    main_kfold.main([*flags, *given])
    assert [each.name for each in recorded] == expected
    assert {each.identity["n_filters"] for each in recorded} == {32}
    assert [int(each.identity["part"]) for each in recorded] == [int(name.split("/")[1][-2:]) for name in expected]
    assert [each.seed for each in recorded] == [int(name.endswith("repeat_02")) for name in expected]


def test_hold_out_training(recorded: list[jobs.Job], flags: list[str]) -> None:
    main.main([*flags, "--models", "unet=3", "dunet=5", "--model", "dunet"])
    (only,) = recorded
    assert (only.name, only.identity["n_filters"], only.identity["part"]) == ("dunet/holdout", 5, "valid")


@pytest.mark.parametrize(
    ("script", "given", "told"),
    [
        (main_kfold, ["--run", "mine"], r"--run mine: is one run, but 2 models .*add --model"),
        (main_kfold, ["--fold", "7"], rf"--fold 7: the split has folds 1 to {FOLDS}"),
        (main_kfold, ["--models", "unet=4", "--model", "dunet"], r"--model dunet: not among the models"),
        (main_kfold, ["--model", "resnet"], r"model 'resnet': not in models\.MODELS"),
        (main_kfold, ["--init-weights", "nowhere.keras"], r"nowhere\.keras: not found"),
        (main, ["--models", "unet=4"], r"--model dunet: not among the models"),
        (main, ["--model", "resnet"], r"model 'resnet': not in models\.MODELS"),
    ],
)
def test_what_cannot_be_is_refused(
    recorded: list[jobs.Job], flags: list[str], script: object, given: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        script.main([*flags, *given])
    assert not recorded


def test_steps_of_an_epoch_are_those_of_the_largest_training() -> None:
    """In training: 5 of fold 1, 3 of fold 2, 4 of fold 3. Most is left without fold 2: 9 slices, 5 batches of 2."""
    split = split_of(["1"] * 6 + ["2"] * 3 + ["3"] * 4, [True] * 5 + [False] + [True] * 7)
    assert split.steps(2) == 5
    holdout = split_of(["train"] * 7 + ["valid"] * 3)
    assert holdout.steps(2) == 4


def test_training_and_validation_never_share_a_row(project: Project) -> None:
    split = read_split(settings.MainKfold(data=project.data), "kfold")
    for part in ("1", "2"):
        train, valid = split.training(part), split.validation(part)
        assert not set(train.table["patient"]) & set(valid.table["patient"])
        assert len(train.table) + len(valid.table) == len(split.slices.table)
        np.testing.assert_array_equal(valid.table["lesion_pixels"], valid.masks.sum((1, 2)))
        shown = [train.pair(row)[1].sum() for row in range(len(train.table))]
        np.testing.assert_array_equal(train.table["lesion_pixels"], shown)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What run_all does, without networks: `compile NAME` and `train NAME`."""
    done: list[str] = []

    def run(job: jobs.Job, *_: object) -> None:
        done.append(f"train {job.name}")
        job.files.folder.mkdir(parents=True, exist_ok=True)
        write_csv(job.files.history, pd.DataFrame({"seconds": [60.0, 65.0]}))
        write_json(job.files.run, {})

    monkeypatch.setattr(runner, "compiled", lambda job, split, build: done.append(f"compile {job.identity['model']}"))
    monkeypatch.setattr(runner, "_check", lambda job, split, build: None)
    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr(jobs, "summary_line", lambda job: "scores")
    return done


def two_networks(folder: Path, **given: object) -> list[jobs.Job]:
    config = settings.MainKfold(runs=folder, epochs=1, **given)
    split = split_of(["1", "2"])
    return [jobs.job(config, split, name, 2, part) for name in ("unet", "dunet") for part in ("1", "2")]


def test_a_network_is_compiled_once_for_all_its_folds(tmp_path: Path, calls: list[str]) -> None:
    runner.run_all(two_networks(tmp_path), split_of(["1", "2"]), None)
    assert calls == [
        "compile unet", "train unet/fold_01", "train unet/fold_02",
        "compile dunet", "train dunet/fold_01", "train dunet/fold_02",
    ]  # fmt: skip


def test_finished_trainings_are_skipped(tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture) -> None:
    todo = two_networks(tmp_path)
    runner.run_all(todo[:3], split_of(["1", "2"]), None)
    calls.clear()
    runner.run_all(two_networks(tmp_path), split_of(["1", "2"]), None)
    assert calls == ["compile dunet", "train dunet/fold_02"]
    assert capsys.readouterr().out.count("already finished") == 3
    calls.clear()
    runner.run_all(two_networks(tmp_path), split_of(["1", "2"]), None)
    assert calls == []


def repeated(folder: Path, repeats: int, **given: object) -> list[jobs.Job]:
    config = settings.MainKfold(runs=folder, epochs=1, models={"dunet": 2}, repeats=repeats, **given)
    return jobs.trainings(config, split_of(["1", "2"]), ["1", "2"])


def test_more_repeats_train_only_what_is_missing(
    tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture
) -> None:
    runner.run_all(repeated(tmp_path, 1), split_of(["1", "2"]), None)
    calls.clear()
    runner.run_all(repeated(tmp_path, 2), split_of(["1", "2"]), None)
    assert calls == ["compile dunet", "train dunet/fold_01/repeat_02", "train dunet/fold_02/repeat_02"]
    assert "note:" not in capsys.readouterr().out


def test_fewer_repeats_leave_the_others_as_they_are(
    tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture
) -> None:
    runner.run_all(repeated(tmp_path, 3)[:5], split_of(["1", "2"]), None)  # stopped within the third
    calls.clear()
    capsys.readouterr()
    runner.run_all(repeated(tmp_path, 2), split_of(["1", "2"]), None)
    told = capsys.readouterr().out
    assert calls == []
    assert "dunet/fold_01/repeat_03: is beyond --repeats 2, so it is left as it is" in told
    assert told.count("note:") == 1


def test_a_repeat_with_another_setting_is_refused(tmp_path: Path, calls: list[str]) -> None:
    runner.run_all(repeated(tmp_path, 2)[2:], split_of(["1", "2"]), None)
    with pytest.raises(InputError, match=r"fold_01/repeat_02/config\.json: .* seed 0, now 4"):
        runner.run_all(repeated(tmp_path, 1, seed=4), split_of(["1", "2"]), None)


def test_a_refusal_comes_before_the_first_training(tmp_path: Path, calls: list[str]) -> None:
    runner.run_all(two_networks(tmp_path)[3:], split_of(["1", "2"]), None)  # dunet, fold 2
    calls.clear()
    with pytest.raises(InputError, match=r"dunet/fold_02/config\.json: .* seed 0, now 4"):
        runner.run_all(two_networks(tmp_path, seed=4), split_of(["1", "2"]), None)
    assert calls == []


def test_long_work_is_estimated_first(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(runner, "_guess_seconds", lambda job, split: runner.WORTH_MEASURING_S)
    monkeypatch.setattr(training, "estimate_seconds", lambda *_: 3600.0 * 7)
    runner.run_all(two_networks(tmp_path), split_of(["1", "2"]), None)
    told = capsys.readouterr().out
    assert "4 trainings on " in told
    assert "estimated time: 28.0 h, computing in float32\n" in told  # four trainings of seven hours
    assert "that is long" in told


@pytest.mark.parametrize(("kind", "unit"), [("patients", "patient"), ("slices", "slice")])
def test_summary_is_over_those_with_blood(tmp_path: Path, kind: str, unit: str) -> None:
    files = paths.Training(tmp_path / "dunet" / "fold_01")
    table = pd.DataFrame({"tp": [3, 0, 0], "fn": [1, 5, 0], "dice": [0.6, 0.0, np.nan]})
    write_csv(files.slices, table.assign(dice=0.9) if kind == "patients" else table)
    if kind == "patients":
        write_csv(files.patients, table)
    job = replace(two_networks(tmp_path)[2], files=files)
    assert jobs.summary_line(job).startswith(f"validation Dice 0.300 over 2 {unit}s with blood -> ")  # (0.6 + 0) / 2
