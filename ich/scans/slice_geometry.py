"""From the heights of slices to their edges, and to a grid of equal cells that shows each slice where it was measured.

Heights run along the normal of the slices, in mm, from the centre of the lowest slice upwards.
"""

import dataclasses

import numpy as np
import pandas as pd

from ich.base import guard

ALIKE = 0.1  # distances that differ by less than this share are the same
REGULAR_RUN = 3  # so many equal distances in a row are how the scan was planned, not a slice missing
CLEARLY_LARGER = 1.5  # times the regular distance: a slice is missing
TILING = 0.05  # two slices touch where their thicknesses give the distance within this share
OFF_PLAN = 0.1  # of a step: slices of a regular scan may lie so far from where they belong
OFF_EDGE, OFF_EDGE_MM = 0.04, 0.05  # an edge may lie so far from that of its cell: share of the thinnest slice, or mm
FINEST = 8  # cells in the thinnest slice
MOST_TRIALS, MOST_FINE_VOXELS = 20_000, 2**27  # the search for a grid ends here
MATTERS = 1.2  # thickness that differs by this factor is noted


@dataclasses.dataclass(frozen=True)
class Layout:
    """Cell k runs from `start + k * step` to `start + (k + 1) * step`, mm.

    `cells`: the slice in each cell, -1 where none was measured. `thickness`: of each slice, mm. `missing`: how many
    slices are missing above slice i. `off`: how far the worst edge of a slice lies from the edge of its cell, mm.
    """

    start: float
    step: float
    cells: np.ndarray
    thickness: np.ndarray
    missing: dict[int, int]
    off: float


def lay_out(heights: np.ndarray, thickness: np.ndarray, name: str, pixels: tuple[int, int]) -> Layout:
    """The grid of slices at ascending `heights`; `thickness` is SliceThickness, NaN where unknown.

    Slices at equal distances are the cells, and missing ones are empty cells. Otherwise each slice runs from edge to
    edge (`_edges`) and fills as many cells as it needs; beside missing slices it counts with half the regular distance.
    Raises InputError, which calls the scan `name`, for a grid of too many voxels; `pixels` are the sides of a slice.
    """
    gaps, regular = _find_gaps(heights, thickness)
    cell_of_slice = _on_equal_steps(heights, gaps)
    if cell_of_slice is not None:
        step = heights[-1] / cell_of_slice[-1]
        start, counted, off = -step / 2, np.full(len(heights), step), 0.0
        first, last, between = cell_of_slice, cell_of_slice + 1, np.diff(cell_of_slice) - 1
    else:
        low, high = _edges(heights, thickness, gaps, regular)
        start, counted = low[0], high - low
        number, off = _best_number(low - start, high - start, pixels[0] * pixels[1])
        step = (high[-1] - start) / number
        first, last = (np.floor((edge - start) / step + 0.5).astype(int) for edge in (low, high))
        between = np.diff(heights) / regular.mean(axis=1) - 1
    guard.check_voxels(name, (*pixels, last[-1]))
    cells = np.full(last[-1], -1)
    for index, (begin, end) in enumerate(zip(first, last, strict=True)):
        cells[begin:end] = index
    missing = {int(below): max(1, round(between[below])) for below in np.flatnonzero(gaps)}
    return Layout(float(start), float(step), cells, counted, missing, off)


def _find_gaps(heights: np.ndarray, thickness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether slices are missing above slice i, shape (n - 1,), and the regular distance below and above, (n - 1, 2).

    A distance is too large when it is CLEARLY_LARGER than what is regular on both sides, and the thickness of the two
    slices does not explain it. Three equal distances in a row are regular themselves: the protocol changes there.
    """
    distances = np.diff(heights)
    regular = _regular_distances(distances)
    too_large = distances > CLEARLY_LARGER * regular.max(axis=1) * (1 + 1e-6)
    return too_large & ~_touch(thickness, distances), regular


def _touch(thickness: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Whether the thicknesses of neighbours add up to the distance of their centres; not where they are unknown."""
    return np.abs((thickness[1:] + thickness[:-1]) / 2 - distances) <= TILING * distances


def _regular_distances(distances: np.ndarray) -> np.ndarray:
    """The regular distance below and above each distance, shape (n - 1, 2)."""
    runs: list[list[float]] = []
    for distance in distances:
        if runs and abs(distance - runs[-1][0]) <= ALIKE * runs[-1][0]:
            runs[-1].append(distance)
        else:
            runs.append([distance])
    planned = pd.Series([np.median(run) if len(run) >= REGULAR_RUN else np.nan for run in runs for _ in run])
    nearest = {"below": planned.ffill().bfill(), "above": planned.bfill().ffill()}
    return pd.DataFrame(nearest).fillna(np.median(distances)).to_numpy()


def _on_equal_steps(heights: np.ndarray, gaps: np.ndarray) -> np.ndarray | None:
    """The number of each slice from 0, where all lie on equal steps and none but those in gaps are missing."""
    if gaps.all():
        return None
    distances = np.diff(heights)
    steps = np.rint(distances / np.median(distances[~gaps]))
    numbers = np.append(0, np.cumsum(steps))
    off = np.abs(heights / heights[-1] * numbers[-1] - numbers).max()
    fits = (steps >= 1).all() and ((steps > 1) == gaps).all() and off <= OFF_PLAN
    return numbers.astype(int) if fits else None


def _edges(
    heights: np.ndarray, thickness: np.ndarray, gaps: np.ndarray, regular: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper edge of each slice.

    Neighbours meet half way, or where their thicknesses say if these add up to the distance. Beside a gap a slice ends
    at half the regular distance. The outermost edges mirror the inner edges of their slices.
    """
    distances = np.diff(heights)
    share = np.where(_touch(thickness, distances), thickness[:-1] / (thickness[:-1] + thickness[1:]), 0.5)
    up = np.where(gaps, regular[:, 0] / 2, share * distances)
    down = np.where(gaps, regular[:, 1] / 2, distances - up)
    high = heights + np.append(up, down[-1])
    low = heights - np.insert(down, 0, up[0])
    low[1:] = np.where(gaps, low[1:], high[:-1])  # without rounding noise between
    return low, high


def _best_number(low: np.ndarray, high: np.ndarray, pixels: int) -> tuple[int, float]:
    """The smallest number of equal cells that have an edge at each edge, and the worst distance between the two.

    Where no number places all edges well, the one with the smallest distance.
    """
    length, thinnest = high[-1], (high - low).min()
    allowed = max(OFF_EDGE * thinnest, OFF_EDGE_MM)
    fewest = max(1, int(np.ceil(length / (thinnest + 2 * allowed))))
    if fewest * pixels > guard.MOST_VOXELS:  # will be refused, so needs no search
        return fewest, np.inf
    most = min(int(FINEST * length / thinnest), MOST_FINE_VOXELS // pixels, fewest + MOST_TRIALS)
    best = (np.inf, fewest)
    for number in range(fewest, max(most, int(np.ceil(length / thinnest))) + 1):
        step = length / number
        first, last = np.floor(low / step + 0.5), np.floor(high / step + 0.5)
        if (last <= first).any():
            continue
        off = float(max(np.abs(first * step - low).max(), np.abs(last * step - high).max()))
        if off <= allowed:
            return number, off
        best = min(best, (off, number))
    return best[1], best[0]


def notes(layout: Layout, thickness: np.ndarray) -> list[str]:
    """What a reader of the results must know: missing slices, thickness, and cells that are no slices."""
    return [*_missing(layout), *_disagreement(layout, thickness), *_unequal(layout)]


def _missing(layout: Layout) -> list[str]:
    if not layout.missing:
        return []
    number, above = sum(layout.missing.values()), [str(below + 1) for below in layout.missing]
    where = f"above slice{'s' * (len(above) > 1)} {', '.join(above[:5])}{' ...' * (len(above) > 5)}"
    return [
        f"{number} {'slice is' if number == 1 else 'slices are'} missing ({where} of {len(layout.thickness)}, counted "
        "from the feet); left empty, so the volume may be too small"
    ]


def _disagreement(layout: Layout, thickness: np.ndarray) -> list[str]:
    """A note where slices overlap or leave gaps between them, by SliceThickness."""
    ratio = layout.thickness / thickness  # NaN compares false
    notable = ratio[(ratio > MATTERS * (1 + 1e-6)) | (ratio < 1 / MATTERS / (1 + 1e-6))]
    if len(notable) <= len(ratio) / 10:
        return []
    effect = "leave gaps" if np.median(notable) > 1 else "overlap"
    return [
        f"SliceThickness is {np.nanmedian(thickness):.4g} mm but slices are {np.median(layout.thickness):.4g} mm "
        f"apart, so they {effect}; volumes are computed from the distances"
    ]


def _unequal(layout: Layout) -> list[str]:
    thin, thick = layout.thickness.min(), layout.thickness.max()
    if thick - thin <= 1e-3 * thick and layout.step > 0.9 * thin:
        return []
    off = f", up to {layout.off:.2f} mm off the edges of slices" if layout.off > OFF_EDGE_MM else ""
    cells = f"mask and scan are written in cells of {layout.step:.4g} mm{off}"
    if f"{thin:.4g}" == f"{thick:.4g}":
        return [f"slices are {thin:.4g} mm thick but do not lie on equal steps; {cells}, several for each slice"]
    return [
        f"slices are {thin:.4g} to {thick:.4g} mm thick and each counts with its own thickness; {cells}, several for a "
        "thick slice"
    ]
