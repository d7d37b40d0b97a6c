"""From the heights of slices to their edges, and to a grid of equal cells that shows each slice where it was measured.

Heights run along the normal of the slices, in mm, from the centre of the lowest slice upwards.
"""

import dataclasses

import numpy as np

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
    off: float = 0.0


def lay_out(heights: np.ndarray, thickness: np.ndarray, name: str, pixels: tuple[int, int]) -> Layout:
    """The grid of slices at ascending `heights`; `thickness` is SliceThickness, NaN where unknown.

    Slices at equal distances are the cells, and missing ones are empty cells. Otherwise each slice runs from edge to
    edge (`edges`) and fills as many cells as it needs; beside missing slices it counts with half the regular distance.
    Raises InputError for a grid of too many voxels; `name` and `pixels` (of a slice) are for that.
    """
    gaps, regular = find_gaps(heights, thickness)
    return _regular(heights, gaps, name, pixels) or _irregular(heights, thickness, gaps, regular, name, pixels)


def find_gaps(heights: np.ndarray, thickness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether slices are missing above slice i, shape (n - 1,), and the regular distance below and above, (n - 1, 2).

    A distance is too large when it is CLEARLY_LARGER than what is regular on both sides, and the thickness of the two
    slices does not explain it. Three equal distances in a row are regular themselves: the protocol changes there.
    """
    distances = np.diff(heights)
    regular = _regular_distances(distances)
    explained = np.abs(_touching(thickness) - distances) <= TILING * distances  # NaN is not
    return (distances > CLEARLY_LARGER * regular.max(axis=1) * (1 + 1e-6)) & ~explained, regular


def _touching(thickness: np.ndarray) -> np.ndarray:
    """The distance between the centres of neighbours that touch."""
    return (thickness[1:] + thickness[:-1]) / 2


def _regular_distances(distances: np.ndarray) -> np.ndarray:
    """The regular distance below and above each, shape (n - 1, 2)."""
    planned = np.full(len(distances), np.nan)
    first = 0
    for place in range(1, len(distances) + 1):
        if place < len(distances) and abs(distances[place] - distances[first]) <= ALIKE * distances[first]:
            continue
        if place - first >= REGULAR_RUN:
            planned[first:place] = np.median(distances[first:place])
        first = place
    known = np.flatnonzero(np.isfinite(planned))
    if not known.size:
        return np.full((len(distances), 2), np.median(distances))
    after = np.searchsorted(known, np.arange(len(distances)))
    above = planned[known[after.clip(max=known.size - 1)]]
    exactly = np.isfinite(planned)
    below = np.where(exactly, planned, planned[known[(after - 1).clip(min=0)]])
    return np.stack([below, above], axis=1)


def _regular(heights: np.ndarray, gaps: np.ndarray, name: str, pixels: tuple[int, int]) -> Layout | None:
    """One cell a slice, where all slices lie on equal steps, some of which may be missing; None where they do not."""
    distances = np.diff(heights)
    whole = np.rint(distances / np.median(distances[~gaps])) if not gaps.all() else np.ones(len(distances))
    if (whole < 1).any() or ((whole > 1) != gaps).any():
        return None
    places = np.concatenate([[0], np.cumsum(whole)]).astype(int)
    step = heights[-1] / places[-1]
    if np.abs(heights - places * step).max() > OFF_PLAN * step:
        return None
    guard.check_voxels(name, (*pixels, int(places[-1]) + 1))
    cells = np.full(places[-1] + 1, -1)
    cells[places] = np.arange(len(heights))
    missing = {int(below): int(whole[below]) - 1 for below in np.flatnonzero(gaps)}
    return Layout(-step / 2, step, cells, np.full(len(heights), step), missing)


def _irregular(
    heights: np.ndarray, thickness: np.ndarray, gaps: np.ndarray, regular: np.ndarray, name: str,
    pixels: tuple[int, int],
) -> Layout:  # fmt: skip
    low, high = edges(heights, thickness, gaps, regular)
    number, off = _cells(low - low[0], high - low[0], name, pixels)
    step = (high[-1] - low[0]) / number
    first, last = (np.floor((edge - low[0]) / step + 0.5).astype(int) for edge in (low, high))
    cells = np.full(number, -1)
    for index, (begin, end) in enumerate(zip(first, last, strict=True)):
        cells[begin:end] = index
    width = low[1:] - high[:-1]
    missing = {int(below): max(1, round(width[below] / regular[below].mean())) for below in np.flatnonzero(gaps)}
    return Layout(float(low[0]), float(step), cells, high - low, missing, off)


def edges(
    heights: np.ndarray, thickness: np.ndarray, gaps: np.ndarray, regular: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper edge of each slice.

    Neighbours meet half way, except where their thicknesses add up to the distance: then where these say. Beside a gap
    a slice ends at half the regular distance. The outermost edges mirror the inner edges of their slices.
    """
    distances = np.diff(heights)
    touch = np.abs(_touching(thickness) - distances) <= TILING * distances
    share = np.where(touch, thickness[:-1] / (thickness[:-1] + thickness[1:]), 0.5)
    up = np.where(gaps, regular[:, 0] / 2, share * distances)
    down = np.where(gaps, regular[:, 1] / 2, distances - up)
    high = heights + np.append(up, down[-1])
    low = heights - np.insert(down, 0, up[0])
    low[1:] = np.where(gaps, low[1:], high[:-1])  # without rounding noise between
    return low, high


def _cells(low: np.ndarray, high: np.ndarray, name: str, pixels: tuple[int, int]) -> tuple[int, float]:
    """The smallest number of equal cells that have an edge at each edge, and the worst distance between the two.

    Where no number places all edges well, that with the smallest distance.
    """
    length, thinnest = high[-1], (high - low).min()
    allowed = max(OFF_EDGE * thinnest, OFF_EDGE_MM)
    fewest = max(1, int(np.ceil(length / (thinnest + 2 * allowed))))
    guard.check_voxels(name, (*pixels, fewest))
    most = min(int(FINEST * length / thinnest), MOST_FINE_VOXELS // (pixels[0] * pixels[1]), fewest + MOST_TRIALS)
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
    guard.check_voxels(name, (*pixels, best[1]))
    return best[1], best[0]


def notes(layout: Layout, thickness: np.ndarray) -> list[str]:
    """What a reader of the results must know: missing slices, thickness, and cells that are no slices."""
    return [*_missing(layout), *_disagreement(layout, thickness), *_unequal(layout)]


def _missing(layout: Layout) -> list[str]:
    if not layout.missing:
        return []
    number = sum(layout.missing.values())
    above = [str(below + 1) for below in layout.missing]
    where = f"above slice{'s' * (len(above) > 1)} {', '.join(above[:5])}{' ...' * (len(above) > 5)}"
    are = "slice is" if number == 1 else "slices are"
    return [
        f"{number} {are} missing ({where} of {len(layout.thickness)}, counted from the feet); left empty, so the "
        "volume may be too small"
    ]


def _disagreement(layout: Layout, thickness: np.ndarray) -> list[str]:
    """A note where slices overlap or leave gaps between them, by SliceThickness."""
    ratio = layout.thickness / thickness
    ratio = ratio[np.isfinite(ratio)]
    notable = (ratio > MATTERS * (1 + 1e-6)) | (ratio < 1 / MATTERS / (1 + 1e-6))
    if notable.sum() <= len(layout.thickness) / 10:
        return []
    distance, nominal = np.median(layout.thickness), np.nanmedian(thickness)
    how = "leave gaps" if np.median(ratio[notable]) > 1 else "overlap"
    return [
        f"SliceThickness is {nominal:.4g} mm but slices are {distance:.4g} mm apart, so they {how}; volumes are "
        "computed from the distances"
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
