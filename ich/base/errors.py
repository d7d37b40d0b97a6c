"""The exceptions that a user is meant to read."""

import errno
from collections.abc import Sequence
from typing import NoReturn


class InputError(Exception):
    """Bad input: shown as one line, without a traceback; the script ends with exit status 2.

    The message says which file, what was found, what was expected, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class MachineError(Exception):
    """The machine's fault: shown as one line too; the script ends with exit status 3."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, TensorFlow, JAX, PyTorch or OpenCV ran out of memory, by names, so that none is imported."""
    if isinstance(error, MemoryError) or type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError"):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    texts = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory", "Insufficient memory")
    return not isinstance(error, InputError) and any(text in str(error) for text in texts)


def printable(text: str) -> str:
    """Text of a file or a library in one line, without characters that steer a terminal or can't be printed."""
    line = " ".join(text.splitlines())
    return "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in line)


def refuse(problems: Sequence[str]) -> NoReturn:
    """Print all problems of a data set and raise InputError with the last, so that they are corrected in one go."""
    for problem in problems[:-1]:
        print(f"problem: {printable(problem)}")
    several = f" ({len(problems)} problems found; fix them all and rerun)" if len(problems) > 1 else ""
    raise InputError(f"{problems[-1]}{several}")
