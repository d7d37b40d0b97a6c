"""Trained networks of a run and the mean of their probabilities."""

from collections.abc import Iterator

import keras
import numpy as np

from ich import evaluation
from ich.errors import InputError
from ich.folds import Run
from ich.paths import Training, fold_name
from ich.stack import Slices


def load(training: Training, weights: str) -> keras.Model:
    """The `last` or `best` network of a training. Raises InputError when the file is missing or damaged."""
    path = getattr(training, weights)
    try:
        return keras.models.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: cannot be loaded ({first}); delete its folder and run main_kfold.py again") from None


def members(run: Run, fold: int) -> list[Training]:
    """All finished folds, or only `fold` (0: all). Raises InputError for a fold that is not finished."""
    chosen = [training for training in run.trainings if not fold or training.folder.name == fold_name(fold)]
    if not chosen:
        raise InputError(f"--fold {fold}: not finished in run {run.name}; finished are {', '.join(run.folds)}")
    return chosen


def predict(trainings: list[Training], weights: str, slices: Slices) -> np.ndarray:
    """Mean of the networks' probabilities, float32 (n, size, size). One network is in memory at a time."""
    total = np.zeros(slices.masks.shape, np.float32)
    for network in _loaded(trainings, weights):
        total += evaluation.predict(network, slices)
    return total / len(trainings)


def _loaded(trainings: list[Training], weights: str) -> Iterator[keras.Model]:
    for training in trainings:
        keras.backend.clear_session()
        yield load(training, weights)
