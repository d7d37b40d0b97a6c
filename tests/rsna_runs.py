"""Finished trainings of rsna_train.py as files, with predictions that are made up."""

from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import paths, record
from ich.base.files import write_csv, write_json
from ich.rsna.layouts import CLASSES, LABELS, TYPES, names_of

SLICES = 6  # of each patient, one of each class


def guesses(skill: float, patients: int = 30, seed: int = 0) -> np.ndarray:
    """Probabilities (n, 6) of slices whose classes come in turn: 0 is chance, 1 knows them."""
    truth = np.tile(np.eye(SLICES), (patients, 1))
    return (1 - skill) * np.random.default_rng(seed).dirichlet(np.ones(SLICES), len(truth)) + skill * truth


def trained(
    runs: Path, variant: str, prob: np.ndarray, repeat: int = 1, lacking: dict | None = None, **identity: object
) -> paths.Classification:
    """A training of the six-way task with these predictions (n, 6) for the test slices."""
    files = paths.Classification(runs, "multiclass", variant, repeat)
    numbers = np.arange(len(prob))
    table = pd.DataFrame({"id": [f"s{number:04d}" for number in numbers], "split": "test"})
    table.insert(1, "patient", [f"p{number // SLICES:03d}" for number in numbers])
    table["class"] = np.array(CLASSES)[numbers % SLICES]
    for name in TYPES:
        table[name] = (table["class"] == name).astype(int)
    table["any"] = table[list(TYPES)].max(axis=1)
    table = table[["id", "patient", "split", "class", *LABELS]]
    table[[f"prob_{name}" for name in names_of("multiclass")]] = prob
    write_csv(files.predictions, table)
    facts = {"variant": variant, "repeat": repeat, **identity}
    write_json(files.run, {"identity": facts, "results": record.fingerprints([files.predictions]),
                           "lacking": lacking or {}})  # fmt: skip
    return files
