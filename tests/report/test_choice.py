"""The operating point that a run's out-of-fold counts lead to, each case worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import write_csv, write_json
from ich.report import choice, folds
from ich.score.operating import FIXED, Point

BLOOD, CLEAN = [f"b{k}" for k in range(6)], [f"c{k}" for k in range(6)]
LESION = 100  # voxels of the true lesion of each patient with blood


def row(patient: str, threshold: float, tp: int = 0, fp: int = 0, size: float = 0.0, **given: float) -> dict:
    """A row of valid_operating.csv; voxels of 1 mm3."""
    blood = LESION if patient.startswith("b") else 0
    counts = {"tp": tp, "fp": fp, "fn": blood - tp, "tn": 1000 - fp - blood}
    lesions = {"lesions_true": int(blood > 0), "lesions_found": int(tp > 0), "lesions_invented": 0}
    return {
        "patient": patient, "voxel_mm3": 1.0, "threshold": threshold, "min_lesion_mm3": size, **counts, **lesions,
        **given,
    }  # fmt: skip


def chosen(rows: list[dict]) -> choice.Choice:
    return choice.choose(choice.by_patient(pd.DataFrame(rows)))


def candidates(rows: list[dict], point: Point) -> pd.DataFrame:
    return choice.candidates(choice.by_patient(pd.DataFrame(rows)), point)


# Each patient with blood: tp, fp at the thresholds; Dice = 2 tp / (tp + fp + 100).
# 100, 0 -> 1; 99, 0 -> 198/199 = 0.995; 98, 0 -> 196/198 = 0.9899; 90, 0 -> 180/190 = 0.947
def rows_of(blood: dict[float, tuple[int, int]], clean: dict[float, int], spacing: float = 1.0) -> list[dict]:
    rows = [row(name, t, *counts, voxel_mm3=spacing) for name in BLOOD for t, counts in blood.items()]
    return rows + [row(name, t, 0, fp, voxel_mm3=spacing) for name in CLEAN for t, fp in clean.items()]


THRESHOLD_CASES = {
    "best Dice far ahead": ({0.25: (100, 0), 0.5: (90, 0), 0.75: (80, 0)}, {0.25: 9, 0.5: 5, 0.75: 1}, 0.25),
    "0.995 is within 0.01 of 1 and saves false alarms": (
        {0.25: (100, 0), 0.5: (100, 0), 0.75: (99, 0)}, {0.25: 9, 0.5: 5, 0.75: 1}, 0.75),
    "0.9899 is not": ({0.25: (100, 0), 0.5: (100, 0), 0.75: (98, 0)}, {0.25: 9, 0.5: 5, 0.75: 1}, 0.5),
    "equal false alarms: the higher Dice": (
        {0.25: (100, 0), 0.5: (90, 0), 0.75: (99, 0)}, {0.25: 5, 0.5: 5, 0.75: 5}, 0.25),
    "all equal: 0.5": ({0.25: (90, 0), 0.5: (90, 0), 0.75: (90, 0)}, {0.25: 5, 0.5: 5, 0.75: 5}, 0.5),
    "of equal ones the middle": (
        {0.125: (100, 0), 0.25: (100, 0), 0.375: (100, 0), 0.5: (50, 0)}, {0.125: 5, 0.25: 5, 0.375: 5, 0.5: 5}, 0.25),
    "no clean patients: Dice alone": ({0.25: (100, 0), 0.5: (90, 0), 0.75: (99, 0)}, {}, 0.25),
    "a network that finds nothing": ({0.25: (0, 0), 0.5: (0, 0), 0.75: (0, 0)}, {0.25: 0, 0.5: 0, 0.75: 0}, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", THRESHOLD_CASES)
@pytest.mark.parametrize("spacing", [1.0, np.nan], ids=["known spacing", "pixels"])
def test_threshold_worked_by_hand(name: str, spacing: float) -> None:
    blood, clean, expected = THRESHOLD_CASES[name]
    rows = rows_of(blood, clean, spacing)
    found, table = chosen(rows), candidates(rows, Point(expected))
    assert found.point == Point(expected, 0)
    patients = f"{6 + 6 * bool(clean)} patients, 6 of them with blood"
    assert found.threshold_is.endswith(f"out of fold on {patients}")
    assert table["false_positive_ml_per_clean_patient"].notna().all() == (spacing == 1 and bool(clean))
    assert table.loc[table["chosen"], "threshold"].tolist() == [expected]


@pytest.mark.parametrize(("lost", "expected"), [(1, 0.75), (2, 0.5)])
def test_false_alarms_are_not_saved_at_the_price_of_found_lesions(lost: int, expected: float) -> None:
    """At 0.75 the Dice is the same and nothing is false, but of 24 found lesions, four a patient, `lost` are missed."""
    rows = [row(name, 0.5, 90, lesions_found=4) for name in BLOOD] + [row(name, 0.5, 0, 9) for name in CLEAN]
    rows += [row(name, 0.75, 90, lesions_found=4 - (k < lost)) for k, name in enumerate(BLOOD)]
    rows += [row(name, 0.75) for name in CLEAN]
    assert chosen(rows).point.threshold == expected


def test_millilitres_count_not_pixels() -> None:
    """At 0.25 one clean patient has 9 voxels of 1 mm3, at 0.75 each has 2 of which those of another are of 100 mm3."""
    blood = dict.fromkeys((0.25, 0.5, 0.75), (100, 0))
    rows = rows_of(blood, {})
    for k, name in enumerate(CLEAN):
        large = 100.0 if k == 0 else 1.0
        fps = {0.25: 9 * (k > 0), 0.5: 9 * (k > 0) + 9, 0.75: 2}
        rows += [row(name, t, 0, fp, voxel_mm3=large) for t, fp in fps.items()]
    # ml: 0.25 45 mm3, 0.75 200 + 10; pixels: 0.25 45, 0.75 12
    assert chosen(rows).point.threshold == 0.25
    assert chosen([each | {"voxel_mm3": np.nan} for each in rows]).point.threshold == 0.75


@pytest.mark.parametrize(("better", "expected"), [(6, 0.25), (5, 0.5)])
def test_better_dice_must_be_so_in_enough_patients(better: int, expected: float) -> None:
    """0.25 is better than 0.5 by 0.05 in `better` of six patients: of five non-zero differences nothing is sure."""
    rows = [row(name, 0.25, 100) for name in BLOOD]
    rows += [row(name, 0.5, 90 if k < better else 100) for k, name in enumerate(BLOOD)]
    assert chosen(rows).point.threshold == expected
    assert ("no other was clearly better" in chosen(rows).threshold_is) == (expected == 0.5)


def test_dice_that_gains_and_loses_is_noise() -> None:
    """0.25 gains 0.33 in three patients and loses 0.18 in three: better by 0.08 in the mean, not beyond noise."""
    rows = [row(name, 0.25, 100 if k < 3 else 50) for k, name in enumerate(BLOOD)]
    rows += [row(name, 0.5, 50 if k < 3 else 70) for k, name in enumerate(BLOOD)]
    assert chosen(rows).point.threshold == 0.5


def test_repeated_trainings_count_a_patient_once() -> None:
    """b0 was predicted three times, and 0.25 found nothing in it; as three patients it would turn the mean."""
    rows = [row(name, 0.25, 100) for name in BLOOD[1:]] + [row(name, 0.5, 75) for name in BLOOD[1:]]
    rows += 3 * [row("b0", 0.25, 70), row("b0", 0.5, 75)]
    found = chosen(rows)
    means = candidates(rows, found.point).set_index("threshold")["dice_mean"]
    assert means[0.25] == pytest.approx((5 + 140 / 170) / 6)
    assert found.threshold_is.endswith("on 6 patients, 6 of them with blood")


@pytest.mark.parametrize("number", [0, 5])
def test_few_patients_with_blood_choose_nothing(number: int) -> None:
    rows = rows_of({0.25: (100, 0), 0.5: (10, 0)}, {0.25: 0, 0.5: 9})
    rows = [each for each in rows if each["patient"] not in BLOOD[number:]]
    found = chosen(rows)
    assert found.point == FIXED
    assert f"{number} patients with blood are too few" in found.threshold_is
    assert candidates(rows, FIXED).set_index("threshold")["chosen"].to_dict() == {0.25: False, 0.5: True}


# Of the 20 patients with blood each has `found` lesions with nothing removed.
def sized(changed: dict[str, dict], **larger: float) -> list[dict]:
    """20 patients with blood and 6 clean ones, sizes 0 and 30 at 0.5: 30 removes all invented lesions.

    `changed`: what differs at 30 in single patients; `larger`: what differs at 30 in all with blood.
    """
    rows = []
    for name in [f"b{k}" for k in range(20)]:
        rows.append(row(name, 0.5, 80, 20, lesions_invented=2))
        rows.append(row(name, 0.5, **({"tp": 80, "fp": 10} | larger | changed.get(name, {})), size=30.0))
    for name in CLEAN:
        rows += [row(name, 0.5, 0, 9, lesions_invented=3), row(name, 0.5, 0, 0, size=30.0)]
    return rows


SIZE_CASES = {
    "invented lesions go, found ones stay": ({}, {}, 30),
    "Dice falls by 0.010": ({}, {"tp": 79, "fp": 20}, 30),  # 160/200 = 0.800, 158/199 = 0.794
    "Dice falls by more": ({}, {"tp": 77, "fp": 20}, 0),  # 154/197 = 0.782
    "a patient loses all of the blood found": ({"b3": {"tp": 0, "fp": 0}}, {"tp": 100, "fp": 0}, 0),
    "one of 20 found lesions is lost": ({"b3": {"tp": 80, "lesions_found": 0}}, {}, 30),
    "two of 20": ({"b3": {"tp": 80, "lesions_found": 0}, "b4": {"tp": 80, "lesions_found": 0}}, {}, 0),
    "nothing invented is removed": ({}, {"lesions_invented": 2}, 30),  # those in clean patients are
}


@pytest.mark.parametrize("name", SIZE_CASES)
def test_size_worked_by_hand(name: str) -> None:
    changed, larger, expected = SIZE_CASES[name]
    rows = sized(changed, **larger)
    assert chosen(rows).point == Point(0.5, expected)
    table = candidates(rows, Point(0.5, expected)).set_index("min_lesion_mm3")
    assert table["chosen"].to_dict() == {0: expected == 0, 30: expected == 30}
    assert (table.loc[0, "lesions_invented"], table.loc[0, "lesions_found"]) == (20 * 2 + 6 * 3, 20)


def test_of_sizes_that_leave_equally_many_the_smallest_is_taken() -> None:
    rows = sized({})
    rows += [each | {"min_lesion_mm3": 100.0} for each in rows if each["min_lesion_mm3"] == 30]
    assert chosen(rows).point.min_lesion_mm3 == 30
    nothing = [each | {"lesions_invented": 0} for each in rows]
    assert chosen(nothing).point.min_lesion_mm3 == 0


def test_unknown_spacing_leaves_the_size_out() -> None:
    rows = [each | {"voxel_mm3": np.nan} for each in sized({}) if each["min_lesion_mm3"] == 0]
    found = chosen(rows)
    assert found.point.min_lesion_mm3 == 0
    assert found.size_is == "not chosen, since the spacing of the slices is unknown"
    text = found.text(networks=1)
    assert text.startswith("threshold 0.50: chosen out of fold on 26 patients")
    assert text.endswith("; nothing removed: not chosen, since the spacing of the slices is unknown")


@pytest.fixture
def run(tmp_path: Path) -> folds.Run:
    """Two folds with twelve patients, whose best point is 0.25 and nothing removed."""
    rows = pd.DataFrame(rows_of({0.25: (100, 0), 0.5: (90, 0), 0.75: (80, 0)}, {0.25: 1, 0.5: 0, 0.75: 0}))
    for fold, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :]), start=1):
        training = paths.Training(tmp_path / "patient" / "dunet" / paths.fold_name(fold))
        write_csv(training.operating, part)
        zero = part.drop_duplicates("patient").assign(threshold=0.0, tp=1000)  # every pixel is blood
        fine = part.assign(threshold=part["threshold"] + 1 / 256, tp=100, fn=0)
        thresholds = pd.concat([part, zero, fine])
        write_csv(training.thresholds, thresholds[["patient", "threshold", "tp", "fp", "fn", "tn"]])
        write_json(training.run, {"identity": {"protocol": "patient", "part": str(fold)}})
    return folds.gather(tmp_path, "patient")[0]


def test_run_of_an_earlier_version_gets_the_same_threshold_and_no_size(run: folds.Run) -> None:
    now = choice.of_run(run)
    assert now.point == Point(0.25, 0)
    run.trainings[1].operating.unlink()
    older = choice.of_run(run)
    assert older.point == now.point
    assert older.threshold_is == now.threshold_is
    assert older.size_is.startswith("not chosen, since a fold was trained by an earlier version")
    table = choice.candidates_of(run)
    assert table["lesions_found"].isna().all()
    assert table.loc[table["chosen"], "threshold"].tolist() == [0.25]


def test_table_that_was_lost_is_refused(run: folds.Run) -> None:
    training = run.trainings[0]
    write_json(training.run, {"identity": {"protocol": "patient"}, "results": {training.operating.name: "0"}})
    training.operating.unlink()
    with pytest.raises(InputError, match=r"valid_operating\.csv: not found; .*main_kfold\.py"):
        choice.of_run(run)


def test_split_by_slice_keeps_one_half(tmp_path: Path) -> None:
    training = paths.Training(tmp_path / "slice" / "dunet" / "fold_01")
    write_json(training.run, {"identity": {"protocol": "slice", "part": "1"}})
    found = choice.of_run(folds.gather(tmp_path, "slice")[0])
    assert (found.point, found.threshold_is) == (FIXED, "default")


CHOSEN = choice.Choice(Point(0.25, 30), "chosen out of fold on 9 patients", "chosen out of fold on 9 patients")


@pytest.mark.parametrize(
    ("threshold", "size", "point", "text"),
    [
        (None, None, (0.25, 30), "threshold 0.25, components below 30 mm3 removed: chosen out of fold on 9 patients, "
         "for single networks; the mean of 3 gives less extreme probabilities"),
        (0.25, None, (0.25, 30), "threshold 0.25: given; components below 30 mm3 removed: chosen out of fold on 9 "
         "patients, for single networks; the mean of 3 gives less extreme probabilities"),
        (0.5, None, (0.5, 0), "threshold 0.50: given; nothing removed: the choice was for threshold 0.25"),
        (None, 0.0, (0.25, 0), "threshold 0.25: chosen out of fold on 9 patients; nothing removed: given, for single "
         "networks; the mean of 3 gives less extreme probabilities"),
        (0.5, 7.5, (0.5, 7.5), "threshold 0.50, components below 7.5 mm3 removed: given"),
    ],
)  # fmt: skip
def test_what_a_user_gives_replaces_the_choice(
    threshold: float | None, size: float | None, point: tuple[float, float], text: str
) -> None:
    """A size was chosen for its threshold, so another threshold goes without."""
    found = CHOSEN.replaced(threshold, size)
    assert found.point == Point(*point)
    assert found.text(networks=3) == text
