"""From probabilities to the tables of valid_slices.csv, valid_patients.csv and valid_thresholds.csv."""

import numpy as np
import pandas as pd

from ich.data.pixels import Slices
from ich.score import metrics
from ich.score.patient import patient_row

UNIT = (1.0, 1.0, 1.0)
IN_MM = ("hd95_mm", "nsd_2mm", "volume_true_ml", "volume_pred_ml")  # not known without spacing


def slice_scores(slices: Slices, prob: np.ndarray, threshold: float = 0.5) -> pd.DataFrame:
    """One row per slice: id, patient, slice, counts, ratios, score."""
    columns = metrics.slice_table(slices.masks.astype(bool), prob, threshold)
    return pd.concat([slices.table[["id", "patient", "slice"]], pd.DataFrame(columns)], axis=1)


def patient_scores(slices: Slices, prob: np.ndarray, threshold: float = 0.5) -> pd.DataFrame:
    """One row per patient, over the whole scan. Distances and volumes are NaN where the spacing is unknown."""
    rows = []
    for patient, places in _by_patient(slices.table):
        spacing = slices.table.loc[places[0], ["spacing_slice_mm", "spacing_row_mm", "spacing_column_mm"]]
        known = bool(spacing.notna().all())
        truth = slices.masks[places].astype(bool)
        row = patient_row(truth, prob[places], tuple(spacing.astype(float)) if known else UNIT, threshold)
        rows.append({"patient": patient, **row, **({} if known else dict.fromkeys(IN_MM, np.nan))})
    return pd.DataFrame(rows)


def threshold_counts(slices: Slices, prob: np.ndarray) -> pd.DataFrame:
    """Each patient's counts at the 256 thresholds k/256; columns patient, threshold, tp, fp, fn, tn."""
    tables = []
    for patient, places in _by_patient(slices.table):
        counts = metrics.threshold_counts(slices.masks[places].astype(bool), prob[places])
        tables.append(pd.DataFrame({"patient": patient, "threshold": metrics.THRESHOLDS, **counts._asdict()}))
    return pd.concat(tables, ignore_index=True)


def _by_patient(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Patients and the row indices of their slices, in slice order."""
    ordered = table.sort_values(["patient", "slice"])
    return [(str(patient), rows.index.to_numpy()) for patient, rows in ordered.groupby("patient")]
