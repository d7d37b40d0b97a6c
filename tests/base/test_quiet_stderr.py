"""Native start-up notes are hidden when all goes well, and shown when the process dies or a bug shows."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKEND = "import os\nos.write(2, b'note of a native library\\n')\n"
SCRIPT = """
import sys
from ich.base import quiet_stderr, script
from ich.base.errors import InputError
def main():
    with quiet_stderr.hidden((InputError,)):
        import backend
    os.write(2, b"after it\\n")
import os
script.run(main)
"""


def run(tmp_path: Path, then: str, shell: str = "") -> subprocess.CompletedProcess:
    """A script whose backend is a module that prints a note, and then does what `then` says."""
    (tmp_path / "backend.py").write_text(BACKEND + then)
    (tmp_path / "script.py").write_text(f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n" + SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py")]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_notes_are_hidden_when_all_goes_well(tmp_path: Path) -> None:
    done = run(tmp_path, "")
    assert (done.returncode, done.stderr) == (0, "after it\n")


@pytest.mark.parametrize(
    ("then", "number"),
    [
        ("os.abort()", signal.SIGABRT),
        ("os.kill(os.getpid(), 4)", signal.SIGILL),
        ("os.kill(os.getpid(), 11)", signal.SIGSEGV),
        ("os.kill(os.getpid(), 9)", signal.SIGKILL),
    ],
    ids=["abort", "illegal instruction", "segmentation fault", "killed"],
)
def test_they_are_shown_when_the_process_dies(tmp_path: Path, then: str, number: int) -> None:
    done = run(tmp_path, then)
    assert (done.returncode, done.stderr) == (-number, "note of a native library\n")


def test_they_are_shown_when_it_leaves_by_itself(tmp_path: Path) -> None:
    assert run(tmp_path, "os._exit(1)").stderr == "note of a native library\n"


def test_they_are_shown_before_a_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "raise RuntimeError('broken')")
    assert done.stderr.startswith("note of a native library\nTraceback")
    assert done.stderr.rstrip().endswith("RuntimeError: broken")


def test_a_refusal_stays_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "from ich.base.errors import InputError\nraise InputError('wrong')")
    assert (done.returncode, done.stderr) == (2, "error: wrong\n")


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_are_no_obstacle(tmp_path: Path, closed: str) -> None:
    result = tmp_path / "result"
    done = run(tmp_path, f"file = open({str(result)!r}, 'w'); os.write(2, b'native')", closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert result.read_text() == ""


def test_without_a_shell_nothing_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "script.py").write_text(f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n" + SCRIPT)
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], env={"PATH": str(tmp_path / "empty")},
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "note of a native library\nafter it\n")


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    run(tmp_path, "os.abort()")
    assert list((tmp_path / "temporary").iterdir()) == []
