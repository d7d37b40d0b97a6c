"""Hide what native libraries print while they start, unless the process dies of it: then all of it is shown."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Waits for a word through a pipe; if the process ends without it, the words that were hidden (stdin) are shown.
WATCH = 'read -r fine < "/dev/fd/$1" || cat >&2'


def open_closed() -> None:
    """Point standard streams that the caller has closed (`2>&-`) to nowhere.

    Otherwise the next file that is opened gets the number, and what native code prints ends up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free


@contextlib.contextmanager
def hidden(harmless: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Within it nothing reaches stderr, native code included; an abort or an error brings it to light.

    Errors of the types `harmless` explain themselves: before them it stays hidden.
    """
    open_closed()
    if sys.stderr:
        sys.stderr.flush()
    kept = os.dup(2)
    descriptor, name = tempfile.mkstemp(prefix="ich_stderr_")
    with Path(name).open("rb") as words:
        Path(name).unlink()
        tell = _watcher(words.fileno())
    if tell is not None:  # no watcher, nothing hidden
        os.dup2(descriptor, 2)
    os.close(descriptor)
    fine = False
    try:
        yield
        fine = True
    except harmless:
        fine = True
        raise
    finally:
        if sys.stderr:
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        if tell is not None:
            tell(fine)


def _watcher(words: int) -> Callable[[bool], None] | None:
    """Start a process that shows the file `words` when this one ends; return what says whether all went well.

    None where no process can be started.
    """
    ask, answer = os.pipe()
    command = ["sh", "-c", WATCH, "sh", str(ask)]
    try:
        # Of a session of its own: Ctrl-C and a closed terminal are not meant for it.
        watcher = subprocess.Popen(command, stdin=words, pass_fds=[ask], start_new_session=True)
    except OSError:
        os.close(answer)
        return None
    finally:
        os.close(ask)

    def tell(fine: bool) -> None:
        """End the watcher; it shows the file unless `fine`."""
        with contextlib.suppress(BrokenPipeError):
            if fine:
                os.write(answer, b"fine\n")
        os.close(answer)
        watcher.wait()

    return tell
