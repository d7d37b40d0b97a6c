"""What does not belong together is refused with the difference named: data, splits, pixels, folds, tables."""

import shutil
from pathlib import Path

import cv2
import pandas as pd
import pytest
from conftest import FOLDS, IMAGE_SIZE, Done, Project

import config as settings
import create_data_set
import main_kfold
import split_raw_data
import tests as test_set
import trials
from ich.base import paths, record, source
from ich.base.errors import InputError
from ich.base.files import read_json, write_csv, write_json
from ich.data.split import read_split, split_fingerprints
from ich.rsna import compare
from ich.rsna.layouts import LABELS, names_of


class Copy:
    """A finished project to spoil: data, runs and reports beside each other."""

    def __init__(self, done: Done, folder: Path) -> None:
        self.folder, self.raw = folder, done.project.raw
        shutil.copytree(done.project.data, folder / "data")
        for name in ("runs", "reports"):
            shutil.copytree(done.root / name, folder / name)

    def slice_flags(self, *given: str) -> list[str]:
        return ["--raw", str(self.raw), "--data", str(self.folder / "data"), "--quiet", *given]

    def flags(self, *given: str, names: tuple[str, ...] = ("data", "runs", "reports")) -> list[str]:
        return [*(part for name in names for part in (f"--{name}", str(self.folder / name))), "--quiet", *given]

    def cut_and_deal(self, *given: str) -> None:
        split_raw_data.main(self.slice_flags("--workers", "1", *given))
        self.deal(*given)

    def deal(self, *given: str) -> None:
        create_data_set.main(self.slice_flags("--folds", str(FOLDS), "--test-share", "0.2", *given))


@pytest.fixture
def copy(done: Done, tmp_path: Path) -> Copy:
    return Copy(done, tmp_path)


def train(copy: Copy) -> None:
    tiny = ["--models", "dunet=2", "--epochs", "1", "--batch-size", "16"]
    main_kfold.main(copy.flags(*tiny, names=("data", "runs")))


def refused(copy: Copy, told: str, *scripts: object) -> None:
    for script in scripts:
        with pytest.raises(InputError, match=told):
            script.main(copy.flags())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--image-size", "16"], "image_size is 16, that of .* is 32"),
        (["--image-size", "32", "--windows", "80/200"], r"windows is \['80/200'\], that of .* is \['40/120'\]"),
    ],
)
def test_slices_of_another_size_or_window(copy: Copy, given: list[str], told: str) -> None:
    copy.cut_and_deal(*given)
    refused(copy, told, trials, test_set)


def test_another_split(copy: Copy) -> None:
    copy.deal("--image-size", str(IMAGE_SIZE), "--seed", "1")
    refused(copy, "split_fingerprint is ", trials, test_set)
    with pytest.raises(InputError, match="this run was begun with split_fingerprint"):
        train(copy)


def test_a_split_that_is_older_than_the_slices(copy: Copy) -> None:
    split_raw_data.main(copy.slice_flags("--workers", "1", "--image-size", "16"))
    for script in (trials, test_set):
        refused(copy, r"kfold\.csv: is of slices with data_fingerprint .*, now it is .*; run create_data_set", script)
    with pytest.raises(InputError, match="data_fingerprint"):
        train(copy)


def test_a_split_that_was_edited(copy: Copy) -> None:
    """A patient moved to another fold: the leak audit of run.json may hold no more."""
    path = paths.split_csv(copy.folder / "data", "patient", "kfold")
    path.write_text(path.read_text(encoding="utf-8").replace(",1\n", ",2\n", 1), encoding="utf-8")
    refused(copy, r"kfold\.csv: was changed after create_data_set\.py wrote it", trials, test_set)
    with pytest.raises(InputError, match="was changed after"):
        train(copy)
    assert split_fingerprints(settings.Main(data=copy.folder / "data"), "holdout")  # the other one is as it was


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_png_that_was_replaced(copy: Copy, kind: str) -> None:
    data = copy.folder / "data"
    row = pd.read_csv(data / "slices.csv").iloc[3]
    pixels = cv2.imread(str(data / row[kind]), cv2.IMREAD_GRAYSCALE)
    pixels[5, 7] = 255 - pixels[5, 7]
    cv2.imwrite(str(data / row[kind]), pixels)
    found = [read_split(settings.MainKfold(data=data), "kfold", test) for test in (False, True)]
    (split,) = (each for each in found if row["id"] in set(each.table["id"]))
    told = rf"{row['image']}: it or its label has changed .*1 of {len(split.table)} slices"
    with pytest.raises(InputError, match=told):
        split.slices  # noqa: B018
    (data / "slices.csv").unlink()
    copy.deal("--image-size", str(IMAGE_SIZE))
    assert len(read_split(settings.MainKfold(data=data), "kfold").slices.images)


def test_own_pngs_that_were_changed_are_taken_in_again(project: Project, tmp_path: Path) -> None:
    for name in ("image", "label"):
        shutil.copytree(project.data / name, tmp_path / name)
    flags = ["--data", str(tmp_path), "--image-size", str(IMAGE_SIZE), "--folds", "2", "--quiet"]
    create_data_set.main(flags)
    path = min((tmp_path / "image").iterdir())
    cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    config = settings.MainKfold(data=tmp_path)

    def all_pixels() -> list[int]:
        return [len(read_split(config, "kfold", test).slices.images) for test in (False, True)]

    with pytest.raises(InputError, match=f"{path.name}: it or its label has changed"):
        all_pixels()
    create_data_set.main(flags)
    assert all(all_pixels())


def test_a_fold_that_is_a_copy_of_another(copy: Copy) -> None:
    run = copy.folder / "runs" / "patient" / "dunet"
    shutil.rmtree(run / "fold_02")
    shutil.copytree(run / "fold_01", run / "fold_02")
    told = "fold_02: was validated on part 1, expected that of fold_02; is it a copy of another fold"
    refused(copy, told, trials, test_set)


@pytest.mark.parametrize(("name", "script"), [("valid_patients.csv", trials), ("last.keras", test_set)])
def test_a_result_of_another_fold(copy: Copy, name: str, script: object) -> None:
    run = copy.folder / "runs" / "patient" / "dunet"
    shutil.copyfile(run / "fold_01" / name, run / "fold_02" / name)
    refused(copy, rf"fold_02/{name}: its fingerprint is .*, in .*run\.json it is .*; delete .*fold_02", script)


def test_tables_of_trials_that_are_older_than_the_runs(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    """Fold 2 was finished after trials.py had run. The test set is scored; its page says what is old."""
    reports = copy.folder / "reports" / "patient"
    test_set.main(copy.flags("--threshold", "0.4", "--run", "unet"))
    assert "are older than" not in (reports / "report.html").read_text(encoding="utf-8")
    path = copy.folder / "runs" / "patient" / "dunet" / "fold_02" / "run.json"
    write_json(path, {**read_json(path), "training_seconds": 1.0})
    test_set.main(copy.flags("--threshold", "0.3", "--run", "unet"))
    told = "the tables of trials.py are older than dunet/fold_02 (1 trainings differ); run it again"
    assert f"warning: {told}" in capsys.readouterr().out
    assert told in (reports / "report.html").read_text(encoding="utf-8")
    trials.main(copy.flags())
    assert "are older than" not in (reports / "report.html").read_text(encoding="utf-8")


def finished(folder: Path, variant: str, **identity: object) -> paths.Classification:
    """A training of rsna_train.py with four test slices, predicted at random."""
    files = paths.Classification(folder, "multiclass", variant)
    table = pd.DataFrame({"id": list("abcd"), "patient": list("abcd"), "split": "test", "class": "healthy"})
    table[list(LABELS)], table[[f"prob_{name}" for name in names_of("multiclass")]] = 0, 1 / 6
    write_csv(files.predictions, table)
    facts = {"variant": variant, "repeat": 1, "data_fingerprint": "one", **identity}
    write_json(files.run, {"identity": facts, "results": record.fingerprints([files.predictions])})
    return files


def test_predictions_for_other_slices(tmp_path: Path) -> None:
    finished(tmp_path, "0_dicom2png")
    finished(tmp_path, "1_roi", data_fingerprint="two")
    with pytest.raises(InputError, match=r"1_roi/run\.json: was trained otherwise .* data_fingerprint two, there one"):
        compare.gather(tmp_path, "multiclass", seed=0, draws=100)


def test_predictions_that_were_replaced(tmp_path: Path) -> None:
    finished(tmp_path, "0_dicom2png")
    path = finished(tmp_path, "1_roi").predictions
    table = pd.read_csv(path, dtype={"id": str, "patient": str})
    write_csv(path, table.assign(prob_healthy=0.5))
    with pytest.raises(InputError, match=r"1_roi/predictions\.csv: its fingerprint is .*, in .* it is "):
        compare.gather(tmp_path, "multiclass", seed=0, draws=100)


def test_a_variant_that_is_a_copy_of_another(tmp_path: Path) -> None:
    finished(tmp_path, "0_dicom2png")
    shutil.copytree(tmp_path / "rsna" / "0_dicom2png", tmp_path / "rsna" / "1_roi")
    with pytest.raises(InputError, match="1_roi: was trained as variant 0_dicom2png; is it a copy of another"):
        compare.gather(tmp_path, "multiclass", seed=0, draws=100)


def edited_network(folder: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """Edit models.py, as a user might between two folds."""
    code = source.NETWORKS.read_text(encoding="utf-8")
    assert before in code
    path = folder / "models.py"
    path.write_text(code.replace(before, after), encoding="utf-8")
    monkeypatch.setattr(source, "NETWORKS", path)


def unfinish(copy: Copy, fold: str) -> None:
    shutil.rmtree(copy.folder / "runs" / "patient" / "dunet" / fold)


@pytest.mark.parametrize(
    ("before", "after"), [("DROPOUT = 0.2", "DROPOUT = 0.9"), ("layers.ReLU()(x)", 'layers.Activation("tanh")(x)')]
)
def test_network_that_was_edited_between_two_folds(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    unfinish(copy, "fold_02")
    edited_network(tmp_path, monkeypatch, before, after)
    with pytest.raises(InputError, match=r"begun with network_code .*, now .*; its code in models\.py has changed"):
        train(copy)


def test_comment_in_the_network_and_another_network_change_nothing(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_network(tmp_path, monkeypatch, "MODELS: dict", "EXTRA = 3  # of a third network\n\nMODELS: dict")
    train(copy)  # finds both folds finished


def test_folds_of_two_networks_are_refused(copy: Copy) -> None:
    path = copy.folder / "runs" / "patient" / "dunet" / "fold_02" / "run.json"
    facts = read_json(path)
    facts["identity"]["network_code"] = "another"
    write_json(path, facts)
    refused(copy, r"fold_02: was trained differently from fold_01 .*network_code another", trials, test_set)


def test_run_begun_by_an_earlier_version_goes_on(copy: Copy) -> None:
    """It kept no fingerprint of the network's code, and windows as text."""
    for path in (copy.folder / "runs").rglob("*.json"):
        facts = read_json(path)
        identity = facts.get("identity", facts)
        if "windows" in identity:
            del identity["network_code"]
            identity["windows"] = str(identity["windows"])
            write_json(path, facts)
    trials.main(copy.flags())
    test_set.main(copy.flags())
    train(copy)
