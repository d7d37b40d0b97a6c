"""Folds that were trained with several seeds: which of them count, and means over them, with their working."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_comparison import DUNET, UNET, write_run

from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_csv, write_csv
from ich.predict import model_card
from ich.report import analysis, comparison, finished, folds, repeats, verdict

# Dice of 049, 050, 051 is 0.5, 0, 0.9 with the first seed, 0.75, 0.667, 0.9 with this one; 060 is a false alarm now
SECOND = {**DUNET, "060": (1, 0, 3, 0)}
NAN = float("nan")


@pytest.fixture
def run(tmp_path: Path) -> folds.Run:
    """Two folds, two seeds."""
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "unet", SECOND, repeat=2)
    (found,) = folds.gather(tmp_path, "patient")
    return found


def test_trainings_are_in_order_of_fold_each_with_its_repeats(run: folds.Run) -> None:
    labels = ["fold_01", "fold_01/repeat_02", "fold_02", "fold_02/repeat_02"]
    assert run.folds == ["fold_01", "fold_02"]
    assert [each.label for each in run.members(0)] == labels
    assert [each.label for each in run.members(2)] == labels[2:]
    assert list(folds.prints([run])) == [f"unet/{label}" for label in labels]
    assert [[each.label for each in one.trainings] for one in run.repeats] == [labels[::2], labels[1::2]]


def test_a_patients_row_is_the_mean_of_its_repeats(run: folds.Run) -> None:
    table = run.table("patients").set_index("patient")
    assert list(table.index) == ["049", "050", "060", "051", "061"]
    np.testing.assert_allclose(table["dice"], [(0.5 + 0.75) / 2, (0 + 2 / 3) / 2, 0, 0.9, 0], atol=1e-6)
    assert (table.loc["049", "tp"], table.loc["050", "fn"], table.loc["060", "fp"]) == (20, 6, 1.5)
    assert list(table["fold"]) == ["fold_01"] * 3 + ["fold_02"] * 2
    assert len(run.table("slices")) == 5
    assert len(run.rows("slices")) == len(run.rows("patients")) == 10
    assert len(run.table("thresholds")) == 2 * len(run.repeats[0].table("thresholds"))


def test_scores_are_means_over_repeats(run: folds.Run) -> None:
    row = comparison.comparison([run], "patient", seed=0).iloc[0]
    means = [(0.5 + 0 + 0.9) / 3, (0.75 + 2 / 3 + 0.9) / 3]
    assert (row["folds"], row["repeats"], row["n_patients"], row["n_with_blood"]) == (2, 2, 5, 3)
    assert row["dice_mean"] == pytest.approx(np.mean(means), abs=1e-6)
    assert row["dice_sd_seeds"] == pytest.approx((means[1] - means[0]) / np.sqrt(2), abs=1e-6)
    assert row["dice_median"] == pytest.approx((0.5 + 0.75) / 2)
    assert row["scan_sensitivity"] == pytest.approx((2 / 3 + 1) / 2)
    assert row["scan_specificity"] == pytest.approx((0.5 + 0) / 2)
    # pixels with the first seed: tp 19, fp 16, fn 19; with the second: tp 43, fp 10 + 1 + 3 + 5, fn 10 + 4 + 1
    assert row["pooled_dice"] == pytest.approx((38 / 73 + 86 / 120) / 2, abs=1e-6)
    assert row["dice_ci_low"] <= row["dice_mean"] <= row["dice_ci_high"]
    assert folds.mean_dice(run) == pytest.approx(row["dice_mean"])
    card = model_card.scores_of(run, run.trainings)
    assert (card["patients with blood"], card["mean Dice over patients with blood"]) == (
        3,
        pytest.approx(np.mean(means)),
    )


def test_each_repeat_in_a_row_of_its_own(run: folds.Run, tmp_path: Path) -> None:
    write_run(tmp_path, "once", UNET)
    runs = folds.gather(tmp_path, "patient", ("unet", "once"))
    table = comparison.by_repeat(runs, "patient")
    assert table[["run", "repeat", "seed"]].to_numpy().tolist() == [["unet", 1, 0], ["unet", 2, 1]]
    np.testing.assert_allclose(table["dice_mean"], [1.4 / 3, (0.75 + 2 / 3 + 0.9) / 3], atol=1e-6)
    assert np.isnan(comparison.comparison(runs, "patient", seed=0).set_index("run").loc["once", "dice_sd_seeds"])
    assert comparison.by_repeat(runs[1:], "patient").empty


def test_tests_compare_means_over_seeds_by_patient_and_by_fold(run: folds.Run, tmp_path: Path) -> None:
    write_run(tmp_path, "dunet", DUNET)
    runs = folds.gather(tmp_path, "patient")
    tests = comparison.tests_between(runs, "patient", seed=0)
    dice = tests[tests["metric"] == "dice"]
    dice = dice.set_index(dice["test"].str.extract(r"^(\w+)", expand=False))
    # 049: 0.75 - 0.625, 050: 0.667 - 0.333, 051: 0; fold 1: 0.7083 - 0.4792, fold 2: 0
    assert dice.loc["patients", "mean_difference"] == pytest.approx((0.125 + 1 / 3) / 3, abs=1e-6)
    assert dice.loc["folds", "mean_difference"] == pytest.approx((0.125 + 1 / 3) / 4, abs=1e-6)
    assert list(dice["n"]) == [3, 2]
    trained = [{"run": "unet", "repeats": 2}, {"run": "dunet", "repeats": 2}]
    assert "means over 2 trainings of each fold" in str(verdict.verdicts(tests, trained)[0])


def test_curves_are_means_over_repeats_then_over_folds(tmp_path: Path) -> None:
    """Last epoch: Dice of fold 1 is 0.2 and 0.4, of fold 2 0.6 and 1.0; means 0.3 and 0.8, deviation 0.5 / sqrt 2."""
    for repeat, dice in ((1, (0.2, 0.6)), (2, (0.4, 1.0))):
        write_run(tmp_path, "unet", UNET, "slice", repeat)
        for fold, value in enumerate(dice, 1):
            folder = paths.repeat_folder(tmp_path / "slice" / "unet" / paths.fold_name(fold), repeat)
            rows = [{"epoch": 1, "val_dice": NAN}, {"epoch": 2, "val_dice": value, "val_paper_dice": value}]
            write_csv(folder / "history.csv", pd.DataFrame(rows).assign(val_paper_iou=0.5))
    (run,) = folds.gather(tmp_path, "slice")
    history = run.mean_history()
    assert list(history["folds"]) == [2, 2]
    np.testing.assert_allclose(history["val_dice_mean"], [NAN, 0.55])
    np.testing.assert_allclose(history["val_dice_sd"], [NAN, 0.5 / np.sqrt(2)])
    row = comparison.comparison([run], "slice", seed=0).iloc[0]
    assert (row["paper_dice_mean"], row["paper_dice_sd"]) == pytest.approx((0.55, 0.5 / np.sqrt(2)))
    assert row["dice_sd_seeds"] == 0  # the tables of both seeds are the same here


def test_rates_by_type_and_size_are_means_over_repeats(run: folds.Run, tmp_path: Path) -> None:
    """050 is missed with one of two seeds: of its type half of the slices are found, in the mean."""
    table = run.repeats[0].table("slices")[["id", "patient"]]
    types = dict.fromkeys(("intraventricular", "intraparenchymal", "subarachnoid", "subdural"), 0)
    spacing = {"spacing_row_mm": 1.0, "spacing_column_mm": 1.0, "spacing_slice_mm": 1.0}
    slices = table.assign(**types, **spacing, epidural=(table["patient"] == "050").astype(int))
    for training in run.trainings:
        bins = {"bin": [0.0, 0.5], "pixels": [4, 6], "positives": [1, 3], "probability_sum": [1.0, 4.5]}
        write_csv(training.calibration, pd.DataFrame(bins))
    analysis.write(tmp_path / "report", [run], slices, "patient", {"unet": "black"})
    by_type = read_csv(tmp_path / "report" / "by_type.csv", (), "").set_index("type").loc["epidural"]
    assert (by_type["patients"], by_type["slices"], by_type["slices_found"]) == (1, 1, 0.5)
    assert by_type["dice_mean"] == pytest.approx(1 / 3, abs=1e-5)
    by_size = read_csv(tmp_path / "report" / "by_size.csv", (), "").set_index("size_ml")
    assert list(by_size["lesions_true"]) == [5, 5, 5]  # not those of both repeats together
    agreement = read_csv(tmp_path / "report" / "agreement.csv", (), "").iloc[0]
    assert (agreement["patients"], agreement["bias_ml"]) == (3, 0)
    errors = read_csv(tmp_path / "report" / "calibration_error.csv", (), "").iloc[0]
    assert errors["pixels"] == pytest.approx(1.5 / 10)  # |3 - 4.5| of 10 pixels, in each training


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        (([1, 2], [1, 2]), [1, 2]),
        (([1, 2], [2, 2]), [1.5, 2]),
        (([NAN, 1.0], [NAN, 2.0]), [NAN, 1.5]),
        (([NAN, 1.0], [0.0, 1.0]), [0.0, 1.0]),
        (([np.inf, 1.0], [3.0, 2.0]), [np.inf, 1.5]),
    ],
)
def test_mean_cell_by_cell(values: tuple, mean: list) -> None:
    found = repeats.mean_of([pd.DataFrame({"id": ["a", "b"], "value": column}) for column in values], "run")
    assert found["id"].tolist() == ["a", "b"]
    np.testing.assert_array_equal(found["value"], mean)
    assert found["value"].dtype == np.asarray(mean).dtype  # counts that agree stay whole numbers


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"id": ["b", "a"], "dice": [0.1, 0.2]}, "id differs between two repeats"),
        ({"id": ["a"], "dice": [0.1]}, "2 and 1 rows in two repeats"),
        ({"id": ["a", "b"]}, "id in one repeat, id, dice in another"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(other: dict, told: str) -> None:
    first = pd.DataFrame({"id": ["a", "b"], "dice": [0.1, 0.2]})
    with pytest.raises(InputError, match=rf"^run, slices: {told}; train the run again"):
        repeats.mean_of([first, pd.DataFrame(other)], "run, slices")


def test_a_repeat_that_lacks_a_fold_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "unet", SECOND, repeat=2)
    write_run(tmp_path, "unet", {name: row for name, row in SECOND.items() if row[0] == 2}, repeat=3)
    (run,) = folds.gather(tmp_path, "patient")
    assert [one.trainings[0].repeat for one in run.repeats] == [1, 2]
    assert capsys.readouterr().out == (
        f"note: {tmp_path}/patient/unet: repeat 3 is left out until fold_01 of it is finished; "
        "run the command that trained it (in its run.json) again, with --repeats 3\n"
    )
    assert finished.by_run(tmp_path, "patient")["unet"][-1].label == "fold_02/repeat_02"


def test_folds_are_those_of_the_first_repeat(tmp_path: Path) -> None:
    """On a cluster a second repeat may be finished before the first."""
    write_run(tmp_path, "unet", {name: row for name, row in UNET.items() if row[0] == 1})
    write_run(tmp_path, "unet", SECOND, repeat=2)
    (run,) = folds.gather(tmp_path, "patient")
    assert [each.label for each in run.trainings] == ["fold_01", "fold_01/repeat_02"]
    assert folds.missing_folds(run, 2) == ["fold_02"]
    write_run(tmp_path, "dunet", SECOND, repeat=2)
    with pytest.raises(InputError, match=r"patient/dunet: no finished fold"):
        folds.gather(tmp_path, "patient", ("dunet",))


@pytest.mark.parametrize("name", ["repeat_1", "repeat_01", "repeat_2", "repeat_02 copy"])
def test_a_repeat_of_another_name_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    write_run(tmp_path, "unet", UNET)
    fold = tmp_path / "patient" / "unet" / "fold_02"
    shutil.copytree(fold, fold / name)
    (run,) = folds.gather(tmp_path, "patient")
    assert [each.label for each in run.trainings] == ["fold_01", "fold_02"]
    assert capsys.readouterr().out == f"note: {fold / name}: skipped, since it is not named repeat_02, repeat_03, ...\n"


def test_a_copied_fold_is_no_repeat(tmp_path: Path) -> None:
    write_run(tmp_path, "unet", UNET)
    for fold in (tmp_path / "patient" / "unet").iterdir():
        shutil.copytree(fold, fold / "repeat_02")
    with pytest.raises(InputError, match=r"fold_01/repeat_02: is repeat 1, expected repeat 2; is it a copy"):
        folds.gather(tmp_path, "patient")


def test_a_copied_run_is_known_by_all_its_repeats(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "unet", SECOND, repeat=2)
    shutil.copytree(tmp_path / "patient" / "unet", tmp_path / "patient" / "unet.bak")
    assert [run.name for run in folds.gather(tmp_path, "patient")] == ["unet"]
    assert "unet.bak: a copy of unet" in capsys.readouterr().out
