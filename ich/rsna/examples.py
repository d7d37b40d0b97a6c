"""Test slices that were classified correctly and wrongly, each under every variant, for the report page."""

from collections.abc import Sequence

import cv2
import numpy as np

from ich.base.paths import Rsna
from ich.report.gallery import data_url
from ich.rsna.compare import Result
from ich.rsna.layouts import names_of
from ich.rsna.scores import Predicted
from ich.rsna.variants import of_run
from ich.scans.png import read_image

TILE = 128  # pixels


def cases(results: Sequence[Result], task: str, files: Rsna) -> list[dict]:
    """For each class a slice that the first variant classifies correctly and one that it does not, under all variants.

    Each is a dict of `title` and `tiles`; a tile has `source` (data URL), `text` and `right`. All by the first seed.
    """
    base = results[0]
    chosen = [
        (f"{name}, {words} under {base.name}: {base.ids[row]}", row, k)
        for k, name in enumerate(names_of(task))
        for words, row in choose(base.trainings[0], k).items()
    ]
    return [{"title": title, "tiles": [_tile(result, row, k, task, files) for result in results]}
            for title, row, k in chosen]  # fmt: skip


def choose(predicted: Predicted, k: int) -> dict[str, int]:
    """Rows of two slices of class `k` (column): of those found the median by probability, of those missed the least."""
    rows = np.flatnonzero(predicted.truth[:, k] > 0)
    rows = rows[np.argsort(predicted.prob[rows, k], kind="stable")]
    found = predicted.decided[rows, k] > 0
    right, wrong = rows[found], rows[~found]
    chosen = {"found": int(right[len(right) // 2])} if len(right) else {}
    return chosen | ({"missed": int(wrong[0])} if len(wrong) else {})


def _tile(result: Result, row: int, k: int, task: str, files: Rsna) -> dict:
    image = read_image(files.png(of_run(result.name), result.ids[row]), 1, TILE)
    first = result.trainings[0]
    right = bool(first.decided[row, k])
    return {"source": data_url(cv2.imencode(".png", image)[1].tobytes()), "right": right,
            "text": f"{result.name}: {_called(first, row, k, task)}"}  # fmt: skip


def _called(predicted: Predicted, row: int, k: int, task: str) -> str:
    """`right, 0.83`, `wrong: healthy, 0.61`; of several labels whether that of the column was found."""
    right = predicted.decided[row, k] > 0
    if predicted.multilabel:
        return f"{'right' if right else 'wrong'}, {predicted.prob[row, k]:.2f}"
    called = int(predicted.prob[row].argmax())
    return f"{'right' if right else f'wrong: {names_of(task)[called]}'}, {predicted.prob[row, called]:.2f}"
