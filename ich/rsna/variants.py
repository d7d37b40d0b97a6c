"""The seven preprocessings. A variant is its tuple of steps, applied in order to a windowed 8-bit slice."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ich.base.errors import InputError

VARIANTS = {
    "0_dicom2png": (),
    "1_roi": ("roi",),
    "2_roi_clahe": ("roi", "clahe"),
    "3_roi_clahe_bilateral": ("roi", "clahe", "bilateral"),
    "4_roi_noblank": ("roi", "noblank"),
    "5_roi_noblank_clahe": ("roi", "noblank", "clahe"),
    "6_roi_noblank_clahe_bilateral": ("roi", "noblank", "clahe", "bilateral"),
}
BASELINE = "0_dicom2png"
NEIGHBOURS = "_neighbours"  # ends the name of a run with `--neighbours 1`
RUN_NAMES = (*VARIANTS, *(name + NEIGHBOURS for name in VARIANTS))
MEANING = {
    "roi": "black outside the largest outline", "noblank": "saturated bone (grey level 255) made black",
    "clahe": "local contrast raised", "bilateral": "smoothed, edges kept",
}  # fmt: skip
SATURATED = 254  # brighter than this is bone beyond the window
RADIUS = 10  # pixels, of the bilateral filter
LANES = 64  # columns that OpenCV computes at once, at most; it computes what is over in another way


def contour(grey: np.ndarray) -> np.ndarray | None:
    """The outer contour with the largest area around pixels > 0; None on a black slice."""
    found, _ = cv2.findContours((grey > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return max(found, key=cv2.contourArea, default=None)


def roi(grey: np.ndarray) -> np.ndarray:
    """Zero outside the largest contour, filled; a slice without a contour stays as it is."""
    outer = contour(grey)
    if outer is None:
        return grey
    inside = cv2.drawContours(np.zeros_like(grey), [outer], -1, 1, cv2.FILLED)
    return grey * inside


def noblank(grey: np.ndarray) -> np.ndarray:
    """Saturated bone set to zero."""
    return np.where(grey > SATURATED, 0, grey).astype(np.uint8)


def clahe(grey: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994), clip limit 5, 8x8 tiles."""
    return cv2.createCLAHE(clipLimit=5.0, tileGridSize=(8, 8)).apply(grey)


def bilateral(grey: np.ndarray) -> np.ndarray:
    """Smoothing that keeps edges (Tomasi and Manduchi 1998): 20 pixels wide, sigma 50 grey levels and 50 pixels.

    Only where it changes anything: the same bytes as for the whole slice, in a part of the time.
    """
    smooth, part = grey.copy(), _uneven(grey)
    if grey[part].size:
        smooth[part] = cv2.bilateralFilter(grey[part], d=2 * RADIUS, sigmaColor=50, sigmaSpace=50)
    return smooth


def _uneven(grey: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns outside of which all pixels are surrounded by equal ones, so that a filter leaves them.

    Filtered alone, the part gets the same pixels as within the slice: along its edges what it is mirrored into is as
    even as what is really there, and its width is a whole number of LANES, so that OpenCV computes it in one way.
    """
    around = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    uneven = cv2.dilate(grey, around) != cv2.erode(grey, around)
    rows, columns = (np.flatnonzero(uneven.any(axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0), slice(0)
    height, width = grey.shape
    top, bottom = max(rows[0] - 1, 0), min(rows[-1] + 2, height)
    left, right = max(columns[0] - 1, 0), columns[-1] + 2
    one_way = width - width % LANES
    across = -(-(min(right, one_way) - left) // LANES) * LANES
    if across > one_way or (right > one_way and one_way < width):
        return slice(top, bottom), slice(width)
    left = min(left, one_way - across)
    return slice(top, bottom), slice(left, left + across)


STEPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "roi": roi, "noblank": noblank, "clahe": clahe, "bilateral": bilateral,
}  # fmt: skip


def apply(grey: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named variants of one slice, uint8 (rows, columns); steps that several begin with are done once."""
    done: dict[tuple[str, ...], np.ndarray] = {(): grey}

    def after(steps: tuple[str, ...]) -> np.ndarray:
        if steps not in done:
            done[steps] = STEPS[steps[-1]](after(steps[:-1]))
        return done[steps]

    return {name: after(VARIANTS[name]) for name in names}


def run_name(variant: str, neighbours: int) -> str:
    """The folder of the trainings on a variant."""
    return variant + NEIGHBOURS * bool(neighbours)


def of_run(run: str) -> str:
    """The variant that the trainings in a folder of `run_name` read."""
    return run.removesuffix(NEIGHBOURS)


def compared_with(run: str) -> str:
    """What a run is compared with: with neighbours the same without, otherwise BASELINE."""
    return of_run(run) if run.endswith(NEIGHBOURS) else BASELINE


def chosen(names: Sequence[str]) -> list[str]:
    """The variants to work on, in their own order; none or `all`: all seven. Raises InputError for another name."""
    if unknown := [name for name in names if name not in (*VARIANTS, "all")]:
        raise InputError(f"'{unknown[0]}' is not a variant; expected all, or of {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name in names or not names or "all" in names]
