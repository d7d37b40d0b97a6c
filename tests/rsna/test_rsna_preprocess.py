"""DICOM phantoms of both layouts -> seven variants, one split; stopped and run again, the same files."""

import json
import os
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
    monkeypatch.setattr(preprocessing, "process", lambda task, how: done.append(task.id) or work(task, how))
    capsys.readouterr()
    preprocess(few, tmp_path)
    assert sorted(done) == sorted(names[:2])  # what was rejected is not tried again
    assert f"{len(names) - 1} of {len(names) + 1} files were done before" in capsys.readouterr().out
    assert contents(files) == first


def test_stopped_and_run_again_the_files_are_the_same(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = contents(preprocess(few, tmp_path / "undisturbed", "--quiet"))
    work, done = preprocessing.process, []

    def stopped(task: preprocessing.Task, how: preprocessing.How) -> object:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(task.id)
        return work(task, how)

    monkeypatch.setattr(preprocessing, "process", stopped)
    with pytest.raises(KeyboardInterrupt):
        preprocess(few, tmp_path / "again", "--quiet")
    files = paths.Rsna(tmp_path / "again")
    assert not files.slices.exists()
    with files.journal.open("a") as journal:
        journal.write('["torn", "hea')  # the line that a kill cut off
    monkeypatch.setattr(preprocessing, "process", lambda task, how: done.append(task.id) or work(task, how))
    preprocess(few, tmp_path / "again", "--quiet")
    assert len(done) == len(set(done)) == len(list(few.rglob("*.dcm")))
    assert contents(files) == undisturbed


def made(files: paths.Rsna) -> list[str]:
    return list(json.loads(files.run.read_text())["variants"])


def test_a_further_variant_leaves_the_others_as_they_are(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = contents(preprocess(few, tmp_path / "whole", "--quiet"))
    files = preprocess(few, tmp_path / "by one", "--variants", "1_roi")
    assert "next: python rsna_train.py --variant 1_roi --data" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in (files.folder / "1_roi").iterdir()}
    preprocess(few, tmp_path / "by one", "--quiet", "--variants", "0_dicom2png", "4_roi_noblank")
    assert made(files) == ["0_dicom2png", "1_roi", "4_roi_noblank"]
    assert {path: path.stat().st_mtime_ns for path in (files.folder / "1_roi").iterdir()} == times
    work = variants.apply
    monkeypatch.setattr(variants, "apply", lambda grey, names: work(grey, names) if "1_roi" not in names else 1 / 0)
    capsys.readouterr()
    preprocess(few, tmp_path / "by one")
    assert "next: python rsna_train.py --data" in capsys.readouterr().out
    assert made(files) == list(variants.VARIANTS)
    assert contents(files) == whole


def test_a_variant_that_is_stopped_leaves_the_others_usable(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    before = files.slices.read_bytes()
    work, done = preprocessing.process, []
    monkeypatch.setattr(
        preprocessing, "process", lambda task, how: done.append(task) or (work(task, how) if len(done) < 5 else 1 / 0)
    )
    with pytest.raises(ZeroDivisionError):
        preprocess(few, tmp_path, "--quiet", "--variants", "0_dicom2png")
    assert (files.slices.read_bytes(), made(files)) == (before, ["1_roi"])
    monkeypatch.setattr(preprocessing, "process", work)
    capsys.readouterr()
    preprocess(few, tmp_path, "--quiet", "--variants", "4_roi_noblank")
    assert made(files) == ["1_roi", "4_roi_noblank"]
    assert "not every slice is there under 0_dicom2png; complete with --variants 0_dicom2png" in capsys.readouterr().out


def test_changed_files_are_renewed_under_all_variants_they_had(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = preprocess(few, tmp_path, "--quiet", "--variants", "0_dicom2png", "1_roi")
    first, second = (few / "healthy" / f"{name}.dcm" for name in sorted(read(files).index)[:2])
    pixels = files.png("0_dicom2png", second.stem).read_bytes()
    shutil.copyfile(second, first)
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert files.png("0_dicom2png", first.stem).read_bytes() == pixels
    assert "also renewed under 0_dicom2png" in capsys.readouterr().out
    assert made(files) == ["0_dicom2png", "1_roi"]


def test_another_window_renews_all(few: Path, tmp_path: Path) -> None:
    first = contents(preprocess(few, tmp_path, "--quiet", "--variants", "0_dicom2png", "1_roi"))
    wide = preprocess(few, tmp_path, "--quiet", "--window", "600/2800", "--variants", "1_roi")
    name = read(wide).index[0]
    for key in (f"0_dicom2png/{name}.png", f"1_roi/{name}.png"):
        assert contents(wide)[key] != first[key]


def processed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from now on."""
    work, done = preprocessing.process, list[str]()
    monkeypatch.setattr(preprocessing, "process", lambda task, how: done.append(task.id) or work(task, how))
    return done


def test_a_moved_raw_folder_is_known(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = preprocess(few, tmp_path / "data", "--quiet", "--variants", "1_roi")
    assert str(tmp_path) not in files.journal.read_text()
    before, moved, done = contents(files), few.rename(few.with_name("elsewhere")), processed(monkeypatch)
    preprocess(moved, tmp_path / "data", "--quiet", "--variants", "1_roi")
    assert (contents(files), done) == (before, [])


def test_a_journal_of_an_earlier_version_is_gone_on_with(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first line named the raw folder, and those variants alone that were made."""
    files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    first, *notes = files.journal.read_text().splitlines(keepends=True)
    earlier = {"raw": "/there", "window": json.loads(first)["window"], "steps": {"1_roi": ["roi"]}}
    files.journal.write_text(json.dumps(earlier) + "\n" + "".join(notes))
    done = processed(monkeypatch)
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert done == []
    files.journal.write_text(json.dumps(earlier | {"steps": {"1_roi": ["clahe"]}}) + "\n" + "".join(notes))
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert len(done) == len(notes)


def test_other_files_of_equal_names_sizes_and_times_are_refused(few: Path, tmp_path: Path) -> None:
    for path in (few / "healthy").glob("*.dcm"):
        os.utime(path, (0, 0))  # as reproducible archives have it
    preprocess(few, tmp_path / "data", "--quiet", "--variants", "1_roi")
    for path in (few / "healthy").glob("0*.dcm"):
        path.write_bytes(path.read_bytes()[:-2000] + bytes(2000))
        os.utime(path, (0, 0))
    with pytest.raises(InputError, match=r"holds other pixels .* give another --data"):
        preprocess(few, tmp_path / "data", "--quiet", "--variants", "0_dicom2png")


def test_a_rejected_file_is_read_again_once_it_changes(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = few / "healthy" / "ID_6431af929.dcm"
    good = next(path for path in (few / "healthy").glob("0*.dcm"))
    files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    done = processed(monkeypatch)
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi", "0_dicom2png")
    assert bad.stem not in done
    assert pd.read_csv(files.rejected)["id"].tolist() == [bad.stem]
    shutil.copyfile(good, bad)
    done.clear()
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi", "0_dicom2png")
    assert done == [bad.stem]
    assert pd.read_csv(files.rejected).empty


def test_what_may_not_be_read_is_tried_again(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = sorted((few / "healthy").glob("0*.dcm"))[0].name
    opened = Path.open

    def denied(path: Path, *mode: str, **how: object) -> object:
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return opened(path, *mode, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert "Permission denied" in pd.read_csv(files.rejected).set_index("id").loc[Path(name).stem, "reason"]
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert Path(name).stem in read(files).index


def test_only_what_was_written_is_forced_to_disk(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a file is noted; the other disks of the machine are left alone."""
    forced, noted = set(), []
    sync, written = os.fsync, os.readlink

    def fsync(descriptor: int) -> None:
        path = Path(written(f"/proc/self/fd/{descriptor}"))
        forced.add(path)
        if path.suffix == ".png" and path.parent.name in variants.VARIANTS:
            noted.append(path.stem in journal.read_text() if journal.exists() else False)
        sync(descriptor)

    journal = paths.Rsna(tmp_path).journal
    monkeypatch.setattr(os, "sync", lambda: 1 / 0)
    monkeypatch.setattr(os, "fsync", fsync)
    files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi", "0_dicom2png")
    folders = [files.folder / name for name in ("1_roi", "0_dicom2png")]
    assert {*folders, *(path for folder in folders for path in folder.iterdir())} <= forced
    assert not any(noted)


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


def test_series_and_position_are_recorded(few: Path, tmp_path: Path) -> None:
    path = sorted((few / "healthy").glob("0*.dcm"))[0]
    header = pydicom.dcmread(path)
    del header.SeriesInstanceUID, header.ImagePositionPatient
    header.save_as(path)
    files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    table = pd.read_csv(files.series, dtype={"id": str}).set_index("id")
    assert table.index.tolist() == read(files).index.tolist()
    assert table.loc[path.stem].isna().all()
    rest = table.drop(path.stem)
    assert rest["position_mm"].tolist() == [5 * int(name[-3:]) for name in rest.index]
    assert rest["series"].nunique() == len({name[:3] for name in rest.index})
    assert "series" not in read(files)


def test_notes_of_an_earlier_version_are_completed(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    first, *notes = files.journal.read_text().splitlines()
    earlier = [json.dumps(json.loads(note)[:-2]) for note in notes]
    files.journal.write_text("\n".join([first, *earlier]) + "\n")
    whole, times = contents(files), {path: path.stat().st_mtime_ns for path in files.folder.rglob("1_roi/*.png")}
    files.series.unlink()
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert contents(files) == whole
    assert {path: path.stat().st_mtime_ns for path in times} == times
    done = processed(monkeypatch)
    preprocess(few, tmp_path, "--quiet", "--variants", "1_roi")
    assert done == []


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
