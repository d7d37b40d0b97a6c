"""Measures of one whole scan: volumes in ml, lesions, and the row of a patient, of one or several scans.

Volumes are arrays (slices, rows, columns); `spacing_mm` is the voxel spacing in that order.
"""

from typing import TypedDict

import numpy as np
import pandas as pd
from scipy import ndimage

from ich.score import metrics
from ich.score.metrics import TOUCHING, Mask, Probabilities
from ich.score.surfaces import Spacing, check_spacing, surface_scores

SIZE_CLASSES = {"<1": "under_1ml", "1-10": "1_to_10ml", ">10": "over_10ml"}
"""Size class of a lesion by its true volume in ml (1 and 10 are in the middle class) -> suffix of its columns."""

RATIOS = (metrics.dice, metrics.iou, metrics.precision, metrics.sensitivity)


class Lesion(TypedDict):
    """A true lesion; `found`: at least one predicted voxel is on it."""

    volume_ml: float
    size_class: str
    found: bool


def volume_ml(mask: Mask, spacing_mm: Spacing) -> float:
    """Return the volume of a bool mask in millilitres (1 ml = 1000 mm3)."""
    check_spacing(mask, spacing_mm)
    return int(np.count_nonzero(mask)) * float(np.prod(spacing_mm)) / 1000


def size_class(lesion_ml: float) -> str:
    """Return "<1", "1-10" or ">10", the size class of a lesion of this volume in ml."""
    if lesion_ml < 1:
        return "<1"
    return "1-10" if lesion_ml <= 10 else ">10"


def lesions(truth: Mask, pred: Mask, spacing_mm: Spacing) -> list[Lesion]:
    """List the true lesions."""
    label, number = ndimage.label(truth, TOUCHING)
    voxels = np.bincount(label.ravel(), minlength=number + 1)[1:]
    hits = np.bincount(label[pred], minlength=number + 1)[1:]
    volumes = voxels * float(np.prod(spacing_mm)) / 1000
    return [
        {"volume_ml": float(volume), "size_class": size_class(volume), "found": bool(hit)}
        for volume, hit in zip(volumes, hits, strict=True)
    ]


def invented_lesions(truth: Mask, pred: Mask) -> int:
    """Count the predicted 26-connected components that touch no true voxel."""
    label, number = ndimage.label(pred, TOUCHING)
    on_blood = np.unique(label[truth])
    return int(number - np.count_nonzero(on_blood))


def patient_row(truth: Mask, pred: Mask, prob: Probabilities, spacing_mm: Spacing) -> dict[str, float | int]:
    """Return the row of `valid_patients.csv` of a patient with this one scan, apart from `patient` itself.

    The definitions apply to every patient alike: a clean patient with a false alarm has Dice 0, HD95 infinite and
    NSD 0, one without has NaN for all three. Leaving clean patients out of the means is up to `summary`.
    `score` is the highest probability of the scan; besides the totals, lesions are counted by `SIZE_CLASSES`.
    """
    number = metrics.counts(truth, pred)
    return {
        **{name: int(value) for name, value in number._asdict().items()},
        **{ratio.__name__: float(ratio(*number[:3])) for ratio in RATIOS},
        "score": float(prob.max()),
        **surface_scores(truth, pred, spacing_mm),
        "volume_true_ml": volume_ml(truth, spacing_mm),
        "volume_pred_ml": volume_ml(pred, spacing_mm),
        **_lesion_columns(truth, pred, spacing_mm),
    }


def joined(scans: list[dict[str, float | int]]) -> dict[str, float | int]:
    """One row of the rows of a patient's scans: counts, volumes and lesions are sums, ratios are of the summed counts.

    `score` is the highest. HD95 is that of the worst scan, NSD the mean, both of the scans where they are defined.
    """
    if len(scans) == 1:
        return scans[0]
    table = pd.DataFrame(scans)
    row: dict[str, float | int] = table.sum(skipna=False).to_dict()
    counts = {name: int(table[name].sum()) for name in metrics.Counts._fields}
    tp, fp, fn = (counts[name] for name in ("tp", "fp", "fn"))
    lesions = {name: int(row[name]) for name in row if name.startswith("lesions_")}
    return {
        **row, **counts, **lesions,
        **{ratio.__name__: float(ratio(tp, fp, fn)) for ratio in RATIOS},
        "score": float(table["score"].max()), "hd95_mm": float(table["hd95_mm"].max()),
        "nsd_2mm": float(table["nsd_2mm"].mean()),
    }  # fmt: skip


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
