"""From HU to 8-bit square slices, the same way for every input, and back to the slice's own size."""

import dataclasses
import functools

import cv2
import numpy as np

from ich.base.errors import InputError

WIDEST = 10_000  # HU
MOST_OF_HEAD = 0.6  # share of the head that blood may cover in a slice


@dataclasses.dataclass(frozen=True)
class Window:
    """HU window: `level` is its middle, `width` its extent, both in HU."""

    level: float
    width: float

    @classmethod
    def parse(cls, text: str, flag: str = "--windows") -> "Window":
        """Read `40/120`. Raises InputError."""
        try:
            level, width = map(float, text.split("/"))
        except ValueError:
            raise InputError(f"{flag} '{text}': expected level/width in HU, such as 40/120") from None
        if not (1 <= width <= WIDEST and abs(level) <= WIDEST):  # NaN too
            raise InputError(f"{flag} '{text}': level must be within +-{WIDEST} HU, width 1 to {WIDEST} HU")
        return cls(level, width)

    def __call__(self, hu: np.ndarray) -> np.ndarray:
        """Grey levels 0..255 (uint8) of HU of any shape: linear between the window's ends, clipped, rounded."""
        if hu.dtype == np.int16:  # one table look-up per voxel instead of four passes in float
            return cv2.LUT(hu.view(np.uint16), self._table)
        return self._grey(hu)

    def _grey(self, hu: np.ndarray) -> np.ndarray:
        low = self.level - self.width / 2
        return np.clip(np.rint((hu.astype(np.float64) - low) * (255 / self.width)), 0, 255).astype(np.uint8)

    @functools.cached_property
    def _table(self) -> np.ndarray:
        return self._grey(np.arange(2**16, dtype=np.uint16).view(np.int16))


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Pad (rows, columns) with zeros to a square, centred, then resize to (size, size) by area averaging."""
    rows, columns = pixels.shape[:2]
    if rows != columns:
        top, left = _margins(rows, columns)
        side = max(rows, columns)
        pixels = cv2.copyMakeBorder(
            pixels, top, side - rows - top, left, side - columns - left, cv2.BORDER_CONSTANT, value=0
        )
    if pixels.shape[0] == size:
        return pixels
    shrinks = size < pixels.shape[0]
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def square_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """As `square` for a bool mask: area share of the lesion in each pixel, at least one half."""
    return square(mask.astype(np.float32), size) >= 0.5


def unsquare(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Undo `square`: resize (size, size) float32 linearly to the padded square and cut (rows, columns) out of it."""
    side = max(rows, columns)
    if pixels.shape[0] != side:
        pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)
    top, left = _margins(rows, columns)
    return pixels[top : top + rows, left : left + columns]


def covers_too_much(mask: np.ndarray, head: np.ndarray) -> bool:
    """Whether a mask, bool (rows, columns), marks all of a slice, or more of the head in it than can be blood."""
    return bool(mask.all() or np.count_nonzero(mask & head) > MOST_OF_HEAD * np.count_nonzero(head))


def _margins(rows: int, columns: int) -> tuple[int, int]:
    side = max(rows, columns)
    return (side - rows) // 2, (side - columns) // 2
