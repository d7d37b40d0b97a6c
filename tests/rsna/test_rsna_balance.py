"""Slices drawn so that rare classes come more often, and what a run remembers of it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from rsna_runs import guesses, trained

import rsna_compare
from ich.base.errors import InputError
from ich.base.paths import Rsna
from ich.rsna import batches
from ich.rsna.batches import Batches, Change
from ich.rsna.layouts import LABELS, TYPES
from ich.scans.png import write_png

SIZE = 32


@pytest.mark.parametrize(
    ("targets", "balance", "shares"),
    [
        # Two classes, three slices and one: each class a half.
        ([[1, 0], [1, 0], [1, 0], [0, 1]], 1.0, [1 / 6, 1 / 6, 1 / 6, 1 / 2]),
        ([[1, 0], [1, 0], [1, 0], [0, 1]], 0.0, [1 / 4] * 4),
        # 1/sqrt(4) against 1/sqrt(1), of 4 / 2 + 1 = 3.
        ([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1]], 0.5, [1 / 6] * 4 + [1 / 3]),
        # Several labels: the rarest counts (`b` has two, `a` three); no label is a class of its own, of one.
        ([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]], 1.0, np.array([1 / 3, 1 / 3, 1 / 2, 1 / 2, 1]) / (8 / 3)),
    ],
)
def test_shares(targets: list, balance: float, shares: object) -> None:
    assert batches.shares(np.array(targets), balance) == pytest.approx(np.array(shares))


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Forty slices: 36 healthy, two epidural, two subdural; each with pixels of its own."""
    rows = pd.DataFrame({"id": [f"s{k:02d}" for k in range(40)], "class": "healthy"})
    rows.loc[36:37, "class"], rows.loc[38:, "class"] = "epidural", "subdural"
    for name in TYPES:
        rows[name] = (rows["class"] == name).astype(int)
    rows["any"] = rows[list(TYPES)].max(axis=1)
    for k, name in enumerate(rows["id"]):
        grey = np.zeros((SIZE, SIZE), np.uint8)
        cv2.circle(grey, (12, 20), 9, 60 + k, cv2.FILLED)
        write_png(Rsna(tmp_path).png("1_roi", name), grey)
    return rows[["id", "class", *LABELS]]


def drawn(table: pd.DataFrame, folder: Path, **how: object) -> Batches:
    return Batches(table, Rsna(folder), "1_roi", "multiclass", SIZE, 8, Change(20, 2 / SIZE), **how)


def test_rare_classes_come_as_often_and_a_slice_never_twice_the_same(table: pd.DataFrame, tmp_path: Path) -> None:
    balanced = drawn(table, tmp_path, balance=1.0)
    seen, images = [], []
    for epoch in range(1, 31):
        balanced.begin(epoch)
        for images_of, targets in (balanced[k] for k in range(len(balanced))):
            seen.append(targets.argmax(1))
            images += [each.tobytes() for each in images_of[targets[:, 0] == 0]]
    counts = np.bincount(np.concatenate(seen))
    assert (counts[counts > 0] / counts.sum()) == pytest.approx([1 / 3] * 3, abs=0.05)
    assert len(set(images)) > 0.95 * len(images)  # changed in another way each time, within an epoch too


def test_the_same_seed_draws_the_same_and_workers_change_nothing(table: pd.DataFrame, tmp_path: Path) -> None:
    sets = [drawn(table, tmp_path, balance=0.7, seed=3, workers=workers) for workers in (0, 2)]
    for each in sets:
        each.begin(2)
    for k in range(len(sets[0])):
        (images, targets), (others, other_targets) = (each[k] for each in sets)
        assert np.array_equal(images, others)
        assert np.array_equal(targets, other_targets)
    sets[1].close()
    plain = Batches(table, Rsna(tmp_path), "1_roi", "multiclass", SIZE, 8, balance=1.0)
    assert plain[4][1].argmax(1).tolist() == [0, 0, 0, 0, 1, 1, 5, 5]  # validation and test are never drawn


def test_balanced_and_plain_trainings_are_not_compared(tmp_path: Path) -> None:
    trained(tmp_path, "0_dicom2png", guesses(0.1), network="B0")
    files = trained(tmp_path, "1_roi", guesses(0.5), network="B0", balance=1.0)
    assert json.loads(files.run.read_text())["identity"]["balance"] == 1.0
    with pytest.raises(InputError, match=r"was trained otherwise than .*: balance 1\.0, there 0\.0"):
        rsna_compare.main(["--runs", str(tmp_path), "--reports", str(tmp_path / "reports")])
