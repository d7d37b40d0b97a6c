"""Pictures of test cases for the report: best, median, worst and missed patients, each slice plain and tinted."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json
from ich.data.table import read_slices
from ich.draw import colours, pictures
from ich.scans.png import read_image, read_label
from ich.score.metrics import with_blood

SLICES = 4  # per patient: those with the most true or predicted blood
MISSED = 2  # at most so many of the patients without a single true-positive voxel
TILE = 256  # pixels


def test_sets(folder: Path, data: Path, networks: Mapping[str, Sequence[str]] | None) -> list[dict]:
    """Name, run, summary (table of summary.csv), cases, operating point in words: each finished `test_<run>` folder.

    Only those whose networks are among `networks` (run -> fingerprints); None, of an earlier version: all.
    """
    found = []
    for test in sorted(path.parent for path in folder.glob(f"test_*/{paths.RUN}")):
        if (own := read_json(test / paths.RUN).get("folder", test.name)) != test.name:
            print(f"note: {test}: left out of the report page, since it is a copy of {own}")
            continue
        run = _run_of(read_json(test / paths.RUN), networks)
        if run is None:
            print(f"note: {test}: left out of the report page, since its networks are none of those compared")
            continue
        summary = read_csv(test / "summary.csv", ("measure",), "tests.py")
        found.append({
            "name": test.name.removeprefix("test_"), "run": run, "summary": summary, "cases": cases(test, data),
            "operating_point": read_json(test / paths.RUN).get("operating_point", ""),
        })  # fmt: skip
    return found


def _run_of(facts: Mapping, networks: Mapping[str, Sequence[str]] | None) -> str | None:
    """The run that a test set was predicted by; "" where one of the two records is of an earlier version."""
    tested = facts.get("inputs", {}).get("networks")
    if networks is None or tested is None:
        return ""
    return next((name for name, known in networks.items() if {*tested} <= {*known}), None)


def legend() -> list[tuple[str, str]]:
    """The meaning of each tint, with its CSS colour."""
    return [(label, colours.css(colour)) for label, colour in pictures.LEGEND.items()]


def cases(test: Path, data: Path) -> list[dict]:
    """Best, median, worst and missed patients of a test folder, with their tiles; empty if scans are not whole."""
    if not (test / "patients.csv").exists():
        return []
    patients = with_blood(read_csv(test / "patients.csv", ("patient", "dice", "tp", "fn"), "tests.py"))
    slices = read_slices(data).set_index("id")
    scores = read_csv(test / "slices.csv", ("id", "patient", "tp", "fp", "fn"), "tests.py")
    if unknown := set(scores["id"]) - set(slices.index):
        raise InputError(f"{test / 'slices.csv'}: slice '{min(unknown)}' is not in {paths.SLICES}; run tests.py again")
    return [
        {"title": title, "tiles": _tiles(scores[scores["patient"] == patient], slices, test, data)}
        for title, patient in choose(patients)
    ]


def choose(patients: pd.DataFrame) -> list[tuple[str, str]]:
    """(title, patient) of the best, median and worst patient by Dice among those found, then of missed patients."""
    hit = patients[patients["tp"] > 0].sort_values("dice", ascending=False, ignore_index=True)
    places = dict.fromkeys((0, len(hit) // 2, len(hit) - 1)) if len(hit) else {}
    names = ("best", "median", "worst found") if len(places) == 3 else ("best", "worst found")
    chosen = [
        (f"{name}: patient {hit.loc[place, 'patient']}, Dice {hit.loc[place, 'dice']:.2f}", hit.loc[place, "patient"])
        for name, place in zip(names, places, strict=False)
    ]
    missed = patients.loc[patients["tp"] == 0, "patient"].head(MISSED)
    return chosen + [(f"missed: patient {patient}", patient) for patient in missed]


def _tiles(scores: pd.DataFrame, slices: pd.DataFrame, test: Path, data: Path) -> list[dict[str, str]]:
    size = read_json(data / paths.RUN)["image_size"]
    involved = scores["tp"] + scores["fp"] + scores["fn"]
    rows = scores.loc[involved.sort_values(ascending=False, kind="stable").index[:SLICES]].sort_values("slice")
    tiles = []
    for row in rows.itertuples():
        found = read_label(test / "masks" / f"{row.id}.png", size)
        image = read_image(data / slices.loc[row.id, "image"], 1, size)
        truth = read_label(data / slices.loc[row.id, "label"], size)
        plain = pictures.enlarged(image, TILE)
        tinted = pictures.overlay(image, truth, found, TILE)
        text = f"slice {row.id}, Dice {row.dice:.2f}" if truth.any() or found.any() else f"slice {row.id}"
        tiles.append({"plain": data_url(_png(plain)), "overlay": data_url(_png(tinted)), "text": text})
    return tiles


def data_url(png: bytes) -> str:
    """A PNG as a data URL, to embed in the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _png(rgb: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
