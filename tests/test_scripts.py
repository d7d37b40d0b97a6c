"""The scripts one after another on the phantoms, under both protocols: every file is there and says what it should."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from conftest import FOLDS, IMAGE_SIZE, Done, Project

import create_data_set
import main
import main_kfold
import tests as test_set
import trials
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json, write_json
from ich.data.split import read_split
from ich.report import choice, folds
from ich.score import metrics
from ich.score.operating import FIXED, Point
from ich.train import prediction

PROTOCOLS = ("patient", "slice")
CURVES = ["loss.png", "dice.png", "iou.png"]
TRAINING = ["config.json", "run.json", "history.csv", "last.keras", "best.keras", "valid_slices.csv", *CURVES]
WHOLE = ["valid_patients.csv", "valid_thresholds.csv", "valid_operating.csv"]
FIGURES = ["loss_fig.png", "dice_fig.png", "iou_fig.png", "dice_fig_vs.png", "iou_fig_vs.png", "folds_fig.png"]
REPORT = ["table.csv", "comparison.csv", "statistics.csv", *FIGURES]


def png(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_of_the_trainings(done: Done, protocol: str) -> None:
    expected = {*TRAINING, *(WHOLE if protocol == "patient" else [])}
    networks = ["dunet", "unet"] if protocol == "patient" else ["dunet"]
    parts = [f"{name}/fold_{fold:02d}" for name in networks for fold in range(1, FOLDS + 1)]
    parts += ["dunet/holdout"] * (protocol == "patient")
    found = [folder.relative_to(done.root / "runs" / protocol) for folder in done.run(protocol, "").glob("*/*")]
    assert sorted(map(str, found)) == sorted(parts)
    for part in parts:
        found = {path.name for path in done.run(protocol, part).iterdir()}
        assert expected <= found
        assert protocol == "patient" or not found & set(WHOLE)
        assert "checkpoint" not in found  # of use to an unfinished training only


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_folds_together_predict_each_slice_once(done: Done, protocol: str) -> None:
    (run,) = folds.gather(done.root / "runs", protocol, ("dunet",))
    slices, split = run.table("slices"), done.split(protocol)
    assert slices["id"].is_unique
    joined = slices.merge(split[split["part"] != "test"], on="id", how="outer", indicator=True)
    assert (joined["_merge"] == "both").all()
    assert (joined["fold"].str[-2:].astype(int) == joined["part"].astype(int)).all()
    assert (joined["tp"] + joined["fn"] == joined["lesion_pixels"]).all()
    assert (slices[["tp", "fp", "fn", "tn"]].sum(axis=1) == IMAGE_SIZE**2).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reports_of_trials(done: Done, protocol: str) -> None:
    folder = done.report(protocol)
    assert set(REPORT) <= {path.name for path in folder.iterdir()}
    table = read_csv(folder / "comparison.csv", ("run", "folds"), "").set_index("run")
    assert len(read_csv(folder / "table.csv", ("run", "val_dice_mean"), ""))
    assert len(read_csv(folder / "dunet_mean_history.csv", ("epoch", "folds"), "")) == 1
    split = done.split(protocol)
    inside = split[split["part"] != "test"]
    assert table.loc["dunet", "n_slices"] == len(inside)
    assert table.loc["dunet", "n_lesion_slices"] == (inside["lesion_pixels"] > 0).sum()
    if protocol == "patient":
        assert list(table.index) == ["unet", "dunet"]
        assert table.loc["unet", "n_with_blood"] == inside.loc[inside["lesion_pixels"] > 0, "patient"].nunique()
    else:
        assert list(table.index) == ["dunet"]
        last = read_csv(done.run("slice", "dunet") / "fold_01" / "history.csv", ("val_paper_dice",), "")
        other = read_csv(done.run("slice", "dunet") / "fold_02" / "history.csv", ("val_paper_dice",), "")
        mean = (last["val_paper_dice"].iloc[-1] + other["val_paper_dice"].iloc[-1]) / 2
        assert table.loc["dunet", "paper_dice_mean"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_of_the_test_set(done: Done, protocol: str) -> None:
    folder = done.report(protocol) / "test_dunet"
    whole, names = {"patients.csv", "nifti"}, {path.name for path in folder.iterdir()}
    assert {"slices.csv", "summary.csv", "run.json", "masks", "overlays"} <= names
    assert names & whole == (whole if protocol == "patient" else set())
    test = done.split(protocol).query("part == 'test'")
    assert {path.stem for path in (folder / "masks").iterdir()} == set(test["id"])
    assert set(read_csv(folder / "slices.csv", ("id",), "")["id"]) == set(test["id"])
    if protocol == "patient":
        scans = {path.name for path in (folder / "nifti").iterdir()}
        assert scans == {f"{patient}_mask.nii.gz" for patient in test["patient"]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_masks_are_the_mean_probability_at_the_threshold(done: Done, protocol: str) -> None:

    config = test_set.settings.Tests(data=done.project.data, protocol=protocol)
    split = read_split(config, "kfold", test=True)
    (run,) = folds.gather(done.root / "runs", protocol, ("dunet",))
    prob = np.mean([prediction.predict_mean([each], "last", split.slices) for each in run.trainings], axis=0)
    folder = done.report(protocol) / "test_dunet"
    threshold = read_json(folder / "run.json")["used_threshold"]
    assert read_json(folder / "run.json")["used_min_lesion_mm3"] == 0  # four patients with blood are too few to choose
    near = np.abs(prob - threshold) < 1e-5  # rounding may fall on either side
    masks = np.stack([png(folder / "masks" / f"{name}.png") for name in split.slices.table["id"]])
    assert set(np.unique(masks)) <= {0, 255}
    assert ((masks == 255) == (prob >= threshold))[~near].all()
    table = read_csv(folder / "slices.csv", ("tp",), "")
    np.testing.assert_array_equal(table["tp"], ((masks == 255) & (split.slices.masks == 1)).sum((1, 2)))


def test_summary_has_the_chosen_threshold_beside_one_half(done: Done) -> None:
    summary = read_csv(done.report("patient") / "test_dunet" / "summary.csv", ("measure",), "")
    (run,) = folds.gather(done.root / "runs", "patient", ("dunet",))
    chosen = choice.of_run(run).point
    threshold = summary.set_index("measure").loc["threshold"]
    assert threshold["chosen_out_of_fold"] == pytest.approx(chosen.threshold, abs=1e-6)
    beside = {} if chosen == FIXED else {"fixed": 0.5}
    assert threshold.drop("chosen_out_of_fold").to_dict() == beside


def test_one_half_is_written_once(done: Done, foretold: list, tmp_path: Path) -> None:
    """Under the slice protocol it is the only threshold, and under the other one it may be asked for."""
    summary = read_csv(done.report("slice") / "test_dunet" / "summary.csv", ("measure",), "")
    assert list(summary.columns) == ["measure", "default"]
    folder = perfect(done, tmp_path)
    test_set.main([*done.flags("patient", "--threshold", "0.5"), "--reports", str(tmp_path), "--run", "dunet"])
    summary = read_csv(folder / "summary.csv", ("measure",), "")
    assert list(summary.columns) == ["measure", "given"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_second_call_tests_nothing_again(done: Done, protocol: str, capsys: pytest.CaptureFixture) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.report(protocol).glob("test_*/**/*")}
    test_set.main(done.flags(protocol))
    assert "dunet: already tested" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in done.report(protocol).glob("test_*/**/*")}


def test_another_split_than_that_of_the_training_is_refused(done: Done, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(done.project.data, data)
    shares = ["--folds", str(FOLDS), "--test-share", "0.2", "--image-size", str(IMAGE_SIZE)]
    create_data_set.main([*done.project.slice_flags, "--data", str(data), *shares, "--seed", "1", "--quiet"])
    with pytest.raises(InputError, match="split_fingerprint is "):
        test_set.main([*done.flags("patient"), "--data", str(data), "--reports", str(tmp_path)])


@pytest.fixture
def foretold(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """The networks say the truth, at probability 0.8; what was asked of them."""
    asked: list[tuple[list[str], str]] = []

    def say(trainings: list, weights: str, slices: object, flip: bool) -> np.ndarray:
        asked.append(([each.folder.name for each in trainings], weights))
        return slices.masks.astype(np.float32) * np.float32(0.8)

    monkeypatch.setattr(prediction, "predict_mean", say)
    return asked


def perfect(done: Done, reports: Path, *given: str) -> Path:
    test_set.main([*done.flags("patient", "--threshold", "0.5"), "--reports", str(reports), *given])
    return reports / "patient" / "test_dunet"


def test_right_prediction_scores_one_and_comes_back_in_the_scans_space(
    done: Done, foretold: list, tmp_path: Path
) -> None:
    folder = perfect(done, tmp_path)
    patients = read_csv(folder / "patients.csv", ("dice",), "")
    blood = metrics.with_blood(patients)
    assert len(blood)
    assert (blood["dice"] == 1).all()
    np.testing.assert_allclose(blood["volume_pred_ml"], blood["volume_true_ml"])
    assert (folder / "patients.png").exists()
    hits = 0
    for patient in patients["patient"]:
        mask = nib.load(folder / "nifti" / f"{patient}_mask.nii.gz")
        (path,) = (done.project.raw / "ct_scans").glob(f"{patient}.nii*")
        ct, truth = nib.load(path), nib.load(str(path).replace("ct_scans", "masks"))
        assert mask.shape == ct.shape
        np.testing.assert_allclose(mask.affine, ct.affine, atol=1e-6)
        for code in ("qform_code", "sform_code"):
            assert mask.header[code] == ct.header[code]
        found, wanted = mask.get_fdata() > 0, truth.get_fdata() > 0
        if found.any():  # cut from 64 px to 32 px and back: the place is right, the rim is not
            tp, fp, fn, _ = metrics.counts(wanted, found)
            assert metrics.dice(tp, fp, fn) > 0.55
            hits += 1
    assert hits == len(blood)


def test_overlays_are_of_the_slices_with_blood(done: Done, foretold: list, tmp_path: Path) -> None:
    folder = perfect(done, tmp_path)
    test = done.split("patient").query("part == 'test'")
    assert {path.stem for path in (folder / "overlays").iterdir()} == set(test.loc[test["lesion_pixels"] > 0, "id"])


@pytest.mark.parametrize(
    ("given", "folder", "asked"),
    [
        (["--run", "dunet"], "test_dunet", [(["fold_01", "fold_02"], "last")]),
        (["--run", "unet", "--fold", "2"], "test_unet_fold_02", [(["fold_02"], "last")]),
        (["--run", "dunet", "--weights", "best"], "test_dunet_best", [(["fold_01", "fold_02"], "best")]),
    ],
)
def test_networks_that_are_asked(
    done: Done, foretold: list, tmp_path: Path, given: list[str], folder: str, asked: list
) -> None:
    test_set.main([*done.flags("patient"), "--reports", str(tmp_path), *given])
    assert [path.name for path in (tmp_path / "patient").glob("test_*")] == [folder]
    assert foretold == asked


def test_another_threshold_is_tested_again_and_old_pictures_go(done: Done, foretold: list, tmp_path: Path) -> None:
    folder = perfect(done, tmp_path)
    assert any((folder / "overlays").iterdir())
    stale = folder / "overlays" / "000_001.png"
    stale.touch()
    test_set.main([*done.flags("patient", "--threshold", "0.9"), "--reports", str(tmp_path), "--run", "dunet"])
    assert not stale.exists()
    assert not any(png(path).any() for path in (folder / "masks").iterdir())  # 0.8 is below 0.9
    summary = read_csv(folder / "summary.csv", ("given", "fixed"), "").set_index("measure")
    assert (summary.loc["dice_mean", "given"], summary.loc["dice_mean", "fixed"]) == (0, 1)


SPECK = 0.9  # probability of what is not blood


def specks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks say the truth, and see a speck of one pixel in the corner of every fourth slice."""

    def say(trainings: list, weights: str, slices: object, flip: bool) -> np.ndarray:
        prob = slices.masks.astype(np.float32) * np.float32(0.8)
        prob[slices.table["slice"] % 4 == 0, 0, 0] = SPECK
        return prob

    monkeypatch.setattr(prediction, "predict_mean", say)


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "given"])
def test_small_components_are_removed_from_all_that_is_written(
    done: Done, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: bool, capsys: pytest.CaptureFixture
) -> None:
    """Pixels of 32 px are some 250 mm3: a speck of one is below 600 mm3, and in no mask, table or scan any more."""
    specks(monkeypatch)
    said = choice.Choice(Point(0.5, 600), "chosen out of fold on 9 patients", "chosen out of fold on 9 patients")
    monkeypatch.setattr(choice, "of_run", lambda run: said)
    given = [] if chosen else ["--min-lesion-mm3", "600"]
    flags = [*done.flags("patient"), "--reports", str(tmp_path), "--run", "dunet"]
    test_set.main([*flags, *given])
    folder = tmp_path / "patient" / "test_dunet"
    told = "chosen out of fold on 9 patients" if chosen else "given"
    assert f"components below 600 mm3 removed: {told}" in capsys.readouterr().out
    assert not any(png(path)[0, 0] for path in (folder / "masks").iterdir())
    summary = read_csv(folder / "summary.csv", ("measure",), "").set_index("measure")
    column = "chosen_out_of_fold" if chosen else "given"
    assert summary.loc["min_lesion_mm3"].to_dict() == {column: 600, "fixed": 0}
    assert summary.loc["lesions_invented", column] == 0 < summary.loc["lesions_invented", "fixed"]
    assert summary.loc["scan_specificity", column] == 1 > summary.loc["scan_specificity", "fixed"]
    patients = read_csv(folder / "patients.csv", ("score",), "")
    assert (patients["score"].astype("float32") == np.float32(SPECK)).all()  # the highest, whatever is removed
    assert read_json(folder / "run.json")["used_min_lesion_mm3"] == 600
    for path in (folder / "nifti").iterdir():
        mask = nib.load(path)
        row = patients.set_index("patient").loc[path.name.removesuffix("_mask.nii.gz")]
        assert mask.get_fdata().any() == (row["volume_pred_ml"] > 0)
        assert mask.header["descrip"] == b"threshold 0.50, components below 600 mm3 removed"
    test_set.main([*flags, "--min-lesion-mm3", "0"])
    assert any(png(path)[0, 0] for path in (folder / "masks").iterdir())


def test_lesion_size_without_scans_is_refused(done: Done, foretold: list, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--min-lesion-mm3: split by slice"):
        test_set.main([*done.flags("slice", "--min-lesion-mm3", "30"), "--reports", str(tmp_path)])
    assert not foretold


def test_run_of_an_earlier_version_is_tested_with_nothing_removed(
    done: Done, foretold: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Its trainings have no valid_operating.csv, and their run.json knows of none."""
    shutil.copytree(done.run("patient", "dunet"), tmp_path / "runs" / "patient" / "dunet")
    for fold in (tmp_path / "runs" / "patient" / "dunet").glob("fold_*"):
        (fold / "valid_operating.csv").unlink()
        facts = read_json(fold / "run.json")
        facts["results"].pop("valid_operating.csv")
        write_json(fold / "run.json", facts)
    flags = [*done.flags("patient"), "--runs", str(tmp_path / "runs"), "--reports", str(tmp_path)]
    trials.main(flags)
    test_set.main(flags)
    assert "threshold 0.50, nothing removed: default, since" in capsys.readouterr().out
    table = read_csv(tmp_path / "patient" / "operating_point.csv", ("chosen",), "")
    assert table["lesions_found"].isna().all()


def test_missing_scans_cost_the_nifti_masks_only(
    done: Done, foretold: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two patients are tested; the scan of one is gone."""
    moved = Project(tmp_path / "moved")
    shutil.copytree(done.project.root, moved.root)
    test = sorted(set(done.split("patient").query("part == 'test'")["patient"]))
    (gone,) = (moved.raw / "ct_scans").glob(f"{test[0]}.nii*")
    gone.unlink()
    folder = perfect(done, tmp_path, "--data", str(moved.data), "--run", "dunet")
    told = capsys.readouterr().out
    assert f"{gone.name}: not found, so 1 of {len(test)} NIfTI masks are not written" in told
    assert {path.name for path in (folder / "nifti").iterdir()} == {f"{name}_mask.nii.gz" for name in test[1:]}
    assert (folder / "run.json").exists()
    assert (folder / "patients.csv").exists()


TRAIN_READS, REPORT_READS = ("data", "runs"), ("data", "runs", "reports")


@pytest.mark.parametrize(
    ("script", "names"),
    [
        (main.main, TRAIN_READS),
        (main_kfold.main, TRAIN_READS),
        (test_set.main, REPORT_READS),
        (trials.main, REPORT_READS),
    ],
)
def test_steps_out_of_order_are_told_what_to_run(script: Callable, names: tuple[str, ...], tmp_path: Path) -> None:
    folders = [part for name in names for part in (f"--{name}", str(tmp_path / name))]
    with pytest.raises(InputError, match=r"run (the step|main_kfold|split_raw_data|create_data_set|`python)"):
        script([*folders, "--quiet"])
    assert not any(tmp_path.iterdir())
