"""A split of a data set: what is trained on, what is validated, and what both depend on."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from ich.base import guard, paths, record
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.data import audit, identity, origin
from ich.data.pixels import Pairs, Slices
from ich.data.table import read_parts

if TYPE_CHECKING:
    import config as settings


Flags: TypeAlias = "pd.Series | np.ndarray"  # bool, one for each slice


@dataclass(frozen=True)
class Split:
    """A split with what runs depend on. `whole_scans`: every slice of a validation patient is there."""

    data: Path
    table: pd.DataFrame
    prints: dict
    about: dict  # goes into each run.json: split_audit, patients_known (patients_assumed), origin
    whole_scans: bool

    @functools.cached_property
    def slices(self) -> Slices:
        """All slices with their pixels, read at the first use. Raises InputError, or MachineError (memory)."""
        return Slices.read(self.data, self.table, self.prints["image_size"], self.prints["channels"])

    def training(self, part: str) -> Pairs:
        """What is trained on when `part` is validated: all other parts. No pixel is copied."""
        rows = np.flatnonzero(self.table["part"] != part)
        table = self.table.iloc[rows].reset_index(drop=True)
        return Pairs(table, lambda row, neighbours=0: self.slices.pair(rows[row], neighbours))

    def validation(self, part: str) -> Slices:
        """What is validated."""
        return self.slices.part(self.table["part"] == part)

    def steps(self, batch_size: int, negatives_per_positive: float = 0) -> int:
        """Batches in an epoch: those of the part that leaves most to train on."""
        lesion, chosen = self.table["lesion_pixels"] > 0, self.table["in_training"]
        parts = ["valid"] if "valid" in set(self.table["part"]) else self.table["part"].unique()
        most = max(
            epoch_slices(lesion[rows], chosen[rows], negatives_per_positive)
            for rows in (self.table["part"] != part for part in parts)
        )
        return math.ceil(most / batch_size)


def epoch_slices(lesion: Flags, chosen: Flags, negatives_per_positive: float = 0) -> int:
    """Slices that an epoch shows: those with a lesion, and as many without as were chosen.

    `negatives_per_positive` above 0: that many for each lesion slice instead, as far as there are any.
    """
    positives, clean = int(lesion.sum()), int((~lesion).sum())
    negatives = round(negatives_per_positive * positives) if negatives_per_positive else int((~lesion & chosen).sum())
    return positives + min(negatives, clean)


def split_fingerprints(config: "settings.Split", kind: str) -> dict:
    """What tells one data set and split from another: sizes, windows and fingerprints.

    Raises InputError when step 1 or 2 is missing, and when the split is for other slices or was edited: its leak audit
    says nothing about it then.
    """
    data = read_json(config.data / paths.RUN)
    if not {"data_fingerprint", "image_size", "channels", "windows"} <= set(data):
        raise InputError(f"{config.data / paths.RUN}: step 1 did not end; run split_raw_data.py again")
    path, again = paths.split_csv(config.data, config.protocol, kind), "run create_data_set.py again"
    guard.check_file(path, f"; run create_data_set.py --protocol {config.protocol} first")
    stored = read_json(path.parent / paths.RUN, ("data_fingerprint", "split_fingerprints"))
    before, now = stored["data_fingerprint"], data["data_fingerprint"]
    if before != now:
        raise InputError(f"{path}: is of slices with data_fingerprint {before}, now it is {now}; {again}")
    fingerprint = record.fingerprint(path)
    if fingerprint != stored["split_fingerprints"][kind]:
        raise InputError(f"{path}: was changed after create_data_set.py wrote it, and its leak audit with it; {again}")
    return {
        "image_size": data["image_size"], "channels": data["channels"],
        "windows": identity.windows(config.data / paths.RUN, data["windows"], data["channels"]),
        "data_fingerprint": now, "split_fingerprint": fingerprint,
    }  # fmt: skip


def read_split(config: "settings.Split", kind: str, test: bool = False) -> Split:
    """Read `holdout` or `kfold`: what is trained and validated on, or the test set. Pixels are read when needed.

    Raises InputError when an earlier step is missing.
    """
    fingerprints = split_fingerprints(config, kind)
    table = read_parts(config.data, config.protocol, kind)
    table = table[(table["part"] == "test") == test].reset_index(drop=True)
    if table.empty:
        part = "test set" if test else "slices to train on"
        raise InputError(f"{config.data / config.protocol}: the split has no {part}; run create_data_set.py again")
    made = read_json(config.data / config.protocol / paths.RUN, ("leak_audit",))
    about = {
        "split_audit": made["leak_audit"], **audit.whose(made), "origin": origin.read(config.data),
    }  # fmt: skip
    return Split(config.data, table, fingerprints, about, config.protocol == "patient")
