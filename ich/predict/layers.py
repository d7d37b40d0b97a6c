"""Keras layers around the exported networks: HU of any size to their pictures, and their probabilities back.

Padding to a square and resizing are two matrix products, one over rows and one over columns. Where a pixel lies is
computed in whole numbers, up to one division: runtimes that choose bfloat16 by themselves keep eight binary digits,
too few for a place such as 300.5, enough for a weight between 0 and 1 and for every grey level.
"""

from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from ich.scans.window import Window

Length: TypeAlias = keras.KerasTensor | int  # a number of pixels
HALF_WITHIN = 1e-4  # grey levels: twice what float32 may be off


class ToPictures(keras.layers.Layer):
    """HU (slices, rows, columns) -> grey levels 0 to 255 (slices, size, size, windows), as `Method.grey` makes them."""

    def __init__(self, size: int, windows: Sequence[Window]) -> None:
        super().__init__()
        self.size, self.windows = size, tuple(windows)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.size, self.size, len(self.windows))

    def call(self, hu: keras.KerasTensor) -> keras.KerasTensor:
        """Window, pad and resize."""
        rows, columns, side = _lengths(hu)
        down, across = _to_square(self.size, rows, side), _to_square(self.size, columns, side)
        channels = []
        for window in self.windows:
            small = _resized(_grey(hu, window), down, across)
            # OpenCV rounds halves up where it halves a picture, and to even numbers elsewhere.
            channels.append(ops.where(side == 2 * self.size, ops.floor(small + 0.5), ops.round(small)))
        return ops.stack(channels, axis=-1)


class WithNeighbours(keras.layers.Layer):
    """Pictures (slices, ...) -> (slices - 2, ..., three times the channels): those of each but the outermost slices,
    between those of the slice below and of the slice above."""

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (None, *input_shape[1:3], 3 * input_shape[3])

    def call(self, pictures: keras.KerasTensor) -> keras.KerasTensor:
        return ops.concatenate([pictures[:-2], pictures[1:-1], pictures[2:]], axis=-1)


class ToSlices(keras.layers.Layer):
    """HU and the networks' probabilities (predicted slices, size, size, 1) -> their mean in the pixels of the HU."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def compute_output_shape(self, shapes: list[tuple]) -> tuple:
        return (shapes[1][0], *shapes[0][1:])

    def call(self, given: list[keras.KerasTensor]) -> keras.KerasTensor:
        """`given`: the HU, then the probabilities of each network."""
        hu, *probabilities = given
        rows, columns, side = _lengths(hu)
        down, across = _from_square(self.size, rows, side), _from_square(self.size, columns, side)
        mean = sum(probabilities[1:], probabilities[0]) / len(probabilities)
        return _resized(mean[..., 0], down, across)


def before(size: int, windows: Sequence[Window], neighbours: int = 0) -> keras.Model:
    """From HU to what the networks take; with `neighbours` each slice but the outermost, with its own around it."""
    hu = keras.Input((None, None), name="hu")
    pictures = ToPictures(size, windows)(hu)
    return keras.Model(hu, WithNeighbours()(pictures) if neighbours else pictures)


def after(size: int, networks: int) -> keras.Model:
    """From HU and what each of the networks gives to probabilities of the slices."""
    hu = keras.Input((None, None), name="hu")
    found = [keras.Input((size, size, 1), name=f"network_{k}") for k in range(networks)]
    return keras.Model([hu, *found], ToSlices(size)([hu, *found]))


def _grey(hu: keras.KerasTensor, window: Window) -> keras.KerasTensor:
    """The window's grey levels, to the last one.

    The window rounds in float64, which OpenVINO lacks on a CPU. It matters at half levels: a table says which go up.
    """
    exact = ops.clip((hu - (window.level - window.width / 2)) * (255 / window.width), 0, 255)
    whole = ops.floor(exact)
    up = ops.take(ops.convert_to_tensor(halves_that_go_up(window)), ops.clip(ops.cast(whole, "int32"), 0, 255))
    return ops.where(ops.abs(exact - whole - 0.5) < HALF_WITHIN, whole + up, ops.round(exact))


def halves_that_go_up(window: Window) -> np.ndarray:
    """For each grey level 0 to 255, whether the window takes the HU half a level above it to the next: 0 or 1."""
    level = np.arange(256)
    hu = np.round((level + 0.5) * window.width / 255 + (window.level - window.width / 2), 6)  # whole numbers exactly
    return (window(hu) > level).astype(np.float32)


def _lengths(hu: keras.KerasTensor) -> tuple:
    """Rows, columns, and the larger of both, int32."""
    rows, columns = (ops.cast(length, "int32") for length in ops.shape(hu)[1:])
    return rows, columns, ops.maximum(rows, columns)


def _resized(planes: keras.KerasTensor, down: keras.KerasTensor, across: keras.KerasTensor) -> keras.KerasTensor:
    """Planes (slices, rows, columns) by the matrices of rows and of columns, both (new length, old length)."""
    return ops.matmul(ops.matmul(down, planes), ops.transpose(across))


def _to_square(size: int, length: Length, side: Length) -> keras.KerasTensor:
    """(size, length): `length` pixels, padded to `side`, become `size` by area (or linearly, if they are fewer)."""
    to, pixel = ops.arange(size, dtype="int32")[:, None], _places(length, side)[None]
    return ops.where(side > size, _area(to, pixel, side, size), _linear(to, pixel, size, side))


def _from_square(size: int, length: Length, side: Length) -> keras.KerasTensor:
    """(length, size): linear from `size` pixels to `side`, of which `length` are kept."""
    return _linear(_places(length, side)[:, None], ops.arange(size, dtype="int32")[None], side, size)


def _places(length: Length, side: Length) -> keras.KerasTensor:
    """Where each of `length` pixels lies in the padded square, int32."""
    return ops.arange(length, dtype="int32") + (side - length) // 2


def _area(to: keras.KerasTensor, pixel: keras.KerasTensor, side: Length, size: Length) -> keras.KerasTensor:
    """Share of `pixel` of `side` in pixel `to` of `size`: both grids are cut into side * size equal parts."""
    begin = ops.maximum(to * side, pixel * size)
    end = ops.minimum((to + 1) * side, (pixel + 1) * size)
    return _share(end - begin, side)


def _linear(to: keras.KerasTensor, pixel: keras.KerasTensor, new: Length, old: Length) -> keras.KerasTensor:
    """1 - distance between `pixel` of `old` and where the centre of pixel `to` of `new` falls; 2 new steps a pixel."""
    steps = 2 * new
    centre = ops.minimum(ops.maximum((2 * to + 1) * old - new, 0), steps * (old - 1))
    return _share(steps - ops.abs(centre - steps * pixel), steps)


def _share(part: keras.KerasTensor, whole: Length) -> keras.KerasTensor:
    """part / whole, float32; 0 where `part` is negative."""
    return ops.cast(ops.maximum(part, 0), "float32") / ops.cast(whole, "float32")
