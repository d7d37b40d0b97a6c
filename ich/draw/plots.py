"""Curves and comparisons as PNG. `colours` in the arguments: of each run, from `colours.of_runs`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from ich.base.files import atomic
from ich.base.record import RESEARCH_ONLY
from ich.draw.colours import ALARM, BLACK, GREY

STYLE = {
    "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
    "text.parse_math": False,  # names of runs and patients may hold dollar signs
    "font.size": 10, "axes.titlesize": 11, "savefig.dpi": 200, "figure.constrained_layout.use": True,
}  # fmt: skip

TRAINING: dict[str, Any] = {"color": GREY, "linestyle": "--", "label": "training"}
VALIDATION: dict[str, Any] = {"color": BLACK, "linestyle": "-", "label": "validation"}
NOTE_INCHES = 0.16  # margin at the bottom for the note
_banner = ""
CURVES = {"loss": "loss", "dice": "Dice (pooled pixels)", "iou": "IoU (pooled pixels)"}

mpl.rcdefaults()  # a matplotlibrc in the current folder is read whatever MATPLOTLIBRC says
mpl.rcParams.update(STYLE)


def new_figure(width: float = 8, height: float = 4.5, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `columns` axes in the project's style; sizes in inches."""
    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def layout(figure: Figure) -> ConstrainedLayoutEngine:
    """What places the axes of a figure of `new_figure`: its style asks for it."""
    return cast(ConstrainedLayoutEngine, figure.get_layout_engine())


def label_all(text: str) -> None:
    """From now on write `text` over the title of each figure; all data of a process are of one origin."""
    global _banner
    _banner = text


def in_legend(run: str) -> str:
    """The name of a run as a label: Matplotlib leaves those that begin with `_` out of a legend."""
    return f" {run}" if run.startswith("_") else run


def save(figure: Figure, path: Path) -> None:
    """Write a PNG atomically, with the research-only note at the bottom and the text of `label_all` over the title."""
    figure.text(0.995, 0.003, RESEARCH_ONLY, ha="right", va="bottom", fontsize=6, color=GREY)
    below = NOTE_INCHES / figure.get_figheight()
    layout(figure).set(rect=(0, below, 1, 1 - below))
    if _banner:
        figure.suptitle(f"{_banner}\n{figure.get_suptitle()}".rstrip(), fontsize=9, color=ALARM)
    with atomic(path) as temporary:
        figure.savefig(temporary)


def training_curves(folder: Path, history: pd.DataFrame, title: str) -> None:
    """Write `loss.png`, `dice.png` and `iou.png` of one training: training and validation by epoch."""
    for name, label in CURVES.items():
        figure, (axes,) = new_figure()
        axes.plot(history["epoch"], history[name], marker=_marker(history), **TRAINING)
        valid = history.dropna(subset=[f"val_{name}"])
        axes.plot(valid["epoch"], valid[f"val_{name}"], marker=".", **VALIDATION)
        _label(axes, title, label, name)
        save(figure, folder / f"{name}.png")


def fold_curves(
    path: Path, histories: dict[str, pd.DataFrame], name: str, protocol: str, colours: Mapping[str, str]
) -> None:
    """Mean over folds of training and validation with a band of one standard deviation; one panel per run."""
    figure, panels = new_figure(5.5 * len(histories), 4.5, len(histories))
    for axes in panels[1:]:
        axes.sharey(panels[0])
    for axes, (run, history) in zip(panels, histories.items(), strict=True):
        _band(axes, history, name, TRAINING)
        _band(axes, history, f"val_{name}", VALIDATION | {"color": colours[run]})
        mean = history[f"val_{name}_mean"].dropna()
        best = mean.idxmin() if name == "loss" else mean.idxmax()
        epoch, value = history.loc[best, "epoch"], mean[best]
        axes.plot(epoch, value, "*", color="black", markersize=9, label=f"best mean: epoch {epoch:.0f}, {value:.3f}")
        _label(axes, f"{run}, {_folds(history)}, split by {protocol}", CURVES[name], name)
    save(figure, path)


def versus_curves(
    path: Path, histories: dict[str, pd.DataFrame], name: str, protocol: str, colours: Mapping[str, str]
) -> None:
    """Validation curves of all runs in one panel: fold mean with a band of one standard deviation."""
    figure, (axes,) = new_figure()
    for run, history in histories.items():
        _band(axes, history, f"val_{name}", {"color": colours[run], "label": in_legend(f"{run}, {_folds(history)}")})
    several = any(history["folds"].max() > 1 for history in histories.values())
    what = "mean over folds ± one standard deviation" if several else "one fold"
    _label(axes, f"Validation: {what}, split by {protocol}", CURVES[name], name)
    save(figure, path)


def strips(
    path: Path, groups: dict[str, dict[str, np.ndarray]], ylabel: str, title: str, colours: Mapping[str, str]
) -> None:
    """Box, mean and all points of each run; `groups` is panel -> run -> values (NaN left out)."""
    most = max(map(len, groups.values()))
    figure, panels = new_figure(max(4.0, 1.3 * most) * len(groups), 4.5, len(groups))
    for axes, (panel, runs) in zip(panels, groups.items(), strict=True):
        for place, (run, values) in enumerate(runs.items()):
            _strip(axes, place, values[np.isfinite(values)], colours[run])
        axes.set_xticks(range(len(runs)), [mean_and_number(run, values) for run, values in runs.items()])
        axes.grid(visible=False, axis="x")
        axes.set(title=panel, ylabel=ylabel, xlim=(-0.6, len(runs) - 0.4), ylim=(-0.03, 1.03))
    figure.suptitle(f"{title} (box: quartiles, diamond: mean)", fontsize=11)
    save(figure, path)


def _strip(axes: Axes, place: int, values: np.ndarray, colour: str) -> None:
    line = {"color": GREY, "linewidth": 1}
    axes.boxplot(
        values, positions=[place], widths=0.5, showfliers=False, boxprops=line, whiskerprops=line, capprops=line,
        medianprops={"color": "black", "linewidth": 1.5}, zorder=1,
    )  # fmt: skip
    sideways = np.random.default_rng(0).uniform(-0.15, 0.15, len(values))
    axes.plot(place + sideways, values, "o", color=colour, alpha=0.6, markersize=4, markeredgewidth=0)
    if len(values):
        axes.plot(place, values.mean(), "D", color="white", markeredgecolor="black", markersize=6)


def mean_and_number(run: str, values: np.ndarray) -> str:
    """Label under the values of a run (NaN left out): its name, their mean and number."""
    values = values[np.isfinite(values)]
    mean = f"{values.mean():.2f}" if len(values) else "-"
    short = run if len(run) <= 14 else f"{run[:13]}…"
    return f"{short}\nmean {mean}\nn = {len(values)}"


def _folds(history: pd.DataFrame) -> str:
    number = int(history["folds"].max())
    return f"{number} fold" if number == 1 else f"{number} folds"


def _band(axes: Axes, history: pd.DataFrame, column: str, style: dict[str, Any]) -> None:
    shown = history.dropna(subset=[f"{column}_mean"])
    mean, spread = shown[f"{column}_mean"], shown[f"{column}_sd"].fillna(0)
    axes.plot(shown["epoch"], mean, marker=_marker(shown), **style)
    axes.fill_between(shown["epoch"], mean - spread, mean + spread, color=style["color"], alpha=0.2, linewidth=0)


def _marker(history: pd.DataFrame) -> str:
    """A dot for a single epoch, since a line through one point is invisible."""
    return "." if len(history) == 1 else ""


def whole_epochs(axes: Axes) -> None:
    """Put ticks at whole epochs only, even when there are just one or two epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _label(axes: Axes, title: str, ylabel: str, name: str) -> None:
    axes.set(title=title, xlabel="epoch", ylabel=ylabel)
    whole_epochs(axes)
    if name != "loss":
        axes.set_ylim(0, 1)
    axes.legend(framealpha=0.7, edgecolor="none", fontsize=9)
