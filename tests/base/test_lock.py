"""A folder is written by one process at a time; what a killed one left behind stops nobody."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project

from ich.base import lock
from ich.base.errors import InputError
from ich.base.files import is_unfinished, unfinished

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from ich.base import lock
with lock.writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
NO_FLOCK = """
import errno, fcntl
def no_flock(*_): raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = no_flock
"""
EQUAL_NUMBERS = "import os\nos.getpid = lambda: 4242\n"  # as in two containers


@contextlib.contextmanager
def holding(folder: Path, before: str = "", prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen]:
    """Another process that holds `folder`; `before` is run in it first."""
    command = [*prefix, sys.executable, "-c", before + HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds `tmp_path`."""
    with holding(tmp_path) as process:
        yield process


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
    line = rf"{tmp_path}: is being written by process {holder.pid} on host .* since 20.*; wait for it, or end it$"
    with pytest.raises(InputError, match=line), lock.writing(tmp_path):
        pytest.fail("two at once")
    assert names(tmp_path) == {lock.NAME}
    with lock.writing(tmp_path / "inside"):  # another fold, say
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"hello", b'{"pid": 1}', b"\xff\xfe"])
def test_a_live_lock_is_never_to_be_deleted(holder: subprocess.Popen, tmp_path: Path, content: bytes) -> None:
    """Its holder may be between creating and filling it, which takes a while on a network drive."""
    (tmp_path / lock.NAME).write_bytes(content)
    with pytest.raises(InputError, match="is being written by another process") as refused, lock.writing(tmp_path):
        pytest.fail("two at once")
    assert "delete" not in str(refused.value)
    assert (tmp_path / lock.NAME).read_bytes() == content


@pytest.mark.parametrize("before", ["", EQUAL_NUMBERS], ids=["own numbers", "equal numbers"])
def test_equal_process_numbers_are_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    monkeypatch.setattr(lock.os, "getpid", lambda: 4242)
    with holding(tmp_path, before):
        with pytest.raises(InputError, match="is being written by process"), lock.writing(tmp_path):
            pytest.fail("two at once")
        assert names(tmp_path) == {lock.NAME}


def test_two_containers_do_not_both_hold_it(tmp_path: Path) -> None:
    """Both are process 1 of their own numbering, as the first process of every container is."""
    container = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*container, "true"], capture_output=True).returncode == 0:
            with holding(tmp_path, "", container):
                assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == 1
                second = subprocess.run([*container, sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT,
                                        capture_output=True, text=True, timeout=30)  # fmt: skip
                assert "is being written by process 1 on host" in second.stderr
            return
    pytest.skip("this machine makes no containers")


def test_in_one_process_too_the_second_is_refused(tmp_path: Path) -> None:
    with lock.writing(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} "), lock.writing(tmp_path):
        pytest.fail("two at once")
    assert names(tmp_path) == set()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_killed_process_is_taken_over_from(
    holder: subprocess.Popen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its parent has not asked for its status: in /proc it is there still."""
    holder.send_signal(signal.SIGKILL)
    wait_until(lambda: state(holder.pid) == "Z")
    with lock.writing(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text(encoding="utf-8"))["pid"] == os.getpid()
    line = rf"{tmp_path}: process {holder.pid} on host .* since 20.*, which was writing it, was killed; taken over\n"
    assert re.fullmatch(line, capsys.readouterr().out)
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
        ({"pid": os.getppid()}, True),  # the number belongs to another process now
        ({"boot": "an earlier one"}, True),
        ({"host": "another container"}, True),
        ({"host": "another", "boot": "another"}, False),
        ({"host": "another", "boot": ""}, False),
    ],
    ids=["dead", "reused", "before the boot", "other container of this host", "other host", "host without /proc"],
)
def test_what_nobody_holds_is_taken_over_unless_of_another_host(tmp_path: Path, changed: dict, taken: bool) -> None:
    """Locks of another host may not reach this one through a network drive, so its word is not enough."""
    path = leave_behind(tmp_path, **changed)
    before = path.read_bytes()
    if taken:
        with lock.writing(tmp_path):
            now, mine = json.loads(path.read_bytes()), lock._this_process()
            assert all(now[key] == mine[key] for key in ("pid", "host", "boot"))
        assert not path.exists()
    else:
        line = f"process {os.getpid()} on host another since .*; wait for it, or delete .*lock if it no longer runs"
        with pytest.raises(InputError, match=line), lock.writing(tmp_path):
            pytest.fail("two at once")
        assert path.read_bytes() == before
        path.unlink()  # as advised
        with lock.writing(tmp_path):
            pass


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"pid": 1}', b"\xff\xfe", b"hello", b"[" * 5000])
def test_a_damaged_lock_that_nobody_holds_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / lock.NAME).write_bytes(content)
    with lock.writing(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_bytes())["pid"] == os.getpid()
    assert capsys.readouterr().out == f"{tmp_path}: another process, which was writing it, was killed; taken over\n"
    assert names(tmp_path) == set()


def test_one_that_was_killed_before_it_wrote_anything_needs_no_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / lock.NAME).touch()
    with lock.writing(tmp_path):
        pass
    assert capsys.readouterr().out == ""


def test_a_record_of_strangers_is_not_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_behind(tmp_path, host="\x1b[2J")
    with lock.writing(tmp_path):
        pass
    assert "\x1b" not in capsys.readouterr().out


def test_another_users_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_behind(tmp_path)

    def forbidden(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(lock, "_lock", forbidden)
    with pytest.raises(InputError, match=r"is being written by process .*, or delete"), lock.writing(tmp_path):
        pytest.fail("two at once")


def test_a_second_process_waits_as_long_as_it_may(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with holding(tmp_path) as process:
        began = time.monotonic()
        with pytest.raises(InputError, match="wait for it, or end it"), lock.writing(tmp_path, wait_s=0.5):
            pytest.fail("two at once")
        assert 0.5 <= time.monotonic() - began < 5
        threading.Timer(0.5, process.kill).start()
        with lock.writing(tmp_path, wait_s=30):
            pass
    waits, waits_again, taken = capsys.readouterr().out.splitlines()
    assert waits == waits_again
    assert re.fullmatch(rf"{tmp_path}: waiting for process {process.pid} on host .*, which is writing it", waits)
    assert taken.endswith("taken over")


def test_a_task_begun_again_takes_over_what_a_lost_machine_still_holds(
    holder: subprocess.Popen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server may keep the lock of a machine that has vanished; the cluster knows better."""
    leave_behind(tmp_path, host="lost", boot="another", task="task 7")
    monkeypatch.setenv(lock.TASK, "task 8")
    with pytest.raises(InputError, match=r"on host lost since .*, or delete"), lock.writing(tmp_path):
        pytest.fail("two at once")
    monkeypatch.setenv(lock.TASK, "task 7")
    with lock.writing(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_bytes())["pid"] == os.getpid()
    assert holder.poll() is None


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    def work() -> None:
        with lock.writing(tmp_path, wait_s=20):
            (tmp_path / "inside").mkdir()  # fails if another is inside
            (tmp_path / "inside").rmdir()
            done.append(1)

    done: list[int] = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    assert names(tmp_path) == set()


def test_a_worker_process_does_not_keep_the_lock_of_its_killed_parent(tmp_path: Path) -> None:
    hold_with_child = HOLD.replace("    print", "    import subprocess; subprocess.Popen(['sleep', '5'])\n    print")
    with holding(tmp_path, hold_with_child) as process:
        process.kill()
        process.wait()
        with lock.writing(tmp_path):
            pass


def test_what_the_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    """But not where another process is at work, and nothing that only looks like it."""
    for folder in ("deep/er", "others"):
        (tmp_path / folder).mkdir(parents=True)
    left = [tmp_path / ".unfinished.12.a.csv", tmp_path / "deep/er/.unfinished.7.b.png"]
    others = ("a.csv", ".hidden", ".12.a.csv", "unfinished.12.a.csv", "others/.unfinished.9.c")
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


@pytest.mark.parametrize("before", ["", EQUAL_NUMBERS, NO_FLOCK], ids=["flock", "equal numbers", "no flock"])
def test_of_many_at_once_one_gets_it(tmp_path: Path, before: str) -> None:
    """All find the lock of a dead process. Those that come too late are refused, or come after one that has ended."""
    leave_behind(tmp_path, pid=dead_process())
    work = (
        before
        + """
import os, sys, time; from pathlib import Path; from ich.base import lock; from ich.base.errors import InputError
folder = Path(sys.argv[1])
while not (folder / "go").exists(): time.sleep(0.001)
try:
    with lock.writing(folder):
        (folder / "inside").mkdir()  # fails if another is inside
        time.sleep(0.1)
        (folder / "inside").rmdir()
        print("done")
except InputError: print("refused")
"""
    )
    command = [sys.executable, "-c", work, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    time.sleep(3)
    (tmp_path / "go").touch()
    told = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]
    assert set(told) <= {"done", "refused"}
    assert "done" in told
    assert names(tmp_path) == {"go"}


def test_where_the_file_system_has_no_locks_its_existence_is_one(tmp_path: Path) -> None:
    """As on Lustre and some network drives; a dead process is known by its number and start there."""
    second = [sys.executable, "-c", NO_FLOCK + HOLD, str(tmp_path)]
    with holding(tmp_path, NO_FLOCK) as process:
        done = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert f"{tmp_path}: is being written by process {process.pid} on host " in done.stderr
        process.kill()
        process.wait()
        third = subprocess.run([*second[:2], (NO_FLOCK + HOLD).replace("60", "0"), str(tmp_path)], cwd=ROOT,
                               capture_output=True, text=True, timeout=30)  # fmt: skip
        assert f"process {process.pid} on host " in third.stdout
        assert third.stdout.endswith("was killed; taken over\nheld\n")
    assert names(tmp_path) == set()


def test_a_folder_that_is_read_only_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(lock, "_lock", refuse)
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
    folders = ["--raw", project.raw, "--data", tmp_path]
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
    path = leave_behind(folder, host="another", boot="another")
    done = subprocess.run([sys.executable, ROOT / script, *map(str, flags)], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"error: {folder}: is being written by process {os.getpid()} on host another since " in done.stderr
    assert f"delete {path} if it no longer runs" in done.stderr
    assert names(folder) == {lock.NAME}


def test_checking_needs_no_lock(project: Project, tmp_path: Path) -> None:
    leave_behind(tmp_path, host="another", boot="another")
    flags = ["--raw", str(project.raw), "--data", str(tmp_path), "--check", "--workers", "1"]
    done = subprocess.run([sys.executable, ROOT / "split_raw_data.py", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_atomic_files_of_another_process_count_as_unfinished() -> None:
    assert is_unfinished(unfinished(Path("a/b.csv")).name)
    assert not is_unfinished("b.csv")
