"""A script goes on when nobody reads its output any more, and prints what the output's encoding lacks as escapes."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from pathlib import Path
from ich.base import script
def main():
    print("début", flush=True)
    Path("begun").touch()
    while not Path("closed").exists():
        time.sleep(0.01)
    for k in range(20000):
        print(k)
        print(k, file=sys.stderr)
    Path("finished").touch()
script.run(main)
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    return [sys.executable, "script.py"]


def started(command: list[str], folder: Path, **streams: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.Popen(command, cwd=folder, env=environment, **streams)


def until_begun(folder: Path, process: subprocess.Popen) -> None:
    while not (folder / "begun").exists():
        assert process.poll() is None


@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_pipe_whose_reader_ended(tmp_path: Path, command: list[str], flags: list[str]) -> None:
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = started([command[0], *flags, command[1]], tmp_path, **both)
    until_begun(tmp_path, process)
    process.stdout.close()
    process.stderr.close()
    (tmp_path / "closed").touch()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "finished").exists()


def test_a_terminal_that_is_closed(tmp_path: Path, command: list[str]) -> None:
    """Its kernel sends SIGHUP to the programs in it, and writing to it fails."""
    ours, theirs = pty.openpty()
    login = {"start_new_session": True, "preexec_fn": lambda: os.close(os.open(os.ttyname(theirs), os.O_RDWR))}
    process = started(command, tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, **login)
    os.close(theirs)
    until_begun(tmp_path, process)
    os.close(ours)
    (tmp_path / "closed").touch()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "finished").exists()


def test_output_streams_that_are_not_there(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "closed").touch()
    assert started(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], tmp_path).wait(timeout=60) == 0
    assert (tmp_path / "finished").exists()


def test_an_encoding_that_lacks_a_character(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "closed").touch()
    process = started(["env", "PYTHONIOENCODING=ascii", *command], tmp_path, stdout=subprocess.PIPE)
    assert process.communicate(timeout=60)[0].startswith(b"d\\xe9but\n0\n1\n")
    assert process.returncode == 0
