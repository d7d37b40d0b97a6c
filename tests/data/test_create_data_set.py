"""Step 2 from end to end on phantoms: both protocols, all files, nothing half-written."""

import shutil
from pathlib import Path

import cv2
import pandas as pd
import pytest
from conftest import FOLDS, IMAGE_SIZE, Project

import create_data_set
from ich.base.errors import InputError
from ich.base.files import read_json, write_csv
from ich.data.table import read_parts, read_slices

FILES = {"holdout.csv", "kfold.csv", "summary.csv", "preview.png", "run.json"}
SHARES = ("--folds", str(FOLDS), "--test-share", "0.2", "--image-size", str(IMAGE_SIZE), "--workers", "1", "--quiet")


@pytest.fixture
def data(project: Project, tmp_path: Path) -> Path:
    """A copy of the cut slices without any split."""
    return shutil.copytree(project.data, tmp_path / "Daten", ignore=shutil.ignore_patterns("patient", "slice"))


@pytest.fixture
def without_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contact sheet takes longer than all the rest."""
    monkeypatch.setattr("create_data_set.pictures.preview", lambda *_: None)


def create(project: Project, data: Path, *flags: str) -> None:
    create_data_set.main([*project.slice_flags, *SHARES, "--data", str(data), *flags])


def tables(data: Path, protocol: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (data / protocol).glob("*.csv")}


@pytest.mark.parametrize("protocol", ["patient", "slice"])
def test_both_protocols_write_all_their_files(protocol: str, project: Project) -> None:
    assert {path.name for path in (project.data / protocol).iterdir()} == FILES
    picture = cv2.imread(str(project.data / protocol / "preview.png"))
    assert picture.std() > 0
    assert min(picture.shape[:2]) > 200


@pytest.mark.parametrize("protocol", ["patient", "slice"])
@pytest.mark.usefixtures("without_preview")
def test_the_same_seed_writes_the_same_tables(
    protocol: str, project: Project, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(project, data, "--protocol", protocol)
    assert f"protocol {protocol}, leak audit: " in capsys.readouterr().out
    assert tables(data, protocol) == tables(project.data, protocol)
    create(project, data, "--protocol", protocol, "--seed", "1")
    assert tables(data, protocol)["holdout.csv"] != tables(project.data, protocol)["holdout.csv"]


def test_by_patient_every_slice_of_every_patient_is_kept(project: Project) -> None:
    slices = read_slices(project.data)
    for kind in ("holdout", "kfold"):
        table = read_parts(project.data, "patient", kind)
        assert table["id"].tolist() == slices["id"].tolist()
        assert len(table[["patient", "part"]].drop_duplicates()) == slices["patient"].nunique()
    audit = read_json(project.data / "patient" / "run.json")["leak_audit"]
    assert audit == dict.fromkeys(["holdout valid", "holdout test", "fold 1", "fold 2", "kfold test"], 0)


def test_by_slice_patients_stand_on_both_sides_and_it_is_said(project: Project) -> None:
    table = read_parts(project.data, "slice", "kfold")
    audit = read_json(project.data / "slice" / "run.json")["leak_audit"]
    first, second = (set(table.loc[table["part"] == fold, "patient"]) for fold in ("1", "2"))
    assert audit["fold 1"] == audit["fold 2"] == len(first & second) > 0


@pytest.mark.parametrize("protocol", ["patient", "slice"])
def test_the_same_rows_are_tested_in_both_files(protocol: str, project: Project) -> None:
    test = [set(table.loc[table["part"] == "test", "id"]) for table in (
        read_parts(project.data, protocol, "holdout"), read_parts(project.data, protocol, "kfold"))]  # fmt: skip
    assert test[0] == test[1] != set()


@pytest.mark.usefixtures("without_preview")
def test_summary_counts_what_the_split_holds_and_lists_disagreements(project: Project, data: Path) -> None:
    slices = read_slices(data)
    first = slices.index[slices["lesion_pixels"] > 0][0]
    slices.loc[first, "no_hemorrhage"] = 1  # the table says no blood, the mask has some
    write_csv(data / "slices.csv", slices)
    create(project, data)
    summary = pd.read_csv(data / "patient" / "summary.csv").query("kind == 'mask_and_table_disagree'")
    by_hand = slices[(slices["lesion_pixels"] > 0) == (slices["no_hemorrhage"] == 1)]
    assert summary["part"].tolist() == by_hand["id"].tolist()
    assert slices.loc[first, "id"] in set(summary["part"])


@pytest.mark.usefixtures("without_preview")
def test_volumes_are_cut_when_slices_csv_is_missing(project: Project, data: Path) -> None:
    shutil.rmtree(data)
    create(project, data)
    cut = pd.read_csv(data / "slices.csv", dtype=str)
    assert cut.drop(columns="source").equals(pd.read_csv(project.data / "slices.csv", dtype=str).drop(columns="source"))
    assert tables(data, "patient") == tables(project.data, "patient")


@pytest.mark.usefixtures("without_preview")
def test_another_image_size_than_that_of_the_slices_is_noted(
    project: Project, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(project, data, "--image-size", "64")
    assert "have 32 px; split_raw_data.py would cut them to 64" in capsys.readouterr().out
    create(project, data)
    assert " px" not in capsys.readouterr().out


def test_check_writes_nothing(project: Project, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(data.rglob("*"))
    create(project, data, "--check")
    assert sorted(data.rglob("*")) == before
    assert "read and found good" in capsys.readouterr().out


@pytest.mark.usefixtures("without_preview")
def test_too_few_patients_leave_the_old_split_alone(project: Project, data: Path) -> None:
    create(project, data)
    before = tables(data, "patient")
    with pytest.raises(InputError, match="patients with blood outside the test set for 90 folds"):
        create(project, data, "--folds", "90")
    assert tables(data, "patient") == before
    assert (data / "patient" / "run.json").exists()


def test_a_split_interrupted_half_way_is_not_taken_for_whole(
    project: Project, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project.data / "patient", data / "patient")
    monkeypatch.setattr("create_data_set.pictures.preview", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        create(project, data, "--seed", "1")
    assert not (data / "patient" / "run.json").exists()


def test_no_test_share_still_makes_a_preview(project: Project, data: Path) -> None:
    create(project, data, "--test-share", "0")
    assert set(read_parts(data, "patient", "holdout")["part"]) == {"train", "valid"}
    assert cv2.imread(str(data / "patient" / "preview.png")) is not None


@pytest.mark.parametrize("lost", ["image", "label"])
def test_a_lost_png_is_named(lost: str, project: Project, data: Path) -> None:
    for path in (data / lost).glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"{lost}/\d+_\d+\.png"):
        create(project, data)
