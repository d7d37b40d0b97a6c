"""From a settings class of config.py to command-line flags, and from an error to one line."""

import argparse
import contextlib
import dataclasses
import errno
import inspect
import logging
import os
import re
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ich.base import quiet_stderr
from ich.base.errors import InputError, MachineError, is_out_of_memory
from ich.base.paths import is_file_name

EXIT_INPUT, EXIT_SYSTEM = 2, 3
STOPPED = (130, 141)  # as shells count them: 128 and the signal's number, SIGINT and SIGPIPE
WRONG_PATH = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
Config = typing.TypeVar("Config")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise InputError(f"{message}; `python {self.prog} --help` lists the flags")


def parse(cls: type[Config], doc: str, argv: Sequence[str] | None = None) -> Config:
    """Return `cls` with the values of config.py, overridden by the flags in `argv`.

    Every field is a flag (`image_size` -> `--image-size`); the comment behind it is the help.
    Raises InputError for unknown flags, wrong types, choices and numbers out of range.
    """
    parser = _Parser(
        prog=Path(sys.argv[0]).name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False, argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    defaults, comments, hints = cls(), _comments(cls), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        value = getattr(defaults, field.name)
        help_text = f"{comments.get(field.name, '')} (default: {_shown(value)})".replace("%", "%%")
        if field.name == getattr(cls, "POSITIONAL", None):
            options = _options(hints[field.name]) | {"nargs": "*", "metavar": field.name.upper().removesuffix("S")}
            parser.add_argument(field.name, help=help_text, **options)
            continue
        parser.add_argument(_flag(field.name), help=help_text, **_options(hints[field.name]))
    given = vars(parser.parse_args(argv))
    if "models" in given:
        pairs, given["models"] = given["models"], dict(given["models"])
        if len(pairs) != len(given["models"]):
            raise InputError("--models: a network is named twice; each has one number of filters")
    config = dataclasses.replace(defaults, **given)
    check_limits(config)
    for name, value in given.items():
        if value != getattr(defaults, name) and name != getattr(cls, "POSITIONAL", None) and not config.quiet:
            print(f"{_flag(name)} {_shown(value)}  (config.py: {_shown(getattr(defaults, name))})")
    return config


def check_limits(config: object) -> None:
    """Raise InputError when a number of `config` is outside its class's LIMITS."""
    for name, (low, high) in type(config).LIMITS.items():
        value = getattr(config, name, None)
        for each in value if isinstance(value, tuple) else (value,):
            kind = int if isinstance(low, int) else (int, float)  # config.py may hold anything
            if each is not None and (not isinstance(each, kind) or not low <= each <= high):
                raise InputError(f"{_flag(name)} is {each}, expected {low} to {high}")
    for name, filters in getattr(config, "models", {}).items():
        if not 1 <= filters <= 1024:
            raise InputError(f"--models {name}={filters}: expected 1 to 1024 filters")
    if (run := getattr(config, "run", "")) and not is_file_name(run):
        raise InputError(f"--run '{run}': expected the name of a folder, without / and no dot in front")


def run(main: Callable[[], object]) -> typing.NoReturn:
    """Run a script's `main`; turn what a user can correct into one line and an exit status (2 input, 3 machine)."""
    signal.signal(signal.SIGTERM, _interrupt)
    quiet_stderr.open_closed()
    debug = "--debug" in sys.argv
    try:
        main()
    except InputError as error:
        _fail(str(error), EXIT_INPUT, debug)
    except KeyboardInterrupt:
        _fail("interrupted; rerun the same command to resume", 130, debug)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # for what is still to be flushed
        _fail("stopped, since its output is no longer read; rerun the same command to resume", 141, debug)
    except Exception as error:
        status, line = _told(error)
        if not line:
            raise
        _fail(line, status, debug)
    sys.exit(0)


@contextlib.contextmanager
def starting_backend() -> Iterator[None]:
    """Import Keras within this: TensorFlow's native start-up notes ignore its own log level and hide our lines.

    An import that fails still raises, and the notes are shown then, as when the process is aborted. `--help` and
    refusals of flags come before it, without the seconds it takes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet_stderr.hidden((InputError, MachineError, KeyboardInterrupt)):
        yield


def _told(error: Exception) -> tuple[int, str]:
    """Exit status and line for what the machine or a wrong folder is to blame for; no line for a bug."""
    if isinstance(error, MachineError):
        return EXIT_SYSTEM, str(error)
    if is_out_of_memory(error):
        return EXIT_SYSTEM, "out of memory; end other programs, or give a smaller --batch-size or fewer --workers"
    if not isinstance(error, OSError):
        return 0, ""
    about = f"{error.filename or 'output'}: {error.strerror}"
    if error.errno == errno.ENOENT:
        return EXIT_INPUT, f"{about}; it was removed while this ran: run the step that writes it again"
    if error.errno in WRONG_PATH:
        return EXIT_INPUT, f"{about}; choose another folder"
    return (EXIT_SYSTEM, f"{about}; make room or choose another folder") if error.errno in NO_ROOM else (0, "")


def _interrupt(signum: int, frame: types.FrameType | None) -> typing.NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, status: int, debug: bool) -> typing.NoReturn:
    if debug:
        traceback.print_exc()
    line = " ".join(message.splitlines())
    print(line if status in STOPPED else f"error: {line}", file=sys.stderr)
    sys.exit(status)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def _comments(cls: type) -> dict[str, str]:
    """The comment behind each field, from the source of the class and of those it extends."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        found |= dict(re.findall(r"^    (\w+):[^#\n]*#\s*(.+)$", inspect.getsource(base), flags=re.MULTILINE))
    return found


def _options(hint: object) -> dict[str, object]:
    """How argparse reads a field of this type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # int | None
        return _options(args[0])
    if origin is typing.Literal:
        return {"choices": args}
    if origin is tuple:
        return {"nargs": "+", "type": args[0], "action": _Tuple}
    if origin is dict:
        return {"nargs": "+", "type": _name_and_number, "metavar": "NAME=FILTERS"}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": hint}


class _Tuple(argparse.Action):
    def __call__(self, parser: object, namespace: object, values: object, option_string: object = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _name_and_number(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILTERS, such as unet=32")
    return name, int(number)
