"""PNG slices and masks: written, and read strictly."""

import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ich.base.errors import InputError
from ich.base.files import write_bytes
from ich.scans.png_file import read_png
from ich.scans.window import covers_too_much, square, square_mask

SAME_GREY = 8  # of 255: by as much JPEG moves the colours of a grey picture apart


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
    pixels = _image(path)
    if pixels.ndim == 2 and channels > 1:
        pixels = np.dstack([pixels] * 3)
    return square(pixels, size).reshape(size, size, -1)[:, :, :channels]


def read_label(path: Path, size: int) -> np.ndarray:
    """Read a PNG mask as bool (size, size); see `mask_of` for what is taken. Raises InputError."""
    return square_mask(mask_of(path, read_png(path))[0], size)


def mask_of(path: Path, pixels: np.ndarray) -> tuple[np.ndarray, int]:
    """A mask's pixels, as `read_png` gives them -> bool (rows, columns), and the value that marks blood (0: none).

    Taken are 0 and one other value of 8 or 16 bits, one colour on black, a drawing in the alpha channel, and edges
    that resizing has softened, cut at the middle. Raises InputError for several values or colours (classes).
    """
    grey = pixels if pixels.ndim == 2 else _one_plane(path, pixels)
    highest = int(grey.max())
    if not ((grey > 0) & (grey < highest)).any():
        return grey > 0, highest
    full = np.iinfo(grey.dtype).max
    if 2 * highest <= full or _has_classes(grey, highest):
        values = ", ".join(map(str, np.unique(grey)[:6]))
        raise InputError(f"{path}: mask values are {values}, expected 0 and one other; merge its classes to 0 and 255")
    return grey > full // 2, full


def pair_crc32(image: np.ndarray, label: np.ndarray) -> int:
    """CRC-32 of a slice as read: of the pixels of `read_image` and of `read_label`, in this order."""
    return zlib.crc32(np.ascontiguousarray(label, np.uint8), zlib.crc32(np.ascontiguousarray(image)))


class Pair(NamedTuple):
    """What is known of a pair: `value` marks blood (0: none); `is_soft`: with edges that were cut at the middle."""

    shape: tuple[int, int]
    value: int
    is_soft: bool
    brightest: int  # grey level of the image
    edge: int  # grey level of the image along its edges, median
    marked: int  # pixels of the mask, and how many of them are black in the image
    on_black: int


def check_pair(image: Path, label: Path) -> Pair:
    """Facts of a user's own PNG slice and its mask.

    Raises InputError unless the image is one grey picture, and the mask of its size and possible for a bleed.
    """
    pixels, marked = _image(image), read_png(label)
    if pixels.ndim == 3 and np.ptp(pixels.astype(np.int16), axis=2).max() > SAME_GREY:
        raise InputError(f"{image}: has colours, expected a grey CT slice; save it without overlay, as grey")
    if (shape := pixels.shape[:2]) != marked.shape[:2]:
        raise InputError(f"{label}: mask has {marked.shape[:2]} pixels (rows, columns), its image {image} has {shape}")
    mask, value = mask_of(label, marked)
    grey = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    if covers_too_much(mask, grey > 0):
        raise InputError(f"{label}: mask covers {mask.mean():.0%} of the slice, expected blood above 0 and the rest 0")
    plane = marked if marked.ndim == 2 else _one_plane(label, marked)
    is_soft = bool(((plane > 0) & (plane < value)).any())
    edge = int(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    on_black = int(np.count_nonzero(mask & (grey == 0)))
    return Pair(shape, value, is_soft, int(pixels.max()), edge, int(np.count_nonzero(mask)), on_black)


def _image(path: Path) -> np.ndarray:
    """A slice as stored: uint8 (rows, columns), or RGB (rows, columns, 3). Raises InputError."""
    pixels = read_png(path)
    if pixels.dtype != np.uint8:
        raise InputError(f"{path}: has 16 bits per pixel, expected 8-bit grey levels; save it windowed (say level "
                         "40, width 120 HU)")  # fmt: skip
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels[:, :, 3].min() < 255:
        raise InputError(f"{path}: is transparent in parts, expected a grey CT slice; save it without alpha channel")
    return pixels if pixels.ndim == 2 else pixels[:, :, :3]


def _one_plane(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The plane (rows, columns) of a coloured or transparent mask that holds its drawing. Raises InputError."""
    colours = pixels[:, :, :3]
    if pixels.shape[2] == 4 and np.ptp(pixels[:, :, 3]):
        alpha = pixels[:, :, 3]
        if np.ptp(colours[alpha > 0], axis=0).any():
            raise InputError(f"{path}: mask has a drawing in colours and another in its alpha channel; save it as grey")
        return alpha
    if (colours == colours[:, :, :1]).all():
        return colours[:, :, 0]
    plane = colours.max(axis=2)
    strong = colours[2 * plane.astype(np.int64) > plane.max()]
    kinds = np.unique(2 * strong.astype(np.int64) > strong.max(), axis=0)
    if len(kinds) > 1:
        raise InputError(f"{path}: mask has several colours, expected one on black; merge its classes to 0 and 255")
    return plane


def _has_classes(grey: np.ndarray, highest: int) -> bool:
    """Whether some value between 0 and the highest fills a square of 3 x 3 pixels: soft edges are slopes."""
    kernel = np.ones((3, 3), np.uint8)
    flat = cv2.erode(grey, kernel) == cv2.dilate(grey, kernel)
    return bool((flat & (grey > 0) & (grey < highest)).any())
