"""Masks of other methods and readers, judged as our own runs are: the same tables, tests and page."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from conftest import Done, Project, undocumented

import create_data_set
import main_kfold
import make_demo_data
import predict
import score_masks
import tests as test_set
import trials
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json, write_csv
from ich.data.pixels import Slices
from ich.data.split import Split, read_split
from ich.data.table import scan_name
from ich.scans.native import save_like
from ich.scans.nifti import Grid, read_nifti, to_file_grid
from ich.score import evaluation


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Eight phantoms cut at the size of their voxels, so that the way there and back changes nothing."""
    made = Project(tmp_path_factory.mktemp("native"))
    make_demo_data.main(["--out", str(made.root), "--patients", "8", "--size", "32", "--scans-only", "--quiet"])
    split = ["--image-size", "32", "--folds", "2", "--test-share", "0.2", "--quiet"]
    create_data_set.main([*made.slice_flags, *split])
    return made


def split_of(made: Project) -> Split:
    import config

    return read_split(config.Tests(data=made.data), "kfold")


def guessed(split: Split) -> np.ndarray:
    """Probabilities that are right as a rule, float32, of whole 1024ths."""
    noise = np.random.default_rng(0).integers(0, 400, split.slices.masks.shape)
    return (split.slices.masks * np.float32(600) + noise).astype(np.float32) / np.float32(1024)


def write_volumes(folder: Path, made: Project, split: Split, prob: np.ndarray, dtype: type = np.float32) -> Path:
    """One file a scan in the scan's own grid."""
    for source, rows in split.slices.table.groupby("source"):
        scan = read_nifti(made.data / source)
        volume = to_file_grid(prob[rows.sort_values("slice").index].astype(np.float32), Grid(scan.shape, scan.affine))
        folder.mkdir(exist_ok=True)
        save_like(folder / f"{scan_name(rows['id'].iloc[0])}.nii.gz", volume.astype(dtype), scan)
    return folder


def judge(made: Project, run: str, *masks: Path, runs: Path | None = None) -> Path:
    runs = runs or made.root / "runs"
    score_masks.main(
        ["--data", str(made.data), "--runs", str(runs), "--run", run, "--masks", *map(str, masks), "--quiet"]
    )
    return runs / "patient" / run


def tables(run: Path) -> dict[str, str]:
    return {path.relative_to(run).as_posix(): path.read_text() for path in sorted(run.rglob("valid_*.csv"))}


def written(folder: Path, slices: Slices, prob: np.ndarray, part: str) -> None:
    """The tables of a fold as a training writes them."""
    for name, table in evaluation.tables(slices, prob, True).items():
        write_csv(folder / f"fold_0{part}" / f"valid_{name}.csv", table)


def test_probabilities_in_the_scans_grid_give_the_tables_of_the_run(native: Project, tmp_path: Path) -> None:
    split = split_of(native)
    prob = guessed(split)
    for part in ("1", "2"):
        written(tmp_path / "own", split.validation(part), prob[(split.table["part"] == part).to_numpy()], part)
    given = judge(native, "soft", write_volumes(tmp_path / "prob", native, split, prob), runs=tmp_path)
    assert len(tables(given)) == 10
    assert tables(given) == tables(tmp_path / "own")


@pytest.mark.parametrize("kind", ["png", "nifti", "labels"])
def test_masks_give_the_scores_of_the_run_at_one_half(kind: str, native: Project, tmp_path: Path) -> None:
    split = split_of(native)
    prob = guessed(split)
    masks = (prob >= 0.5).astype(np.uint8)
    if kind == "png":
        (tmp_path / "masks").mkdir()
        for name, mask in zip(split.slices.table["id"], masks, strict=True):
            cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask * 255)
    else:
        write_volumes(tmp_path / "masks", native, split, masks * (1 if kind == "nifti" else 3), np.uint8)
    given = judge(native, kind, tmp_path / "masks", runs=tmp_path)
    assert {path.rpartition("/")[2] for path in tables(given)} == {"valid_slices.csv", "valid_patients.csv"}
    for part in ("1", "2"):
        written(tmp_path / "own", split.validation(part), prob[(split.table["part"] == part).to_numpy()], part)
        for name in ("valid_slices.csv", "valid_patients.csv"):
            own, found = (read_csv(run / f"fold_0{part}" / name, (), "") for run in (tmp_path / "own", given))
            assert found["score"].isna().all()  # a mask has no probability
            pd.testing.assert_frame_equal(found.drop(columns="score"), own.drop(columns="score"))


def test_masks_of_a_trained_run_come_back_with_its_scores(done: Done, tmp_path: Path) -> None:
    """Out-of-fold masks of our own networks as PNGs, named as ours."""
    from ich.base.paths import Training
    from ich.train import prediction

    split = split_of(done.project)
    (tmp_path / "masks").mkdir()
    for part in ("1", "2"):
        slices = split.validation(part)
        network = prediction.load(Training(done.run("patient", "unet") / f"fold_0{part}"), "last")
        masks = prediction.predict(network, slices) >= 0.5
        for name, mask in zip(slices.table["id"], masks, strict=True):
            cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask * np.uint8(255))
    given = judge(done.project, "again", tmp_path / "masks", runs=tmp_path)
    for part in ("1", "2"):
        for name in ("valid_slices.csv", "valid_patients.csv"):
            own, found = (
                read_csv(run / f"fold_0{part}" / name, (), "") for run in (done.run("patient", "unet"), given)
            )
            pd.testing.assert_frame_equal(found.drop(columns="score"), own.drop(columns="score"))


@pytest.fixture
def compared(done: Done, tmp_path: Path) -> Done:
    """The runs of `done`, and a second reader who marks just what the reference does."""
    shutil.copytree(done.root / "runs", tmp_path / "runs")
    masks = done.project.raw / "masks"
    judge(done.project, "reader2", masks, runs=tmp_path / "runs")
    return Done(done.project, tmp_path)


def test_a_second_reader_stands_in_every_table_and_on_the_page(
    compared: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    trials.main(compared.flags("patient", "--compare", "dunet", "reader2"))
    report = compared.report("patient")
    table = pd.read_csv(report / "comparison.csv").set_index("run")
    assert table.loc["reader2", "dice_mean"] == 1
    assert table.loc["reader2", ["scan_sensitivity", "scan_specificity"]].tolist() == [1, 1]
    assert table.loc["reader2", ["scan_auroc", "slice_auroc"]].isna().all()
    assert table.loc["dunet", ["scan_auroc", "slice_auroc"]].notna().all()
    tests = pd.read_csv(report / "statistics.csv")
    assert (tests["a"].eq("reader2") & tests["b"].eq("dunet")).all()
    for name in ("patients", "by_size", "by_type", "agreement", "folds"):
        assert set(pd.read_csv(report / f"{name}.csv")["run"]) == {"dunet", "reader2"}, name
    for name in ("calibration", "operating", "operating_point", "roc", "table"):
        assert set(pd.read_csv(report / f"{name}.csv")["run"]) == {"dunet"}, name
    page = (report / "report.html").read_text()
    assert "given masks" in page
    assert "Whether reader2 was trained on these patients is unknown here" in page
    assert "; masks of reader2 were given" in page
    assert "not trained alike" not in page
    assert "highest mean Dice of the networks: dunet\n" in capsys.readouterr().out
    assert undocumented(report.glob("*.csv")) == set()


def test_given_masks_alone_are_a_report_too(compared: Done) -> None:
    trials.main(compared.flags("patient"))
    trials.main(compared.flags("patient", "--compare", "reader2"))
    left = {path.name for path in compared.report("patient").iterdir()}
    assert {"comparison.csv", "report.html", "folds_fig.png", "volume_fig.png"} <= left
    assert not left & {"roc.csv", "calibration_fig.png", "operating_point.csv", "dice_fig.png", "loss_fig.png",
                       "iou_fig_vs.png", "dunet_mean_history.csv"}  # fmt: skip


def test_there_is_no_network_to_test_or_predict_with(compared: Done, capsys: pytest.CaptureFixture[str]) -> None:
    test_set.main(compared.flags("patient"))
    assert "reader2: holds masks that were given, no networks; left out" in capsys.readouterr().out
    with pytest.raises(InputError, match="reader2: holds masks that were given, no networks; train one"):
        test_set.main(compared.flags("patient", "--run", "reader2"))
    runs = ["--runs", str(compared.root / "runs"), "--run", "reader2", "--engine", "keras"]
    with pytest.raises(InputError, match="reader2: holds masks that were given, no networks; train one"):
        predict.main([str(compared.project.raw / "ct_scans"), *runs, "--out", str(compared.root / "out")])


def test_the_same_masks_are_judged_once_and_others_need_another_name(compared: Done, native: Project) -> None:
    runs, masks = compared.root / "runs", compared.project.raw / "masks"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    judge(compared.project, "reader2", masks, runs=runs)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before
    with pytest.raises(InputError, match=r"dunet/fold_01/config\.json: this run was begun with model dunet, now given"):
        judge(compared.project, "dunet", masks, runs=runs)
    other = compared.root / "other"
    shutil.copytree(masks, other)
    stored(255, np.uint8)(other)
    with pytest.raises(InputError, match=r"begun with given_masks \w+, now \w+\. Give --run another name"):
        judge(compared.project, "reader2", other, runs=runs)
    with pytest.raises(InputError, match="Give --run another name"):
        main_kfold.main(compared.training_flags("patient", "--run", "reader2", "--model", "dunet"))
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before


def test_what_stopped_in_the_middle_is_judged_again(compared: Done) -> None:
    run = compared.root / "runs" / "patient" / "reader2"
    wanted = tables(run)
    (run / "fold_02" / "run.json").unlink()
    (run / "fold_02" / "valid_patients.csv").unlink()
    judge(compared.project, "reader2", compared.project.raw / "masks", runs=compared.root / "runs")
    assert tables(run) == wanted
    assert read_json(run / "fold_02" / "run.json")["results"].keys() == {"valid_slices.csv", "valid_patients.csv"}


def test_a_mask_on_another_grid_is_resampled_with_a_note(
    native: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "masks"
    shutil.copytree(native.raw / "masks", folder)
    for path in folder.iterdir():
        nib.save(nib.as_closest_canonical(nib.load(path, mmap=False)), path)
    given = judge(native, "turned", folder, runs=tmp_path)
    assert "volumes are not on the grid of their scan (" in capsys.readouterr().out
    assert tables(given) == tables(judge(native, "plain", native.raw / "masks", runs=tmp_path))


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def stored(value: float, dtype: type = np.float32) -> Callable[[Path], object]:
    """Puts one voxel of another value into the first mask."""

    def change(folder: Path) -> None:
        image = nib.load(first(folder))
        voxels = np.asanyarray(image.dataobj).astype(dtype)
        voxels[0, 0, 0] = value
        nib.save(nib.Nifti1Image(voxels, image.affine), first(folder))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: first(folder).unlink(),
            r"scan \d+: has no mask in --masks, expected one for each scan of the f",
        ),
        (
            lambda folder: shutil.copy(first(folder), folder / "999.nii"),
            r"999\.nii: is of no scan of this split; remove",
        ),
        (lambda folder: shutil.copy(first(folder), folder / f"{first(folder).stem}_mask.nii"), "is a second one of"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "holds no masks, expected SCAN.nii.gz for each"),
        (shutil.rmtree, "no such folder"),
        (stored(1.5), r"values run from 0 to 1.5, expected a mask \(0 and labels above\) or probabilities from 0 to 1"),
        (stored(-1, np.int16), "mask has -1, expected labels: whole numbers"),
        (lambda folder: first(folder).write_bytes(b"no NIfTI"), "is not a readable NIfTI file"),
    ],
)
def test_bad_masks_are_refused_and_nothing_is_written(
    change: Callable[[Path], object], message: str, native: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "masks"
    shutil.copytree(native.raw / "masks", folder)
    tested = {path.name for path in folder.iterdir()} - {
        f"{name}.nii" for name in split_of(native).table["id"].map(scan_name)
    }
    for name in tested:
        (folder / name).unlink()
    change(folder)
    with pytest.raises(InputError, match=message):
        judge(native, "bad", folder, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run", "a"], "--run and --masks are needed"),
        (["--masks", "x"], "--run and --masks are needed"),
        (
            ["--run", "a", "--masks", "x", "--protocol", "slice"],
            "it has no whole scans to judge; use --protocol patient",
        ),
        (["--run", "../a", "--masks", "x"], "expected the name of a folder"),
    ],
)
def test_flags_that_are_refused(flags: list[str], message: str, native: Project) -> None:
    with pytest.raises(InputError, match=message):
        score_masks.main(["--data", str(native.data), *flags])


def pngs(folder: Path, split: Split, planes: np.ndarray) -> Path:
    folder.mkdir()
    for name, plane in zip(split.slices.table["id"], planes, strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), plane)
    return folder


def test_grey_pngs_are_probabilities_and_classes_are_refused(native: Project, tmp_path: Path) -> None:
    split = split_of(native)
    grey = (split.slices.masks * 150 + (np.arange(32) * 3).astype(np.uint8)).astype(np.uint8)
    given = judge(native, "grey", pngs(tmp_path / "grey", split, grey), runs=tmp_path)
    table = read_csv(given / "fold_01" / "valid_slices.csv", (), "")
    assert table["score"].max() == pytest.approx(grey[(split.table["part"] == "1").to_numpy()].max() / 255, abs=1e-5)
    assert (given / "fold_01" / "valid_thresholds.csv").exists()
    with pytest.raises(InputError, match=r"its PNGs have the values \[1, 2\], expected 0 and one other"):
        judge(
            native,
            "classes",
            pngs(tmp_path / "classes", split, np.uint8(split.slices.masks) + (grey > 50)),
            runs=tmp_path,
        )
    (tmp_path / "grey" / f"{split.table['id'][0]}.png").unlink()
    with pytest.raises(InputError, match=r"slice \d+_001: has no mask in --masks, expected one for each slice"):
        judge(native, "grey", tmp_path / "grey", runs=tmp_path)
