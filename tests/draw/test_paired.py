"""The paired plot: a line for each patient, the means and intervals of the table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich.draw import colours, paired
from ich.draw.paired import Mean


def drawn(monkeypatch: pytest.MonkeyPatch, values: pd.DataFrame, means: dict[str, Mean]) -> object:
    kept = []
    monkeypatch.setattr(paired, "save", lambda figure, path: kept.append(figure))
    paired.paired(Path("unused.png"), values, means, "title", "Dice", colours.of_runs(values.columns))
    return kept[0].axes[0]


def test_lines_join_the_networks_and_diamonds_are_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pd.DataFrame({"unet": [0.2, 0.4, 0.9], "dunet": [0.3, np.nan, 0.8]}, ["049", "050", "051"])
    axes = drawn(monkeypatch, values, {"unet": Mean(0.5, 0.2, 0.9), "dunet": Mean(0.55, 0.3, 0.8)})
    joined = [line for line in axes.lines if line.get_color() == colours.GREY]
    assert [list(line.get_xdata()) for line in joined] == [[0, 1]] * 3
    np.testing.assert_array_equal([line.get_ydata() for line in joined], values)
    dots = {line.get_color(): list(line.get_ydata()) for line in axes.lines if line.get_marker() == "o"}
    assert dots[colours.KNOWN["unet"]] == [0.2, 0.4, 0.9]
    assert [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"] == [0.5, 0.55]
    bars = [list(line.get_ydata()) for line in axes.lines if line.get_color() == colours.BLACK]
    assert bars == [[0.2, 0.9], [0.3, 0.8]]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["unet\nmean 0.50\nn = 3", "dunet\nmean 0.55\nn = 2"]


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_one_run_three_runs_and_no_interval(tmp_path: Path, runs: int) -> None:
    names = [f"run{number}" for number in range(runs)]
    values = pd.DataFrame({name: [0.5, 0.7] for name in names})
    means = {name: Mean(0.6, float("nan"), float("nan")) for name in names}
    paired.paired(tmp_path / "p.png", values, means, "title", "Dice", colours.of_runs(names))
    assert (tmp_path / "p.png").stat().st_size > 5000
