"""Random changes of a training slice: one affine, applied once to image and mask, then grey levels."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    import config as settings

Move: TypeAlias = Callable[[np.ndarray, int], np.ndarray]  # pixels, interpolation -> pixels
MID_GREY = 127.5
MOST_CHANNELS = 4  # that OpenCV moves at once
# Ranges as in nnU-Net's default augmentation (Isensee 2021, supplement), but for the elastic change, a gentle one.
GAMMA, BLUR_PX, SMALLEST = (0.7, 1.5), (0.5, 1.0), 0.5
BENDS, BEND = 5, 0.02  # control points a side, and the standard deviation of their shift as a share of the side


class AffineStrength(Protocol):
    """What `random_affine` reads; see config.Recipe for units."""

    @property
    def rotation_deg(self) -> float: ...

    @property
    def shift(self) -> float: ...

    @property
    def shear_deg(self) -> float: ...

    @property
    def scale(self) -> float: ...

    @property
    def flip(self) -> bool: ...


def augment(
    image: np.ndarray, mask: np.ndarray, strength: "settings.Recipe", rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a changed image (uint8, (side, side, channels)) and mask (uint8, (side, side)).

    `side` is that of the slice, or `strength.patch`. The mask is moved with the image, by nearest neighbour; what comes
    in from outside repeats the border. Nothing is drawn for what is off, so that a recipe stays as it was.
    """
    side = strength.patch or mask.shape[0]
    matrix = random_affine(side, strength, rng)
    if strength.patch:
        matrix[:, 2] -= matrix[:, :2] @ _corner(image, mask, side, rng)
    bends = strength.elastic and rng.random() < strength.elastic
    move = _bending(matrix, side, rng) if bends else _moving(matrix, side)
    image, mask = _by_channels(image, lambda part: move(part, cv2.INTER_LINEAR)), move(mask, cv2.INTER_NEAREST)
    if strength.neighbours and rng.random() < 0.5:
        image = upside_down(image)
    return change_greys(change_detail(image, strength, rng), strength, rng), mask


def upside_down(image: np.ndarray) -> np.ndarray:
    """The slices below and above (first and last third of the channels) change places: files count either way."""
    return np.concatenate(np.split(image, 3, axis=-1)[::-1], axis=-1)


def _corner(image: np.ndarray, mask: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Upper left pixel (x, y) of a random crop that holds a lesion pixel; of a clean slice, one of the head."""
    wanted = mask if mask.any() else image.any(axis=-1)
    rows, columns = np.nonzero(wanted if wanted.any() else np.ones_like(mask))
    chosen = rng.integers(len(rows))
    held = np.array([columns[chosen], rows[chosen]]) - rng.integers(side, size=2)
    return np.clip(held, 0, mask.shape[0] - side)


def _moving(matrix: np.ndarray, side: int) -> Move:
    """Moves pixels by a matrix to (side, side)."""
    size = (side, side)
    return lambda pixels, how: cv2.warpAffine(pixels, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)


def _bending(matrix: np.ndarray, side: int, rng: np.random.Generator) -> Move:
    """As `_moving`, with a smooth random shift of each pixel on top, in the same step."""
    control = rng.normal(0, BEND * side, (BENDS, BENDS, 2)).astype(np.float32)
    places = np.moveaxis(np.indices((side, side), np.float32)[::-1], 0, -1)  # x, y of each pixel
    places = places + cv2.resize(control, (side, side), interpolation=cv2.INTER_CUBIC)
    back = cv2.invertAffineTransform(matrix)
    x, y = np.moveaxis((places @ back[:, :2].T + back[:, 2]).astype(np.float32), -1, 0).copy()
    return lambda pixels, how: cv2.remap(pixels, x, y, how, borderMode=cv2.BORDER_REPLICATE)


def _by_channels(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply `change` to as many channels at once as OpenCV takes."""
    parts = [image[..., k : k + MOST_CHANNELS] for k in range(0, image.shape[-1], MOST_CHANNELS)]
    changed = [change(np.ascontiguousarray(part)) for part in parts]
    return np.concatenate([each if each.ndim == 3 else each[..., None] for each in changed], axis=-1)


def random_affine(size: int, strength: AffineStrength, rng: np.random.Generator) -> np.ndarray:
    """A 2x3 matrix in pixels (x, y): about the centre scale, shear, rotate and perhaps mirror, then shift."""
    angle, shear = np.deg2rad(rng.uniform(-1, 1, 2) * (strength.rotation_deg, strength.shear_deg))
    factor = 1 + rng.uniform(-strength.scale, strength.scale)
    shift = rng.uniform(-strength.shift, strength.shift, 2) * size
    mirror = -1 if strength.flip and rng.random() < 0.5 else 1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ [[1, np.tan(shear)], [0, 1]] @ np.diag([factor * mirror, factor])
    centre = np.full(2, (size - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre + shift])


def change_detail(image: np.ndarray, strength: "settings.Recipe", rng: np.random.Generator) -> np.ndarray:
    """Gamma, blur and lost resolution, each with its own probability; uint8 (side, side, channels)."""
    if strength.gamma and rng.random() < strength.gamma:
        image = np.rint(255 * (image / np.float32(255)) ** np.float32(rng.uniform(*GAMMA))).astype(np.uint8)
    if strength.blur and rng.random() < strength.blur:
        width = rng.uniform(*BLUR_PX)
        image = _by_channels(image, lambda part: cv2.GaussianBlur(part, (0, 0), width))
    if strength.low_resolution and rng.random() < strength.low_resolution:
        side = image.shape[0]
        small = max(1, round(side * rng.uniform(SMALLEST, 1)))
        image = _by_channels(image, lambda part: _resampled(part, small))
    return image


def _resampled(image: np.ndarray, small: int) -> np.ndarray:
    """Made smaller, to `small` pixels a side, and as large as before."""
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def change_greys(image: np.ndarray, strength: "settings.Recipe", rng: np.random.Generator) -> np.ndarray:
    """Contrast about mid-grey, brightness and Gaussian noise, in grey levels of 255; clipped to uint8."""
    if not (strength.brightness or strength.contrast or strength.noise):
        return image
    contrast = 1 + rng.uniform(-strength.contrast, strength.contrast)
    brightness = rng.uniform(-strength.brightness, strength.brightness)
    grey = (image.astype(np.float32) - MID_GREY) * np.float32(contrast) + np.float32(MID_GREY + brightness)
    grey += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, strength.noise))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
