"""Random changes of a training slice: one affine, applied once to image and mask, then grey levels."""

from typing import Protocol

import cv2
import numpy as np

MID_GREY = 127.5


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


class GreyStrength(Protocol):
    """What `change_greys` reads; see config.Recipe for units."""

    @property
    def brightness(self) -> float: ...

    @property
    def contrast(self) -> float: ...

    @property
    def noise(self) -> float: ...


class Strength(AffineStrength, GreyStrength, Protocol):
    """The part of a recipe that `augment` reads."""


def augment(
    image: np.ndarray, mask: np.ndarray, strength: Strength, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a changed image (uint8, (size, size, channels)) and mask (uint8, (size, size)).

    The mask is moved with the image, by nearest neighbour; what comes in from outside repeats the border.
    """
    size = mask.shape[0]
    matrix = random_affine(size, strength, rng)
    border = cv2.BORDER_REPLICATE
    moved = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border).reshape(image.shape)
    mask = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=border)
    return change_greys(moved, strength, rng), mask


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


def change_greys(image: np.ndarray, strength: GreyStrength, rng: np.random.Generator) -> np.ndarray:
    """Contrast about mid-grey, brightness and Gaussian noise, in grey levels of 255; clipped to uint8."""
    if not (strength.brightness or strength.contrast or strength.noise):
        return image
    contrast = 1 + rng.uniform(-strength.contrast, strength.contrast)
    brightness = rng.uniform(-strength.brightness, strength.brightness)
    grey = (image.astype(np.float32) - MID_GREY) * np.float32(contrast) + np.float32(MID_GREY + brightness)
    grey += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, strength.noise))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
