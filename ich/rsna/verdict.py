"""Does a preprocessing help, and do neighbouring slices? One word for each comparison, one sentence for all."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ich.report.verdict import ALPHA, NOT_SHOWN, PROBABLY, YES
from ich.report.words import heading
from ich.rsna.scores import LOWER_IS_BETTER, MAIN
from ich.rsna.variants import NEIGHBOURS

WORSE, PROBABLY_WORSE, NO_ANSWER = "No, worse", "Probably worse", "No answer"
ONE_EACH = "one training each"
QUESTIONS = {False: "Does preprocessing help?", True: "Do neighbouring slices help?"}
GROUPS = {
    YES: "better", PROBABLY: "probably better", WORSE: "worse", PROBABLY_WORSE: "probably worse",
    NOT_SHOWN: "no difference shown", NO_ANSWER: "no answer",
}  # fmt: skip


class Verdict(NamedTuple):
    """A run, what it is compared with, the answer, the difference in MAIN of the task, and what to know about it."""

    variant: str
    minus: str
    answer: str
    difference: float
    note: str


def verdicts(
    differences: pd.DataFrame, no_answer: Mapping[str, str], by_seed: Mapping[str, pd.DataFrame],
    task: str = "multiclass",
) -> list[Verdict]:  # fmt: skip
    """One for each row of compare.differences, by MAIN of the task; `by_seed` as of compare.by_seed.

    YES where the interval over patients is on the better side of zero, McNemar's test, corrected by Holm, finds more
    slices right as well, and each of several seeds is on that side too; PROBABLY where only the interval is. WORSE and
    PROBABLY_WORSE where it is on the other side. A single training can't rule out that chance between trainings made
    the difference.
    """
    rows: list[Any] = [*differences.itertuples()]
    return [Verdict(row.variant, row.minus, *_judged(row, no_answer, by_seed[row.variant], MAIN[task])) for row in rows]


def _judged(
    row: Any, no_answer: Mapping[str, str], by_seed: pd.DataFrame, measure: str
) -> tuple[str, float, str]:  # fmt: skip
    difference, low, high = (getattr(row, measure + end) for end in ("", "_low", "_high"))
    is_lower = measure == LOWER_IS_BETTER
    if row.variant in no_answer:
        return NO_ANSWER, difference, no_answer[row.variant]
    if not (low > 0 or high < 0):  # NaN too
        return NOT_SHOWN, difference, ""
    better, doubts, seeds = (low > 0) != is_lower, [], by_seed[measure]
    if not (row.mcnemar_p_holm < ALPHA and (row.only_this_right > row.only_baseline_right) == better):
        doubts.append(f"McNemar's test over slices does not confirm it (p = {row.mcnemar_p_holm:.2g} by Holm)")
    if against := int((((seeds < 0) if is_lower else (seeds > 0)) != better).sum()):
        doubts.append(f"{against} of {len(seeds)} seeds say otherwise")
    is_sure = not doubts and len(seeds) > 1
    higher, lower = (YES, WORSE) if is_sure else (PROBABLY, PROBABLY_WORSE)
    return higher if better else lower, difference, "; ".join(doubts)


def answers(found: Sequence[Verdict], patients: int, trainings: str, task: str = "multiclass") -> list[str]:
    """A sentence for each question that was asked: `Does preprocessing help? Better: 1_roi (+0.081); worse: ...`.

    `trainings`: of `trainings_of`.
    """
    chance = ", so chance between trainings is not accounted for" * (trainings == ONE_EACH)
    measure = heading(MAIN[task]).lower() + " (lower is better)" * (MAIN[task] == LOWER_IS_BETTER)
    sentences = []
    for is_neighbours, question in QUESTIONS.items():
        asked = [one for one in found if one.variant.endswith(NEIGHBOURS) == is_neighbours]
        parts = [_part(words, [one for one in asked if one.answer == name]) for name, words in GROUPS.items()]
        if said := "; ".join(filter(None, parts)):
            sentences.append(f"{question} {said[0].upper()}{said[1:]}. By {measure}, {patients} test patients, "
                             f"{trainings}{chance}.")  # fmt: skip
    return sentences


def trainings_of(repeats: pd.Series) -> str:
    """What the numbers are of, by the trainings of each variant: `one training each`, `means over 2 to 3 trainings`."""
    fewest, most = repeats.min(), repeats.max()
    if most == 1:
        return ONE_EACH
    return f"means over {most} trainings" if fewest == most else f"means over {fewest} to {most} trainings"


def _part(words: str, group: Sequence[Verdict]) -> str:
    """`worse: 1_roi (-0.051), 4_roi_noblank (-0.043)`; the largest difference first. Of no answer the reasons."""
    if not group:
        return ""
    if group[0].answer == NO_ANSWER:
        reasons = dict.fromkeys(one.note for one in group)
        return "; ".join(f"{words} about {', '.join(one.variant for one in group if one.note == why)}: {why}"
                         for why in reasons)  # fmt: skip
    ordered = sorted(group, key=lambda one: -abs(one.difference))
    return f"{words}: " + ", ".join(f"{one.variant} ({one.difference:+.3f})" for one in ordered)
