"""The operating point of a run, chosen on its out-of-fold predictions: the threshold, then the smallest lesion kept."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ich.base.files import read_json
from ich.data import origin
from ich.report.folds import Run
from ich.score import metrics
from ich.score.bootstrap import FEWEST_PAIRS, is_above_zero
from ich.score.operating import FIXED, THRESHOLDS, Point

TOLERANCE = 0.01  # of mean Dice; less is not worth a false alarm
LEAST_FOUND = 0.95  # share of the found lesions that must still be found when false alarms are saved
OUT_OF_FOLD = "out of fold on"
OLDER = "trained by an earlier version, which did not count lesions by size"
KEYS = ["threshold", "min_lesion_mm3"]


class Choice(NamedTuple):
    """An operating point, and in words where its threshold and its size come from."""

    point: Point
    threshold_is: str
    size_is: str

    def replaced(self, threshold: float | None, min_lesion_mm3: float | None) -> "Choice":
        """With what a user gave instead (None: nothing). A size belongs to its threshold: with another it is 0."""
        point, threshold_is, size_is = self
        if threshold is not None:
            if threshold != point.threshold:
                size_is = f"the choice was for threshold {point.threshold:.2f}"
                point = Point(threshold)
            threshold_is = "given"
        if min_lesion_mm3 is not None:
            point, size_is = point._replace(min_lesion_mm3=min_lesion_mm3), "given"
        return Choice(point, threshold_is, size_is)

    def text(self, networks: int) -> str:
        """In one line, for the mean of so many networks."""
        threshold, size = f"threshold {self.point.threshold:.2f}", self.point.size_text
        if self.threshold_is == self.size_is:
            text = f"{threshold}, {size}: {self.threshold_is}"
        else:
            text = f"{threshold}: {self.threshold_is}; {size}: {self.size_is}"
        chosen = any(OUT_OF_FOLD in each for each in self[1:])
        return (
            f"{text}, for single networks; the mean of {networks} gives less extreme probabilities"
            if chosen and networks > 1
            else text
        )


def of_run(run: Run) -> Choice:
    """The operating point of a run; it is 0.5 for masks, and split by slice, where there are no scans to choose on."""
    if not run.has_probabilities:
        return Choice(FIXED, "masks were given", "masks were given")
    if run.identity()["protocol"] != "patient":
        return Choice(FIXED, "default", "default")
    return choose(_patients(run), origin.unit(run.about()["origin"]))


def candidates_of(run: Run) -> pd.DataFrame:
    """What the operating point of a run, split by patient, was chosen from: see `candidates`."""
    patients = _patients(run)
    return candidates(patients, choose(patients).point)


def _patients(run: Run) -> pd.DataFrame:
    return by_patient(_older(run) if _is_older(run) else run.table("operating"))


def _is_older(run: Run) -> bool:
    """Whether a training never wrote valid_operating.csv; one that has lost it is an error of reading it."""
    missing = [each for each in run.trainings if not each.operating.exists()]
    return any(each.operating.name not in read_json(each.run).get("results", {}) for each in missing)


def _older(run: Run) -> pd.DataFrame:
    """The rows of valid_operating.csv that valid_thresholds.csv holds too: neither sizes nor lesions nor spacing."""
    counts = run.table("thresholds")
    counts = counts[np.isin(counts["threshold"], THRESHOLDS)]
    unknown = dict.fromkeys(("voxel_mm3", "lesions_found", "lesions_invented"), np.nan)
    return counts.assign(min_lesion_mm3=0.0, **unknown)


def by_patient(counts: pd.DataFrame) -> pd.DataFrame:
    """One row per patient, threshold and size from rows of valid_operating.csv: means over repeated trainings.

    Columns `blood` (bool), `dice` (NaN where both masks are empty), `false_pixels`, `false_ml` (NaN where the spacing
    is unknown), `lesions_found`, `lesions_invented`, `is_found` (share of the trainings that found any blood).
    """
    table = counts.assign(
        blood=counts["tp"] + counts["fn"] > 0,
        dice=metrics.dice(counts["tp"], counts["fp"], counts["fn"]),
        false_pixels=counts["fp"],
        false_ml=counts["fp"] * counts["voxel_mm3"] / 1000,
        is_found=counts["tp"] > 0,
    )
    columns = ["dice", "false_pixels", "false_ml", "lesions_found", "lesions_invented", "is_found"]
    return table.groupby(["patient", "blood", *KEYS], as_index=False)[columns].mean()


def choose(patients: pd.DataFrame, unit: str = "patients") -> Choice:
    """The operating point, from `by_patient`; `unit` is what the patients are called.

    Threshold: among those whose mean Dice over patients with blood is within TOLERANCE of the best, and that find
    LEAST_FOUND of the lesions that the best one finds, the one with the least false-positive volume in patients without
    blood (pixels where a spacing is unknown); of equal ones the one with the highest mean Dice, then the middle one,
    which is farthest from where the score drops. 0.5 is kept unless that one is better beyond noise: the bootstrap 95 %
    interval over patients of its gain in Dice lies above 0, or that of the false-positive volume it saves. The interval
    does not know that the threshold was picked from 31.

    Size: at this threshold, the one that leaves the fewest invented lesions, of equal ones the smallest, if the mean
    Dice falls by TOLERANCE at most, LEAST_FOUND of the lesions found without removal are still found, and no patient
    in whom blood was found has none left.

    With fewer than FEWEST_PAIRS patients with blood: 0.5, and nothing removed.
    """
    bleeding = patients.loc[patients["blood"], "patient"].nunique()
    if bleeding < FEWEST_PAIRS:
        few = f"default, since {bleeding} {unit} with blood are too few to choose on"
        return Choice(FIXED, few, few)
    of = f"{OUT_OF_FOLD} {patients['patient'].nunique()} {unit}, {bleeding} of them with blood"
    whole = patients[patients["min_lesion_mm3"] == 0]
    threshold, threshold_is = _threshold(_candidates(whole)), f"chosen {of}"
    if threshold != FIXED.threshold and not _is_better(whole, threshold):
        threshold, threshold_is = FIXED.threshold, f"no other was clearly better, {of}"
    sized = patients[patients["threshold"] == threshold]
    no_size = _why_no_size(sized)
    point = Point(threshold, 0.0 if no_size else _size(sized))
    return Choice(point, threshold_is, no_size or f"chosen {of}")


def candidates(patients: pd.DataFrame, point: Point) -> pd.DataFrame:
    """All thresholds with nothing removed, and all sizes at the chosen one; columns of `_candidates`, and `chosen`."""
    shown = patients[(patients["min_lesion_mm3"] == 0) | (patients["threshold"] == point.threshold)]
    table = _candidates(shown)
    return table.assign(chosen=(table[KEYS] == [*point]).all(axis=1))


def _candidates(patients: pd.DataFrame) -> pd.DataFrame:
    """One row per threshold and size: means over patients with blood and over clean ones, lesions of all patients.

    `false_positive_ml_per_clean_patient` is NaN where a clean patient's spacing is unknown.
    """
    blood, clean = (patients[patients["blood"] == which].groupby(KEYS) for which in (True, False))
    every = patients.groupby(KEYS)[["lesions_found", "lesions_invented"]].sum(min_count=1)
    table = pd.DataFrame({
        "dice_mean": blood["dice"].mean(),
        "false_positive_ml_per_clean_patient": clean["false_ml"].mean(skipna=False),
        "false_positive_pixels_per_clean_patient": clean["false_pixels"].mean(),
        "patients_found": blood["is_found"].sum(),
    }, index=every.index)  # fmt: skip
    return table.join(every).reset_index()


def _threshold(table: pd.DataFrame) -> float:
    """The best of the thresholds; `table` is `_candidates` with nothing removed."""
    best_dice = table.loc[table["dice_mean"].idxmax()]
    loses = table["lesions_found"] < LEAST_FOUND * best_dice["lesions_found"] - 1e-9  # none where they are not counted
    near = table[(table["dice_mean"] >= best_dice["dice_mean"] - TOLERANCE - 1e-9) & ~loses]
    ml, pixels = (near[f"false_positive_{unit}_per_clean_patient"] for unit in ("ml", "pixels"))
    false = (pixels if ml.isna().any() else ml).fillna(0)  # without clean patients all are equal
    near = near[np.isclose(false, false.min(), rtol=0, atol=1e-9)]
    best = near[np.isclose(near["dice_mean"], near["dice_mean"].max(), rtol=0, atol=1e-9)]
    return float(best["threshold"].iloc[len(best) // 2])


def _is_better(patients: pd.DataFrame, threshold: float) -> bool:
    """Whether a threshold is better than 0.5 beyond noise: in Dice, or in what is falsely found in clean patients."""

    def gain(rows: pd.DataFrame, column: str) -> np.ndarray:
        wide = rows.pivot_table(index="patient", columns="threshold", values=column)
        return (wide[threshold] - wide[FIXED.threshold]).to_numpy()

    blood, clean = (patients[patients["blood"] == which] for which in (True, False))
    unit = "false_pixels" if clean["false_ml"].isna().any() else "false_ml"
    return is_above_zero(gain(blood, "dice")) or (len(clean) > 0 and is_above_zero(-gain(clean, unit)))


def _size(patients: pd.DataFrame) -> float:
    """The best of the sizes, of the patients' rows at one threshold."""
    table = _candidates(patients)
    off = table.iloc[0]  # sorted by size: nothing removed
    found = patients.pivot_table(index="patient", columns="min_lesion_mm3", values="is_found")
    none_lost = found.ge(found[0.0], axis=0).all()
    allowed = table[
        (table["dice_mean"] >= off["dice_mean"] - TOLERANCE - 1e-9)
        & (table["lesions_found"] >= LEAST_FOUND * off["lesions_found"] - 1e-9)
        & none_lost.to_numpy()
    ]
    fewest = allowed[allowed["lesions_invented"] == allowed["lesions_invented"].min()]
    return float(fewest["min_lesion_mm3"].iloc[0]) if len(fewest) else 0.0


def _why_no_size(patients: pd.DataFrame) -> str:
    """Why there was no choice between sizes; empty where there was one."""
    if patients["lesions_found"].isna().any():
        return f"not chosen, since a fold was {OLDER}"
    return "not chosen, since the spacing of the slices is unknown" if patients["false_ml"].isna().any() else ""
