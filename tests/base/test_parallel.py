"""Work in processes of its own: errors come back, a killed one is named, Ctrl-C stops all of them in order."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ich.base import parallel
from ich.base.errors import InputError, MachineError

ROOT = Path(__file__).parents[2]


def work(item: str, folder: Path) -> None:
    """Leave a file; `bad` is refused, `killed` dies, `bug` is no fault of the user's."""
    (folder / item).touch()
    if item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "bad":
        raise InputError("bad.png: is bad")
    if item == "bug":
        raise ZeroDivisionError


def run(folder: Path, *names: str, at_once: int = 2) -> None:
    parallel.apart(functools.partial(work, folder=folder), {name: name for name in names}, at_once)


def test_all_are_done(tmp_path: Path) -> None:
    run(tmp_path, "a", "b", "c")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("bad", InputError, "^bad.png: is bad$"),
        ("killed", MachineError, r"^killed: its process was killed \(out of memory\?\); rerun with --at-once 1$"),
        ("bug", RuntimeError, "^bug failed; its traceback is above$"),
    ],
)
def test_after_a_failure_no_other_is_begun(tmp_path: Path, name: str, kind: type, told: str) -> None:
    with pytest.raises(kind, match=told):
        run(tmp_path, name, "later", at_once=1)
    assert [path.name for path in tmp_path.iterdir()] == [name]


SLEEPERS = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from ich.base import parallel, script

    def sleep(path):
        path.touch()
        try:
            time.sleep(100)
        finally:
            path.unlink()

    if __name__ == "__main__":
        paths = {name: Path(sys.argv[2], name) for name in "ab"}
        script.run(lambda: parallel.apart(sleep, paths, 2))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_reaches_the_processes(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C goes to all processes of a terminal, SIGTERM to the script alone."""
    program, there = tmp_path / "sleepers.py", tmp_path / "there"
    program.write_text(textwrap.dedent(SLEEPERS))
    there.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(program), str(ROOT), str(there)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(list(there.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error) == (130, "interrupted; rerun the same command to resume\n")
    assert list(there.iterdir()) == []
