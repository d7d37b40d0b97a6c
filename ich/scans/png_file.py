"""PNG files as bytes: checked before they are decoded, and decoded as they are stored."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ich.base import guard
from ich.base.errors import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AGAIN = "run the step that writes it again, or export it again"
_ORIENTATION = 0x0112  # tag of TIFF and Exif; 1: as stored


def read_png(path: Path) -> np.ndarray:
    """The pixels as stored: uint8 or uint16, (rows, columns), or (rows, columns, 3 or 4) RGB and alpha.

    Palettes become colours, 1 to 4 bits are stretched to 8. Raises InputError for a file that is missing, damaged, of
    another format, too large, or that programs show turned (an eXIf orientation), since its pair may not be.
    """
    guard.check_file(path, f"; {_AGAIN}")
    try:
        content = np.fromfile(path, np.uint8)
        _check(path, content.data)
        pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); {_AGAIN}") from None
    if pixels is None:
        raise InputError(f"{path}: is not a readable PNG (its pixels are damaged); {_AGAIN}")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return pixels


def png_shape(path: Path) -> tuple[int, int]:
    """Rows and columns that the header of a PNG declares."""
    with path.open("rb") as file:
        start = file.read(24)
    return int.from_bytes(start[20:24]), int.from_bytes(start[16:20])


def _check(path: Path, content: memoryview) -> None:
    """Refuse other formats, which OpenCV would decode too, declared sizes beyond the limit, and damaged chunks.

    OpenCV allocates whatever length a chunk declares, and reports damage on the terminal by itself.
    """
    if content[:8] != _SIGNATURE or content[12:16] != b"IHDR":
        raise InputError(f"{path}: is not a readable PNG (it begins with {bytes(content[:8])!r}); save it as PNG")
    guard.check_pixels(path, (int.from_bytes(content[20:24]), int.from_bytes(content[16:20])))
    for kind, chunk in _chunks(path, content):
        if kind == b"acTL" and (frames := int.from_bytes(chunk[:4])) != 1:
            raise InputError(f"{path}: is animated ({frames} pictures in one file), expected one; save each as a PNG")
        if kind == b"eXIf" and (turned := _orientation(bytes(chunk))) != 1:
            raise InputError(
                f"{path}: an eXIf orientation ({turned}) turns it where it is shown; save image and label without one"
            )


def _chunks(path: Path, content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of each chunk. Raises InputError for one that is cut off or damaged."""
    start, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        end = start + 8 + int.from_bytes(content[start : start + 4])
        kind = bytes(content[start + 4 : start + 8])
        if end + 4 > len(content) or zlib.crc32(content[start + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise InputError(f"{path}: is not a readable PNG (cut off or damaged); {_AGAIN}")
        yield kind, content[start + 8 : end]
        start = end + 4


def _orientation(exif: bytes) -> int:
    """The orientation in an eXIf chunk (a TIFF header and one directory); 1 where it says none."""
    order = "big" if exif[:2] == b"MM" else "little"

    def number(start: int, length: int) -> int:
        return int.from_bytes(exif[start : start + length], order)

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if entry + 12 <= len(exif) and number(entry, 2) == _ORIENTATION:
            return number(entry + 8, 2)
    return 1
