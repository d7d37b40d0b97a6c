"""Slices and masks in memory."""

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from ich.base import paths
from ich.base.errors import InputError, MachineError
from ich.data.table import CRC, scan_of
from ich.scans.png import pair_crc32, read_image, read_label

READERS = 8  # threads that read PNGs


@dataclass(frozen=True)
class Slices:
    """Rows of a split and their pixels: `images` uint8 (n, size, size, channels), `masks` 0/1 uint8 (n, size, size)."""

    table: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray

    @classmethod
    def read(cls, data: Path, table: pd.DataFrame, size: int, channels: int) -> "Slices":
        """Read the PNG pairs of `table`. Raises InputError for one that is missing, damaged or not the one listed."""
        images, masks = _empty(len(table), size, channels)

        def read_pair(row: int, image: str, label: str) -> int:
            images[row], mask = read_image(data / image, channels, size), read_label(data / label, size)
            if mask.any():  # pages of zeros that are never written take no memory
                masks[row] = mask
            return pair_crc32(images[row], mask)

        with ThreadPoolExecutor(READERS) as pool:
            crc = list(pool.map(read_pair, range(len(table)), table["image"], table["label"]))
        changed = (table[CRC].notna() & (table[CRC] != crc)).to_numpy() if CRC in table else np.zeros(len(table), bool)
        if changed.any():
            raise InputError(
                f"{data / table['image'][changed].iloc[0]}: it or its label has changed since {data / paths.SLICES} "
                f"was written ({changed.sum()} of {len(table)} slices have); delete that table and run "
                "create_data_set.py again"
            )
        return cls(table.reset_index(drop=True), images, masks)

    @functools.cached_property
    def near(self) -> np.ndarray:
        """As `near_rows`."""
        return near_rows(self.table)

    def pair(self, row: int, neighbours: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Image and mask of a row; with `neighbours` the image has their channels around its own."""
        image = stacked(self.images, self.near[row][None])[0] if neighbours else self.images[row]
        return image, self.masks[row]

    def part(self, chosen: pd.Series) -> "Slices":
        """The rows where `chosen` (one bool per row) is true."""
        rows = chosen.to_numpy()
        return Slices(self.table[rows].reset_index(drop=True), self.images[rows], self.masks[rows])


class PairReader(Protocol):
    """Gives what Slices.pair gives."""

    def __call__(self, row: int, neighbours: int = 0) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Pairs:
    """Rows of a split whose pixels lie elsewhere."""

    table: pd.DataFrame
    pair: PairReader


def near_rows(table: pd.DataFrame) -> np.ndarray:
    """For each row of a split the rows of the slice below, of itself, and of the slice above; int (n, 3).

    Below and above are the slices of the same scan with the numbers before and after. Where there is none, the row
    itself.
    """
    places = list(zip(scan_of(table), table["slice"].astype(int), strict=True))
    row_of = {place: row for row, place in enumerate(places)}
    return np.array([
        [row_of.get((scan, number + step), row) for step in (-1, 0, 1)]
        for row, (scan, number) in enumerate(places)
    ]).reshape(-1, 3)  # fmt: skip


def stacked(images: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Join the channels of several images to one: (m, k * channels, at the end) of images (n, ..., channels).

    `near`: int (m, k), which images; from the lowest slice to the highest.
    """
    return np.concatenate([images[rows] for rows in near.T], axis=-1)


def _empty(n: int, size: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory for images and masks. Raises MachineError where there is too little."""
    try:
        return np.empty((n, size, size, channels), np.uint8), np.zeros((n, size, size), np.uint8)
    except MemoryError:
        need = n * size**2 * (channels + 1) / 2**30
        raise MachineError(f"{n} slices of {size} pixels need {need:.1f} GiB of memory, more than there is; "
                           "make smaller ones (split_raw_data.py --image-size)") from None  # fmt: skip
