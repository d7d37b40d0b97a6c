"""A split of a data set: what is trained on, what is validated, and what both depend on."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ich.base import guard, paths, record
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.data import identity
from ich.data.pixels import Pairs, Slices
from ich.data.table import read_parts

if TYPE_CHECKING:
    import config as settings


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
        """All slices with their pixels, read at the first use. Raises InputError, or MachineError (memory)."""
        return Slices.read(self.data, self.table, self.prints["image_size"], self.prints["channels"])

    def training(self, part: str) -> Pairs:
        """What is trained on when `part` is validated: all other parts. No pixel is copied."""
        places = np.flatnonzero(self.table["part"] != part)
        return Pairs(self.table.iloc[places].reset_index(drop=True), lambda row: self.slices.pair(places[row]))

    def validation(self, part: str) -> Slices:
        """What is validated."""
        return self.slices.part(self.table["part"] == part)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch: those of the part that leaves most to train on."""
        balanced = self.table.loc[self.table["in_training"], "part"]
        if "valid" in set(self.table["part"]):
            return math.ceil((balanced != "valid").sum() / batch_size)
        return math.ceil((len(balanced) - balanced.value_counts().min()) / batch_size)


def split_fingerprints(config: "settings.Split", kind: str) -> dict:
    """What tells one data set and split from another: sizes, windows and fingerprints."""
    data = read_json(config.data / paths.RUN)
    if not {"data_fingerprint", "image_size", "channels", "windows"} <= set(data):
        raise InputError(f"{config.data / paths.RUN}: step 1 did not end; run split_raw_data.py again")
    path = paths.split_csv(config.data, config.protocol, kind)
    guard.check_file(path, f"; run create_data_set.py --protocol {config.protocol} first")
    _refuse_other_split(path, data["data_fingerprint"], kind)
    return {
        "image_size": data["image_size"], "channels": data["channels"],
        "windows": identity.windows(config.data / paths.RUN, data["windows"], data["channels"]),
        "data_fingerprint": data["data_fingerprint"], "split_fingerprint": record.fingerprint(path),
    }  # fmt: skip


def _refuse_other_split(path: Path, data_fingerprint: str, kind: str) -> None:
    """Raise InputError when a split was made of other slices, or edited: its leak audit says nothing of it then."""
    made = read_json(path.parent / paths.RUN, ("data_fingerprint", "split_fingerprints"))
    again = "run create_data_set.py again"
    if (of := made["data_fingerprint"]) != data_fingerprint:
        raise InputError(f"{path}: is of slices with data_fingerprint {of}, now it is {data_fingerprint}; {again}")
    if record.fingerprint(path) != made["split_fingerprints"][kind]:
        raise InputError(f"{path}: was changed after create_data_set.py wrote it, and its leak audit with it; {again}")


def read_split(config: "settings.Split", kind: str, test: bool = False) -> Split:
    """Read `holdout` or `kfold`: what is trained and validated on, or the test set. Pixels are read when needed.

    Raises InputError when an earlier step is missing.
    """
    prints = split_fingerprints(config, kind)
    table = read_parts(config.data, config.protocol, kind)
    table = table[(table["part"] == "test") == test].reset_index(drop=True)
    if table.empty:
        part = "test set" if test else "slices to train on"
        raise InputError(f"{config.data / config.protocol}: the split has no {part}; run create_data_set.py again")
    audit = read_json(config.data / config.protocol / paths.RUN, ("leak_audit",))["leak_audit"]
    return Split(config.data, table, prints, audit, config.protocol == "patient")
