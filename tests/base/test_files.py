"""Whole files or none, tables that keep their text, fingerprints, and the manifest."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import config as settings
from ich.base import parallel, record
from ich.base.errors import InputError
from ich.base.files import as_json, atomic, read_csv, read_json, write_csv, write_json
from ich.base.progress import progress
from ich.scans.png import write_png


def write_and_fail(path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half of the ne", encoding="utf-8")
        raise RuntimeError("power cut")


@pytest.mark.parametrize("sync", [True, False])
def test_atomic_writes_the_whole_file_and_makes_its_folder(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "neuer Ordner" / "täble.csv"
    with atomic(path, sync) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("before", ["old and whole", None])
def test_an_exception_in_the_middle_leaves_the_old_file_and_no_other(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "table.csv"
    if before:
        path.write_text(before, encoding="utf-8")
    with pytest.raises(RuntimeError, match="power cut"):
        write_and_fail(path)
    assert [each.name for each in tmp_path.iterdir()] == ([path.name] if before else [])
    if before:
        assert path.read_text(encoding="utf-8") == before


def test_json_takes_paths_and_numpy_numbers(tmp_path: Path) -> None:
    content = {"path": Path("a/b"), "n": np.int64(3), "x": np.float32(0.5), "pair": (1, 2), "name": "Köpfe"}
    write_json(tmp_path / "a.json", content)
    expected = {"path": "a/b", "n": 3, "x": 0.5, "pair": [1, 2], "name": "Köpfe"}
    assert read_json(tmp_path / "a.json") == expected == as_json(content)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"[1, 2]", b"null", b"\xff\xfe\x00"])
def test_damaged_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json"):
        read_json(path)


def test_missing_json_and_csv_name_the_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the step"):
        read_json(tmp_path / "run.json")
    with pytest.raises(InputError, match=r"slices\.csv: not found; run `python split_raw_data\.py` first"):
        read_csv(tmp_path / "slices.csv", (), "split_raw_data.py")


def test_ids_and_patients_stay_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["049_001", "NA"], "patient": ["049", "None"], "dice": [1 / 3, np.nan], "n": [1, 2]})
    write_csv(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_bytes() == b"id,patient,dice,n\n049_001,049,0.333333,1\nNA,None,,2\n"
    read = read_csv(tmp_path / "t.csv", ("id",), "x.py")
    assert list(read["id"]) == ["049_001", "NA"]  # not a missing value
    assert list(read["patient"]) == ["049", "None"]
    assert read["dice"].isna().tolist() == [False, True]
    assert read["n"].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as CSV"),
        (b"id\n1\n2,3,4\n", "cannot be read as CSV"),
        (b"id\n\xff\xfe\n", "cannot be read as CSV"),
        (b"id,split\n1,train\n", "no column fold; found id, split"),
        (b"id;fold\n1;2\n", "separated by ';', expected commas"),
        (b"id,fold,fold\n1,2,3\n", "column fold appears twice"),
        (b"id,fold\na,1,2\nb,1,2\n", "cannot be read as CSV"),  # not read one column too far left
        ("id,fold\na,1\n".encode("utf-16"), "is saved as UTF-16"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "kfold.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        read_csv(path, ("fold",), "create_data_set.py")
    assert "kfold.csv" in str(refused.value)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_png_keeps_pixels_and_the_order_of_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / "ein Bild ä.png"
    assert write_png(path, pixels) == path.read_bytes()
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # colour as blue, green, red
    np.testing.assert_array_equal(stored if len(shape) == 2 else stored[:, :, ::-1], pixels)


def test_fingerprint_depends_on_the_contents_not_on_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("abc", encoding="utf-8")
    # the first 16 digits of SHA-256("abc"), FIPS 180-2 appendix B.1
    assert record.fingerprint("abc") == record.fingerprint(b"abc") == record.fingerprint(path) == "ba7816bf8f01cfea"
    assert record.fingerprint("abd") != record.fingerprint("abc")


def test_manifest_is_json_and_says_what_ran() -> None:
    made = json.loads(json.dumps(as_json(record.manifest(settings.SplitRawData(), 0.0, slices=7))))
    assert made["slices"] == 7
    assert made["config"]["windows"] == ["40/120"]
    assert made["packages"]["numpy"] == np.__version__
    assert made["seconds"] > 0
    assert "not for diagnosis" in made["note"]


def test_manifest_names_no_commit_of_a_repository_around_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of a user, whose environment has the project installed."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], [*identity, "commit", "--quiet", "--allow-empty", "--message", "theirs"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    assert record.manifest(settings.SplitRawData(), 0.0)["git_commit"]
    monkeypatch.setattr(record, "ROOT", tmp_path / "installed")
    record.ROOT.mkdir()
    assert record.manifest(settings.SplitRawData(), 0.0)["git_commit"] is None


@pytest.mark.parametrize("workers", [1, 2])
def test_spread_keeps_the_order(workers: int) -> None:
    assert parallel.spread(abs, [-3, 1, -2], workers, "numbers", quiet=True) == [3, 1, 2]
    assert parallel.spread(abs, [], workers, "numbers", quiet=True) == []


def test_a_killed_worker_is_told_in_one_line() -> None:
    with pytest.raises(InputError, match=r"scans read: a worker process was killed.*try --workers 1"):
        parallel.spread(os._exit, [1, 1], 2, "scans read", quiet=True)


def test_progress_without_a_terminal_is_about_five_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(12), 12, "patients read")) == list(range(12))
    # 12 items, a line each ceil(12/5) = 3: after 3, 6, 9, 12
    assert capsys.readouterr().out.splitlines() == [f"patients read: {n} of 12" for n in (3, 6, 9, 12)]
