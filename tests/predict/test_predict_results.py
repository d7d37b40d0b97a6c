"""Whose results lie in the output folder: names, paths, contents, and what a second call finds, whatever happened."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from predict_files import find
from predict_place import HEAD, MARK_HU, METHOD, Place, damage, make, scan, series

from ich.predict import inputs, naming
from ich.predict.job import Job
from ich.score.operating import FIXED


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Place:
    return make(tmp_path, monkeypatch, capsys)


# Each case: what happens in the folder and is called, then the voxels of blood by name, and what the last call says.


def two_calls(place: Place) -> str:
    scan(place.root / "A/scan.nii", 7)
    scan(place.root / "B/scan.nii", 3)
    assert (place.root / "A/scan.nii").stat().st_size == (place.root / "B/scan.nii").stat().st_size
    place.call("A/scan.nii")
    return place.call("B/scan.nii")


def folders_of_one_name(place: Place) -> str:
    series(place.root / "A/CT", 7)
    series(place.root / "B/CT", 3)
    place.call("A/CT")
    return place.call("B/CT")


def one_call(place: Place) -> str:
    scan(place.root / "A/scan.nii", 7)
    scan(place.root / "B/scan.nii", 3)
    return place.call("A", "B")


def a_third_is_added(place: Place) -> str:
    one_call(place)
    scan(place.root / "0/scan.nii", 5)
    return place.call("0", "A", "B")


def a_second_is_added(place: Place) -> str:
    scan(place.root / "A/scan.nii", 7)
    place.call("A")
    scan(place.root / "0/scan.nii", 5)
    return place.call("0", "A")


def deeper(place: Place) -> str:
    for number, site in enumerate(("x", "y"), start=1):
        for subject in ("sub-01", "sub-02"):
            scan(place.root / site / subject / "ct.nii", number)
    return place.call("x", "y")


def replaced(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    scan(place.root / "scan.nii", 3)
    return place.call("scan.nii")


def replaced_by_a_damaged_one(place: Place) -> str:
    scan(place.root / "other.nii", 2)
    place.call(scan(place.root / "scan.nii", 7), "other.nii")
    damage(place.root / "scan.nii")
    return place.call("scan.nii")


def the_only_one_replaced_by_a_damaged_one(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    damage(place.root / "scan.nii")
    return place.call("scan.nii")


def a_slice_replaced_by_a_damaged_one(place: Place) -> str:
    place.call(series(place.root / "CT", 7))
    damage(next((place.root / "CT").iterdir()))
    return place.call("CT")


def mask_deleted(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    (place.root / "out/scan/mask.nii.gz").unlink()
    return place.call("scan.nii")


def page_deleted(place: Place) -> str:
    scan(place.root / "scan.nii", 7)
    place.call("scan.nii", "--view")
    (place.root / "out/scan/view.html").unlink()
    text = place.call("scan.nii", "--view")
    assert (place.root / "out/scan/view.html").exists()
    return text


def mask_of_another_deleted(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7), scan(place.root / "other.nii", 2))
    (place.root / "out/other/mask.nii.gz").unlink()
    return place.call("scan.nii")


def series_replaced_by_something_else(place: Place) -> str:
    place.call(series(place.root / "CT", 7))
    for path in (place.root / "CT").iterdir():
        path.write_text("something else")
    return place.call("CT")


def one_of_two_deleted(place: Place) -> str:
    place.call(scan(place.root / "data/a.nii", 7), scan(place.root / "data/b.nii", 3))
    (place.root / "data/a.nii").unlink()
    return place.call("data")


def moved(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    (place.root / "scan.nii").rename(place.root / "head.nii")
    text = place.call("head.nii")
    assert place.told("scan")["source"]["path"] == str(place.root / "head.nii")
    return text


def folder_moved(place: Place) -> str:
    place.call(series(place.root / "A/CT", 7))
    (place.root / "A").rename(place.root / "B")
    return place.call("B/CT")


def copied(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    shutil.copy(place.root / "scan.nii", place.root / "head.nii")
    return place.call("head.nii")


def swapped(place: Place) -> str:
    place.call(scan(place.root / "a.nii", 7), scan(place.root / "b.nii", 3))
    scan(place.root / "a.nii", 3)
    scan(place.root / "b.nii", 7)
    return place.call("a.nii", "b.nii")


def make_old(place: Place) -> None:
    """As an earlier version of predict.py wrote run.json."""
    told = place.told("scan")
    del told["source"], told["files"], told["measures"]["lesions_above_0.1_ml"]
    (place.root / "out/scan/run.json").write_text(json.dumps(told))


def damaged_of_an_earlier_version(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    make_old(place)
    damage(place.root / "scan.nii")
    return place.call("scan.nii")


def of_an_earlier_version(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    make_old(place)
    return place.call("scan.nii")


def another_of_an_earlier_version(place: Place) -> str:
    place.call(scan(place.root / "scan.nii", 7))
    make_old(place)
    return place.call(scan(place.root / "other.nii", 2))


def stopped(place: Place) -> str:
    scan(place.root / "scan.nii", 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ich.predict.job.montage.montage", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.call("scan.nii")
    assert place.call(scan(place.root / "other.nii", 2)).count("-> ") == 1
    assert [*place.table().index] == ["other"]
    return place.call("scan.nii")


def folder_of_somebody_else(place: Place) -> str:
    scan(place.root / "A/scan.nii", 7)
    (place.root / "out/scan").mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), place.root / "out/scan/truth.nii.gz")
    return place.call("A/scan.nii")


def run_of_a_training(place: Place) -> str:
    scan(place.root / "A/scan.nii", 7)
    (place.root / "out/scan").mkdir(parents=True)
    (place.root / "out/scan/run.json").write_text('{"identity": {}}')
    return place.call("A/scan.nii")


def run_that_is_damaged(place: Place) -> str:
    scan(place.root / "A/scan.nii", 7)
    (place.root / "out/scan").mkdir(parents=True)
    (place.root / "out/scan/run.json").write_text('{"scan": ')
    return place.call("A/scan.nii")


def again(place: Place) -> str:
    one_call(place)
    return place.call("B", "A")


def through_a_link(place: Place) -> str:
    place.call(scan(place.root / "A/scan.nii", 7))
    (place.root / "L").symlink_to(place.root / "A")
    return place.call("L/scan.nii")


def names_of_other_case(place: Place) -> str:
    scan(place.root / "A/Scan.nii", 7)
    scan(place.root / "B/scan.nii", 3)
    place.call("A")
    return place.call("B")


@pytest.mark.parametrize(
    ("case", "voxels", "says"),
    [
        (two_calls, {"scan": 7, "B_scan": 3}, r"B_scan ({root}/B/scan.nii): "),
        (folders_of_one_name, {"CT": 7, "B_CT": 3}, r"B_CT ({root}/B/CT): "),
        (one_call, {"A_scan": 7, "B_scan": 3}, r"A_scan ({root}/A/scan.nii): "),
        (a_third_is_added, {"0_scan": 5, "A_scan": 7, "B_scan": 3}, r"A_scan ({root}/A/scan.nii): already predicted"),
        (a_second_is_added, {"0_scan": 5, "scan": 7}, r"scan ({root}/A/scan.nii): already predicted"),
        (deeper, {"x_sub-01_ct": 1, "x_sub-02_ct": 1, "y_sub-01_ct": 2, "y_sub-02_ct": 2}, "-> "),
        (replaced, {"scan": 3}, "note: predicted again: the content of {root}/scan.nii has changed since the"),
        (replaced_by_a_damaged_one, {"other": 2}, "scan: note: the content of its path has changed, so the earlier "
                                                  "results are removed\nerror: {root}/scan.nii: cut off"),
        (the_only_one_replaced_by_a_damaged_one, {}, "so the earlier results are removed"),
        (a_slice_replaced_by_a_damaged_one, {}, "so the earlier results are removed"),
        (mask_deleted, {"scan": 7}, "scan: note: predicted again: mask.nii.gz was missing"),
        (page_deleted, {"scan": 7}, "scan: note: predicted again: view.html was missing"),
        (mask_of_another_deleted, {"scan": 7}, "note: other: mask.nii.gz is missing, so volumes.csv has no row of it"),
        (series_replaced_by_something_else, {"CT": 7},
         "note: scans that are no longer where they were predicted keep their results: CT\nerror: "),
        (one_of_two_deleted, {"a": 7, "b": 3},
         "note: scans that are no longer where they were predicted keep their results: a\n"),
        (moved, {"scan": 7}, "scan: note: was {root}/scan.nii when it was predicted; now recorded where it is\n"
                             "scan ({root}/head.nii): already predicted"),
        (folder_moved, {"CT": 7}, "CT: note: was {root}/A/CT when it was predicted"),
        (copied, {"scan": 7, "head": 7}, "head: "),
        (swapped, {"a": 3, "b": 7}, "a: note: predicted again: the content of {root}/a.nii has changed since the"),
        (of_an_earlier_version, {"scan": 7}, "note: predicted again: the earlier results, of another version, did"),
        (damaged_of_an_earlier_version, {"scan": 7}, "are kept; they do not say of which scan\nnote: rows of"),
        (another_of_an_earlier_version, {"scan": 7, "other": 2},
         "of an earlier version, which did not record whose they are: scan; delete their folders"),
        (stopped, {"scan": 7, "other": 2}, "scan: "),
        (folder_of_somebody_else, {"A_scan": 7}, "A_scan ({root}/A/scan.nii): "),
        (run_of_a_training, {"A_scan": 7}, "A_scan ({root}/A/scan.nii): "),
        (run_that_is_damaged, {"A_scan": 7}, "A_scan ({root}/A/scan.nii): "),
        (again, {"A_scan": 7, "B_scan": 3}, "B_scan ({root}/B/scan.nii): already predicted"),
        (through_a_link, {"scan": 7}, "scan: already predicted"),
        (names_of_other_case, {"Scan": 7, "B_scan": 3}, "B_scan ({root}/B/scan.nii): "),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_results_are_those_of_the_scan(
    place: Place, case: Callable[[Place], str], voxels: dict[str, int], says: str
) -> None:
    text = case(place)
    assert says.replace("{root}", str(place.root)) in text
    assert place.voxels() == voxels


def test_files_that_are_not_the_programs_stay(place: Place) -> None:
    """Somebody's note in the folder of results that are removed, and a folder that only looks like results."""
    scan(place.root / "scan.nii", 7)
    place.call("scan.nii")
    (place.root / "out/scan/note.txt").write_text("mine")
    damage(place.root / "scan.nii")
    place.call("scan.nii")
    assert [path.name for path in (place.root / "out/scan").iterdir()] == ["note.txt"]
    place.call(scan(place.root / "scan.nii", 7))
    assert [*place.voxels().values()] == [7]
    assert (place.root / "out/scan/note.txt").read_text() == "mine"
    assert not (place.root / "out/scan/mask.nii.gz").exists()  # it is somebody else's folder by now


def test_a_table_of_another_program_is_not_replaced(place: Place) -> None:
    scan(place.root / "scan.nii", 7)
    (place.root / "out").mkdir()
    (place.root / "out/volumes.csv").write_text("patient,ml\n1,2\n")
    assert "volumes.csv: was not written by predict.py" in place.call("scan.nii")
    assert (place.root / "out/volumes.csv").read_text() == "patient,ml\n1,2\n"
    assert [path.name for path in (place.root / "out").iterdir()] == ["volumes.csv"]


def test_paths_and_the_series_are_recorded(place: Place) -> None:
    scan(place.root / "A/scan.nii", 7)
    series(place.root / "B/CT", 3, number=4, description="=Head")
    place.call("A", "B")
    table, header = place.table(), pydicom.dcmread(next((place.root / "B/CT").iterdir()))
    assert table.loc["scan", "path"] == "../A/scan.nii"
    assert table.loc["CT", "path"] == "../B/CT"
    assert list(table.loc[["scan", "CT"], "files"]) == [1, HEAD.hu.shape[2]]
    assert list(table.loc["CT", ["study_uid", "series_uid", "series_number", "series_description"]]) == [
        header.StudyInstanceUID, header.SeriesInstanceUID, "4", "'=Head"]  # fmt: skip
    assert table.loc["scan", ["study_uid", "series_uid"]].isna().all()
    place.call("A", out="elsewhere/out")
    assert place.table("elsewhere/out").loc["scan", "path"] == str(place.root / "A/scan.nii")
    told = place.told("CT")
    assert told["source"]["path"] == str(place.root / "B/CT")
    assert told["source"]["real_paths"] == [str((place.root / "B/CT").resolve())]
    assert told["source"]["series_uid"] == header.SeriesInstanceUID
    assert len(told["source"]["content"]) == 64
    assert {*told["files"]} == {path.name for path in (place.root / "out/CT").iterdir()} - {"run.json"}


def test_content_does_not_depend_on_names_and_order_of_the_files(tmp_path: Path) -> None:
    first, second = series(tmp_path / "a", 3), tmp_path / "b"
    second.mkdir()
    for number, path in enumerate(sorted(first.iterdir(), reverse=True)):
        shutil.copy(path, second / f"{number}.dcm")
    contents = [only.content for only in find([first]) + find([second])]
    assert contents[0] == contents[1]
    damage(second / "0.dcm")
    (changed,) = find([second])
    assert changed.content != contents[0]


def given(path: str, base: str = "", content: str = "", **facts: str) -> inputs.Input:
    """An input whose file need not be there."""
    name = base or Path(path).name.removesuffix(".nii")
    made = inputs.Input(name, Path(path), (Path(path),), lambda: None, facts)
    made.__dict__["content"] = content or path
    return made


@pytest.mark.parametrize(
    ("scans", "names"),
    [
        ([given("/d/head.nii")], ["head"]),
        ([given("/d/CT", "CT_series2"), given("/d/CT", "CT_series3")], ["CT_series2", "CT_series3"]),
        ([given("/a/CT", "CT_series2"), given("/b/CT", "CT_series2")], ["a_CT_series2", "b_CT_series2"]),
        ([given("/s/a/x/ct.nii"), given("/s/b/x/ct.nii"), given("/s/c/y/ct.nii")], ["a_x_ct", "b_x_ct", "y_ct"]),
        ([given("/a/b_c.nii"), given("/a_b/c.nii"), given("/x/b_c.nii")], ["a_b_c", "c", "x_b_c"]),
        ([given("/ct.nii"), given("/a/ct.nii")], ["ct", "a_ct"]),
        ([given("/a/volumes.csv.nii")], ["a_volumes.csv"]),
        ([given("/.a/.nii"), given("/b/.nii")], ["scan_" + "0" * 8, "b_scan"]),
        ([given(f"/{'a' * 150}/{'b' * 100}.nii"), given(f"/c/{'b' * 100}.nii")],
         ["b" * 100 + "_" + "0" * 8, "c_" + "b" * 100]),
    ],
)  # fmt: skip
def test_names(tmp_path: Path, scans: list[inputs.Input], names: list[str]) -> None:
    for each in scans[:1]:
        each.__dict__["content"] = "0" * 64
    assert [each.name for each in naming.named(scans, tmp_path)] == names


def test_two_series_of_one_folder_keep_their_results_apart(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    series(place.root / "CT", 7, number=2)
    series(place.root / "CT", 3, number=3, description="Bone")
    for number, voxels in (("2", 7), ("3", 3), ("2", 7)):
        text = place.call("CT", "--series", number)
        rows = place.table()
        assert rows["volume_ml"].to_dict()[rows.index[rows["series_number"] == number][0]] > 0
        assert voxels in place.voxels().values()
    assert "already predicted" in text
    assert [*place.voxels().values()] == [7, 3]


@pytest.mark.parametrize(("windows", "is_noted"), [(["40/120"], False), (["80/200"], True)])
def test_rows_of_different_networks_are_noted(
    place: Place, monkeypatch: pytest.MonkeyPatch, windows: list[str], is_noted: bool
) -> None:
    for name, given in (("a", ["40/120"]), ("b", windows)):
        scan(place.root / f"{name}.nii", 3)
        of_call(monkeypatch, {"run": "dunet", "networks": ["1"], "windows": given})
        text = place.call(f"{name}.nii")
    assert ("volumes.csv are of different networks (dunet: a; dunet: b)" in text) == is_noted


def of_call(monkeypatch: pytest.MonkeyPatch, method: dict) -> None:
    """The next calls predict with these networks."""

    def prepare(config: object) -> Job:
        facts = {"engine": "test", "method": method}
        return Job(config, METHOD, FIXED, lambda hu: (hu == MARK_HU).astype(np.float32), facts)

    monkeypatch.setattr("ich.predict.networks.prepare", prepare)
