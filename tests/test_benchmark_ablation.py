"""The benchmark that leaves out groups of what makes phantoms varied."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import models
from benchmarks import phantom_ablation as ablation
from ich.data.pixels import Slices
from ich.phantom import style
from ich.phantom.head import make_patient


def test_heads_are_counted_by_patient():
    table = pd.DataFrame({"patient": ["a", "a", "b"], "spacing_row_mm": 1.0, "spacing_column_mm": 2.0,
                          "spacing_slice_mm": 5.0})  # fmt: skip
    masks, found = np.zeros((3, 4, 4), np.uint8), np.zeros((3, 4, 4), bool)
    masks[0, 0], found[0, 0, :2], found[1, 0, :2], found[2, :3, 0] = 1, True, True, True
    heads = ablation.by_head(Slices(table, masks[..., None], masks), found)
    assert heads["blood"].to_dict() == {"a": True, "b": False}
    assert heads.loc["a", "dice"] == pytest.approx(2 * 2 / (4 + 4))
    assert heads.loc["b", "false_ml"] == pytest.approx(0.03)
    assert ablation.summary(heads, 0) == {"n": 1, "dice": 0.5, "low": 0.5, "high": 0.5, "clean_ml": pytest.approx(0.03)}


@pytest.mark.parametrize("group", style.GROUPS)
def test_a_group_left_out_is_as_in_plain_heads_and_the_others_stay(group: str):
    looks = [style.look("calibrated", 40, np.random.default_rng(3), without) for without in ("", group)]
    for name in vars(style.PLAIN):
        expected = style.PLAIN if name in style.GROUPS[group] else looks[0]
        assert getattr(looks[1], name) == getattr(expected, name), name


def test_all_that_is_drawn_belongs_to_a_group():
    grouped = [name for names in style.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(vars(style.PLAIN))


def test_without_blood_means_plain_bleedings():
    heads = [make_patient(5, 1, 32, *arm) for arm in (("calibrated", ""), ("calibrated", style.BLOOD), ("plain", ""))]
    kinds = [
        {name for row in head.slices for name, flag in row.items() if flag and name != "fracture"} for head in heads
    ]
    assert kinds[1] == kinds[2]
    assert not np.array_equal(heads[0].hu, heads[1].hu)


def test_arms_are_trained_and_tested_on_both_styles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(models, "LEVELS", 2)
    flags = ["--heads", "8", "--test-heads", "4", "--folds", "2", "--size", "32", "--filters", "2", "--patch", "16",
             "--epochs", "1", "--arms", "calibrated", "without scanner"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["x.py", "--work", str(tmp_path), "--results", str(tmp_path), *flags])
    ablation.main()
    table = pd.read_csv(tmp_path / "ablation.csv")
    assert table["trained_on"].tolist() == ["calibrated", "without scanner"]
    assert table[["calibrated_n", "plain_n"]].to_numpy().min() >= 1
    assert "trained on without scanner, tested on plain" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.keras")}
    ablation.main()
    assert len(before) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
