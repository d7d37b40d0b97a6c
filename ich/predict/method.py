"""What is predicted with: which networks, on which window and size, cut at which threshold."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import as_json, read_json
from ich.report import folds
from ich.scans.window import Window, square

CARD = "model.json"  # in the folder of an export


@dataclass(frozen=True)
class Method:
    """`facts` go into run.json and the model card; `threshold` is of the probability, as the report chose it."""

    size: int  # pixels per side of the network's input
    windows: tuple[Window, ...]
    threshold: float
    facts: dict

    @property
    def window_pairs(self) -> list[list[float]]:
        """[level, width] of each window, as the card holds them."""
        return [[window.level, window.width] for window in self.windows]

    def grey(self, hu: np.ndarray) -> np.ndarray:
        """Upright HU (slices, rows, columns) -> grey levels uint8 (slices, size, size, windows), as in training."""
        planes = [np.dstack([square(window(plane), self.size) for window in self.windows]) for plane in hu]
        return np.stack(planes)


def choose_run(folder: Path, protocol: str, name: str) -> folds.Run:
    """The run `name`; of several the best by mean out-of-fold Dice over patients. Raises InputError without any."""
    found = folds.gather(folder, protocol, (name,) if name else ())
    if len(found) == 1:
        return found[0]
    if protocol != "patient":
        raise InputError(f"{folder / protocol}: holds {len(found)} runs; name one with --run")
    return folds.best(found)


def of_run(run: folds.Run, fold: int, weights: str, given: tuple[str, ...] = ()) -> tuple[Method, list[paths.Training]]:
    """The method of a run's folds (`fold` 0: all) and their trainings. `given`: HU windows of a run without known ones.

    Raises InputError for an unfinished fold, and when the windows are unknown or others than those given.
    """
    members, identity = run.members(fold), run.identity()
    first = read_json(members[0].run)
    windows = _windows(run, identity, given)
    honest = identity["protocol"] == "patient"
    facts = {
        "run": run.name, "protocol": identity["protocol"], "folds": [each.folder.name for each in members],
        "weights": weights, "model": identity["model"], "n_filters": identity["n_filters"],
        "data": identity["data_fingerprint"], "training_slices": first.get("training_slices"),
        "recipe": identity["recipe_name"], "epochs": identity["recipe"]["epochs"],
        "networks": [record.fingerprint(getattr(each, weights)) for each in members],
        "windows": _text(windows).split(),
        "windows_are": "those of the training" if identity["windows"] else "given with --windows",
        "threshold_is": "chosen on out-of-fold predictions" if honest else "default",
    }  # fmt: skip
    threshold = folds.choose_threshold(run.table("thresholds")) if honest else 0.5
    return Method(identity["image_size"], windows, threshold, facts), members


def parsed(given: tuple[str, ...]) -> tuple[Window, ...]:
    """What --windows names. Raises InputError; a scan that follows the flag is taken for a window."""
    if stray := next((text for text in given if "/" not in text or text.lower().endswith((".nii", ".gz"))), None):
        raise InputError(f"--windows: '{stray}' is not a level/width such as 40/120; name scans before the flags")
    return tuple(map(Window.parse, given))


def _windows(run: folds.Run, identity: dict, given: tuple[str, ...]) -> tuple[Window, ...]:
    known, asked = tuple(map(Window.parse, identity["windows"])), parsed(given)
    if known and asked and known != asked:
        raise InputError(f"--windows {' '.join(given)}: run {run.name} was trained with {_text(known)}; leave it out")
    if not known and not asked:
        raise InputError(f"run {run.name}: was trained on own PNGs, whose HU window is unknown; "
                         "give it if you know it: --windows 40/120")  # fmt: skip
    if not known and len(asked) != identity["channels"]:
        raise InputError(f"--windows {' '.join(given)}: the network of run {run.name} takes {identity['channels']}, "
                         f"here are {len(asked)}")  # fmt: skip
    return known or asked


def _text(windows: Iterable[Window]) -> str:
    return " ".join(f"{window.level:g}/{window.width:g}" for window in windows)


def of_export(folder: Path, files: Iterable[str]) -> Method:
    """The method of an exported folder. Raises InputError when one of `files` is missing or not that of the card."""
    card = read_json(folder / CARD)
    try:
        written = dict(card["files"])
        windows = tuple(Window(*map(float, pair)) for pair in card["windows"])
        found = Method(int(card["image_size"]), windows, float(card["threshold"]), dict(card["facts"]))
    except KeyError as error:
        raise InputError(f"{folder / CARD}: lacks {error}; export again with predict.py --export") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: is damaged ({error}); export again with predict.py --export") from None
    for name in files:
        if name not in written:
            int8 = " --precision int8" if "int8" in name else ""
            raise InputError(f"{folder}: was exported without {name}; export again with predict.py --export{int8}")
        if not (folder / name).exists() or record.fingerprint(folder / name) != written[name]:
            raise InputError(f"{folder / name}: is missing or is not the one described in {CARD}; "
                             "copy the whole folder, or export again with predict.py --export")  # fmt: skip
    return found


def is_exported(folder: Path, method: Method, files: Iterable[str]) -> bool:
    """Whether `folder` holds `files` of these very networks, windows and threshold; the card is written last."""
    if not (folder / CARD).exists():
        return False
    try:
        found = of_export(folder, files)
    except InputError:  # of another version or an earlier training: exported anew
        return False
    same = (found.size, found.windows, found.threshold) == (method.size, method.windows, method.threshold)
    return same and found.facts == as_json(method.facts)
