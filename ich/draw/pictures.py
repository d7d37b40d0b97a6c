"""Slices as pictures: contact sheets with lesion outlines, and overlays of hits, false alarms and misses."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from ich.base import paths, record
from ich.data.pixels import Slices
from ich.draw import colours
from ich.draw.plots import layout, new_figure, save
from ich.scans.png import read_image, read_label

LEGEND = {
    "hit (true positive)": colours.HIT,
    "false alarm (false positive)": colours.FALSE_ALARM,
    "missed (false negative)": colours.MISS,
}
OPACITY = 0.45
TILE = 256  # pixels per side of a slice on a contact sheet
_BAR = 24  # pixels; height of the legend under an overlay


def preview(path: Path, data: Path, slices: pd.DataFrame, table: pd.DataFrame, columns: int = 8) -> None:
    """A contact sheet of the hold-out parts: slices with blood (outlined), and one without at the end of each row."""
    files = slices.set_index("id")
    sheet: dict[str, list[tuple[np.ndarray, str]]] = {}
    for part in ("train", "valid", "test"):  # the test row stays empty if there is no test set
        rows = _spread(table[table[paths.PART_COLUMN["holdout"]] == part], columns)
        sheet[part] = [_outlined(data, files.loc[row.id], str(row.id)) for row in rows.itertuples()]
    protocol = path.parent.name
    contact_sheet(path, sheet, f"Hold-out split by {protocol}; reference blood outlined. Image left = patient's right")


def contact_sheet(path: Path, rows: dict[str, list[tuple[np.ndarray, str]]], title: str, legend: bool = False) -> None:
    """Write a sheet of (RGB or grey uint8 tile, caption) rows, keyed by row title; empty rows are left out."""
    rows = {name: tiles for name, tiles in rows.items() if tiles}
    columns = max((len(tiles) for tiles in rows.values()), default=1)
    figure, _ = new_figure(1.5 * columns, 1.9 * len(rows) + 0.5 + 0.5 * legend)
    figure.clear()
    grid = figure.subplots(len(rows), max(columns, 1), squeeze=False)
    for line, (name, tiles) in zip(grid, rows.items(), strict=True):
        for place, axes in enumerate(line):
            axes.axis("off")
            if place < len(tiles):
                axes.imshow(tiles[place][0], cmap="gray", vmin=0, vmax=255)
                axes.set_title(tiles[place][1], fontsize=7, parse_math=False)  # names may contain dollar signs
        style = {"fontsize": 9, "fontweight": "bold", "parse_math": False}
        above = line[0].text(0, 1.17, name, transform=line[0].transAxes, **style)
        above.set_in_layout(False)  # the title may run over the next tiles
    figure.suptitle(title, fontsize=10)
    layout(figure).set(h_pad=0.12)  # inches; room for the row titles
    if legend:
        handles = [_patch(label, colour) for label, colour in LEGEND.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    save(figure, path)


def outline(image: np.ndarray, mask: np.ndarray, colour: colours.RGB, size: int = TILE) -> np.ndarray:
    """RGB (size, size, 3): the slice enlarged, with the border of the bool mask drawn on it."""
    shown = np.ascontiguousarray(enlarged(image, size))
    large = cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    borders, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(shown, borders, -1, colour, 1)


def overlay(image: np.ndarray, truth: np.ndarray, found: np.ndarray, size: int = TILE) -> np.ndarray:
    """RGB (size, size, 3): the slice enlarged, with hits, false alarms and misses tinted."""
    shown = enlarged(image, size).astype(np.float32)
    kinds = ((truth & found, colours.HIT), (~truth & found, colours.FALSE_ALARM), (truth & ~found, colours.MISS))
    for mask, colour in kinds:
        where = cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
        shown[where] = (1 - OPACITY) * shown[where] + OPACITY * np.array(colour, np.float32)
    return shown.round().astype(np.uint8)


def overlay_with_legend(image: np.ndarray, truth: np.ndarray, found: np.ndarray, caption: str) -> np.ndarray:
    """RGB: plain slice and overlay side by side, above a caption and the legend; 512 px a slice."""
    size = 2 * TILE
    pair = np.hstack([enlarged(image, size), overlay(image, truth, found, size)])
    bar = np.zeros((2 * _BAR, pair.shape[1], 3), np.uint8)
    text = f"{caption}   left: CT, right: prediction against reference   {record.RESEARCH_ONLY}"
    _write(bar, text, 8, _BAR - 8, (220, 220, 220))
    for place, (label, colour) in enumerate(LEGEND.items()):
        left = 8 + place * 330
        cv2.rectangle(bar, (left, _BAR + 4), (left + 14, _BAR + 18), colour, -1)
        _write(bar, label, left + 22, 2 * _BAR - 8, (220, 220, 220))
    return np.vstack([pair, bar])


def _write(canvas: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def enlarged(image: np.ndarray, size: int) -> np.ndarray:
    """RGB (size, size, 3): the first channel of a slice (rows, columns, channels), enlarged."""
    grey = np.ascontiguousarray(image[:, :, 0])  # the first of several windows
    return cv2.cvtColor(cv2.resize(grey, (size, size), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)


def _outlined(data: Path, row: pd.Series, name: str) -> tuple[np.ndarray, str]:
    image, label = read_image(data / row["image"], 1, TILE), read_label(data / row["label"], TILE)
    return outline(image, label, colours.REFERENCE), name + (f" {row['lesion_pixels']} px" if label.any() else "")


def _spread(part: pd.DataFrame, columns: int) -> pd.DataFrame:
    """Slices with blood, spread over patients, and one without."""
    blood, free = part[part["lesion_pixels"] > 0], part[part["lesion_pixels"] == 0]
    largest_first = blood.sort_values("lesion_pixels", ascending=False)
    turn = largest_first.groupby("patient").cumcount()
    chosen = largest_first.assign(turn=turn).sort_values(["turn", "patient"]).head(columns - 1)
    return pd.concat([chosen, free.iloc[len(free) // 2 : len(free) // 2 + 1]])


def _patch(label: str, colour: colours.RGB) -> Patch:
    return Patch(color=colours.css(colour), label=label)


def patient_sheet(
    path: Path, slices: Slices, found: np.ndarray, patients: pd.DataFrame, method: str, columns: int = 6
) -> None:
    """Contact sheet of the best, median and worst patient with blood (by Dice): their slices with the most blood.

    `method`: network and threshold, for the title.
    """
    blood = patients[patients["tp"] + patients["fn"] > 0].sort_values("dice", ascending=False, ignore_index=True)
    if blood.empty:
        return
    places = dict.fromkeys((0, len(blood) // 2, len(blood) - 1))  # no duplicate rows with few patients
    names = ("best", "median", "worst") if len(places) == 3 else ("best", "worst")
    sheet = {}
    for name, place in zip(names, places, strict=False):
        row = blood.loc[place]
        tiles = _patient_tiles(slices, found, row["patient"], columns)
        sheet[f"{name}: patient {row['patient']}, Dice {row['dice']:.2f}"] = tiles
    title = f"{method}: test patients with blood; image left = patient's right"
    contact_sheet(path, sheet, title, legend=True)


def _patient_tiles(slices: Slices, found: np.ndarray, patient: str, columns: int) -> list[tuple[np.ndarray, str]]:
    mine = np.flatnonzero(slices.table["patient"] == patient)
    involved = slices.masks[mine].sum((1, 2)) + found[mine].sum((1, 2))
    shown = np.sort(mine[np.argsort(-involved, kind="stable")[: min(columns, np.count_nonzero(involved))]])
    return [
        (overlay(slices.images[place], slices.masks[place].astype(bool), found[place]), slices.table.loc[place, "id"])
        for place in shown
    ]
