"""DICOM phantoms of both layouts -> seven variants, one split; stopped and run again, the same files."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from conftest import Project

import rsna_preprocess
from ich.base import parallel, paths
from ich.base.errors import InputError
from ich.rsna import preprocessing, split, variants
from ich.scans.window import Window

SHARES = ["--valid-share", "0.2", "--test-share", "0.2", "--workers", "1"]


def preprocess(raw: Path, data: Path, *flags: str) -> paths.Rsna:
    rsna_preprocess.main(["--raw", str(raw), "--data", str(data), *SHARES, *flags])
    return paths.Rsna(data)


def read(files: paths.Rsna) -> pd.DataFrame:
    return split.read(files).set_index("id")


def contents(files: paths.Rsna) -> dict[str, bytes]:
    """Everything but the manifest and the journal, which tell of time and place."""
    kept = [path for path in files.folder.rglob("*") if path.suffix in (".png", ".csv")]
    return {path.relative_to(files.folder).as_posix(): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def raw(project: Project) -> Path:
    return project.root / "rsna" / "classes"


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> paths.Rsna:
    """All variants of the class folders. Read only."""
    return preprocess(raw, tmp_path_factory.mktemp("whole"), "--quiet")


@pytest.fixture
def few(raw: Path, tmp_path: Path) -> Path:
    """Six healthy patients' slices and a damaged one, to be changed."""
    names = sorted({path.name[:3] for path in (raw / "healthy").glob("0*.dcm")})[:6]
    (tmp_path / "raw" / "healthy").mkdir(parents=True)
    for path in (raw / "healthy").glob("*.dcm"):
        if path.name[:3] in names or path.stem == "ID_6431af929":
            shutil.copy2(path, tmp_path / "raw" / "healthy")
    return tmp_path / "raw"


def test_every_slice_is_there_under_every_variant(whole: paths.Rsna, raw: Path) -> None:
    table = read(whole)
    for name in variants.VARIANTS:
        assert {path.stem for path in (whole.folder / name).iterdir()} == set(table.index)
    found = {path.stem for path in raw.rglob("*.dcm")}
    rejected = pd.read_csv(whole.rejected).set_index("id")["reason"]
    assert set(table.index) | set(rejected.index) == found
    assert set(rejected.index) == {"ID_6431af929", "scout"}
    assert "cannot be read" in rejected["ID_6431af929"]
    assert whole.preview.exists()


def test_pixels_are_the_window_of_hu_at_native_size(whole: paths.Rsna, raw: Path) -> None:
    table = read(whole)
    name = table.index[(table["class"] == "healthy") & ~table["repaired"]][0]
    header = pydicom.dcmread(raw / table.loc[name, "source"])
    hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    expected = np.clip(np.rint((hu + 20) * 255 / 120), 0, 255)
    assert np.array_equal(cv2.imread(str(whole.png("0_dicom2png", name)), cv2.IMREAD_UNCHANGED), expected)
    for variant, pixels in variants.apply(expected.astype(np.uint8), list(variants.VARIANTS)).items():
        assert np.array_equal(cv2.imread(str(whole.png(variant, name)), cv2.IMREAD_UNCHANGED), pixels), variant


def test_black_and_repaired_slices_are_counted(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = preprocess(raw, tmp_path, "--variants", "1_roi")
    told = capsys.readouterr().out
    table = read(files)
    assert table.index[table["no_contour"]].tolist() == ["black"]
    assert "1 slices are black" in told
    assert f"{table['repaired'].sum()} slices had wrapped 12-bit values" in told
    assert "2 files were rejected" in told
    assert "no patient is in two parts" in told


def test_one_split_by_patient_with_the_test_folder_apart(whole: paths.Rsna) -> None:
    table = read(whole)
    assert table.groupby("patient")["split"].nunique().max() == 1
    assert set(table["split"]) == {"train", "valid", "test", "predict"}
    assert (table["class"].isna() == (table["split"] == "predict")).all()
    assert json.loads(whole.run.read_text())["leak_audit"] == {"valid": 0, "test": 0}


def test_both_layouts_hold_the_same_slices(whole: paths.Rsna, project: Project, tmp_path: Path) -> None:
    files = preprocess(project.root / "rsna" / "kaggle", tmp_path, "--quiet", "--variants", "0_dicom2png")
    kaggle, classes = read(files), read(whole)
    known = classes[(classes["split"] != "predict") & (classes.index != "black")]
    columns = ["patient", "crc32", "class"]
    assert sorted(map(tuple, kaggle[columns].to_numpy())) == sorted(map(tuple, known[columns].to_numpy()))


def test_processes_change_nothing(few: Path, tmp_path: Path) -> None:
    one = preprocess(few, tmp_path / "one", "--quiet")
    two = preprocess(few, tmp_path / "two", "--quiet", "--workers", "2")
    assert contents(one) == contents(two)


def test_a_second_run_does_only_what_is_missing(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = preprocess(few, tmp_path, "--quiet")
    first = contents(files)
    names = sorted(read(files).index)
    files.png("5_roi_noblank_clahe", names[0]).unlink()
    (few / "healthy" / f"{names[1]}.dcm").touch()
    done = []
    work = preprocessing.process
    monkeypatch.setattr(preprocessing, "process", lambda file, how: done.append(file[0]) or work(file, how))
    capsys.readouterr()
    preprocess(few, tmp_path)
    assert sorted(done) == sorted([*names[:2], "ID_6431af929"])  # what was rejected is tried again
    assert f"{len(names) - 2} of {len(names) + 1} files were done before" in capsys.readouterr().out
    assert contents(files) == first


def test_stopped_and_run_again_the_files_are_the_same(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = contents(preprocess(few, tmp_path / "undisturbed", "--quiet"))
    work, done = preprocessing.process, []

    def stopped(file: tuple[str, str], how: preprocessing.How) -> object:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(file)
        return work(file, how)

    monkeypatch.setattr(preprocessing, "process", stopped)
    with pytest.raises(KeyboardInterrupt):
        preprocess(few, tmp_path / "again", "--quiet")
    files = paths.Rsna(tmp_path / "again")
    assert not files.slices.exists()
    with files.journal.open("a") as journal:
        journal.write('["torn", "hea')  # the line that a kill cut off
    monkeypatch.setattr(preprocessing, "process", lambda file, how: done.append(file) or work(file, how))
    preprocess(few, tmp_path / "again", "--quiet")
    assert len(done) == len(set(done)) == len(list(few.rglob("*.dcm")))
    assert contents(files) == undisturbed


def test_another_window_makes_all_anew(few: Path, tmp_path: Path) -> None:
    first = contents(preprocess(few, tmp_path, "--quiet"))
    wide = preprocess(few, tmp_path, "--quiet", "--window", "600/2800")
    name = read(wide).index[0]
    key = f"0_dicom2png/{name}.png"
    assert contents(wide)[key] != first[key]


def test_the_files_own_window(few: Path, tmp_path: Path) -> None:
    path = next(path for path in (few / "healthy").glob("0*.dcm"))
    header = pydicom.dcmread(path)
    del header.WindowCenter
    header.save_as(path)
    files = preprocess(few, tmp_path, "--quiet", "--window", "tag")
    assert "WindowCenter" in pd.read_csv(files.rejected).set_index("id").loc[path.stem, "reason"]
    name = read(files).index[0]
    header = pydicom.dcmread(few / "healthy" / f"{name}.dcm")
    window = Window(*(float(np.ravel(tag)[0]) for tag in (header.WindowCenter, header.WindowWidth)))
    hu = preprocessing.dicom_slice.read_slice(few / "healthy" / f"{name}.dcm").hu
    assert np.array_equal(cv2.imread(str(files.png("0_dicom2png", name)), cv2.IMREAD_UNCHANGED), window(hu))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--variants", "7_more"], "'7_more' is not a variant"),
        (["--window", "bone"], "--window 'bone': expected level/width"),
        (["--valid-share", "0.5", "--test-share", "0.5"], "leave nothing to train on"),
    ],
)
def test_flags_that_are_refused(few: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        preprocess(few, tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()


def double(number: int) -> int:
    return 2 * number


def test_a_stream_keeps_order_and_does_not_run_ahead() -> None:
    handed_out = []

    class Items(list):
        def __iter__(self) -> object:
            for number in range(500):
                handed_out.append(number)
                yield number

        def __len__(self) -> int:
            return 500

    results = parallel.stream(double, Items(), 2, "numbers", quiet=True)
    assert next(results) == 0
    assert len(handed_out) <= 2 * parallel.AHEAD
    assert list(results) == [2 * number for number in range(1, 500)]
