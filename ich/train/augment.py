"""Random changes of a training slice: one affine, applied once to image and mask, then grey levels."""

from typing import Protocol

import cv2
import numpy as np

MID_GREY = 127.5


class Strength(Protocol):
    """The part of a recipe that is read here; see config.Recipe for units."""

    rotation_deg: float
    shift: float
    shear_deg: float
    scale: float
    flip: bool
    brightness: float
    contrast: float
    noise: float


def augment(
    image: np.ndarray, mask: np.ndarray, how: Strength, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a changed image (uint8, (size, size, channels)) and mask (uint8, (size, size)).

    The mask is moved with the image, by nearest neighbour; what comes in from outside repeats the border.
    """
    size = mask.shape[0]
    matrix = random_affine(size, how, rng)
    border = cv2.BORDER_REPLICATE
    moved = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border).reshape(image.shape)
    mask = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST, borderMode=border)
    return change_greys(moved, how, rng), mask


def random_affine(size: int, how: Strength, rng: np.random.Generator) -> np.ndarray:
    """A 2x3 matrix in pixels (x, y): about the centre scale, shear, rotate and perhaps mirror, then shift."""
    angle, shear = np.deg2rad(rng.uniform(-1, 1, 2) * (how.rotation_deg, how.shear_deg))
    factor = 1 + rng.uniform(-how.scale, how.scale)
    shift = rng.uniform(-how.shift, how.shift, 2) * size
    mirror = -1 if how.flip and rng.random() < 0.5 else 1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ [[1, np.tan(shear)], [0, 1]] @ np.diag([factor * mirror, factor])
    centre = np.full(2, (size - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre + shift])


def change_greys(image: np.ndarray, how: Strength, rng: np.random.Generator) -> np.ndarray:
    """Contrast about mid-grey, brightness and Gaussian noise, in grey levels of 255; clipped to uint8."""
    if not (how.brightness or how.contrast or how.noise):
        return image
    contrast = 1 + rng.uniform(-how.contrast, how.contrast)
    brightness = rng.uniform(-how.brightness, how.brightness)
    grey = (image.astype(np.float32) - MID_GREY) * np.float32(contrast) + np.float32(MID_GREY + brightness)
    grey += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, how.noise))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
