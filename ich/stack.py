"""The slices of a split in memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich.ct import read_image, read_label


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
