"""Scores of whole scans: hand-worked."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rsna_runs import guesses, trained

from ich.base import record
from ich.base.files import read_csv, read_json, write_csv, write_json
from ich.rsna import compare, per_scan
from ich.rsna.compare import Result
from ich.rsna.layouts import LABELS
from ich.rsna.scores import Predicted

NOTHING = pd.DataFrame()


def predicted(types: list[int], prob_any: list[float]) -> Predicted:
    """LABELS of slices that are healthy (`types` 0) or epidural (1), and so probable."""
    truth, prob = np.zeros((2, len(types), 6))
    truth[:, 0], truth[:, 1] = types, types
    prob[:, 0], prob[:, 1] = prob_any, prob_any
    return Predicted(truth, prob, np.array(list("aaabbbccd")), multilabel=True)


# Patient a has a bleed in one slice of three, b none, c a bleed, d one slice of an unknown series.
ONE = predicted([0, 1, 0, 0, 0, 0, 1, 1, 1], [0.1, 0.9, 0.2, 0.6, 0.6, 0.6, 0.5, 0.4, 0.9])
SERIES = np.array(["s1", "s1", "s1", "s2", "s2", "s2", "s3", "s3", ""])


def result(*trainings: Predicted, series: np.ndarray = SERIES) -> Result:
    return Result("0_dicom2png", [], NOTHING, NOTHING, in_scans=trainings, series=series)


def scores_of(table: pd.DataFrame, kind: str) -> dict[str, float]:
    return table[table["type"] == kind].set_index("score")["auroc"].to_dict()


def test_mean_of_the_highest_of_each_scan():
    index = np.array([0, 1, 0, 0, 0, 1])
    values = np.array([[1.0], [7], [2], [3], [4], [9]])
    assert per_scan.by_scan(values, index, 1).ravel().tolist() == [4, 9]
    assert per_scan.by_scan(values, index, 3).ravel().tolist() == [3, 8]


def test_a_scan_has_what_any_of_its_slices_has():
    table = per_scan.table([result(ONE)], seed=0, draws=50)
    row = table[table["type"] == "any"].iloc[0]
    assert (row["scans"], row["with_it"]) == (3, 2)
    # s1 0.9, s2 0.6, s3 0.5: of the pairs (s1, s2) and (s3, s2) one is in order.
    assert scores_of(table, "any")[per_scan.HIGHEST] == 0.5
    # s1 0.4, s2 0.6, s3 0.45: none is.
    assert scores_of(table, "any")[per_scan.TOP_MEAN] == 0
    assert scores_of(table, "epidural") == scores_of(table, "any")
    assert np.isnan(scores_of(table, "subdural")[per_scan.HIGHEST])
    assert len(table) == 2 * len(LABELS)
    assert (row["auroc_low"], row["auroc_high"]) == (0, 1)


def test_trainings_are_averaged_and_multilabel_is_taken_as_it_is():
    truth = np.array([[1, 1, 0, 0, 0, 0]] + [[0] * 6] * 2)
    one, other = (Predicted(truth, np.repeat(np.array(any_)[:, None], 6, 1), np.array(list("abc")), multilabel=True)
                  for any_ in ([0.9, 0.1, 0.2], [0.1, 0.2, 0.05]))  # fmt: skip
    table = per_scan.table([result(one, other, series=np.array(["1", "2", "3"]))], seed=0, draws=20)
    assert scores_of(table, "any")[per_scan.HIGHEST] == pytest.approx((1 + 0.5) / 2)


def test_without_series_there_are_no_rows():
    table = per_scan.table([result(ONE, series=np.full(9, ""))], seed=0, draws=5)
    assert table.empty
    assert tuple(table.columns) == per_scan.COLUMNS


def test_a_scan_has_its_slices_of_several_types(tmp_path: Path) -> None:
    """They have no place among six classes, but whoever asks about the scan asks about them too."""
    files = trained(tmp_path, "0_dicom2png", guesses(0.9, patients=25))
    table = read_csv(files.predictions, (), "")
    table["series"] = table["patient"]
    healthy = table[table["class"] == "healthy"]
    both = healthy.iloc[:5].assign(id=[f"z{k}" for k in range(5)])
    both = both.assign(**{"class": "several", "any": 1, "epidural": 1, "subdural": 1})
    healthy = healthy.assign(id="h" + healthy["id"], series="of " + healthy["patient"])  # scans without blood
    for more, name in (
        (healthy, "0_dicom2png"),
        (pd.concat([healthy, both.assign(series=healthy["series"])]), "1_roi"),
    ):
        files = trained(tmp_path / name, name, guesses(0.9, patients=25))
        write_csv(files.predictions, pd.concat([table, more]))
        write_json(files.run, read_json(files.run) | {"results": record.fingerprints([files.predictions])})
    counts = []
    for name in ("0_dicom2png", "1_roi"):
        (found,) = compare.gather(tmp_path / name, "multiclass", 0)
        rows = per_scan.table([found], seed=0, draws=5).drop_duplicates("type").set_index("type")
        counts.append(rows.loc[["any", "epidural", "subdural", "subarachnoid"], "with_it"].tolist())
        assert rows["scans"].eq(50).all()
        assert len(found.ids) == len(found.trainings[0].truth) == 7 * 25
    assert counts == [[25, 25, 25, 25], [30, 30, 30, 25]]
