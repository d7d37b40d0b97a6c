"""How well the shipped network finds blood in phantom heads that it has never seen, of both styles.

    python benchmarks/weights.py                     (60 heads of each style, 256 px, seed 99)
    python benchmarks/weights.py --run dunet --runs demo/runs      (another network)

Writes phantoms to --work, predicts them with predict.py as a user would, and compares each mask with the truth: mean
Dice over heads with blood, the share of heads with more than 5 ml of blood in which any of it is found, and the
predicted volume in a clean head, mean and largest. Phantoms, not patients: it says nothing about a hospital's scans.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import nibabel as nib
import numpy as np
import pandas as pd

import predict
from benchmarks import common
from ich.base import paths, script
from ich.base.files import read_json
from ich.phantom.ct_ich import patient_number, write_ct_ich
from ich.score import metrics
from ich.score.bootstrap import bootstrap_interval

STYLES = ("calibrated", "plain")
LARGE_ML = 5.0


def main() -> None:
    flags = common.arguments(
        __doc__, work=Path("weights_check"), runs=Path("runs"), run=paths.SHIPPED_RUN, heads=60, size=256, seed=99
    )
    rows = []
    for style in STYLES:
        folder = flags.work / style
        write_ct_ich(folder, flags.heads, flags.size, flags.seed, style)
        scans = [str(folder / "ct_scans" / f"{patient_number(k):03d}.nii") for k in range(flags.heads)]
        out = flags.work / f"predicted_{style}"
        predict.main([*scans, "--out", str(out), "--run", flags.run, "--runs", str(flags.runs), "--quiet"])
        rows.append({"style": style, **summary(compared(folder, out))})
    table = pd.DataFrame(rows)
    shown = read_json(out / f"{patient_number(0):03d}" / paths.RUN)["inputs"]
    network = shown["method"]["networks"][0]
    result = {"network": network, "threshold": shown["threshold"], "rows": table.to_dict("records")}
    common.write(flags, result, figures(table))
    print(table.round(3).T.to_string(header=False))


def compared(truth: Path, predicted: Path) -> pd.DataFrame:
    """One row per head: `true_ml`, `predicted_ml`, `dice` (NaN where both are empty) and `found` (any true voxel)."""
    rows = []
    for path in sorted((truth / "masks").glob("*.nii")):
        image = nib.load(path)
        blood = np.asarray(image.dataobj) > 0
        found = np.asarray(nib.load(predicted / path.stem / "mask.nii.gz").dataobj) > 0
        ml, hits = float(np.prod(image.header.get_zooms())) / 1000, int((blood & found).sum())
        dice = metrics.dice(hits, int((found & ~blood).sum()), int((blood & ~found).sum()))
        rows.append({"true_ml": blood.sum() * ml, "predicted_ml": found.sum() * ml, "dice": dice, "found": hits > 0})
    return pd.DataFrame(rows)


def summary(heads: pd.DataFrame) -> dict[str, float]:
    """The figures of one style; the interval is over heads with blood."""
    blood, clean = heads[heads["true_ml"] > 0], heads[heads["true_ml"] == 0]
    large = blood[blood["true_ml"] > LARGE_ML]
    low, high = bootstrap_interval(blood["dice"], seed=0)
    return {
        "heads_with_blood": len(blood), "dice_mean": blood["dice"].mean(), "ci_low": low, "ci_high": high,
        "dice_median": blood["dice"].median(), "large": len(large), "large_found": large["found"].mean(),
        "clean_heads": len(clean), "clean_false_ml_mean": clean["predicted_ml"].mean(),
        "clean_false_ml_largest": clean["predicted_ml"].max(), "clean_without_any": (clean["predicted_ml"] == 0).mean(),
    }  # fmt: skip


def figures(table: pd.DataFrame) -> list[dict]:
    return [
        row
        for each in table.itertuples()
        for row in (
            common.row(f"{each.style} phantoms, mean Dice", each.dice_mean, target=">= 0.6"),
            common.row(f"{each.style} phantoms, bleeds above {LARGE_ML:g} ml found", each.large_found, target=">= 0.9"),
            common.row(f"{each.style} phantoms, predicted in a clean head", each.clean_false_ml_mean, "ml", "<= 2"),
        )
    ]


if __name__ == "__main__":
    script.run(main)
