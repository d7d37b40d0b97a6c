"""Scores of whole scans, from the slices of one series: readers ask about a patient, not about a slice."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ich.rsna import scores
from ich.rsna.compare import DRAWS, PERCENTILES, Result, patient_draws
from ich.rsna.layouts import LABELS

TOP = 3  # slices whose mean is the second score
HIGHEST, TOP_MEAN = "highest slice", f"mean of the {TOP} highest"
COLUMNS = ("variant", "type", "score", "scans", "with_it", "auroc", "auroc_low", "auroc_high")


def table(results: Sequence[Result], seed: int, draws: int = DRAWS) -> pd.DataFrame:
    """A row per variant, LABELS' type and score: AUROC over scans, mean over trainings, with its 95 % interval.

    A scan has a type where any of its slices has it. Patients are drawn with all their scans. Slices without a known
    series are left out; no rows where none has one. AUROC is NaN where no scan has the type, or all have it.
    """
    rows = []
    for result in results:
        known = result.series != ""
        if not known.any():
            continue
        series, index = np.unique(result.series[known], return_inverse=True)
        first = np.unique(index, return_index=True)[1]
        drawn = patient_draws(result.in_scans[0].patient[known][first], draws, seed)
        has_it = by_scan(result.in_scans[0].truth[known], index, 1)
        for name, number in ((HIGHEST, 1), (TOP_MEAN, TOP)):
            scored = [by_scan(each.prob[known], index, number) for each in result.in_scans]
            for k, label in enumerate(LABELS):
                once = [scores.aurocs(has_it[:, k], each[:, k], scores.once(len(series)))[0] for each in scored]
                several = [scores.aurocs(has_it[:, k], each[:, k], drawn) for each in scored]
                low, high = pd.Series(np.mean(several, axis=0)).quantile(PERCENTILES)
                counts = (len(series), int(has_it[:, k].sum()))
                rows.append((result.name, label, name, *counts, float(np.mean(once)), low, high))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def by_scan(values: np.ndarray, index: np.ndarray, number: int) -> np.ndarray:
    """(scans, columns): the mean of the `number` highest `values` (n, columns) of each scan; of fewer all. `index` (n,)
    is the scan of each slice, from 0."""
    parts = np.split(values[np.argsort(index, kind="stable")], np.cumsum(np.bincount(index))[:-1])
    return np.stack([np.sort(part, axis=0)[-number:].mean(0) for part in parts])
