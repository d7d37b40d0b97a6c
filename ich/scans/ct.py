"""From HU to 8-bit square slices, the same way for every input, and back to the slice's own size."""

import dataclasses
import functools
import zlib
from pathlib import Path

import cv2
import numpy as np

from ich.base import guard
from ich.base.errors import InputError

WIDEST = 10_000  # HU
_PNG = b"\x89PNG\r\n\x1a\n"


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


def _margins(rows: int, columns: int) -> tuple[int, int]:
    side = max(rows, columns)
    return (side - rows) // 2, (side - columns) // 2


def read_image(path: Path, channels: int, size: int) -> np.ndarray:
    """Read a PNG slice as uint8 (size, size, channels). Raises InputError."""
    pixels = _decoded(path, cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB)
    return square(pixels, size).reshape(size, size, -1)[:, :, :channels]


def read_label(path: Path, size: int) -> np.ndarray:
    """Read a PNG mask as bool (size, size): 0/1, 0/255, or grey levels cut at the middle. Raises InputError."""
    pixels = _decoded(path, cv2.IMREAD_GRAYSCALE)
    highest = int(pixels.max())
    if 1 < highest <= 127:  # class numbers, say: cut at the middle, all blood would be lost
        raise InputError(f"{path}: mask values run up to {highest}, expected 0 and 1, or 0 and 255")
    return square_mask(pixels > (0 if highest <= 1 else 127), size)


def pair_crc32(image: np.ndarray, label: np.ndarray) -> int:
    """CRC-32 of a slice as read: of the pixels of `read_image` and of `read_label`, in this order."""
    return zlib.crc32(np.ascontiguousarray(label, np.uint8), zlib.crc32(np.ascontiguousarray(image)))


def check_pair(image: Path, label: Path) -> None:
    """Raise InputError unless a PNG slice and its mask can be read and have the same rows and columns."""
    shapes = [_decoded(path, cv2.IMREAD_GRAYSCALE).shape for path in (image, label)]
    if shapes[0] != shapes[1]:
        raise InputError(f"{label}: mask has {shapes[1]} pixels (rows, columns), its image {image} has {shapes[0]}")


def _decoded(path: Path, mode: int) -> np.ndarray:
    guard.check_file(path, "; run the step that writes it again")
    try:
        content = np.fromfile(path, np.uint8)
        _check_png(path, content.data)
        pixels = cv2.imdecode(content, mode)
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the step that writes it again") from None
    if pixels is None:
        raise InputError(f"{path}: is not a readable PNG (its pixels are damaged); run the step that writes it again")
    return pixels


def _check_png(path: Path, content: memoryview) -> None:
    """Refuse other formats, which OpenCV would decode too, declared sizes beyond the limit, and damaged chunks.

    OpenCV takes memory for whatever length a chunk declares, and tells of damage on the terminal itself.
    """
    if content[:8] != _PNG or content[12:16] != b"IHDR":
        raise InputError(f"{path}: is not a readable PNG (it begins with {bytes(content[:8])!r}); save it as PNG")
    guard.check_pixels(path, (int.from_bytes(content[20:24]), int.from_bytes(content[16:20])))
    place, kind = len(_PNG), b""
    while kind != b"IEND":
        end = place + 8 + int.from_bytes(content[place : place + 4])
        kind = content[place + 4 : place + 8]
        if end + 4 > len(content) or zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise InputError(f"{path}: is not a readable PNG (cut off or damaged); run the step that writes it again")
        place = end + 4
