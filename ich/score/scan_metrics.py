"""Values of one whole scan (surfaces in mm, volumes in ml, lesions), and their summary over patients.

Volumes are arrays (slices, rows, columns); `spacing_mm` is the distance of voxel centres in that order.
"""

import warnings

import numpy as np
import pandas as pd
from scipy import ndimage

from ich.score import metrics
from ich.score.metrics import Mask, Probabilities
from ich.score.surfaces import compute_robust_hausdorff, compute_surface_dice_at_tolerance, compute_surface_distances

Spacing = tuple[float, float, float]

NSD_TOLERANCE_MM = 2.0
TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""26-connected: voxels that share a face, an edge or a corner belong to one lesion."""

SIZE_CLASSES = {"<1": "under_1ml", "1-10": "1_to_10ml", ">10": "over_10ml"}
"""Size class of a lesion by its true volume in ml (1 and 10 are in the middle) -> ending of its columns."""


def surface_scores(truth: Mask, pred: Mask, spacing_mm: Spacing) -> dict[str, float]:
    """Return `hd95_mm` and `nsd_2mm` of two bool volumes.

    HD95: the larger of the two directed 95th percentiles of the distances between the surfaces, in mm, every
    surface element weighted by its area (Huttenlocher 1993 for the distance, Nikolov 2021 for the weights).
    NSD: the share of both surfaces that lies within 2 mm of the other one, 0..1 (Nikolov 2021).
    One mask empty: HD95 infinite, NSD 0. Both empty: NaN.
    """
    _check_spacing(truth, spacing_mm)
    if not (truth.any() and pred.any()):  # surface-distance 0.1 fails here with NumPy 2
        none = not (truth.any() or pred.any())
        return {"hd95_mm": np.nan if none else np.inf, "nsd_2mm": np.nan if none else 0.0}
    with warnings.catch_warnings():  # its SciPy import paths are old; they go with SciPy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        distances = compute_surface_distances(truth, pred, spacing_mm)  # crops both to their bounding box
    return {
        "hd95_mm": float(compute_robust_hausdorff(distances, 95)),
        "nsd_2mm": float(compute_surface_dice_at_tolerance(distances, NSD_TOLERANCE_MM)),
    }


def volume_ml(mask: Mask, spacing_mm: Spacing) -> float:
    """Return the volume of a bool mask in millilitres (1 ml = 1000 mm3)."""
    _check_spacing(mask, spacing_mm)
    return int(np.count_nonzero(mask)) * float(np.prod(spacing_mm)) / 1000


def size_class(lesion_ml: float) -> str:
    """Return "<1", "1-10" or ">10", the size class of a lesion of this volume in ml."""
    if lesion_ml < 1:
        return "<1"
    return "1-10" if lesion_ml <= 10 else ">10"


def lesions(truth: Mask, pred: Mask, spacing_mm: Spacing) -> list[dict[str, float | str | bool]]:
    """List the true lesions: `volume_ml`, `size_class`, and `found` (at least one predicted voxel on it)."""
    label, number = ndimage.label(truth, TOUCHING)
    voxels = np.bincount(label.ravel(), minlength=number + 1)[1:]
    hits = np.bincount(label[pred], minlength=number + 1)[1:]
    volumes = voxels * float(np.prod(spacing_mm)) / 1000
    return [
        {"volume_ml": float(volume), "size_class": size_class(volume), "found": bool(hit)}
        for volume, hit in zip(volumes, hits, strict=True)
    ]


def invented_lesions(truth: Mask, pred: Mask) -> int:
    """Count the predicted 26-connected components that lie on no true voxel."""
    label, number = ndimage.label(pred, TOUCHING)
    on_blood = np.unique(label[truth])
    return int(number - np.count_nonzero(on_blood))


def patient_row(
    truth: Mask, prob: Probabilities, spacing_mm: Spacing, threshold: float = 0.5
) -> dict[str, float | int]:
    """Return one patient's row of `valid_patients.csv`, apart from `patient` itself.

    The definitions alone decide, whoever the patient: a clean one with a false alarm has Dice 0, HD95 infinite
    and NSD 0, one without has NaN there. It is `summary` that leaves clean patients out of these means.
    `score` is the highest probability of the scan; besides the totals, lesions are counted by `SIZE_CLASSES`.
    """
    pred = prob >= threshold
    number = metrics.counts(truth, pred)
    ratios = (metrics.dice, metrics.iou, metrics.precision, metrics.sensitivity)
    return {
        **{name: int(value) for name, value in number._asdict().items()},
        **{ratio.__name__: float(ratio(*number[:3])) for ratio in ratios},
        "score": float(prob.max()),
        **surface_scores(truth, pred, spacing_mm),
        "volume_true_ml": volume_ml(truth, spacing_mm),
        "volume_pred_ml": volume_ml(pred, spacing_mm),
        **_lesion_columns(truth, pred, spacing_mm),
    }


def summary(patients: pd.DataFrame | None, slices: pd.DataFrame) -> dict[str, float | int]:
    """Summarise the tables of one validation or test set; `patients` is None where scans are not whole."""
    return (patient_summary(patients) if patients is not None else {}) | slice_summary(slices)


def patient_summary(patients: pd.DataFrame) -> dict[str, float | int]:
    """Summarise `patient_row`s; means, deviations and medians are over patients with blood (missed: 0).

    `hd95_mm_median` counts an infinite HD95 as the worst; `n_hd95_undefined` says how many there are. `n_empty`
    counts patients whose two masks are empty. A scan is called positive where at least one voxel is.
    `false_positive_ml_per_clean_patient` is the mean predicted volume of clean patients. `_sd` is the standard
    deviation of the sample (n - 1). What no patient defines is NaN.
    """
    has_blood = patients["tp"] + patients["fn"] > 0
    blood, clean = patients[has_blood], patients[~has_blood]
    result = {"n_patients": len(patients), "n_with_blood": len(blood), "n_clean": len(clean)}
    result["n_empty"] = int((clean["fp"] == 0).sum())
    for name in ("dice", "iou", "precision", "sensitivity", "nsd_2mm"):
        result |= _averages(name, blood[name])
    return result | {
        "hd95_mm_median": float(blood["hd95_mm"].median()),
        "n_hd95_undefined": int(np.isinf(blood["hd95_mm"]).sum()),
        **_detection("scan", patients),
        "false_positive_ml_per_clean_patient": float(clean["volume_pred_ml"].mean()),
        "lesions_invented": int(patients["lesions_invented"].sum()),
        **_lesion_sensitivities(patients),
    }


def slice_summary(slices: pd.DataFrame) -> dict[str, float | int]:
    """Summarise `metrics.slice_table`: pooled ratios over all pixels, and the slices with blood.

    `lesion_slice_dice_mean` is the number by which the protocols are compared (a missed lesion slice is 0).
    `n_empty_slices` counts slices whose two masks are empty. Undefined values: NaN.
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


def _lesion_columns(truth: Mask, pred: Mask, spacing_mm: Spacing) -> dict[str, int]:
    found = lesions(truth, pred, spacing_mm)
    columns = {
        "lesions_true": len(found),
        "lesions_found": sum(lesion["found"] for lesion in found),
        "lesions_invented": invented_lesions(truth, pred),
    }
    for size, ending in SIZE_CLASSES.items():
        of_size = [lesion["found"] for lesion in found if lesion["size_class"] == size]
        columns |= {f"lesions_true_{ending}": len(of_size), f"lesions_found_{ending}": sum(of_size)}
    return columns


def _lesion_sensitivities(patients: pd.DataFrame) -> dict[str, float | int]:
    """Lesions of all patients together, in total and by size class, and the share of them that was found."""
    result = {}
    for ending in ("", *(f"_{ending}" for ending in SIZE_CLASSES.values())):
        true, found = (int(patients[f"lesions_{which}{ending}"].sum()) for which in ("true", "found"))
        result |= {f"lesions_true{ending}": true, f"lesions_found{ending}": found}
        result[f"lesion_sensitivity{ending}"] = found / true if true else float("nan")
    return result


def _averages(name: str, values: pd.Series) -> dict[str, float]:
    averages = {"mean": values.mean(), "sd": values.std(ddof=1), "median": values.median()}
    return {f"{name}_{which}": float(value) for which, value in averages.items()}


def _detection(prefix: str, table: pd.DataFrame) -> dict[str, float]:
    """Sensitivity, specificity and AUROC (Hanley and McNeil 1982) of finding blood at all, row by row."""
    from sklearn.metrics import roc_auc_score  # takes a second, and 100 MB beside a network that is trained

    blood = table["tp"] + table["fn"] > 0
    alarm = table["tp"] + table["fp"] > 0
    two_classes = blood.nunique() == 2
    return {
        f"{prefix}_sensitivity": float(alarm[blood].mean()),
        f"{prefix}_specificity": float((~alarm[~blood]).mean()),
        f"{prefix}_auroc": float(roc_auc_score(blood, table["score"])) if two_classes else float("nan"),
    }


def _check_spacing(volume: Mask, spacing_mm: Spacing) -> None:
    if volume.ndim != 3 or len(spacing_mm) != 3 or not all(step > 0 for step in spacing_mm):
        raise ValueError(f"3 axes and 3 spacings above 0 are needed, found {volume.shape}, {spacing_mm}")
