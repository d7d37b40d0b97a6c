"""Runs gathered from folders written by hand; numbers with their working."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import write_csv, write_json
from ich.predict import method
from ich.report import folds
from ich.train import checkpoint

IDENTITY = {
    "model": "dunet", "n_filters": 16, "protocol": "patient", "part": "1", "seed": 0, "recipe_name": "fast",
    "recipe": {"epochs": 4, "checkpoint_every": 0}, "image_size": 64, "channels": 1, "windows": ["40/120"],
    "data_fingerprint": "data1", "split_fingerprint": "split1",
}  # fmt: skip


def write_fold(root: Path, run: str, fold: int, finished: bool = True, **identity: object) -> Path:
    folder = root / "patient" / run / paths.fold_name(fold)
    folder.mkdir(parents=True)
    if finished:
        facts = {**IDENTITY, "model": run, "part": str(fold), **identity}
        write_json(folder / "run.json", {"identity": facts})
    return folder


def write_rows(folder: Path, name: str, rows: list[dict]) -> None:
    write_csv(folder / name, pd.DataFrame(rows))


def test_only_finished_folds_are_gathered_in_the_known_order(tmp_path: Path) -> None:
    for run, fold in (("mine", 1), ("dunet", 2), ("dunet", 10), ("dunet", 1), ("unet", 1)):
        write_fold(tmp_path, run, fold)
    write_fold(tmp_path, "unet", 2, finished=False)
    (tmp_path / "patient" / "unet" / "holdout").mkdir()
    found = folds.gather(tmp_path, "patient")
    assert [(run.name, run.folds) for run in found] == [
        ("unet", ["fold_01"]), ("dunet", ["fold_01", "fold_02", "fold_10"]), ("mine", ["fold_01"]),
    ]  # fmt: skip
    assert folds.missing_folds(found[1], 4) == ["fold_03", "fold_04"]


def test_runs_are_chosen_by_name_in_the_order_given(tmp_path: Path) -> None:
    for run in ("unet", "dunet", "mine"):
        write_fold(tmp_path, run, 1)
    assert [run.name for run in folds.gather(tmp_path, "patient", ("mine", "unet", "mine"))] == ["mine", "unet"]
    with pytest.raises(InputError, match=r"patient/resnet: no finished fold; runs are: dunet, mine, unet"):
        folds.gather(tmp_path, "patient", ("resnet",))
    with pytest.raises(InputError, match=r"no finished fold; run main_kfold\.py --protocol slice"):
        folds.gather(tmp_path, "slice")


@pytest.mark.parametrize("key", folds.SAME)
def test_runs_on_different_data_or_splits_are_refused(tmp_path: Path, key: str) -> None:
    write_fold(tmp_path, "unet", 1)
    other = {"windows": {"windows": ["80/200"]}, "channels": {"channels": 2, "windows": ["40/120", "80/200"]}}
    given = other.get(key, {key: "another"})
    write_fold(tmp_path, "dunet", 1, **given)
    told = rf"dunet/fold_01: {key} is {re.escape(str(given[key]))}, that of .*unet/fold_01 is "
    with pytest.raises(InputError, match=told) as caught:
        folds.gather(tmp_path, "patient")
    assert str(IDENTITY[key]) in str(caught.value)
    assert len(folds.gather(tmp_path, "patient", ("dunet",))) == 1  # alone it is not mixed with anything


def test_folds_of_one_run_trained_otherwise_are_refused(tmp_path: Path) -> None:
    write_fold(tmp_path, "dunet", 1)
    write_fold(tmp_path, "dunet", 2, recipe={"epochs": 9, "checkpoint_every": 0})
    with pytest.raises(InputError, match=r"fold_02: .* recipe\.epochs 9, there 4$"):
        folds.gather(tmp_path, "patient")


def test_members(tmp_path: Path) -> None:
    for fold in (1, 3):
        write_fold(tmp_path, "dunet", fold)
    (run,) = folds.gather(tmp_path, "patient")
    assert [each.folder.name for each in run.members(0)] == ["fold_01", "fold_03"]
    assert [each.folder.name for each in run.members(3)] == ["fold_03"]
    with pytest.raises(InputError, match=r"--fold 2: not finished in run dunet; finished are fold_01, fold_03"):
        run.members(2)


def test_tables_keep_their_fold_and_patients_stay_text(tmp_path: Path) -> None:
    for fold, patient in ((1, "049"), (2, "007")):
        write_rows(write_fold(tmp_path, "dunet", fold), "valid_patients.csv", [{"patient": patient, "hd95_mm": np.inf}])
    table = folds.gather(tmp_path, "patient")[0].table("patients")
    assert table.to_dict("records") == [
        {"patient": "049", "hd95_mm": np.inf, "fold": "fold_01"},
        {"patient": "007", "hd95_mm": np.inf, "fold": "fold_02"},
    ]


def test_a_table_is_read_once_and_belongs_to_its_caller(tmp_path: Path) -> None:
    folder = write_fold(tmp_path, "dunet", 1)
    write_rows(folder, "valid_patients.csv", [{"patient": "049", "dice": 0.5}])
    (run,) = folds.gather(tmp_path, "patient")
    first = run.table("patients")
    first.insert(0, "run", "dunet")
    first.loc[0, "dice"] = 0.9
    (folder / "valid_patients.csv").unlink()
    assert run.table("patients").to_dict("records") == [{"patient": "049", "dice": 0.5, "fold": "fold_01"}]


def test_missing_table_of_a_finished_fold_is_told(tmp_path: Path) -> None:
    write_fold(tmp_path, "dunet", 1)
    with pytest.raises(InputError, match=r"valid_patients\.csv: not found; run `python main_kfold\.py`"):
        folds.gather(tmp_path, "patient")[0].table("patients")


def test_mean_history(tmp_path: Path) -> None:
    """Epoch 1 was not validated: its mean is empty. Epoch 2: mean of 0.4, 0.6, 0.8; deviation (n - 1) 0.2."""
    for fold, dice in ((1, 0.4), (2, 0.6), (3, 0.8)):
        rows = [{"epoch": 1, "loss": fold, "val_dice": np.nan}, {"epoch": 2, "loss": 0.5, "val_dice": dice}]
        write_rows(write_fold(tmp_path, "dunet", fold), "history.csv", rows)
    history = folds.gather(tmp_path, "patient")[0].mean_history()
    assert list(history.columns) == ["epoch", "folds", "loss_mean", "val_dice_mean", "loss_sd", "val_dice_sd"]
    assert list(history["folds"]) == [3, 3]
    np.testing.assert_allclose(history["loss_mean"], [2, 0.5])  # (1 + 2 + 3) / 3
    np.testing.assert_allclose(history["loss_sd"], [1, 0])
    np.testing.assert_allclose(history["val_dice_mean"], [np.nan, 0.6])
    np.testing.assert_allclose(history["val_dice_sd"], [np.nan, 0.2])


def test_fold_means_are_over_patients_with_blood(tmp_path: Path) -> None:
    blood, missed = {"tp": 4, "fn": 1, "dice": 0.8}, {"tp": 0, "fn": 5, "dice": 0.0}
    clean, alarm = {"tp": 0, "fn": 0, "dice": np.nan}, {"tp": 0, "fn": 0, "dice": 0.0}
    write_rows(write_fold(tmp_path, "dunet", 1), "valid_patients.csv", [blood, clean, missed, alarm])
    write_rows(write_fold(tmp_path, "dunet", 2), "valid_patients.csv", [alarm, blood])
    means = folds.per_fold(folds.gather(tmp_path, "patient")[0], "patients", "dice")
    assert means.to_dict() == {"fold_01": 0.4, "fold_02": 0.8}  # (0.8 + 0) / 2; the false alarm is no 0 of the mean


@pytest.mark.parametrize(
    "name", ["fold_01 copy", "fold_1.old", "fold_001", "fold_1", "fold_00", "fold_01.bak", "fold_x", "fold_0\u0661"]
)
def test_a_fold_folder_of_another_name_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = write_fold(tmp_path, "dunet", 1)
    odd = folder.with_name(name)
    shutil.copytree(folder, odd)
    write_json(odd / "run.json", {"identity": {**IDENTITY, "recipe": {"epochs": 9}}})
    (run,) = folds.gather(tmp_path, "patient")
    assert run.folds == ["fold_01"]
    assert capsys.readouterr().out == f"note: {odd}: skipped, since it is not named fold_01, fold_02, ...\n"


@pytest.mark.parametrize("copy", ["dunet.bak", "a copy", "dunet2"])
def test_a_copied_run_is_left_out_unless_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], copy: str
) -> None:
    for fold in (1, 2):
        write_fold(tmp_path, "dunet", fold)
    place = tmp_path / "patient"
    shutil.copytree(place / "dunet", place / copy)
    shutil.rmtree(place / copy / "fold_02")  # copied before the second fold was trained
    shutil.copytree(place / "dunet", place / ".hidden")
    assert [run.name for run in folds.gather(tmp_path, "patient")] == ["dunet"]
    assert capsys.readouterr().out == f"note: {place / copy}: a copy of dunet, skipped unless it is named\n"
    assert [run.name for run in folds.gather(tmp_path, "patient", (copy, "dunet"))] == [copy, "dunet"]
    assert capsys.readouterr().out == ""
    trained_on = {"identity": {**IDENTITY, "part": "2"}, "seconds": 7}  # from now on a run of its own
    write_json(write_fold(tmp_path, copy, 2) / "run.json", trained_on)
    assert {run.name for run in folds.gather(tmp_path, "patient")} == {"dunet", copy}


def test_the_best_run_is_that_of_the_comparison(tmp_path: Path) -> None:
    """Mean over patients: unet (0.9 + 0.3 + 0.3) / 3 = 0.5, dunet 0.55. Mean of fold means: unet 0.6, dunet 0.55.

    One fold of easy patients is no better run.
    """
    dice = {"unet": ([0.9], [0.3, 0.3]), "dunet": ([0.55], [0.55, 0.55]), "none": ([np.nan], [np.nan]), "one": ([0.9],)}
    for run, of_folds in dice.items():
        for fold, values in enumerate(of_folds, 1):
            rows = [{"patient": f"{fold}{place}", "tp": 5, "fn": 0, "fp": 0, "dice": value, "iou": value}
                    for place, value in enumerate(values)]  # fmt: skip
            write_rows(write_fold(tmp_path, run, fold), "valid_patients.csv", rows)
    found = folds.gather(tmp_path, "patient")
    assert [folds.mean_dice(run) for run in found] == pytest.approx([0.5, 0.55, np.nan, 0.9], nan_ok=True)
    assert folds.best(found).name == folds.best(found[::-1]).name == "dunet"
    assert method.choose_run(tmp_path, "patient", "").name == "dunet"
    assert method.choose_run(tmp_path, "patient", "unet").name == "unet"


def test_weights_that_a_user_keeps_beside_the_best_stay(tmp_path: Path) -> None:
    files = paths.Training(tmp_path)
    kept = [tmp_path / name for name in ("best_of_may.keras", "best_0007 copy.keras", "best_7.keras")]
    for path in (*kept, files.waiting(7), files.waiting(8)):
        path.write_text(path.name)
    checkpoint.settle_best(files, 8)
    assert {path.name for path in tmp_path.iterdir()} == {"best.keras", *(path.name for path in kept)}
    assert files.best.read_text() == "best_0008.keras"
