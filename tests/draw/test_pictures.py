"""Overlays, outlines and contact sheets, pixel by pixel where it matters."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from ich.data.pixels import Slices
from ich.draw import analysis_plots, colours, pictures, plots

TRUTH = np.array([[1, 1], [0, 0]], bool)
FOUND = np.array([[1, 0], [1, 0]], bool)  # hit, missed; false alarm, nothing
GREY = 100


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((2, 2, 1), GREY, np.uint8)


def test_overlay_tints_each_kind_of_pixel(grey: np.ndarray) -> None:
    shown = pictures.overlay(grey, TRUTH, FOUND, size=2)
    # 55 % of grey 100 and 45 % of the colour, e.g. green of a hit: 55 + 0.45 * 153 = 123.85
    expected = {
        (0, 0): (83.8, 123.85, 75.7),  # hit: (64, 153, 46)
        (0, 1): (169.75, 55, 145),  # missed: (255, 0, 200)
        (1, 0): (169.75, 160.75, 55),  # false alarm: (255, 235, 0)
        (1, 1): (GREY, GREY, GREY),
    }
    for place, colour in expected.items():
        np.testing.assert_allclose(shown[place], colour, atol=0.5)


def test_overlay_enlarges_masks_without_shifting_them(grey: np.ndarray) -> None:
    shown = pictures.overlay(grey, TRUTH, FOUND, size=8)
    assert shown.shape == (8, 8, 3)
    assert (shown[:4, :4] == shown[0, 0]).all()
    assert (shown[4:, 4:] == GREY).all()


def test_overlay_with_legend_shows_the_plain_slice_and_all_three_colours(grey: np.ndarray) -> None:
    shown = pictures.overlay_with_legend(grey, TRUTH, FOUND, "049_001")
    side = 2 * pictures.TILE
    assert (shown[:side, :side] == GREY).all()
    np.testing.assert_array_equal(shown[:side, side:], pictures.overlay(grey, TRUTH, FOUND, side))
    bar = {tuple(map(int, colour)) for colour in np.unique(shown[side:].reshape(-1, 3), axis=0)}
    assert set(pictures.LEGEND.values()) <= bar


def test_a_part_without_slices_has_no_row(tmp_path: Path) -> None:
    tile = (np.full((8, 8), GREY, np.uint8), "049_001")
    pictures.contact_sheet(tmp_path / "two.png", {"train": [tile], "valid": [tile]}, "title")
    pictures.contact_sheet(tmp_path / "three.png", {"train": [tile], "valid": [tile], "test": []}, "title")
    assert (tmp_path / "two.png").read_bytes() == (tmp_path / "three.png").read_bytes()


def test_outline_is_drawn_on_the_border_only() -> None:
    image, mask = np.zeros((16, 16, 1), np.uint8), np.zeros((16, 16), bool)
    mask[4:9, 5:10] = True
    drawn = (pictures.outline(image, mask, (255, 140, 0), size=16) == (255, 140, 0)).all(2)
    inner = mask.copy()
    inner[[4, 8], :] = inner[:, [5, 9]] = False
    np.testing.assert_array_equal(drawn, mask & ~inner)


def test_first_of_several_windows_is_shown() -> None:
    image = np.dstack([np.full((4, 4), level, np.uint8) for level in (10, 20, 30)])
    assert (pictures.overlay(image, np.zeros((4, 4), bool), np.zeros((4, 4), bool), 4) == 10).all()


def sheet_of(monkeypatch: pytest.MonkeyPatch, dice: list[float], clean: int = 1) -> dict[str, list]:
    """The rows of the patient sheet: patient n has 8 slices; on slices 2 to 2 + n there is blood."""
    rows = [{"patient": str(number), "slice": place} for number in range(len(dice) + clean) for place in range(1, 9)]
    table = pd.DataFrame(rows).assign(id=lambda each: each["patient"] + "_" + each["slice"].astype(str))
    number, place = table["patient"].astype(int), table["slice"]
    bleeds = (number < len(dice)) & (place >= 2) & (place <= 2 + number)
    masks = np.zeros((len(table), 2, 2), np.uint8)
    masks[bleeds.to_numpy()] = TRUTH
    slices = Slices(table, np.zeros((len(table), 2, 2, 1), np.uint8), masks)
    scores = pd.DataFrame({"patient": [str(n) for n in range(len(dice) + clean)]})
    scores["tp"], scores["fn"] = [1] * len(dice) + [0] * clean, 0
    scores["dice"] = dice + [np.nan] * clean
    kept: dict[str, list] = {}

    def keep(path: Path, rows: dict[str, list], title: str, legend: bool) -> None:
        assert title.startswith("dunet, threshold 0.50: ")
        kept.update(rows)

    monkeypatch.setattr(pictures, "contact_sheet", keep)
    pictures.patient_sheet(
        Path("unused.png"), slices, np.zeros((len(table), 2, 2), bool), scores, "dunet, threshold 0.50"
    )
    return {title: [caption for _, caption in tiles] for title, tiles in kept.items()}


def test_patient_sheet_shows_the_bleeding_slices_of_best_median_and_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    # by Dice: patient 1 (0.9), 0 (0.5), 2 (0.1); the clean patient 3 is not shown
    assert sheet_of(monkeypatch, [0.5, 0.9, 0.1]) == {
        "best: patient 1, Dice 0.90": ["1_2", "1_3"],
        "median: patient 0, Dice 0.50": ["0_2"],
        "worst: patient 2, Dice 0.10": ["2_2", "2_3", "2_4"],
    }


@pytest.mark.parametrize(("dice", "names"), [([0.5, 0.9], ["best", "worst"]), ([0.5], ["best"]), ([], [])])
def test_patient_sheet_of_few_patients(monkeypatch: pytest.MonkeyPatch, dice: list[float], names: list[str]) -> None:
    assert [title.split(":")[0] for title in sheet_of(monkeypatch, dice)] == names


def test_contact_sheet_is_a_png_with_rows_of_different_length(tmp_path: Path, grey: np.ndarray) -> None:
    tile = (np.zeros((8, 8, 3), np.uint8), "049_001")
    pictures.contact_sheet(tmp_path / "sheet.png", {"train": [tile] * 3, "test": []}, "Title", legend=True)
    assert cv2.imread(str(tmp_path / "sheet.png")).std() > 0


def history(runs: int, validated: list[int], folds: int = 1) -> dict[str, pd.DataFrame]:
    table = pd.DataFrame({"epoch": [1, 2, 3], "folds": folds})
    for name in ("loss", "dice", "iou"):
        table[f"{name}_mean"] = table[f"val_{name}_mean"] = [0.3, 0.2, 0.4]
        table[f"{name}_sd"] = table[f"val_{name}_sd"] = np.nan if folds == 1 else 0.1
        table.loc[~table["epoch"].isin(validated), f"val_{name}_mean"] = np.nan
    return {f"run{number}": table for number in range(runs)}


@pytest.mark.parametrize(
    ("name", "validated", "best"), [("dice", [1, 2, 3], 3), ("loss", [1, 2, 3], 2), ("dice", [2], 2)]
)
def test_best_epoch_is_marked_on_the_validation_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, validated: list[int], best: int
) -> None:
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    plots.fold_curves(tmp_path / "f.png", history(1, validated), name, "patient", colours.of_runs(["run0"]))
    axes = drawn[0].axes[0]
    star = next(line for line in axes.lines if line.get_marker() == "*")
    assert list(star.get_xdata()) == [best]
    assert axes.get_title() == "run0, 1 fold, split by patient"


def test_more_runs_than_colours_are_all_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number, drawn = len(colours.OTHERS) + 2, []
    colour_of = colours.of_runs(f"run{each}" for each in range(number))
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    plots.versus_curves(tmp_path / "v.png", history(number, [1, 2, 3], folds=3), "dice", "patient", colour_of)
    values = {f"run{each}": np.array([0.2, np.nan, 0.4]) for each in range(number)}
    plots.strips(tmp_path / "s.png", {"each patient": values}, "Dice", "title", colour_of)
    assert len(drawn[0].axes[0].lines) == number
    labels = [label.get_text() for label in drawn[1].axes[0].get_xticklabels()]
    assert labels[-1] == f"run{number - 1}\nmean 0.30\nn = 2"  # NaN is no value
    assert sum(line.get_marker() == "D" for line in drawn[1].axes[0].lines) == number


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_strips_of_one_value_and_of_none(tmp_path: Path) -> None:
    groups = {"each patient": {"unet": np.array([0.5]), "dunet": np.array([np.nan])}}
    plots.strips(tmp_path / "strips.png", groups, "Dice", "title", colours.KNOWN)
    assert (tmp_path / "strips.png").stat().st_size > 5000


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_curve_of_one_epoch_can_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, epochs: int) -> None:
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    rows = {"epoch": np.arange(1, epochs + 1), "folds": 1}
    for name in ("dice", "val_dice"):
        rows |= {f"{name}_mean": 0.5, f"{name}_sd": np.nan, name: 0.5}
    history = pd.DataFrame(rows)
    plots.versus_curves(tmp_path / "v.png", {"unet": history}, "dice", "patient", colours.KNOWN)
    plots.fold_curves(tmp_path / "f.png", {"unet": history}, "dice", "patient", colours.KNOWN)
    marked = [line.get_marker() for figure in drawn for line in figure.axes[0].lines if line.get_marker() != "*"]
    assert marked == [".", ".", "."] if epochs == 1 else marked == ["", "", ""]
    assert "one fold" in drawn[0].axes[0].get_title()
    ticks = drawn[0].axes[0].get_xticks()
    assert (ticks == ticks.round()).all()


def test_training_is_dashed_grey_and_validation_in_the_colour_of_its_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    plots.fold_curves(tmp_path / "f.png", {"dunet": history(1, [1, 2])["run0"]}, "dice", "patient", colours.KNOWN)
    training, validation = drawn[0].axes[0].lines[:2]
    assert (training.get_color(), training.get_linestyle()) == (colours.GREY, "--")
    assert (validation.get_color(), validation.get_linestyle()) == (colours.KNOWN["dunet"], "-")


def test_bland_altman_panels_share_axes_and_show_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All differences are far above zero, and those of one run are larger."""
    drawn = []
    monkeypatch.setattr(analysis_plots, "save", lambda figure, path: drawn.append(figure))
    blood = pd.DataFrame({"run": ["unet"] * 2 + ["dunet"] * 2, "volume_true_ml": [10.0, 20, 10, 20],
                          "volume_pred_ml": [40.0, 60, 90, 150]})  # fmt: skip
    limits = pd.DataFrame({"run": ["unet", "dunet"], "bias_ml": [35.0, 105], "lower_ml": [21.0, 36],
                           "upper_ml": [49.0, 174]})  # fmt: skip
    analysis_plots.bland_altman(tmp_path / "v.png", blood, limits, colours.KNOWN)
    first, second = drawn[0].axes
    assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())
    for axes, colour in ((first, colours.KNOWN["unet"]), (second, colours.KNOWN["dunet"])):
        assert axes.get_ylim()[0] < 0 < 174 < axes.get_ylim()[1]
        assert any(set(line.get_ydata()) == {0} for line in axes.lines)
        assert [line.get_color() for line in axes.lines if line.get_marker() == "o"] == [colour]


@pytest.mark.parametrize("name", ["a$x^$", "$\\frac$", "50%_{$"])
def test_dollar_signs_in_names_are_no_formulas(name: str, tmp_path: Path) -> None:
    curve, colour_of = history(1, [1, 2], folds=2)["run0"], colours.of_runs([name])
    plots.versus_curves(tmp_path / "v.png", {name: curve}, "dice", "patient", colour_of)
    plots.strips(tmp_path / "s.png", {name: {name: np.array([0.5, 0.7])}}, "Dice", f"run {name}", colour_of)
