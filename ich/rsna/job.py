"""What one training of a classifier depends on."""

import functools
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ich.base import record
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.base.paths import Classification, Rsna
from ich.rsna import neighbours
from ich.rsna.batches import Batches, Change
from ich.rsna.identity import LATER, SAME
from ich.rsna.variants import chosen, run_name

if TYPE_CHECKING:
    import config as settings


@dataclass(frozen=True)
class Job:
    """One training: a variant, a seed, and the slices of all parts."""

    config: "settings.RsnaTrain"
    files: Classification
    data: Rsna
    table: pd.DataFrame
    inputs: dict  # what its files are: weights to start from, steps, window, data
    variant: str  # whose PNGs it reads
    near: pd.DataFrame | None  # ids below and above each slice, if they are read too

    advice = "Give --runs another folder"

    @property
    def same_run(self) -> list[Classification]:
        """Itself alone: variants are compared although their settings may differ; the comparison says so."""
        return [self.files]

    @property
    def name(self) -> str:
        """As printed: `2_roi_clahe`, or `2_roi_clahe repeat 2`."""
        return self.files.variant + (f" repeat {self.files.repeat}" if self.files.repeat > 1 else "")

    @property
    def seed(self) -> int:
        """Of initial weights, order and augmentation; the same for every variant."""
        return self.config.seed + self.files.repeat - 1

    @property
    def identity(self) -> dict:
        """What makes a training this one. A folder that was begun with another identity is refused."""
        settings = {name: getattr(self.config, name) for name in SAME}
        settings |= {name: value for name, usual in LATER.items() if (value := getattr(self.config, name)) != usual}
        return {**settings, "variant": self.files.variant, "repeat": self.files.repeat, **self.inputs}

    def batches(self, part: str, change: Change | None = None) -> Batches:
        """The slices of a part under this variant."""
        config, rows = self.config, self.table[self.table["split"] == part]
        return Batches(rows, self.data, self.variant, config.task, config.image_size, config.batch_size,
                       change, self.seed, config.workers, self.near, config.balance)  # fmt: skip


def make(config: "settings.RsnaTrain", variant: str, repeat: int, table: pd.DataFrame) -> Job:
    """The training of a variant. Raises InputError when the variant or the weights to start from are not there."""
    data = Rsna(config.data)
    preprocessed = read_json(data.run, ("variants", "config"))
    if variant not in preprocessed["variants"]:
        lacking = [name for name in chosen([config.variant]) if name not in preprocessed["variants"]]
        raise InputError(f"{data.folder / variant}: not made yet; run "
                         f"`{_preprocess_command(config, preprocessed['config'], lacking)}`")  # fmt: skip
    inputs = {
        "weights": config.weights if config.weights in ("imagenet", "none") else _fingerprint(config.weights),
        "steps": preprocessed["variants"][variant],
        "window": preprocessed["config"]["window"],
        "data_fingerprint": record.fingerprint(data.slices),
    }
    near = None
    if config.neighbours:
        near = _near(config.data)
        inputs |= {"neighbours": config.neighbours, "series": record.fingerprint(data.series)}
    files = Classification(config.runs, config.task, run_name(variant, config.neighbours), repeat)
    return Job(config, files, data, table, inputs, variant, near)


@functools.cache
def _near(data: Path) -> pd.DataFrame:
    """The same for all trainings of a process."""
    return neighbours.read(Rsna(data))


def _preprocess_command(config: "settings.RsnaTrain", made_with: dict, variants: list[str]) -> str:
    """What makes further variants with the settings of those that are there."""
    flags = ["--variants", *variants, "--data", str(config.data)]
    for name in ("raw", "window", "valid_share", "test_share", "seed"):
        flags += [f"--{name.replace('_', '-')}", str(made_with[name])] if name in made_with else []
    return f"python rsna_preprocess.py {shlex.join(flags)}"


@functools.cache
def _fingerprint(weights: str) -> str:
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"{path}: not found; --weights is imagenet, none or a file")
    return record.fingerprint(path)
