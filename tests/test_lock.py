"""A folder is written by one process at a time; what a killed one left behind stops nobody."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project

from ich import lock, runs
from ich.errors import InputError

ROOT = Path(__file__).parent.parent
HOLD = "import sys, time; from pathlib import Path; from ich import lock\n" \
       "with lock.writing(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"  # fmt: skip


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def leave_behind(folder: Path, **changed: object) -> Path:
    """A lock as this process would write it, but for what is `changed`."""
    path = folder / lock.NAME
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps({**lock._this_process(), **changed}), encoding="utf-8")
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_says_who_writes_and_is_gone_after(tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner" / "ä"
    with lock.writing(folder):
        owner = json.loads((folder / lock.NAME).read_text(encoding="utf-8"))
        assert (owner["pid"], owner["command"]) == (os.getpid(), " ".join(sys.argv))
        assert names(folder) == {lock.NAME}
        (folder / "result").touch()
    assert names(folder) == {"result"}


def test_folders_that_stay_empty_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(InputError, match="refused"), lock.writing(kept / "new" / "newer"):
        raise InputError("refused")
    assert names(tmp_path) == {"kept"}
    assert names(kept) == set()


@pytest.mark.parametrize("error", [InputError("bad"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_it_is_released_on_errors(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), lock.writing(tmp_path):
        raise error
    assert names(tmp_path) == set()


def test_the_second_of_two_is_refused(holder: subprocess.Popen, tmp_path: Path) -> None:
    told = rf"{tmp_path}: is being written by process {holder.pid} on host .* since 20.*; wait for it, or delete .*lock"
    with pytest.raises(InputError, match=told), lock.writing(tmp_path):
        pytest.fail("two at once")
    assert names(tmp_path) == {lock.NAME}
    with lock.writing(tmp_path / "inside"):  # another fold, say
        pass


def test_in_one_process_too_the_second_is_refused(tmp_path: Path) -> None:
    with lock.writing(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} "), lock.writing(tmp_path):
        pytest.fail("two at once")
    assert names(tmp_path) == set()


def test_a_killed_process_is_taken_over_from(
    holder: subprocess.Popen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not yet asked for its status: in /proc it is there still."""
    holder.send_signal(signal.SIGKILL)
    wait_until(lambda: lock._started(holder.pid) is None)
    with lock.writing(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text(encoding="utf-8"))["pid"] == os.getpid()
    told = capsys.readouterr().out
    assert len(told.splitlines()) == 1
    assert f"process {holder.pid}, which wrote it since" in told
    assert names(tmp_path) == set()


def wait_until(true: object) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({"pid": dead_process()}, True),
        ({"pid": os.getppid(), "started": "1"}, True),  # the number belongs to a younger process now
        ({"pid": os.getppid(), "started": lock._started(os.getppid())}, False),
        ({"pid": dead_process(), "host": "another"}, False),
        ({"pid": dead_process(), "boot": "an earlier one"}, True),
        ({"pid": os.getppid(), "started": lock._started(os.getppid()), "boot": "an earlier one"}, True),
        ({"pid": dead_process(), "container": "pid:[1]"}, False),
    ],
    ids=["dead", "reused", "alive", "other host", "before the boot", "before the boot, reused", "other container"],
)
def test_only_the_surely_dead_are_taken_over_from(tmp_path: Path, changed: dict, taken: bool) -> None:
    path = leave_behind(tmp_path, **changed)
    before = path.read_bytes()
    if taken:
        with lock.writing(tmp_path):
            assert path.read_bytes() != before
        assert not path.exists()
    else:
        with pytest.raises(InputError, match="is being written by process"), lock.writing(tmp_path):
            pytest.fail("two at once")
        assert path.read_bytes() == before


def test_a_lock_that_another_took_over_just_before_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found it dead; by the time the second may look closer, the first has put its own in its place."""
    leave_behind(tmp_path, pid=dead_process())
    first = leave_behind(tmp_path / "first", pid=os.getppid(), started=lock._started(os.getppid()))

    def first_comes_before(*_: object) -> None:
        if first.exists():
            first.replace(tmp_path / lock.NAME)

    monkeypatch.setattr(lock.fcntl, "flock", first_comes_before)
    with pytest.raises(InputError, match=f"process {os.getppid()} "), lock.writing(tmp_path):
        pytest.fail("two at once")


def test_without_proc_the_number_alone_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PROC", tmp_path / "none")
    assert [lock._started(os.getpid()), lock._started(1), lock._started(dead_process())] == ["", "", None]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"pid": 1}', b"\xff\xfe", b"hello"])
def test_a_damaged_lock_is_told_and_left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / lock.NAME).write_bytes(content)
    with pytest.raises(InputError, match=r"\.lock: is no lock that can be read; delete it"), lock.writing(tmp_path):
        pytest.fail("two at once")
    assert (tmp_path / lock.NAME).read_bytes() == content
    assert names(tmp_path) == {lock.NAME}


def test_what_the_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    """But not where another process is at work, and nothing that only looks like it."""
    for folder in ("deep/er", "others"):
        (tmp_path / folder).mkdir(parents=True)
    left = [tmp_path / ".unfinished.12.a.csv", tmp_path / "deep/er/.unfinished.7.b.png"]
    others = (f".unfinished.8.{lock.NAME}", "a.csv", ".hidden", ".12.a.csv", "unfinished.12.a.csv",
              "others/.unfinished.9.c")  # fmt: skip
    kept = [tmp_path / name for name in others]
    for path in (*left, *kept):
        path.touch()
    (tmp_path / ".unfinished.3.two_files").mkdir()
    (tmp_path / "others" / lock.NAME).touch()
    leave_behind(tmp_path, pid=dead_process())
    with lock.writing(tmp_path):
        pass
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*kept, tmp_path / "others" / lock.NAME}
    assert not (tmp_path / ".unfinished.3.two_files").exists()


def test_a_lock_that_was_deleted_and_taken_by_another_is_not_released(tmp_path: Path) -> None:
    with lock.writing(tmp_path):
        (tmp_path / lock.NAME).unlink()
        other = leave_behind(tmp_path, pid=1)
    assert other.exists()


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_of_many_at_once_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """All find the lock of a dead process. Those that come too late are refused, or come after one that has ended."""
    leave_behind(tmp_path, pid=dead_process())
    work = "import os, sys, time; from pathlib import Path; from ich import lock; from ich.errors import InputError\n"
    if not links:
        work += "import errno\ndef no(*_): raise OSError(errno.EPERM, 'no links')\nos.link = no\n"
    work += """
folder = Path(sys.argv[1])
while not (folder / "go").exists(): time.sleep(0.001)
try:
    with lock.writing(folder):
        (folder / "inside").mkdir()  # fails if another is inside
        time.sleep(0.2)
        (folder / "inside").rmdir()
        print("done")
except InputError: print("refused")
"""
    command = [sys.executable, "-c", work, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    time.sleep(3)
    (tmp_path / "go").touch()
    told = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]
    assert set(told) <= {"done", "refused"}
    assert "done" in told
    assert names(tmp_path) == {"go"}


def test_a_folder_that_is_read_only_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(lock, "_write", refuse)
    with lock.writing(tmp_path):
        assert names(tmp_path) == set()


def test_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), lock.writing(tmp_path):
        pytest.fail("not locked")
    assert names(tmp_path) == set()


def scripts(project: Project, tmp_path: Path) -> dict[str, tuple[Path, list[str]]]:
    """Each script with the folder that it writes, and flags; none gets as far as to start Keras."""
    folders = ["--raw", project.raw, "--data", tmp_path, "--runs", project.runs, "--reports", tmp_path]
    return {
        "make_demo_data.py": (tmp_path, ["--out", tmp_path]),
        "split_raw_data.py": (tmp_path, folders),
        "create_data_set.py": (tmp_path, folders),
        "rsna_preprocess.py": (tmp_path / "rsna", [*folders[2:], "--raw", project.root / "rsna" / "classes"]),
    }


@pytest.mark.parametrize(
    "script", ["make_demo_data.py", "split_raw_data.py", "create_data_set.py", "rsna_preprocess.py"]
)
def test_scripts_refuse_a_folder_that_another_writes(script: str, project: Project, tmp_path: Path) -> None:
    folder, flags = scripts(project, tmp_path)[script]
    folder.mkdir(exist_ok=True)
    path = leave_behind(folder, host="another")
    done = subprocess.run([sys.executable, ROOT / script, *map(str, flags)], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"error: {folder}: is being written by process {os.getpid()} on host another since " in done.stderr
    assert f"delete {path} if it no longer runs" in done.stderr
    assert names(folder) == {lock.NAME}


def test_checking_needs_no_lock(project: Project, tmp_path: Path) -> None:
    leave_behind(tmp_path, host="another")
    flags = ["--raw", str(project.raw), "--data", str(tmp_path), "--check", "--workers", "1"]
    done = subprocess.run([sys.executable, ROOT / "split_raw_data.py", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_atomic_files_of_another_process_count_as_unfinished() -> None:
    assert runs.is_unfinished(runs.unfinished(Path("a/b.csv")).name)
    assert not runs.is_unfinished("b.csv")
