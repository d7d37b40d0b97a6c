"""Which command comes after a step, with the flags that the step itself was called with."""

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import config as settings

DEMO = "ICH_DEMO"  # environment: demo.sh runs all steps, and shows each command itself


def are_shown() -> bool:
    """Whether who called this step shows its command, and runs the next one."""
    return bool(os.environ.get(DEMO))


def tell_next(command: str, config: "settings.Common", *names: str) -> None:
    """Print the next command, with those settings among `names` that are not the ones in config.py."""
    if config.quiet or are_shown():
        return
    defaults = type(config)()
    words = [word for name in names for word in _words(name, getattr(config, name), getattr(defaults, name))]
    print(f"next: python {command} {shlex.join(words)}".rstrip())


def _words(name: str, value: object, default: object) -> list[str]:
    """A flag as it is given: `--models unet=8 dunet=8`."""
    if value == default or value is None:
        return []
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{flag}"]
    if isinstance(value, dict):
        return [f"--{flag}", *(f"{key}={item}" for key, item in value.items())]
    return [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
