"""The verdict says Yes only where patients and folds agree, and names what it rests on."""

import pandas as pd
import pytest

from ich.report import verdict

NAN = float("nan")
PATIENTS, FOLDS = "patients, out of fold: Wilcoxon signed-rank", "folds: corrected resampled t"


def rows_of(patients: tuple | None, folds: tuple, a: str = "dunet", b: str = "unet") -> pd.DataFrame:
    """Rows of Dice and of IoU, which does not count: n, difference, interval, p; and n, difference, p."""
    rows = []
    if patients:
        n, mean, low, high, p = patients
        note = "too few pairs" if n < 6 else ""
        rows.append({"test": PATIENTS, "n": n, "mean_difference": mean, "ci_low": low, "ci_high": high, "p_holm": p,
                     "note": note})  # fmt: skip
    rows.append(dict(zip(("test", "n", "mean_difference", "p_holm"), (FOLDS, *folds), strict=True)))
    table = pd.DataFrame([{"a": a, "b": b, "metric": "dice", **row} for row in rows])
    return pd.concat([table, table.assign(metric="iou", p_holm=0.5)], ignore_index=True)


def only(tests: pd.DataFrame, trained: tuple = ()) -> verdict.Verdict:
    (found,) = verdict.verdicts(tests, trained)
    return found


@pytest.mark.parametrize(
    ("patients", "folds", "answer"),
    [
        ((36, 0.05, 0.02, 0.08, 0.001), (10, 0.05, 0.01), "Yes"),
        ((12, 0.05, 0.02, 0.08, 0.001), (3, 0.05, 0.418), "Probably"),
        ((36, 0.05, 0.02, 0.08, 0.001), (1, 0.05, NAN), "Probably"),
        ((36, 0.05, 0.02, 0.08, 0.001), (10, -0.01, 0.7), "Not shown"),
        ((36, 0.05, 0.02, 0.08, 0.001), (10, -0.05, 0.01), "Not shown"),
        ((36, 0.05, -0.01, 0.08, 0.03), (10, 0.05, 0.01), "Not shown"),
        ((36, 0.05, 0.02, 0.08, 0.06), (10, 0.05, 0.01), "Not shown"),
        ((36, 0.0, 0.0, 0.0, 1.0), (10, 0.0, 1.0), "Not shown"),
        ((5, 0.05, 0.02, 0.08, 0.06), (10, 0.05, 0.01), "Too few patients"),
        ((0, NAN, NAN, NAN, NAN), (10, 0.05, 0.01), "Too few patients"),
        (None, (10, 0.05, 0.01), "Yes"), (None, (10, 0.05, 0.2), "Not shown"), (None, (1, 0.05, NAN), "Too few folds"),
        (None, (2, 0.0, 1.0), "Not shown"),
    ],
)  # fmt: skip
def test_answer(patients: tuple | None, folds: tuple, answer: str) -> None:
    found = only(rows_of(patients, folds))
    assert found.answer == answer
    assert found.question == "Is dunet better than unet?"


DIFFERENCE = "mean Dice +0.050 (95 % interval +0.020 to +0.080) over 12 patients with blood, p = 0.001"
UNSURE = "mean Dice +0.050 (95 % interval -0.010 to +0.080) over 12 patients with blood, p = 0.3"
ONE_TRAINING = "one training of each fold, so chance between trainings is not accounted for."


@pytest.mark.parametrize(
    ("patients", "folds", "reason"),
    [
        ((12, 0.05, 0.02, 0.08, 0.001), (3, 0.04, 0.01), f"Yes: {DIFFERENCE}; the 3 folds agree (+0.040, p = 0.01)"),
        ((12, 0.05, 0.02, 0.08, 0.001), (3, 0.04, 0.418),
         f"Probably: {DIFFERENCE}; the 3 folds do not confirm it (+0.040, p = 0.42)"),
        ((12, 0.05, 0.02, 0.08, 0.001), (3, -0.03, 0.01),
         f"Not shown: {DIFFERENCE}; the 3 folds point the other way (-0.030, p = 0.01)"),
        ((12, 0.05, -0.01, 0.08, 0.3), (3, 0.04, 0.01), f"Not shown: {UNSURE}; over the 3 folds +0.040, p = 0.01"),
        ((12, 0.05, -0.01, 0.08, 0.3), (3, -0.04, 0.7), f"Not shown: {UNSURE}; over the 3 folds -0.040, p = 0.7"),
        ((12, 0.05, 0.02, 0.08, 0.001), (1, 0.04, NAN), f"Probably: {DIFFERENCE}; 1 fold, too few for a test"),
        (None, (10, 0.04, 0.2), "Not shown: over the 10 folds +0.040, p = 0.2"),
    ],
)  # fmt: skip
def test_the_reasons_are_named(patients: tuple | None, folds: tuple, reason: str) -> None:
    assert str(only(rows_of(patients, folds))) == f"Is dunet better than unet? {reason}; {ONE_TRAINING}"


def test_the_folds_are_signed_as_the_network_that_is_asked_about() -> None:
    found = only(rows_of((36, -0.05, -0.08, -0.02, 0.001), (10, 0.03, 0.01)))
    assert found[:2] == ("Is unet better than dunet?", "Not shown")
    assert "the 10 folds point the other way (-0.030, p = 0.01)" in found.reason


def test_the_network_with_the_higher_mean_is_asked_about() -> None:
    found = only(rows_of((36, -0.05, -0.08, -0.02, 0.001), (10, -0.05, 0.01)))
    assert found[:2] == ("Is unet better than dunet?", "Yes")
    assert "mean Dice +0.050 (95 % interval +0.020 to +0.080)" in found.reason


def test_of_more_than_two_networks_p_is_corrected() -> None:
    pairs = [("dunet", "unet"), ("mine", "unet"), ("mine", "dunet")]
    tests = [rows_of((36, 0.05, 0.02, 0.08, 0.03), (10, 0.05, 0.01), *pair) for pair in pairs]
    found = verdict.verdicts(pd.concat(tests), ())
    assert [each.question for each in found] == [f"Is {a} better than {b}?" for a, b in pairs]
    assert all("p = 0.03, corrected for 3 comparisons" in each.reason for each in found)


def test_repeated_trainings_and_runs_that_are_unlike_are_named() -> None:
    unet = {"run": "unet", "epochs": 60, "filters": 32, "precision": "float32", "repeats": 3, "hours": 1}
    dunet = {"run": "dunet", "epochs": 120, "filters": 32, "precision": "mixed_bfloat16", "repeats": 2, "hours": 2}
    reason = only(rows_of((36, 0.05, 0.02, 0.08, 0.001), (10, 0.05, 0.01)), trained=(unet, dunet)).reason
    assert reason.endswith(
        "; not trained alike (epochs 120 and 60, precision mixed_bfloat16 and float32, repeats 2 and 3); means over 2 "
        "trainings of each fold"
    )


def test_a_single_run_has_no_verdict() -> None:
    assert verdict.verdicts(pd.DataFrame(columns=["test", "a", "b", "metric"]), ()) == []
