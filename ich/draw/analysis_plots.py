"""Plots of operating point, calibration, volumes and ROC, in the style of `ich.draw.plots`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ich.draw.colours import BLACK, GREY
from ich.draw.plots import in_legend, new_figure, save


def operating_point(path: Path, table: pd.DataFrame, thresholds: dict[str, float], colours: Mapping[str, str]) -> None:
    """Precision against sensitivity over pooled pixels, and mean Dice by threshold.

    `thresholds`: the chosen threshold of each run, marked with a star.
    """
    figure, (curve, dice) = new_figure(11, 4.5, 2)
    for run, rows in table[table["threshold"] > 0].groupby("run", sort=False):  # at 0 every pixel is blood
        colour = colours[run]
        chosen = rows.loc[(rows["threshold"] - thresholds[run]).abs().idxmin()]
        curve.plot(rows["sensitivity"], rows["precision"], color=colour, label=in_legend(run))
        curve.plot(chosen["sensitivity"], chosen["precision"], "*", color=colour, markersize=12)
        dice.plot(rows["threshold"], rows["dice_mean"], color=colour, label=in_legend(run))
        dice.plot(chosen["threshold"], chosen["dice_mean"], "*", color=colour, markersize=12)
    curve.set(xlabel="sensitivity (pixels)", ylabel="precision (pixels)", title="Out of fold, all pixels; star: chosen")
    dice.set(
        xlabel="threshold of the probability", ylabel="mean Dice of patients with blood", title="Choice of threshold"
    )
    for axes in (curve, dice):
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.legend()
    save(figure, path)


def reliability(path: Path, bins: dict[str, dict[str, pd.DataFrame]], colours: Mapping[str, str]) -> None:
    """Share of blood against predicted probability, for pixels and slices; `bins` is run -> kind -> table."""
    figure, panels = new_figure(10, 4.8, 2)
    titles = {"pixels": "Pixels with p ≥ 0.01 or reference blood", "slices": "Slices, by their highest probability"}
    for axes, (kind, title) in zip(panels, titles.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect")
        for run, tables in bins.items():
            table = tables[kind][tables[kind]["pixels"] > 0]
            axes.plot(table["probability_sum"] / table["pixels"], table["positives"] / table["pixels"], marker=".",
                      color=colours[run], label=in_legend(run))  # fmt: skip
        axes.set(xlabel="mean predicted probability", ylabel="share with blood", title=title, xlim=(0, 1), ylim=(0, 1))
        axes.legend()
    save(figure, path)


def roc(path: Path, table: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Sensitivity against 1 - specificity over scans."""
    figure, (axes,) = new_figure(5.5, 5)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    for run, rows in table.groupby("run", sort=False):
        axes.step(1 - rows["specificity"], rows["sensitivity"], where="post", color=colours[run], label=in_legend(run))
    axes.set(xlabel="1 - specificity (scans)", ylabel="sensitivity (scans)", title="Scans with blood, out of fold")
    axes.legend()
    save(figure, path)


def bland_altman(path: Path, blood: pd.DataFrame, limits: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Volume difference (ml) against the mean, one panel per run, with bias and 95 % limits of agreement.

    The panels share their axes, and the line of no difference is in all of them.
    """
    figure, panels = new_figure(5.5 * len(limits), 4.5, len(limits))
    for axes in panels[1:]:
        axes.sharex(panels[0])
        axes.sharey(panels[0])
    for axes, limit in zip(panels, limits.itertuples(), strict=True):
        rows = blood[blood["run"] == limit.run]
        mean = (rows["volume_true_ml"] + rows["volume_pred_ml"]) / 2
        axes.axhline(0, color=BLACK, linewidth=1, label="no difference")
        axes.plot(mean, rows["volume_pred_ml"] - rows["volume_true_ml"], "o", color=colours[limit.run], alpha=0.7)
        for value, style in ((limit.bias_ml, "-"), (limit.lower_ml, "--"), (limit.upper_ml, "--")):
            if np.isfinite(value):
                label = "bias" if style == "-" else "95 % limits" if value == limit.upper_ml else None
                axes.axhline(value, color=colours[limit.run], linestyle=style, linewidth=1, label=label)
        title = f"{limit.run}: bias {limit.bias_ml:+.1f} ml, limits {limit.lower_ml:+.1f} to {limit.upper_ml:+.1f}"
        axes.legend(fontsize=8, framealpha=0.7)
        axes.set(xlabel="mean of true and predicted volume (ml)", ylabel="predicted - true (ml)", title=title)
    panels[0].set_xlim(left=0)
    save(figure, path)
