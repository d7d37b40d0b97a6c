"""The published figures, and what may be compared with them."""

from typing import NamedTuple

import pandas as pd


class Published(NamedTuple):
    """A published score on CT-ICH: mean and standard deviation over ten folds by slice, smoothed batch metric."""

    model: str
    dice_mean: float
    dice_sd: float
    iou_mean: float
    iou_sd: float


# Ten folds by slice, slices of one patient on both sides; soft Dice smoothed by 100 and pooled over a batch.
SLICE_FOLDS = (Published("unet", 0.79, 0.03, 0.65, 0.04), Published("dunet", 0.84, 0.03, 0.72, 0.05))
# The paper's own, whose ten folds were repeated three times.
REPEATED_FOLDS = (Published("unet", 0.72, 0.09, 0.59, 0.10), Published("dunet", 0.81, 0.06, 0.68, 0.08))
# The same metric in batches of one on the test slices: slices without blood score 1, and half have none.
SLICE_TEST = Published("dunet", 0.89, float("nan"), 0.86, float("nan"))
ROW = " (published)"  # end of the name of a published row in comparison.csv
PATIENT_RANGE = (0.31, 0.44)  # Dice of published splits by patient
COMPARABLE = (
    "Only Dice and IoU as published are comparable with the publication: folds by slice, soft, smoothed by 100, pooled "
    "over batches of 32. The published test figures use batches of one, where a network that finds nothing scores 0.65."
)
NOT_COMPARABLE = (
    "The published 0.84 (D-Unet) and 0.79 (U-Net) are split by slice and smoothed, so not comparable with a split by "
    f"patient. Published splits by patient reach {PATIENT_RANGE[0]} to {PATIENT_RANGE[1]} Dice."
)


def table() -> pd.DataFrame:
    """All published figures, each with its protocol and metric."""
    rows = [{"figure": "ten folds by slice, smoothed", **figure._asdict()} for figure in SLICE_FOLDS]
    rows += [{"figure": "the same, repeated three times", **figure._asdict()} for figure in REPEATED_FOLDS]
    rows.append({"figure": "test slices, smoothed, batches of one", **SLICE_TEST._asdict()})
    low, high = PATIENT_RANGE
    rows += [{"figure": f"splits by patient, {name}", "dice_mean": value} for name, value in
             (("lowest", low), ("highest", high))]  # fmt: skip
    return pd.DataFrame(rows)
