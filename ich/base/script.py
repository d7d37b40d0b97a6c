"""Runs a script: turns an error into one line and an exit status."""

import atexit
import errno
import os
import signal
import sys
import traceback
import types
import typing
import warnings
from collections.abc import Callable

from ich.base.environment import EXIT_INPUT

from ich.base import streams
from ich.base.errors import InputError, MachineError, is_out_of_memory

EXIT_SYSTEM = 3
STOPPED = 130  # as shells count: 128 and the signal's number, SIGINT
WRONG_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def run(main: Callable[[], object]) -> typing.NoReturn:
    """Run a script's `main`; turn what a user can correct into one line and an exit status (2 input, 3 machine)."""
    signal.signal(signal.SIGTERM, _interrupt)
    _warn_only()
    streams.outlive_readers()
    debug = "--debug" in sys.argv
    try:
        main()
    except KeyboardInterrupt:
        _fail("interrupted; rerun the same command to resume", STOPPED, debug)
    except Exception as error:
        status, line = _status_and_line(error)
        if not line:
            raise
        _fail(line, status, debug)
    sys.exit(0)


def _warn_only() -> None:
    """Libraries warn of what is no fault: a shell that makes errors of warnings (PYTHONWARNINGS) would stop us."""
    warnings.filters[:] = [each for each in warnings.filters if each[0] != "error"]  # type: ignore[index]
    sys.warnoptions[:] = [each for each in sys.warnoptions if not each.startswith("error")]  # for our own processes
    if os.environ.get("PYTHONWARNINGS", "").startswith("error"):
        del os.environ["PYTHONWARNINGS"]


def _status_and_line(error: Exception) -> tuple[int, str]:
    """Exit status and line for what input, machine or a wrong folder is to blame for; no line for a bug."""
    if isinstance(error, InputError):
        return EXIT_INPUT, str(error)
    if isinstance(error, MachineError):
        return EXIT_SYSTEM, str(error)
    if is_out_of_memory(error):
        return EXIT_SYSTEM, "out of memory; end other programs, or give a smaller --batch-size or fewer --workers"
    if not isinstance(error, OSError):
        return 0, ""
    what = f"{error.filename or 'output'}: {error.strerror}"
    if error.errno == errno.ENOENT:
        return EXIT_INPUT, f"{what}; it was removed while this ran: run the step that writes it again"
    if error.errno in WRONG_PATH:
        return EXIT_INPUT, f"{what}; choose another folder"
    return (EXIT_SYSTEM, f"{what}; make room or choose another folder") if error.errno in NO_ROOM else (0, "")


def _interrupt(signum: int, frame: types.FrameType | None) -> typing.NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, status: int, debug: bool) -> typing.NoReturn:
    if debug:
        traceback.print_exc()
    line = " ".join(message.splitlines())
    print(line if status == STOPPED else f"error: {line}", file=sys.stderr)
    if status == STOPPED:
        atexit.register(_close_stderr)
    sys.exit(status)


def _close_stderr() -> None:
    """TensorFlow's threads may still be at work while Python ends, and would write their complaints below our line."""
    sys.stderr.flush()
    streams.silence(2)
