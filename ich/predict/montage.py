"""One picture of a predicted scan: its slices, the mask outlined. Drawn by OpenCV, in a tenth of matplotlib's time."""

import math
import textwrap

import cv2
import numpy as np

from ich.draw.colours import PREDICTION
from ich.scans.window import Window, square

TILE, BAR, MOST_TILES = 224, 26, 40  # pixels, pixels, slices
LETTER = 8  # pixels that a letter of the texts takes, on average
WHITE, GREY = (235, 235, 235), (150, 150, 150)


def montage(planes: np.ndarray, masks: np.ndarray, window: Window, title: str, notice: str) -> np.ndarray:
    """RGB picture of upright HU and bool masks, both (slices, rows, columns): slices in order, feet to head.

    `title` is written above them, `notice` below. Of more than 40 slices those with blood are kept, as far as they fit;
    the others are spread evenly, ends included.
    """
    shown = _shown(masks)
    columns = math.ceil(math.sqrt(len(shown) * 1.4))
    rows = math.ceil(len(shown) / columns)
    note = f"{len(shown)} of {len(masks)} slices, " if len(shown) < len(masks) else ""
    note += f"window {window.level:g}/{window.width:g} HU, image left = patient's right, outline = prediction"
    head, foot = (_lines(texts, columns * TILE) for texts in ([title], [note, notice]))
    canvas = np.zeros(((len(head) + len(foot)) * BAR + rows * TILE, columns * TILE, 3), np.uint8)
    for place, index in enumerate(shown):
        top, left = len(head) * BAR + place // columns * TILE, place % columns * TILE
        canvas[top : top + TILE, left : left + TILE] = _tile(planes[index], masks[index], window, int(index) + 1)
    for line, text in enumerate(head, start=1):
        _write(canvas, text, 8, line * BAR - 8, WHITE)
    for line, text in enumerate(reversed(foot)):
        _write(canvas, text, 8, canvas.shape[0] - line * BAR - 8, GREY)
    return canvas


def _shown(masks: np.ndarray) -> np.ndarray:
    """Indices of the slices to show, in order: all with blood, if they fit; otherwise three quarters are with blood."""
    if len(masks) <= MOST_TILES:
        return np.arange(len(masks))
    found = masks.any(axis=(1, 2))
    with_blood, others = np.flatnonzero(found), np.flatnonzero(~found)
    if len(with_blood) > MOST_TILES:
        with_blood = _spread(with_blood, max(MOST_TILES * 3 // 4, MOST_TILES - len(others)))
    return np.sort(np.concatenate([with_blood, _spread(others, MOST_TILES - len(with_blood))]))


def _spread(indices: np.ndarray, number: int) -> np.ndarray:
    """`number` of them, evenly, the first and the last among them; a single one from the middle."""
    if number == 1:
        return indices[len(indices) // 2 :][:1]
    return indices[np.linspace(0, len(indices) - 1, number).round().astype(int)]


def _tile(plane: np.ndarray, mask: np.ndarray, window: Window, number: int) -> np.ndarray:
    tile = cv2.cvtColor(square(window(np.ascontiguousarray(plane)), TILE), cv2.COLOR_GRAY2RGB)
    if mask.any():
        # Outlined at three times the size, so that the line does not cover small lesions.
        large = cv2.resize(tile, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
        part = square(mask.astype(np.float32), 3 * TILE) >= 0.5
        borders, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(large, borders, -1, PREDICTION, 3)
        tile = cv2.resize(large, (TILE, TILE), interpolation=cv2.INTER_AREA)
    _write(tile, str(number), 4, TILE - 6, WHITE if mask.any() else GREY)
    _write(tile, "R", 4, TILE // 2, GREY)
    return tile


def _lines(texts: list[str], width: int) -> list[str]:
    """The texts, each broken into lines that fit into `width` pixels."""
    return [line for text in texts for line in textwrap.wrap(text, width // LETTER)]


def _write(canvas: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts have no other letters
    cv2.putText(canvas, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
