"""When the comparison of variants gives no answer: it says so, prints no differences, and the plot is grey."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from rsna_runs import guesses, trained

import rsna_compare
from ich.base.files import read_csv, read_json
from ich.rsna import compare, doubts, plots, split
from ich.rsna.layouts import CLASSES, LABELS

HEALTHY = np.tile(np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1]), (180, 1))  # whatever the slice
CHANCE = guesses(0, seed=7)
KNOWING = guesses(0.5)


def compared(runs: Path) -> Path:
    rsna_compare.main(["--runs", str(runs), "--reports", str(runs / "reports")])
    return runs / "reports" / "rsna"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures by file name."""
    figures = {}
    save = plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.update({path.name: figure}) or save(figure, path))
    return figures


def colours_of(figure: Figure) -> list[set[str]]:
    """Of the intervals of each line of the plot, from above."""
    lines = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 2]
    rows = sorted({line.get_ydata()[0] for line in lines if line.get_ydata()[0] == line.get_ydata()[1]})
    return [{mpl.colors.to_hex(line.get_color()).upper() for line in lines if list(line.get_ydata()) == [row, row]}
            for row in rows]  # fmt: skip


@pytest.mark.parametrize(
    ("prob", "reason"),
    [
        (HEALTHY, "calls every slice healthy"),
        (CHANCE, "has an AUROC of 0."),
        (1 - 2 / 3 * KNOWING, "has an AUROC of 0.0"),  # worse than chance is none either
    ],
)
def test_a_variant_that_has_learned_nothing_is_grey(
    prob: np.ndarray, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: dict[str, Figure]
) -> None:
    trained(tmp_path, "0_dicom2png", guesses(0.1))
    trained(tmp_path, "1_roi", prob)
    trained(tmp_path, "2_roi_clahe", guesses(0.9))
    folder = compared(tmp_path)
    told = capsys.readouterr().out
    assert f"o answer about 1_roi: {reason}" in told
    assert "1_roi - 0_dicom2png" not in told
    assert "2_roi_clahe - 0_dicom2png: balanced accuracy +" in told
    grey, clear = colours_of(drawn["answer.png"])
    assert grey == {plots.VOID}
    assert clear == {plots.BETTER}
    assert list(read_json(folder / "run.json")["no_answer"]) == ["1_roi"]
    assert read_csv(folder / "differences.csv", (), "")["variant"].tolist() == ["1_roi", "2_roi_clahe"]


def test_a_baseline_that_has_learned_nothing_makes_all_grey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: dict[str, Figure]
) -> None:
    for name, prob in (("0_dicom2png", HEALTHY), ("1_roi", KNOWING), ("2_roi_clahe", KNOWING)):
        trained(tmp_path, name, prob)
    compared(tmp_path)
    told = capsys.readouterr().out
    assert "No answer about 1_roi, 2_roi_clahe: 0_dicom2png calls every slice healthy" in told
    assert "balanced accuracy +" not in told
    assert "balanced accuracy -" not in told
    assert colours_of(drawn["answer.png"]) == [{plots.VOID}] * 2


def test_few_patients_make_all_grey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: dict[str, Figure]
) -> None:
    trained(tmp_path, "0_dicom2png", guesses(0.1, patients=19))
    trained(tmp_path, "1_roi", guesses(0.9, patients=19))
    compared(tmp_path)
    told = capsys.readouterr().out
    assert "No answer about 1_roi: 19 test patients, fewer than 20" in told
    assert "1_roi - 0_dicom2png" not in told
    assert colours_of(drawn["answer.png"]) == [{plots.VOID}]
    trained(tmp_path / "more", "0_dicom2png", guesses(0.1, patients=20))
    trained(tmp_path / "more", "1_roi", guesses(0.9, patients=20))
    compared(tmp_path / "more")
    assert "1_roi - 0_dicom2png" in capsys.readouterr().out


def test_repeats_are_shown_together(tmp_path: Path, drawn: dict[str, Figure]) -> None:
    for repeat in (1, 2, 3):
        trained(tmp_path, "0_dicom2png", guesses(0.1, seed=repeat), repeat)
        trained(tmp_path, "1_roi", guesses(0.6, seed=10 + repeat), repeat)
    trained(tmp_path, "2_roi_clahe", guesses(0.6))
    results = compare.gather(tmp_path, "multiclass", 0)
    seeds = compare.by_seed(results)
    assert [len(seeds[name]) for name in ("1_roi", "2_roi_clahe")] == [3, 1]
    table = read_csv(compared(tmp_path) / "differences.csv", (), "").set_index("variant")
    assert seeds["1_roi"]["auroc"].mean() == pytest.approx(table.loc["1_roi", "auroc"], rel=1e-4)
    figure = drawn["answer.png"]
    dots = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert [sorted(line.get_xdata()) for line in dots] == [sorted(seeds["1_roi"]["accuracy"])]
    assert "means over 1 to 3 trainings (small dots: each)" in figure.get_suptitle()
    assert drawn["confusion.png"].get_suptitle().endswith("; first training")


def test_trainings_are_paired_by_their_seed(tmp_path: Path) -> None:
    """The first of 1_roi is still running, or was stopped; the second of both began with the same weights."""
    for repeat in (1, 2):
        trained(tmp_path, "0_dicom2png", guesses(0.1 * repeat, seed=repeat), repeat)
    trained(tmp_path, "1_roi", guesses(0.5, seed=3), 2)
    folder = compared(tmp_path)
    base, roi = compare.gather(tmp_path, "multiclass", 0)
    assert [list(each.whole.index) for each in (base, roi)] == [[0, 1], [1]]
    (difference,) = compare.by_seed([base, roi])["1_roi"]["auroc"]
    assert difference == pytest.approx(roi.whole["auroc"].iloc[0] - base.whole["auroc"].iloc[1])
    row = read_csv(folder / "differences.csv", (), "").iloc[0]
    second = compare.mcnemar(roi.trainings[0].right, base.trainings[1].right)
    assert {name: row[name] for name in ("only_this_right", "only_baseline_right")} == {
        name: second[name] for name in ("only_this_right", "only_baseline_right")
    }
    assert (folder / "report.html").exists()


def test_neighbours_alone_are_asked_about_alone(
    tmp_path: Path, drawn: dict[str, Figure], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, "1_roi", guesses(0.2))
    trained(tmp_path, "1_roi_neighbours", guesses(0.5), neighbours=1)
    compared(tmp_path)
    title = drawn["answer.png"].get_suptitle()
    assert title.startswith("Do neighbouring slices help? Difference from the same variant without neighbours, 95 %")
    assert "no differences for some variants: train 0_dicom2png too, with the flags" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "needed"),
    [(("1_roi",), "0_dicom2png"), (("1_roi", "2_roi_clahe"), "0_dicom2png"), (("1_roi_neighbours",), "1_roi"),
     (("0_dicom2png",), "another variant")],
)  # fmt: skip
def test_what_is_lacking_for_a_comparison_is_named(
    tmp_path: Path, names: tuple[str, ...], needed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        trained(tmp_path, name, guesses(0.2))
    folder = compared(tmp_path)
    assert f"no differences: train {needed} too, with the flags of the others" in capsys.readouterr().out
    assert f"Nothing to compare yet: train {needed} too" in (folder / "report.html").read_text(encoding="utf-8")


def test_one_collapsed_repeat_spoils_the_mean(tmp_path: Path) -> None:
    trained(tmp_path, "1_roi", KNOWING)
    trained(tmp_path, "1_roi", HEALTHY, repeat=2)
    (result,) = compare.gather(tmp_path, "multiclass", 0)
    assert doubts.learned_nothing(result) == "calls every slice healthy in 1 of 2 trainings"


def test_the_legend_explains_the_steps(tmp_path: Path, drawn: dict[str, Figure]) -> None:
    trained(tmp_path, "0_dicom2png", guesses(0.1))
    trained(tmp_path, "4_roi_noblank", guesses(0.5))
    compared(tmp_path)
    (legend,) = drawn["answer.png"].legends
    assert "noblank: saturated bone (grey level 255) made black" in legend.get_title().get_text()


def test_missing_classes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = trained(tmp_path, "0_dicom2png", KNOWING, lacking={"valid": ["epidural"]})
    compared(tmp_path)
    assert "no slices of epidural in valid; means" in capsys.readouterr().out
    table = read_csv(files.predictions, (), "")
    assert split.lacking(table, "multiclass", ("test",)) == {}
    few = table[~table["class"].isin(["healthy", "subdural"])]
    assert split.lacking(few, "multiclass") == {"train": [*CLASSES], "test": ["healthy", "subdural"],
                                                "valid": [*CLASSES]}  # fmt: skip
    assert split.lacking(few, "multilabel", ("test",)) == {"test": ["subdural"]}
    assert split.lacking(few[:0], "multilabel", ("test",)) == {"test": [*LABELS]}
    line = split.lacking_line({"train": ["epidural"], "test": ["healthy", "subdural"]})
    assert line == "no slices of epidural in train; of healthy, subdural in test"
