"""Hide what native libraries print while they start, unless the process dies of it: then all of it is shown."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ich.base import streams

# Waits for a line; if the process ends without sending one, shows the file that took its stderr.
WATCH = 'read -r fine || cat <"/dev/fd/$1" >&2'


@contextlib.contextmanager
def hidden(harmless: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Keep stderr silent, native code included; an abort or an error brings its text to light.

    Errors of the types `harmless` explain themselves: before them it stays hidden.
    """
    streams.open_closed()
    kept = os.dup(2)
    with tempfile.NamedTemporaryFile(prefix="ich_stderr_") as file, Path(file.name).open("rb") as text:
        watcher = _watcher(text.fileno())
        if watcher:  # no watcher, nothing hidden
            _point_stderr(file.fileno())
    answer = b""
    try:
        yield
        answer = b"fine\n"
    except harmless:
        answer = b"fine\n"
        raise
    finally:
        _point_stderr(kept)
        os.close(kept)
        if watcher:
            watcher.communicate(answer)


def _watcher(text: int) -> subprocess.Popen[bytes] | None:
    """Start a process that shows the file `text` when this one ends; None where no process can be started."""
    try:
        # In a session of its own: Ctrl-C and a closed terminal are not meant for it.
        return subprocess.Popen(
            ["sh", "-c", WATCH, "sh", str(text)], stdin=subprocess.PIPE, pass_fds=[text], start_new_session=True
        )
    except OSError:
        return None


def _point_stderr(descriptor: int) -> None:
    if sys.stderr:
        sys.stderr.flush()
    os.dup2(descriptor, 2)
