"""The plot on the report's first screen: the same patients under each network."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ich.draw.colours import BLACK, GREY
from ich.draw.plots import mean_and_number, new_figure, save


class Mean(NamedTuple):
    """A mean and the ends of its interval; NaN where there are none."""

    value: float
    low: float
    high: float


def paired(
    path: Path, values: pd.DataFrame, means: Mapping[str, Mean], title: str, ylabel: str, colours: Mapping[str, str]
) -> None:
    """A dot for each value and a grey line for each row of `values`, joining its runs (the columns).

    The diamond beside the dots is the run's mean with its interval. NaN values are left out.
    """
    figure, (axes,) = new_figure(max(5.6, 1.6 * len(values.columns) + 1), 4.4)
    places = np.arange(len(values.columns))
    axes.plot(places, values.to_numpy().T, color=GREY, linewidth=0.8, alpha=0.5)
    for place, (run, column) in enumerate(values.items()):
        axes.plot(np.full(len(column), place), column, "o", color=colours[run], alpha=0.8, markersize=5)
        mean, beside = means[run], place + (-0.15 if place == 0 else 0.15)
        axes.plot([beside] * 2, [mean.low, mean.high], color=BLACK, linewidth=2)
        axes.plot(beside, mean.value, "D", color=colours[run], markeredgecolor=BLACK, markersize=8)
    axes.set_xticks(places, [mean_and_number(str(run), column.to_numpy()) for run, column in values.items()])
    axes.set(title=title, ylabel=ylabel, xlim=(-0.5, len(places) - 0.5), ylim=(-0.03, 1.03))
    axes.grid(visible=False, axis="x")
    save(figure, path)
