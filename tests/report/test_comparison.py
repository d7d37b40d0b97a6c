"""Tables and tests between runs, and trials.py, on run folders written by hand; numbers with their working."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Project

import trials
from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json, write_csv, write_json
from ich.data import origin
from ich.report import analysis, comparison, folds, verdict

# patient: (fold, tp, fp, fn); Dice = 2 tp / (2 tp + fp + fn)
UNET = {"049": (1, 10, 10, 10), "050": (1, 0, 0, 8), "051": (2, 9, 1, 1), "060": (1, 0, 0, 0), "061": (2, 0, 5, 0)}
#       Dice    0.5                 0                  0.9            clean             clean, false alarm
DUNET = {**UNET, "049": (1, 30, 10, 10), "050": (1, 4, 0, 4), "051": (2, 9, 1, 1)}
#       Dice    0.75                     0.667               0.9


def write_run(
    root: Path,
    name: str,
    patients: dict[str, tuple],
    protocol: str = "patient",
    repeat: int = 1,
    origin: str = "",
    **identity: object,
) -> None:
    """A run of as many folds as the patients name; each patient has one slice, its whole scan."""
    for fold in sorted({row[0] for row in patients.values()}):
        folder = paths.repeat_folder(root / protocol / name / paths.fold_name(fold), repeat)
        facts = {
            "model": name, "n_filters": 16, "protocol": protocol, "recipe_name": "fast",
            "recipe": {"epochs": 4, "checkpoint_every": 2, "batch_size": 16, "learning_rate": 1e-3}, "seed": 0,
            "image_size": 64, "channels": 1, "windows": ["40/120"], "split_fingerprint": "s1",
            "part": str(fold), **({"repeat": repeat} if repeat > 1 else {}), **identity,
        }  # fmt: skip
        machine = {"parameters": 10, "device": "CPU", "backend": "tensorflow", "training_seconds": 36}
        write_json(folder / "run.json", {"identity": facts, "origin": origin, **machine})
        table = pd.DataFrame([scores(patient, *row[1:]) for patient, row in patients.items() if row[0] == fold])
        slices = table.assign(id=table["patient"] + "_001", slice=1)
        for kind, content in (("patients", table), ("slices", slices), ("thresholds", thresholds(table))):
            write_csv(folder / f"valid_{kind}.csv", content)
        write_csv(folder / "history.csv", history(fold))


def scores(patient: str, tp: int, fp: int, fn: int) -> dict:
    dice = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan
    iou = tp / (tp + fp + fn) if tp + fp + fn else np.nan
    row = {"patient": patient, "tp": tp, "fp": fp, "fn": fn, "tn": 1000 - tp - fp - fn, "dice": dice, "iou": iou}
    names = ("precision", "sensitivity", "nsd_2mm", "hd95_mm", "volume_true_ml", "volume_pred_ml", "lesions_invented")
    lesions = [f"lesions_{which}{size}" for which in ("true", "found") for size in ("", *SIZES)]
    return row | {"score": (tp + fp) / 100} | dict.fromkeys(names, 0.5) | dict.fromkeys(lesions, 1)


SIZES = ("_under_1ml", "_1_to_10ml", "_over_10ml")


def thresholds(table: pd.DataFrame) -> pd.DataFrame:
    """At 0.25 the counts of the table, at 0.5 and 0.75 nothing is found."""
    none = table.assign(tp=0, fp=0, fn=table["tp"] + table["fn"])
    parts = [table.assign(threshold=0.25), none.assign(threshold=0.5), none.assign(threshold=0.75)]
    return pd.concat(parts)[["patient", "threshold", "tp", "fp", "fn", "tn"]]


def history(fold: int) -> pd.DataFrame:
    """Fold 2 is 0.2 above fold 1; validation Dice is best at epoch 3 (0.7), and last 0.6."""
    dice = np.array([0.1, 0.4, 0.7, 0.6]) + 0.2 * (fold - 1)
    table = pd.DataFrame({"epoch": [1, 2, 3, 4]})
    for name in ("dice", "iou", "loss", "paper_dice", "paper_iou"):
        table[name] = table[f"val_{name}"] = 1 - dice if name == "loss" else dice
    return table.assign(learning_rate=1e-3, seconds=1.0)


@pytest.fixture
def pair(tmp_path: Path) -> list[folds.Run]:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "dunet", dict(reversed(DUNET.items())))  # rows in another order: they travel by id
    return folds.gather(tmp_path, "patient")


def test_paper_table(pair: list[folds.Run]) -> None:
    """Epochs 2 and 4 are checkpoints (every 2), 4 is the last; 3 is best. Two values x, x + 0.2."""
    table = comparison.paper_table(pair[:1]).set_index(["epoch", "weights"])
    assert list(table.index) == [(2, "checkpoint"), (4, "last"), (3, "best, selected on the same data")]
    np.testing.assert_allclose(table["val_dice_mean"], [0.5, 0.7, 0.8])  # means of 0.4, 0.6; 0.6, 0.8; 0.7, 0.9
    np.testing.assert_allclose(table["val_loss_mean"], [0.5, 0.3, 0.2])
    np.testing.assert_allclose(table["val_dice_sd"], 0.2 / np.sqrt(2))
    assert (table["folds"] == 2).all()
    assert not {"seconds_mean", "learning_rate_mean"} & set(table.columns)


def test_comparison_is_over_patients_with_blood(pair: list[folds.Run]) -> None:
    table = comparison.comparison(pair, "patient", seed=0).set_index("run")
    unet, dunet = table.loc["unet"], table.loc["dunet"]
    assert list(table.index) == ["unet", "dunet"]
    assert (unet["n_patients"], unet["n_with_blood"], unet["n_clean"], unet["folds"]) == (5, 3, 2, 2)
    assert unet["dice_mean"] == pytest.approx((0.5 + 0 + 0.9) / 3, abs=1e-5)  # not the mean of fold means 0.25, 0.9
    assert unet["dice_sd"] == pytest.approx(np.std([0.5, 0, 0.9], ddof=1), abs=1e-5)
    assert unet["dice_median"] == 0.5
    assert 0 <= unet["dice_ci_low"] <= unet["dice_mean"] <= unet["dice_ci_high"] <= 0.9
    assert dunet["dice_mean"] == pytest.approx((0.75 + 2 / 3 + 0.9) / 3, abs=1e-5)
    # pooled over all pixels, the false alarm too: tp 19, fp 10 + 1 + 5, fn 10 + 8 + 1
    assert unet["pooled_dice"] == pytest.approx(2 * 19 / (2 * 19 + 16 + 19), abs=1e-5)
    assert unet["scan_sensitivity"] == pytest.approx(2 / 3)  # 050 is missed
    assert unet["scan_specificity"] == 0.5
    assert (unet["chosen_threshold"], unet["chosen_min_lesion_mm3"]) == (0.5, 0)  # three with blood are too few


@pytest.mark.parametrize("source", [origin.PHANTOMS, origin.OWN_SCANS, origin.OWN_PNGS, ""])
def test_no_published_rows_beside_other_data(tmp_path: Path, source: str) -> None:
    write_run(tmp_path, "dunet", DUNET, "slice", origin=source)
    assert list(comparison.comparison(folds.gather(tmp_path, "slice"), "slice", seed=0)["run"]) == ["dunet"]


def test_published_rows_stand_under_the_slice_protocol_only(tmp_path: Path, pair: list[folds.Run]) -> None:
    assert "paper_dice_mean" not in comparison.comparison(pair, "patient", seed=0)
    write_run(tmp_path, "dunet", DUNET, "slice", origin=origin.CT_ICH)
    write_run(tmp_path, "mine", DUNET, "slice", origin=origin.CT_ICH)
    found = folds.gather(tmp_path, "slice")
    table = comparison.comparison(found, "slice", seed=0).set_index("run")
    assert list(table.index) == ["dunet", "mine", "dunet (published)"]  # unet was not trained here
    published = table.loc["dunet (published)"]
    assert (published["paper_dice_mean"], published["paper_iou_mean"], published["folds"]) == (0.84, 0.72, 10)
    assert np.isnan(published["pooled_dice"])  # of its own metric only
    assert table.loc["dunet", "paper_dice_mean"] == pytest.approx(0.7)  # last epoch: mean of 0.6 and 0.8
    assert table.loc["dunet", "paper_dice_sd"] == pytest.approx(0.2 / np.sqrt(2), rel=1e-5)
    assert "dice_mean" not in table  # slices of a patient are no scan


def test_tests_pair_patients_by_name_second_minus_first(pair: list[folds.Run]) -> None:
    table = comparison.tests_between(pair, "patient", seed=0)
    dice = table[table["metric"] == "dice"].set_index("test")
    by_patient, by_fold = (dice[dice.index.str.startswith(kind)].iloc[0] for kind in ("patients", "folds"))
    assert (by_patient["a"], by_patient["b"]) == ("dunet", "unet")
    # differences: 049 0.25, 050 0.667, 051 0
    assert (by_patient["n"], by_patient["n_nonzero"]) == (3, 2)
    assert by_patient["mean_difference"] == pytest.approx((0.25 + 2 / 3) / 3, abs=1e-5)
    assert by_patient["note"] == "too few pairs"
    # fold means: unet 0.25, 0.9; dunet (0.75 + 0.667) / 2 = 0.7083, 0.9 -> differences 0.4583, 0; df 1
    assert by_fold["mean_difference"] == pytest.approx(0.4583 / 2, abs=1e-4)
    # t = mean / sqrt((1/2 + 1/1) var) with var = 0.4583**2 / 2: 0.22917 / sqrt(1.5 * 0.10503) = 0.57735
    assert by_fold["t"] == pytest.approx(0.57735, abs=1e-4)


def test_tests_use_common_patients_and_folds_only(tmp_path: Path) -> None:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "dunet", {name: row for name, row in DUNET.items() if row[0] == 1})  # fold 2 is not there yet
    table = comparison.tests_between(folds.gather(tmp_path, "patient"), "patient", seed=0)
    assert list(table["n"]) == [2, 2, 1, 1]  # patients 049 and 050; fold 1
    assert table["mean_difference"].iloc[0] == pytest.approx((0.25 + 2 / 3) / 2, abs=1e-5)
    assert np.isnan(table["p_value"].iloc[-1])  # one fold says nothing


def test_three_runs_are_corrected_within_a_kind_of_test(tmp_path: Path) -> None:
    many = {f"{number:03d}": (number % 2 + 1, 5 + number % 3, 3, 4) for number in range(12)}
    better = {name: (fold, tp + 3, fp, fn - 3) for name, (fold, tp, fp, fn) in many.items()}
    for name, patients in (("unet", many), ("dunet", better), ("mine", many)):
        write_run(tmp_path, name, patients)
    table = comparison.tests_between(folds.gather(tmp_path, "patient"), "patient", seed=0)
    wilcoxon = table[table["test"].str.startswith("patients") & (table["metric"] == "dice")]
    p = wilcoxon.set_index(["a", "b"])["p_value"]
    assert list(p.index) == [("dunet", "unet"), ("mine", "unet"), ("mine", "dunet")]
    # dunet beats both others in all 12 patients; p is equal for both, and 1 between the equal ones
    assert p["mine", "unet"] == 1
    np.testing.assert_allclose(wilcoxon["p_holm"], [min(1, 3 * p.iloc[0]), 1, min(1, 3 * p.iloc[0])])


def test_verdict_of_three_patients(pair: list[folds.Run]) -> None:
    (found,) = verdict.verdicts(comparison.tests_between(pair, "patient", seed=0), ())
    assert found.answer == "Too few patients"
    assert found.reason.startswith("mean Dice +0.306 (95 % interval ")
    assert " over 3 patients with blood;" in found.reason


def test_values_of_the_strip_plot(pair: list[folds.Run]) -> None:
    each, means = comparison.strip_values(pair, "patient").values()
    assert sorted(each["unet"]) == pytest.approx([0, 0.5, 0.9])
    assert list(means["unet"]) == pytest.approx([0.25, 0.9])


def test_folds_by_hand(pair: list[folds.Run]) -> None:
    """Of unet's patients with blood 0.5 and 0 are in the first fold, 0.9 in the second; clean ones do not count."""
    table = analysis.fold_means(pair, "patient").set_index(["run", "fold"])
    assert list(table.loc["unet", "n_with_blood"]) == [2, 1]
    assert list(table.loc["unet", "dice_mean"]) == pytest.approx([0.25, 0.9])
    assert table.loc[("unet", "fold_01"), "iou_mean"] == pytest.approx((10 / 30 + 0) / 2)


@pytest.mark.parametrize("protocol", ["patient", "slice"])
def test_paired_plot_shows_the_same_patients_or_folds(
    pair: list[folds.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    kept: list = []
    monkeypatch.setattr(analysis, "paired", lambda *given: kept.extend(given))
    table = comparison.comparison(pair, "patient", seed=0)
    analysis.draw_paired(tmp_path / "p.png", pair, table, protocol, "phantoms", {})
    _, values, means, title, *_ = kept
    unet = values["unet"].to_dict()
    if protocol == "patient":
        assert unet == pytest.approx({"049": 0.5, "050": 0, "051": 0.9})
        assert means["unet"] == tuple(table.set_index("run").loc["unet", ["dice_mean", "dice_ci_low", "dice_ci_high"]])
        assert title.startswith("3 patients with blood (phantoms)")
    else:  # 0.25 and 0.9: mean 0.575, deviation 0.65 / sqrt(2)
        assert unet == pytest.approx({"fold_01": 0.25, "fold_02": 0.9})
        assert means["unet"].low == pytest.approx(0.575 - 0.65 / np.sqrt(2))


@pytest.fixture
def only_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the report page, what is worked out from the slices' pixels, and the split that is there now."""
    monkeypatch.setattr(folds, "refuse_other_data", lambda *_: None)
    monkeypatch.setattr(trials.analysis, "write", lambda *_: None)
    monkeypatch.setattr(trials.page, "build", lambda *_: None)


def run_trials(project: Project, root: Path, *flags: str) -> Path:
    folders = ["--data", str(project.data), "--runs", str(root), "--reports", str(root / "reports")]
    trials.main([*folders, "--quiet", *flags])
    return root / "reports" / "patient"


@pytest.mark.usefixtures("only_tables")
def test_trials_names_missing_folds(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "dunet", {name: row for name, row in DUNET.items() if row[0] == 1})
    folder = run_trials(project, tmp_path)
    told = capsys.readouterr().out
    assert "warning: dunet lacks fold_02 of 2 folds" in told
    assert "unet lacks" not in told.replace("dunet lacks", "")
    assert list(read_csv(folder / "comparison.csv", (), "")["folds"]) == [2, 1]
    for name in ("loss_fig", "dice_fig", "iou_fig", "dice_fig_vs", "iou_fig_vs", "folds_fig"):
        assert (folder / f"{name}.png").stat().st_size > 5000


@pytest.mark.usefixtures("only_tables")
def test_trials_compares_the_runs_asked_for(project: Project, tmp_path: Path) -> None:
    for name in ("unet", "dunet", "mine"):
        write_run(tmp_path, name, UNET if name == "unet" else DUNET)
    folder = run_trials(project, tmp_path, "--compare", "mine", "unet")
    assert list(read_csv(folder / "comparison.csv", (), "")["run"]) == ["mine", "unet"]
    statistics = read_csv(folder / "statistics.csv", ("p_value",), "")
    assert set(statistics["a"]) == {"unet"}
    assert statistics["mean_difference"].iloc[0] == pytest.approx(-(0.25 + 2 / 3) / 3, abs=1e-5)


@pytest.mark.usefixtures("only_tables")
def test_a_run_keeps_its_colour_when_fewer_are_compared(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(trials.plots, "strips", lambda *given: seen.append(given[-1]))
    for name in ("unet", "dunet", "mine", "other"):
        write_run(tmp_path, name, UNET)
    for names in ([], ["dunet"], ["other", "unet"]):
        run_trials(project, tmp_path, *(["--compare", *names] if names else []))
    every, alone, two = seen
    assert len({every[name] for name in ("unet", "dunet", "mine", "other")}) == 4
    assert (alone["dunet"], two["other"]) == (every["dunet"], every["other"])


@pytest.mark.usefixtures("only_tables")
def test_trials_of_one_run_writes_readable_tables(project: Project, tmp_path: Path) -> None:
    write_run(tmp_path, "mine", DUNET)
    folder = run_trials(project, tmp_path)
    assert len(read_csv(folder / "statistics.csv", ("test", "a", "b", "metric", "p_value"), "")) == 0
    assert len(read_csv(folder / "comparison.csv", ("run",), "")) == 1


@pytest.mark.usefixtures("only_tables")
@pytest.mark.parametrize("number", [1, 2])
def test_trials_shows_the_spread_over_seeds(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture, number: int
) -> None:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "dunet", DUNET)
    for repeat in range(2, number + 1):
        write_run(tmp_path, "unet", DUNET, repeat=repeat)
    folder = run_trials(project, tmp_path)
    told = capsys.readouterr().out
    assert ("dice_sd_seeds" in told) == (number == 2)
    shown = read_csv(folder / "repeats.csv", ("run", "repeat", "seed"), "")
    assert shown[["run", "repeat", "seed"]].to_numpy().tolist() == [["unet", 1, 0], ["unet", 2, 1]] * (number == 2)
    trained = read_json(folder / "run.json")
    assert [run["repeats"] for run in trained["trained"]] == [number, 1]
    assert ("unet/fold_01/repeat_02" in trained["trainings"]) == (number == 2)


@pytest.mark.usefixtures("only_tables")
def test_trials_refuses_runs_of_different_splits(project: Project, tmp_path: Path) -> None:
    write_run(tmp_path, "unet", UNET)
    write_run(tmp_path, "dunet", DUNET, split_fingerprint="s2")
    with pytest.raises(InputError, match=r"split_fingerprint is s2, that of .*unet/fold_01 is s1"):
        run_trials(project, tmp_path)
    assert not (tmp_path / "reports").exists()
