"""What is predicted with: which networks, on which window and size, cut at which threshold."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ich import folds, paths, runs
from ich.ct import Window, square
from ich.errors import InputError

CARD = "model.json"  # in the folder of an export


@dataclass(frozen=True)
class Method:
    """`facts` go into run.json and the model card; `threshold` is of the probability, as the report chose it."""

    size: int  # pixels per side of the network's input
    windows: tuple[Window, ...]
    threshold: float
    facts: dict

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


def of_run(run: folds.Run, fold: int, weights: str) -> tuple[Method, list[paths.Training]]:
    """The method of a run's folds (`fold` 0: all) and their trainings. Raises InputError for an unfinished fold."""
    members, identity = run.members(fold), run.identity()
    first = runs.read_json(members[0].run)
    windows = tuple(map(Window.parse, identity["windows"]))
    honest = identity["protocol"] == "patient"
    facts = {
        "run": run.name, "protocol": identity["protocol"], "folds": [each.folder.name for each in members],
        "weights": weights, "model": identity["model"], "n_filters": identity["n_filters"],
        "data": identity["data_fingerprint"], "training_slices": first.get("training_slices"),
        "recipe": identity["recipe_name"], "epochs": identity["recipe"]["epochs"],
        "networks": [runs.fingerprint(getattr(each, weights)) for each in members],
        "threshold_is": "chosen on out-of-fold predictions" if honest else "default",
    }  # fmt: skip
    threshold = folds.choose_threshold(run.table("thresholds")) if honest else 0.5
    return Method(identity["image_size"], windows, threshold, facts), members


def of_export(folder: Path) -> Method:
    """The method of an exported folder. Raises InputError when it is not whole."""
    card = runs.read_json(folder / CARD)
    try:
        windows = tuple(Window(*pair) for pair in card["windows"])
        return Method(card["image_size"], windows, card["threshold"], card["facts"])
    except KeyError as error:
        raise InputError(f"{folder / CARD}: lacks {error}; export again with predict.py --export") from None


def is_exported(folder: Path, method: Method, file: str) -> bool:
    """Whether `folder` holds `file` with these very networks and this threshold; the card is written last."""
    if not (folder / CARD).exists() or not (folder / file).exists():
        return False
    card = runs.read_json(folder / CARD)
    return card.get("facts") == runs.as_json(method.facts) and card.get("threshold") == method.threshold
