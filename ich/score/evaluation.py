"""From probabilities to the tables of a validation part: slices, patients, and counts by threshold and lesion size."""

import numpy as np
import pandas as pd

from ich.data.pixels import Slices
from ich.data.table import scan_of
from ich.score import calibration, metrics, operating
from ich.score.operating import FIXED, Point
from ich.score.patient import joined, patient_row

UNIT = (1.0, 1.0, 1.0)
IN_MM = ("hd95_mm", "nsd_2mm", "volume_true_ml", "volume_pred_ml")  # not known without spacing
SPACING = ["spacing_slice_mm", "spacing_row_mm", "spacing_column_mm"]


def predicted(slices: Slices, prob: np.ndarray, point: Point) -> np.ndarray:
    """The predicted masks, bool (n, size, size); small components are removed scan by scan.

    `slices` must be whole scans with known spacing where the point removes any.
    """
    if not point.min_lesion_mm3:
        return prob >= point.threshold
    masks = np.zeros(prob.shape, bool)
    for places in _scans(slices.table):
        masks[places] = operating.predicted(prob[places], _voxel_mm3(slices.table, places), point)
    return masks


def tables(
    slices: Slices, prob: np.ndarray, whole_scans: bool, has_probabilities: bool = True
) -> dict[str, pd.DataFrame]:
    """All tables of a validation part, by the name of their file in `paths.Training`.

    `has_probabilities` false: `prob` are masks, 0 and 1; then there are no thresholds and no `score`.
    """
    made = {"slices": slice_scores(slices, prob)}
    if whole_scans:
        made["patients"] = patient_scores(slices, prob)
    if not has_probabilities:
        return {name: table.assign(score=np.nan) for name, table in made.items()}
    made["calibration"] = calibration.pixel_bins(slices.masks.astype(bool), prob)
    if whole_scans:
        made["thresholds"] = threshold_counts(slices, prob)
        made["operating"] = operating_counts(slices, prob)
    return made


def slice_scores(slices: Slices, prob: np.ndarray, point: Point = FIXED) -> pd.DataFrame:
    """One row per slice: id, patient, slice, counts, ratios, score."""
    columns = metrics.slice_table(slices.masks.astype(bool), predicted(slices, prob, point), prob)
    return pd.concat([slices.table[["id", "patient", "slice"]], pd.DataFrame(columns)], axis=1)


def patient_scores(slices: Slices, prob: np.ndarray, point: Point = FIXED) -> pd.DataFrame:
    """One row per patient, over all their scans. Distances and volumes are NaN where the spacing is unknown."""
    rows = []
    for patient, places in _by_patient(slices.table):
        scans = [_scan_row(slices, prob, scan, point) for scan in _scans(slices.table.loc[places])]
        rows.append({"patient": patient, **joined(scans)})
    return pd.DataFrame(rows)


def _scan_row(slices: Slices, prob: np.ndarray, places: np.ndarray, point: Point) -> dict[str, float | int]:
    spacing = _spacing(slices.table, places)
    known = not np.isnan(spacing).any()
    pred = operating.predicted(prob[places], _voxel_mm3(slices.table, places), point)
    row = patient_row(slices.masks[places].astype(bool), pred, prob[places], spacing if known else UNIT)
    return {**row, **({} if known else dict.fromkeys(IN_MM, np.nan))}


def threshold_counts(slices: Slices, prob: np.ndarray) -> pd.DataFrame:
    """Each patient's counts at the 256 thresholds k/256; columns patient, threshold, tp, fp, fn, tn."""
    tables = []
    for patient, places in _by_patient(slices.table):
        counts = metrics.threshold_counts(slices.masks[places].astype(bool), prob[places])
        tables.append(pd.DataFrame({"patient": patient, "threshold": metrics.THRESHOLDS, **counts._asdict()}))
    return pd.concat(tables, ignore_index=True)


def operating_counts(slices: Slices, prob: np.ndarray) -> pd.DataFrame:
    """Each patient's `operating.point_counts`, summed over scans, after `patient` and `voxel_mm3`, its mean over scans.

    `voxel_mm3` is NaN where a spacing is unknown; sizes are 0 only then.
    """
    tables = []
    for patient, places in _by_patient(slices.table):
        scans = _scans(slices.table.loc[places])
        voxel_mm3 = float(np.mean([_voxel_mm3(slices.table, scan) for scan in scans]))
        table = _summed([_scan_counts(slices, prob, scan) for scan in scans])
        table.insert(0, "patient", patient)
        table.insert(1, "voxel_mm3", voxel_mm3)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _scan_counts(slices: Slices, prob: np.ndarray, places: np.ndarray) -> pd.DataFrame:
    truth = slices.masks[places].astype(bool)
    return pd.DataFrame(operating.point_counts(truth, prob[places], _voxel_mm3(slices.table, places)))


def _summed(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Counts of several scans at the points that all of them have."""
    if len(tables) == 1:
        return tables[0]
    keys = ["threshold", "min_lesion_mm3"]
    both = pd.concat(tables).groupby(keys, as_index=False)
    return both.sum()[(both.size()["size"] == len(tables)).to_numpy()].reset_index(drop=True)


def _spacing(table: pd.DataFrame, places: np.ndarray) -> tuple[float, float, float]:
    """Spacing (mm) of a scan's slices, rows and columns; NaN where it is unknown."""
    slice_mm, row_mm, column_mm = table.loc[places[0], SPACING].astype(float)
    return slice_mm, row_mm, column_mm


def _voxel_mm3(table: pd.DataFrame, places: np.ndarray) -> float:
    return float(np.prod(_spacing(table, places)))


def _by_patient(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Patients and the row indices of their slices, in slice order."""
    ordered = table.sort_values(["patient", "slice"])
    return [(str(patient), rows.index.to_numpy()) for patient, rows in ordered.groupby("patient")]


def _scans(table: pd.DataFrame) -> list[np.ndarray]:
    """The row indices of each scan's slices, in slice order."""
    ordered = table.sort_values("slice", kind="stable")
    return [rows.index.to_numpy() for _, rows in ordered.groupby(scan_of(ordered))]
