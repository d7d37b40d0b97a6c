"""Summaries over patients and over slices."""

import numpy as np
import pandas as pd

from ich.score import metrics
from ich.score.patient import SIZE_CLASSES


def summarize(patients: pd.DataFrame | None, slices: pd.DataFrame) -> dict[str, float | int]:
    """Summarise the tables of one validation or test set; `patients` is None if scans are not whole."""
    return (patient_summary(patients) if patients is not None else {}) | slice_summary(slices)


def patient_summary(patients: pd.DataFrame) -> dict[str, float | int]:
    """Summarise `patient_row`s; means, deviations and medians are over patients with blood (missed: 0).

    `hd95_mm_median` counts an infinite HD95 as the worst; `n_hd95_undefined` says how many there are. `n_empty`
    counts patients whose masks are both empty. A scan is positive if at least one voxel is.
    `false_positive_ml_per_clean_patient` is the mean predicted volume of clean patients. `_sd` is the standard
    deviation of the sample (n - 1). A value that is defined for no patient is NaN.
    """
    has_blood = patients["tp"] + patients["fn"] > 0
    blood, clean = patients[has_blood], patients[~has_blood]
    result: dict[str, float | int] = {"n_patients": len(patients), "n_with_blood": len(blood), "n_clean": len(clean)}
    result["n_empty"] = int((clean["fp"] == 0).sum())
    for name in ("dice", "iou", "precision", "sensitivity", "nsd_2mm"):
        result |= _averages(name, blood[name])
    return result | {
        "hd95_mm_median": float(blood["hd95_mm"].median()),
        "volume_error_ml_median": float((blood["volume_pred_ml"] - blood["volume_true_ml"]).abs().median()),
        "n_hd95_undefined": int(np.isinf(blood["hd95_mm"]).sum()),
        **_detection("scan", patients),
        "false_positive_ml_per_clean_patient": float(clean["volume_pred_ml"].mean()),
        "lesions_invented": int(patients["lesions_invented"].sum()),
        **_lesion_sensitivities(patients),
    }


def slice_summary(slices: pd.DataFrame) -> dict[str, float | int]:
    """Summarise `metrics.slice_table`: pooled ratios over all pixels, and the slices with blood.

    `lesion_slice_dice_mean` is the number by which the protocols are compared (a missed lesion slice is 0).
    `n_empty_slices` counts slices whose masks are both empty. Undefined values are NaN.
    """
    lesion_dice = slices.loc[slices["tp"] + slices["fn"] > 0, "dice"]
    empty = slices["tp"] + slices["fp"] + slices["fn"] == 0
    tp, fp, fn = (int(slices[name].sum()) for name in ("tp", "fp", "fn"))
    ratios = (metrics.dice, metrics.iou, metrics.precision, metrics.sensitivity)
    return {
        "n_slices": len(slices),
        "n_lesion_slices": len(lesion_dice),
        "n_empty_slices": int(empty.sum()),
        **{f"pooled_{ratio.__name__}": float(ratio(tp, fp, fn)) for ratio in ratios},
        **_averages("lesion_slice_dice", lesion_dice),
        **_detection("slice", slices),
    }


def _lesion_sensitivities(patients: pd.DataFrame) -> dict[str, float | int]:
    """Lesions over all patients, in total and by size class, and the share that was found."""
    result: dict[str, float | int] = {}
    for ending in ("", *(f"_{ending}" for ending in SIZE_CLASSES.values())):
        counts = lesions_found(patients, ending)
        result |= {f"{name}{ending}": value for name, value in counts.items()}
    return result


def lesions_found(patients: pd.DataFrame, ending: str) -> dict[str, float | int]:
    """Lesions over all patients and how many were found, of all sizes ("") or of the size class `ending`."""
    true, found = (int(patients[f"lesions_{which}{ending}"].sum()) for which in ("true", "found"))
    share = found / true if true else float("nan")
    return {"lesions_true": true, "lesions_found": found, "lesion_sensitivity": share}


def _averages(name: str, values: pd.Series) -> dict[str, float]:
    averages = {"mean": values.mean(), "sd": values.std(ddof=1), "median": values.median()}
    return {f"{name}_{which}": float(value) for which, value in averages.items()}


def _detection(prefix: str, table: pd.DataFrame) -> dict[str, float]:
    """Sensitivity, specificity and AUROC (Hanley and McNeil 1982) of finding blood at all, row by row."""
    from sklearn.metrics import roc_auc_score  # the import takes a second, and 100 MB that training does not need

    blood = table["tp"] + table["fn"] > 0
    alarm = table["tp"] + table["fp"] > 0
    ranked = blood.nunique() == 2 and table["score"].notna().all()  # masks have no score
    return {
        f"{prefix}_sensitivity": float(alarm[blood].mean()),
        f"{prefix}_specificity": float((~alarm[~blood]).mean()),
        f"{prefix}_auroc": float(roc_auc_score(blood, table["score"])) if ranked else float("nan"),
    }
