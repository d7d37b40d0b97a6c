"""What is predicted with: which networks, on which window and size, cut at which threshold."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import as_json, read_json
from ich.data import identity as identities
from ich.data import origin
from ich.report import choice, folds
from ich.scans.window import Window, square
from ich.score.operating import Point

CARD = "model.json"  # in the folder of an export


@dataclass(frozen=True)
class Method:
    """`facts` go into run.json and the model card; `point` is the threshold and lesion size that the report chose."""

    size: int  # pixels per side of the network's input
    windows: tuple[Window, ...]
    point: Point
    facts: dict
    neighbours: int = 0  # 1: the networks take the slices below and above too
    flip: bool = False  # the threshold was chosen for the mean over each slice and its mirror image

    @property
    def choice(self) -> choice.Choice:
        """The operating point and where it comes from."""
        unknown = "not said by the version that exported it"
        return choice.Choice(self.point, *(self.facts.get(name, unknown) for name in ("threshold_is", "min_lesion_is")))

    @property
    def window_pairs(self) -> list[list[float]]:
        """[level, width] of each window, as the card holds them."""
        return [[window.level, window.width] for window in self.windows]

    @property
    def notice(self) -> str:
        """Shown beside every result: for research only, and whether the networks were trained on phantoms."""
        about = origin.networks_notice(self.facts.get("origin", ""))
        return f"{about}. {record.RESEARCH_ONLY}" if about else record.RESEARCH_ONLY

    def grey(self, hu: np.ndarray) -> np.ndarray:
        """Upright HU (slices, rows, columns) -> grey levels uint8 (slices, size, size, windows), as in training."""
        planes = [np.dstack([square(window(plane), self.size) for window in self.windows]) for plane in hu]
        return np.stack(planes)


def choose_run(folder: Path, protocol: str, name: str) -> folds.Run:
    """The run `name`; of several the best by mean out-of-fold Dice over patients. Raises InputError without any."""
    found = folds.networks(folds.gather(folder, protocol, (name,) if name else ()), bool(name))
    if len(found) == 1:
        return found[0]
    if protocol != "patient":
        raise InputError(f"{folder / protocol}: holds {len(found)} runs; name one with --run")
    return folds.best(found)


def of_run(run: folds.Run, fold: int, weights: str, asked: tuple[str, ...] = ()) -> tuple[Method, list[paths.Training]]:
    """The method of a run's folds (`fold` 0: all) and their trainings. `asked`: HU windows of a run without known ones.

    Raises InputError for an unfinished fold, and when the windows are unknown or others than those asked for.
    """
    members, identity = run.members(fold), run.identity()
    windows = _windows(run.name, identity, asked)
    chosen = choice.of_run(run)
    facts = {
        "run": run.name, "protocol": identity["protocol"], "folds": [training.label for training in members],
        "weights": weights, "model": identity["model"], "n_filters": identity["n_filters"],
        "data": identity["data_fingerprint"], "training_slices": read_json(members[0].run).get("training_slices"),
        "recipe": identity["recipe_name"], "epochs": run.recipe["epochs"],
        "networks": [record.fingerprint(getattr(training, weights)) for training in members],
        "windows": _text(windows).split(),
        "windows_are": "those of the training" if identity["windows"] else "given with --windows",
        **run.about(), **({"starts_from": identities.starts_from(identity)} if identity.get("init_weights") else {}),
        "threshold_is": chosen.threshold_is, "min_lesion_is": chosen.size_is,
    }  # fmt: skip
    neighbours = run.recipe.get("neighbours", 0)
    return Method(identity["image_size"], windows, chosen.point, facts, neighbours, run.flips), members


def parsed(texts: tuple[str, ...]) -> tuple[Window, ...]:
    """The windows in --windows. Raises InputError, also for a scan after the flag, which argparse reads as a window."""
    if stray := next((text for text in texts if "/" not in text or text.lower().endswith((".nii", ".gz"))), None):
        raise InputError(f"--windows: '{stray}' is not a level/width such as 40/120; name scans before the flags")
    return tuple(map(Window.parse, texts))


def _windows(run: str, identity: dict, texts: tuple[str, ...]) -> tuple[Window, ...]:
    """The windows that a run was trained with, or those of --windows where they are unknown. Raises InputError."""
    known, asked, flag = tuple(map(Window.parse, identity["windows"])), parsed(texts), f"--windows {' '.join(texts)}"
    if known and asked and known != asked:
        raise InputError(f"{flag}: run {run} was trained with {_text(known)}; leave it out")
    if not known and not asked:
        raise InputError(f"run {run}: was trained on own PNGs, whose HU window is unknown; "
                         "give it if you know it: --windows 40/120")  # fmt: skip
    if not known and len(asked) != identity["channels"]:
        raise InputError(f"{flag}: the network of run {run} takes {identity['channels']}, here are {len(asked)}")
    return known or asked


def _text(windows: Iterable[Window]) -> str:
    return " ".join(f"{window.level:g}/{window.width:g}" for window in windows)


def of_export(folder: Path, files: Iterable[str]) -> Method:
    """The method of an exported folder. Raises InputError when one of `files` is missing or not that of the card."""
    path = folder / CARD
    card, again = read_json(path), "export again with predict.py --export"
    try:
        written = dict(card["files"])
        windows = tuple(Window(*map(float, pair)) for pair in card["windows"])
        point = Point(float(card["threshold"]), float(card.get("min_lesion_mm3", 0)))
        levers = int(card.get("neighbours", 0)), bool(card.get("test_time_flip", False))
        method = Method(int(card["image_size"]), windows, point, dict(card["facts"]), *levers)
    except KeyError as error:
        raise InputError(f"{path}: lacks {error}; {again}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); {again}") from None
    for name in files:
        if name not in written:
            raise InputError(f"{folder}: was exported without {name}; {again}{' --precision int8' * ('int8' in name)}")
        if not (folder / name).exists() or record.fingerprint(folder / name) != written[name]:
            raise InputError(f"{folder / name}: is missing or is not the one described in {CARD}; "
                             f"copy the whole folder, or {again}")  # fmt: skip
    return method


def is_exported(folder: Path, method: Method, files: Iterable[str]) -> bool:
    """Whether `folder` holds `files` of exactly this method; the card is written last."""
    try:
        return of_export(folder, files) == dataclasses.replace(method, facts=as_json(method.facts))
    except InputError:  # there is none, or one of another version or an earlier training
        return False
