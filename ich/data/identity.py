"""What makes a training this one, as config.json and run.json keep it: read, and compared setting by setting."""

import ast
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ich.base import paths, record, source
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.scans.window import Window

if TYPE_CHECKING:
    import config as settings

UNKNOWN = "unknown (own PNGs)"  # windows of earlier versions
GIVEN = "given masks"  # in place of the name of a network and a recipe
NETWORK = "network_code"  # fingerprint of the network's code; trainings of earlier versions have none


def make(
    config: "settings.Train", recipe: "settings.Recipe", name: str, n_filters: int, part: str, prints: dict
) -> dict:
    """What makes a training this one: network and its code, recipe, seed, part, and fingerprints of data and split."""
    start = paths.starting_weights(config.init_weights) if config.init_weights else None
    if start and not start.is_file():
        raise InputError(f"{start}: not found (--init-weights)")
    weights = record.fingerprint(start) if start else None
    return {
        "model": name, "n_filters": n_filters, "protocol": config.protocol, "part": part, "seed": config.seed,
        "recipe_name": config.recipe, "recipe": asdict(recipe), "init_weights": weights, **prints,
        NETWORK: source.network_print(source.NETWORKS, name),
    }  # fmt: skip


def of_given(config: "settings.ScoreMasks", kind: str, masks: str, part: str, prints: dict) -> dict:
    """What makes a fold of `kind` (masks or probabilities) this one that another method gave; `masks`: their print.

    It names no network and no recipe. `prints`: fingerprints of data and split.
    """
    return {
        "model": GIVEN, "n_filters": None, "protocol": config.protocol, "part": part, "seed": None,
        "recipe_name": GIVEN, "recipe": {}, "given": kind, "given_masks": masks, **prints,
    }  # fmt: skip


def read(path: Path) -> dict:
    """The identity in a config.json or run.json. Raises InputError when it is missing or damaged."""
    found = read_json(path, ("identity",))["identity"] if path.name == paths.RUN else read_json(path)
    if "windows" in found:
        found["windows"] = windows(path, found["windows"], found.get("channels"))
    return found


def windows(path: Path, stored: object, channels: int | None) -> list[str]:
    """HU windows as `path` keeps them, such as ["40/120"]; empty where they are unknown (own PNGs).

    Earlier versions kept the text of a list. Raises InputError for anything else than one window a channel.
    """
    if not stored or stored == UNKNOWN:
        return []
    try:
        parsed = list(ast.literal_eval(stored) if isinstance(stored, str) else stored)
        if len(list(map(Window.parse, parsed))) == channels:
            return parsed
    except (InputError, ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
        pass
    raise InputError(f"{path}: windows are {str(stored)[:100]}, expected {channels} such as 40/120; "
                     "is it of another version? Delete it and run its step again")  # fmt: skip


def starts_from(made_of: dict) -> str:
    """What a training of this identity began with, in words."""
    start = made_of.get("init_weights")
    if not start:
        return "random weights"
    is_shipped = paths.shipped().last.exists() and start == record.fingerprint(paths.shipped().last)
    return "the shipped network" if is_shipped else f"weights {start}"


def differences(found: dict, wanted: dict) -> list[tuple[str, object, object]]:
    """As `record.differences`, leaving out part and repeat, and the network's code where one of the two lacks it.

    What earlier versions lack in a recipe is off.
    """
    ignored = {"part", "repeat"} | (set() if NETWORK in found and NETWORK in wanted else {NETWORK})
    return [
        (key, before, now)
        for key, before, now in record.differences(found, wanted)
        if key not in ignored and (before or now or None not in (before, now) or not key.startswith("recipe."))
    ]


def refuse_difference(path: Path, found: dict, wanted: dict, advice: str) -> None:
    """Raise InputError naming each setting in which a run that was begun differs from what is wanted now."""
    if pairs := differences(found, wanted):
        changes = "; ".join(f"{key} {before}, now {now}" for key, before, now in pairs)
        code = "; its code in models.py has changed" if any(key == NETWORK for key, *_ in pairs) else ""
        raise InputError(f"{path}: this run was begun with {changes}{code}. {advice}, or delete its folder")
