"""A split and its slices in memory."""

import functools
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import guard, paths, runs
from ich.base.errors import InputError
from ich.data import identity, splits
from ich.data.slices import CRC
from ich.scans.ct import pair_crc32, read_image, read_label

READERS = 8  # threads that read PNGs


@dataclass(frozen=True)
class Slices:
    """Rows of a split and their pixels: `images` uint8 (n, size, size, channels), `masks` 0/1 uint8 (n, size, size)."""

    table: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray

    @classmethod
    def read(cls, data: Path, table: pd.DataFrame, size: int, channels: int) -> "Slices":
        """Read the PNG pairs of `table`. Raises InputError for one that is missing, damaged or not the one of it."""
        images = np.empty((len(table), size, size, channels), np.uint8)
        masks = np.zeros((len(table), size, size), np.uint8)  # what is not written to takes no memory

        def read_pair(row: int, image: str, label: str) -> int:
            images[row], mask = _read_pair(data, image, label, size, channels)
            if mask.any():
                masks[row] = mask
            return pair_crc32(images[row], mask)

        with ThreadPoolExecutor(min(len(table), READERS)) as pool:
            found = list(pool.map(read_pair, range(len(table)), table["image"], table["label"]))
        _refuse_replaced(data, table, found)
        return cls(table.reset_index(drop=True), images, masks)

    def pair(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask of a row."""
        return self.images[row], self.masks[row]

    def part(self, chosen: pd.Series) -> "Slices":
        """The rows where `chosen` (a bool a row) is true."""
        where = chosen.to_numpy()
        return Slices(self.table[where].reset_index(drop=True), self.images[where], self.masks[where])


@dataclass(frozen=True)
class Pairs:
    """Rows of a split whose pixels are fetched when they are needed: nothing is copied, nor read before its time."""

    table: pd.DataFrame
    pair: Callable[[int], tuple[np.ndarray, np.ndarray]]  # image and mask of a row, as Slices.pair


def _read_pair(data: Path, image: str, label: str, size: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    return read_image(data / image, channels, size), read_label(data / label, size).astype(np.uint8)


def _refuse_replaced(data: Path, table: pd.DataFrame, found: list[int]) -> None:
    if CRC not in table:
        return
    if (other := (table[CRC].notna() & (table[CRC] != found)).to_numpy()).any():
        raise InputError(
            f"{data / table['image'][other].iloc[0]}: it or its label has changed since {data / paths.SLICES} was "
            f"written ({other.sum()} of {len(table)} slices have); delete that table and run create_data_set.py again"
        )


@dataclass(frozen=True)
class Split:
    """A split with what runs depend on. `whole_scans`: every slice of a validation patient is there."""

    data: Path
    table: pd.DataFrame
    prints: dict
    audit: dict[str, int]
    whole_scans: bool
    cache: str = "memory"  # where slices to train on wait: memory, disk, or auto

    @functools.cached_property
    def slices(self) -> Slices:
        """All slices with their pixels, read at the first use. Raises InputError."""
        return self._read(self.table)

    def training(self, part: str) -> Pairs:
        """What is trained on when `part` is validated: all other parts."""
        places = np.flatnonzero(self.table["part"] != part)
        fetch = self.slices.pair if self.in_memory else self._fetch
        return Pairs(self.table.iloc[places].reset_index(drop=True), lambda row: fetch(places[row]))

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch: those of the part that leaves most to train on."""
        balanced = self.table.loc[self.table["in_training"], "part"]
        if "valid" in set(self.table["part"]):
            return math.ceil((balanced != "valid").sum() / batch_size)
        return math.ceil((len(balanced) - balanced.value_counts().min()) / batch_size)

    def validation(self, part: str) -> Slices:
        """What is validated."""
        mine = self.table["part"] == part
        return self.slices.part(mine) if self.in_memory else self._read(self.table[mine])

    @functools.cached_property
    def in_memory(self) -> bool:
        """Whether all slices are kept in memory; `auto`: if half of what is free holds them."""
        if self.cache != "auto":
            return self.cache == "memory"
        size, channels = self.prints["image_size"], self.prints["channels"]
        return len(self.table) * size**2 * (channels + 1) <= _free_memory() / 2

    def _read(self, table: pd.DataFrame) -> Slices:
        return Slices.read(self.data, table, self.prints["image_size"], self.prints["channels"])

    def _fetch(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        image, label, expected = self._rows[row]
        pair = _read_pair(self.data, image, label, self.prints["image_size"], self.prints["channels"])
        if (found := pair_crc32(*pair)) != expected:
            _refuse_replaced(self.data, self.table.iloc[[row]], [found])
        return pair

    @functools.cached_property
    def _rows(self) -> list[tuple[str, str, float]]:
        """Names and checksum of each row, out of the table: pandas is slow at single rows."""
        known = self.table[CRC] if CRC in self.table else np.full(len(self.table), np.nan)
        return list(zip(self.table["image"], self.table["label"], known, strict=True))


def _free_memory() -> float:
    """Bytes that can be had without swapping; without limit where the system does not say."""
    try:
        told = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return math.inf
    return 1024 * int(re.search(r"MemAvailable:\s+(\d+)", told).group(1))


def split_prints(config: object, kind: str) -> dict:
    """What tells one data set and split from another: sizes, windows and fingerprints."""
    data = runs.read_json(config.data / paths.RUN)
    if not {"data_fingerprint", "image_size", "channels", "windows"} <= set(data):
        raise InputError(f"{config.data / paths.RUN}: step 1 did not end; run split_raw_data.py again")
    path = paths.split_csv(config.data, config.protocol, kind)
    guard.check_file(path, f"; run create_data_set.py --protocol {config.protocol} first")
    _refuse_other_split(path, data["data_fingerprint"], kind)
    return {
        "image_size": data["image_size"], "channels": data["channels"],
        "windows": identity.windows(config.data / paths.RUN, data["windows"], data["channels"]),
        "data_fingerprint": data["data_fingerprint"], "split_fingerprint": runs.fingerprint(path),
    }  # fmt: skip


def _refuse_other_split(path: Path, data_fingerprint: str, kind: str) -> None:
    """Raise InputError when a split was made of other slices, or edited: its leak audit says nothing of it then."""
    made = runs.read_json(path.parent / paths.RUN, ("data_fingerprint", "split_fingerprints"))
    again = "run create_data_set.py again"
    if (of := made["data_fingerprint"]) != data_fingerprint:
        raise InputError(f"{path}: is of slices with data_fingerprint {of}, now it is {data_fingerprint}; {again}")
    if runs.fingerprint(path) != made["split_fingerprints"][kind]:
        raise InputError(f"{path}: was changed after create_data_set.py wrote it, and its leak audit with it; {again}")


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
    audit = runs.read_json(config.data / config.protocol / paths.RUN, ("leak_audit",))["leak_audit"]
    cache = getattr(config, "cache", "memory")  # of the scripts that train
    return Split(config.data, table, prints, audit, config.protocol == "patient", cache)
