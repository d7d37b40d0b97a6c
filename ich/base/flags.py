"""From a settings class of config.py to command-line flags."""

import argparse
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path

from ich.base import steps
from ich.base.errors import InputError
from ich.base.paths import is_file_name

if typing.TYPE_CHECKING:
    import config as settings

Config = typing.TypeVar("Config", bound="settings.Common")


INSTALLED = "ich-predict"  # the command of predict.py (pyproject.toml)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise InputError(f"{message}; `{self.prog} --help` lists the flags")


def parse(cls: type[Config], doc: str, argv: Sequence[str] | None = None) -> Config:
    """Return `cls` with the values of config.py, overridden by the flags in `argv`.

    Every field is a flag (`image_size` -> `--image-size`); the comment behind it is the help.
    Raises InputError for unknown flags, wrong types, choices and numbers out of range.
    """
    program = _program()
    parser = _Parser(
        prog=program, description=doc.replace("python predict.py", program) if program == INSTALLED else doc,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, argument_default=argparse.SUPPRESS,
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
    values = vars(parser.parse_args(argv))
    for name, value in values.items():
        if isinstance(value, list):  # of a tuple, or the pairs of a dict
            values[name] = type(getattr(defaults, name))(value)
            if len(values[name]) < len(value):
                raise InputError("--models: a network is named twice; each has one number of filters")
    config = dataclasses.replace(defaults, **values)
    check_limits(config)
    changed = {name: value for name, value in values.items() if value != getattr(defaults, name)}
    changed.pop(getattr(cls, "POSITIONAL", ""), None)
    if changed and not (config.quiet or steps.are_shown()):
        print("changed: " + ", ".join(f"{name} {_shown(value)}" for name, value in changed.items()), flush=True)
    return config


def check_limits(config: "settings.Common") -> None:
    """Raise InputError when a number of `config` is outside its class's LIMITS."""
    for name, (low, high) in type(config).LIMITS.items():
        value = getattr(config, name, None)
        for number in value if isinstance(value, tuple) else (value,):
            kind = int if isinstance(low, int) else (int, float)  # config.py may hold anything
            if number is not None and (not isinstance(number, kind) or not low <= number <= high):
                raise InputError(f"{_flag(name)} is {number}, expected {low} to {high}")
    for name, filters in getattr(config, "models", {}).items():
        if not 1 <= filters <= 1024:
            raise InputError(f"--models {name}={filters}: expected 1 to 1024 filters")
    if (run := getattr(config, "run", "")) and not is_file_name(run):
        raise InputError(f"--run '{run}': expected the name of a folder, without / and no dot in front")


def _program() -> str:
    """What the user runs: `python main.py`, or `ich-predict`."""
    name = Path(sys.argv[0]).name
    return name if name == INSTALLED else f"python {name}"


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
    source = "".join(inspect.getsource(base) for base in reversed(cls.__mro__[:-1]))
    return dict(re.findall(r"^    (\w+):[^#\n]*#\s*(.+)$", source, flags=re.MULTILINE))


def _options(hint: object) -> dict[str, typing.Any]:
    """How argparse reads a field of this type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # int | None
        return _options(args[0])
    if origin is typing.Literal:
        return {"choices": args}
    if origin is tuple:
        return {"nargs": "+", "type": args[0]}
    if origin is dict:
        return {"nargs": "+", "type": _name_and_number, "metavar": "NAME=FILTERS"}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    return {"type": hint}


def _name_and_number(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILTERS, such as unet=32")
    return name, int(number)
