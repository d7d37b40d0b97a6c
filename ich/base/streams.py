"""Standard output and error: nothing that happens to who reads them may stop a training."""

import errno
import io
import os
import signal
import sys
from typing import BinaryIO, TextIO, cast

NO_READER = (errno.EPIPE, errno.EIO)  # a pipe that was closed, a terminal that is gone


def outlive_readers() -> None:
    """Go on without output when a terminal is closed or a pipe's reader ends (`| head`); print what can't be encoded.

    Characters that the output's encoding lacks are written as escapes. A closed terminal otherwise ends its programs
    (SIGHUP).
    """
    open_closed()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if sys.stdout and sys.stdout is sys.__stdout__:
        sys.stdout = _outliving(sys.stdout)
    if sys.stderr and sys.stderr is sys.__stderr__:
        sys.stderr = _outliving(sys.stderr)


def open_closed() -> None:
    """Point standard streams that the caller has closed (`2>&-`) to nowhere.

    Otherwise the next file that is opened gets the number, and what native code prints ends up in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free


def silence(descriptor: int) -> None:
    """Point a stream to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class _Outliving(io.FileIO):
    """A file that takes what it is given after its reader has gone, and drops it."""

    def write(self, data: bytes, /) -> int | None:  # type: ignore[override]
        """Write, or drop the bytes if nobody can read them. Raises OSError for anything else, such as a full disk."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in NO_READER:
                raise
            silence(self.fileno())
            return len(data)


def _outliving(stream: TextIO) -> TextIO:
    raw = _Outliving(stream.fileno(), "w", closefd=False)
    unbuffered = bool(getattr(stream, "write_through", False))
    buffer = raw if unbuffered else io.BufferedWriter(cast(io.RawIOBase, raw))
    return io.TextIOWrapper(
        cast(BinaryIO, buffer), encoding=stream.encoding, errors="backslashreplace",
        line_buffering=stream.line_buffering, write_through=unbuffered,
    )  # fmt: skip
