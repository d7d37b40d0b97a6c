"""A split and its slices in memory."""

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich import paths, runs, splits
from ich.ct import read_image, read_label
from ich.errors import InputError


@dataclass(frozen=True)
class Slices:
    """Rows of a split and their pixels: `images` uint8 (n, size, size, channels), `masks` 0/1 uint8 (n, size, size)."""

    table: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray

    @classmethod
    def read(cls, data: Path, table: pd.DataFrame, size: int, channels: int) -> "Slices":
        """Read the PNG pairs of `table`. Raises InputError for a missing or damaged one."""
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda name: read_image(data / name, channels, size), table["image"]))
            masks = list(pool.map(lambda name: read_label(data / name, size).astype(np.uint8), table["label"]))
        return cls(table.reset_index(drop=True), np.stack(images), np.stack(masks))

    def part(self, chosen: pd.Series) -> "Slices":
        """The rows where `chosen` (a bool a row) is true."""
        where = chosen.to_numpy()
        return Slices(self.table[where].reset_index(drop=True), self.images[where], self.masks[where])


@dataclass(frozen=True)
class Split:
    """A split with what runs depend on. `whole_scans`: every slice of a validation patient is there."""

    data: Path
    table: pd.DataFrame
    prints: dict
    audit: dict[str, int]
    whole_scans: bool

    @functools.cached_property
    def slices(self) -> Slices:
        """All slices with their pixels, read at the first use. Raises InputError."""
        return Slices.read(self.data, self.table, self.prints["image_size"], self.prints["channels"])

    def training(self, part: str) -> Slices:
        """What is trained on when `part` is validated: all other parts."""
        return self.slices.part(self.table["part"] != part)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch: those of the part that leaves most to train on."""
        balanced = self.table.loc[self.table["in_training"], "part"]
        if "valid" in set(self.table["part"]):
            return math.ceil((balanced != "valid").sum() / batch_size)
        return math.ceil((len(balanced) - balanced.value_counts().min()) / batch_size)

    def validation(self, part: str) -> Slices:
        """What is validated."""
        return self.slices.part(self.table["part"] == part)


def split_prints(config: object, kind: str) -> dict:
    """What tells one data set and split from another: sizes, windows and fingerprints."""
    data = runs.read_json(config.data / paths.RUN)
    if "data_fingerprint" not in data:
        raise InputError(f"{config.data / paths.RUN}: step 1 did not end; run split_raw_data.py again")
    path = paths.split_csv(config.data, config.protocol, kind)
    if not path.exists():
        raise InputError(f"{path}: not found; run create_data_set.py --protocol {config.protocol} first")
    return {
        "image_size": data["image_size"], "channels": data["channels"], "windows": str(data["windows"]),
        "data_fingerprint": data["data_fingerprint"], "split_fingerprint": runs.fingerprint(path),
    }  # fmt: skip


def read_split(config: object, kind: str, test: bool = False) -> Split:
    """Read `holdout` or `kfold`: what is trained and validated on, or the test set. Pixels are read when needed.

    Raises InputError when an earlier step is missing.
    """
    prints = split_prints(config, kind)
    table = splits.read(config.data, config.protocol, kind)
    table = table[(table["part"] == "test") == test].reset_index(drop=True)
    if table.empty:
        part = "test set" if test else "slices to train on"
        raise InputError(f"{config.data / config.protocol}: the split has no {part}; run create_data_set.py again")
    audit = runs.read_json(paths.split_csv(config.data, config.protocol, kind).parent / paths.RUN)["leak_audit"]
    return Split(config.data, table, prints, audit, whole_scans=config.protocol == "patient")
