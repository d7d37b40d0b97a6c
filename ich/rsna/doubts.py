"""What keeps a comparison from being an answer: too few patients, or networks that have learned nothing."""

from collections.abc import Sequence

from ich.rsna.compare import PERCENTILES, Result
from ich.rsna.layouts import CLASSES
from ich.rsna.variants import BASELINE, compared_with

FEW_PATIENTS = 20  # bootstrap intervals over fewer are too narrow
CHANCE = 0.5  # AUROC of a network that knows nothing


def no_answer(results: Sequence[Result]) -> dict[str, str]:
    """The variants whose difference from what they are compared with answers nothing, each with the reason."""
    patients = len(set(results[0].trainings[0].patient))
    own = {result.name: learned_nothing(result) for result in results}
    few = f"{patients} test patients, fewer than {FEW_PATIENTS}" if patients < FEW_PATIENTS else ""
    base = {name: f"{compared_with(name)} {why}" for name in own if (why := own.get(compared_with(name)))}
    reasons = {name: "; ".join(filter(None, (few, base.get(name), own[name]))) for name in own if name != BASELINE}
    return {name: reason for name, reason in reasons.items() if reason}


def unsure(results: Sequence[Result]) -> set[str]:
    """The variants whose own scores say nothing: those that have learned nothing, or all of too few patients."""
    few = len(set(results[0].trainings[0].patient)) < FEW_PATIENTS
    return {result.name for result in results if few or learned_nothing(result)}


def learned_nothing(result: Result) -> str:
    """Why the trainings of a variant have learned nothing; empty where they have learned something.

    One that calls all slices the same spoils the mean over them. In multilabel it may: types are rare.
    """
    if not result.trainings[0].multilabel:
        called = [{*training.decided.argmax(1)} for training in result.trainings]
        if same := [kinds.pop() for kinds in called if len(kinds) == 1]:
            part = f" in {len(same)} of {len(called)} trainings" if len(called) > 1 else ""
            return f"calls every slice {CLASSES[same[0]]}{part}"
    low, high = result.drawn["auroc"].quantile(PERCENTILES)
    if not low > CHANCE:  # NaN too
        return f"has an AUROC of {result.whole['auroc'].mean():.2f} ({low:.2f} to {high:.2f}), which may be chance"
    return ""
