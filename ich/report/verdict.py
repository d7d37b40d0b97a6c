"""Is one network better than another? One word, and in one sentence what it rests on."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

ALPHA = 0.05
LEAST_P = 0.001  # smaller ones are not told apart
YES, PROBABLY, NOT_SHOWN, TOO_FEW = "Yes", "Probably", "Not shown", "Too few"
# Of what `trained` says of each run: these differ between runs without making them unlike.
OF_ITS_OWN = ("run", "network", "parameters", "folds", "hours")


class Verdict(NamedTuple):
    """Question, answer and reason of one pair of runs."""

    question: str
    answer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.question} {self.answer}: {self.reason}."


def verdicts(tests: pd.DataFrame, trained: Sequence[Mapping[str, object]]) -> list[Verdict]:
    """One for each pair of runs, by Dice.

    `tests` is that of comparison.tests_between, `trained` has the settings of each run. By patient the answer is YES
    where the interval over patients excludes zero, the corrected p-value is below ALPHA, and the test over folds agrees
    in sign and is below ALPHA too; PROBABLY where it agrees in sign only. By slice the test over folds alone decides.
    """
    dice = tests[tests["metric"] == "dice"] if len(tests) else tests
    pairs = dict.fromkeys(zip(dice["a"], dice["b"], strict=True))
    runs = {str(run["run"]): run for run in trained}
    found = []
    for a, b in pairs:
        rows = dice[(dice["a"] == a) & (dice["b"] == b)]
        by_patient = rows["test"].str.startswith("patients")
        patients = rows[by_patient].iloc[0] if by_patient.any() else None
        folds = rows[~by_patient].iloc[0]
        primary = folds if patients is None else patients
        if primary["mean_difference"] < 0:
            a, b = b, a
        answer, reason = _by_slice(folds, len(pairs)) if patients is None else _by_patient(patients, folds, len(pairs))
        if unlike := differences(runs.get(a, {}), runs.get(b, {})):
            reason += f"; not trained alike ({unlike})"
        reason += "".join(f"; masks of {name} were given" for name in (a, b) if is_given(runs.get(name, {})))
        seeds = _seeds([runs.get(name, {}) for name in (a, b)])
        found.append(Verdict(f"Is {a} better than {b}?", answer, reason + f"; {seeds}" * bool(seeds)))
    return found


def differences(a: Mapping[str, object], b: Mapping[str, object]) -> str:
    """In what two runs were not trained alike: `epochs 60 and 120, precision float32 and mixed_bfloat16`."""
    names = [name for name in a if name in b and name not in OF_ITS_OWN and a[name] != b[name]]
    names = [name for name in names if None not in (a[name], b[name])]  # of masks that were given nothing is known
    return ", ".join(f"{name} {a[name]} and {b[name]}" for name in names)


def _by_patient(patients: pd.Series, folds: pd.Series, pairs: int) -> tuple[str, str]:
    unit = f"{patients['n']:.0f} patient{'' if patients['n'] == 1 else 's'} with blood"
    if math.isnan(patients["mean_difference"]):
        return f"{TOO_FEW} patients", unit
    difference = f"{_signed(patients)} over {unit}"
    if _note(patients):
        return f"{TOO_FEW} patients", difference
    excludes_zero = patients["ci_low"] > 0 or patients["ci_high"] < 0
    by_fold = folds["mean_difference"] * (-1 if patients["mean_difference"] < 0 else 1)
    if not excludes_zero or not patients["p_holm"] < ALPHA:
        answer, says = NOT_SHOWN, ""
    elif by_fold < 0:
        answer, says = NOT_SHOWN, "point the other way"
    else:
        answer, says = (YES, "agree") if folds["p_holm"] < ALPHA else (PROBABLY, "do not confirm it")
    return answer, f"{difference}{_p(patients, pairs)}; {_folds(folds, by_fold, says)}"


def is_given(run: Mapping[str, object]) -> bool:
    """Whether the masks of a run were given; `run` is one of `trained`."""
    return str(run.get("network", "")).startswith("given ")


def _by_slice(folds: pd.Series, pairs: int) -> tuple[str, str]:
    reason = _folds(folds, abs(folds["mean_difference"]), "", pairs)
    if math.isnan(folds["p_holm"]):
        return f"{TOO_FEW} folds", reason
    return (YES if folds["p_holm"] < ALPHA and folds["mean_difference"] else NOT_SHOWN), reason


def _signed(test: pd.Series) -> str:
    """The difference, as that of the run with the higher mean, with its interval."""
    sign = -1 if test["mean_difference"] < 0 else 1
    ends = sorted((sign * test["ci_low"], sign * test["ci_high"]))
    return f"mean Dice {sign * test['mean_difference']:+.3f} (95 % interval {ends[0]:+.3f} to {ends[1]:+.3f})"


def _p(test: pd.Series, pairs: int) -> str:
    corrected = f", corrected for {pairs} comparisons" if pairs > 1 else ""
    p = test["p_holm"]
    return f", p {f'= {p:.2g}' if p >= LEAST_P else f'< {LEAST_P}'}{corrected}"


def _folds(folds: pd.Series, difference: float, says: str, pairs: int = 1) -> str:
    """`difference` over the folds, which `says` something of that over patients, or nothing where that shows none.

    Their test is the stricter one, since each fold counts once.
    """
    n = f"{folds['n']:.0f} fold{'' if folds['n'] == 1 else 's'}"
    if math.isnan(folds["p_holm"]):
        return f"{n}, too few for a test"
    found = f"{difference:+.3f}{_p(folds, pairs)}"
    return f"the {n} {says} ({found})" if says else f"over the {n} {found}"


def _seeds(pair: Sequence[Mapping[str, object]]) -> str:
    """How many trainings the numbers are of; nothing where both masks were given."""
    repeats = [int(str(run.get("repeats", 1))) for run in pair if not is_given(run)]
    if not repeats:
        return ""
    fewest = min(repeats)
    if fewest > 1:
        return f"means over {fewest} trainings of each fold"
    return "one training of each fold, so chance between trainings is not accounted for"


def _note(test: pd.Series) -> str:
    note = test.get("note")  # an empty cell of a CSV comes back as NaN
    return note if isinstance(note, str) else ""
