"""PNG slices and masks: written, and read strictly."""

import zlib
from pathlib import Path

import cv2
import numpy as np

from ich.base import guard
from ich.base.errors import InputError
from ich.base.files import write_bytes
from ich.scans.window import square, square_mask

_PNG = b"\x89PNG\r\n\x1a\n"


def png_bytes(pixels: np.ndarray) -> bytes:
    """A PNG of (rows, columns) or (rows, columns, 3 RGB) uint8 pixels."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write_png(path: Path, pixels: np.ndarray, sync: bool = True) -> bytes:
    """Write (rows, columns) or (rows, columns, 3 RGB) uint8 pixels, atomically; return the file's bytes."""
    return write_bytes(path, png_bytes(pixels), sync)


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

    OpenCV allocates whatever length a chunk declares, and reports damage on the terminal by itself.
    """
    if content[:8] != _PNG or content[12:16] != b"IHDR":
        raise InputError(f"{path}: is not a readable PNG (it begins with {bytes(content[:8])!r}); save it as PNG")
    guard.check_pixels(path, (int.from_bytes(content[20:24]), int.from_bytes(content[16:20])))
    place, kind = len(_PNG), b""
    while kind != b"IEND":
        end = place + 8 + int.from_bytes(content[place : place + 4])
        kind = bytes(content[place + 4 : place + 8])
        if end + 4 > len(content) or zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise InputError(f"{path}: is not a readable PNG (cut off or damaged); run the step that writes it again")
        place = end + 4
