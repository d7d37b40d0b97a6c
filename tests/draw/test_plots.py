"""Plots name every run that they draw."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich.draw import analysis_plots, plots


@pytest.fixture
def legends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of all legends of the figures that are saved."""
    texts: list[str] = []

    def look(figure: object, path: Path) -> None:
        for axes in figure.axes:
            texts.extend(
                each.get_text().strip() for each in (axes.get_legend().get_texts() if axes.get_legend() else ())
            )

    for module in (plots, analysis_plots):
        monkeypatch.setattr(module, "save", look)
    return texts


@pytest.mark.parametrize("name", ["mine", "_mine", "__mine"])
def test_every_run_is_in_the_legend(legends: list[str], tmp_path: Path, name: str) -> None:
    columns = ("val_dice_mean", "val_dice_sd")
    history = pd.DataFrame({"epoch": [1, 2], "folds": 2, **dict.fromkeys(columns, np.array([0.2, 0.4]))})
    colours = {name: "#000000", "unet": "#888888"}
    plots.versus_curves(tmp_path / "a.png", {name: history, "unet": history}, "dice", "patient", colours)
    assert legends == [f"{name}, 2 folds", "unet, 2 folds"]
    legends.clear()
    roc = pd.DataFrame({"run": name, "threshold": [1.0, 0.0], "sensitivity": [0.0, 1.0], "specificity": [1.0, 0.0]})
    analysis_plots.roc(tmp_path / "b.png", roc, colours)
    assert name in legends
