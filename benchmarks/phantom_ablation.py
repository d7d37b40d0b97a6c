"""Which of the things that make calibrated phantoms varied help a network on heads of another kind?

    python benchmarks/phantom_ablation.py             (120 heads an arm, dunet n=8 at 128 px, 30 epochs)

Trains a network on calibrated heads, on plain ones, and on calibrated ones with each group of style.GROUPS, and the
blood, as in plain heads; all with the same seeds and number of steps. Tests each on heads of another seed, of both
styles, at threshold 0.5. Prints mean Dice over heads with blood with its interval, and the predicted volume in a clean
head. Rerun after an interruption, it goes on where it was. Phantoms: what it says of real scans is a guess.
"""

import argparse
import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import numpy as np
import pandas as pd

import create_data_set
import split_raw_data
from benchmarks import common
from benchmarks.levers import Changed
from ich.base import backend, paths, script
from ich.base.files import write_csv
from ich.base.parallel import spread
from ich.data.pixels import Slices
from ich.data.split import read_split
from ich.data.table import read_slices
from ich.phantom.ct_ich import write_nifti
from ich.phantom.head import make_patient
from ich.phantom.style import BLOOD, GROUPS, Name
from ich.score import metrics
from ich.score.bootstrap import bootstrap_interval
from ich.train import jobs

ARMS: dict[str, tuple[Name, str]] = {
    "calibrated": ("calibrated", ""),
    "plain": ("plain", ""),
    **{f"without {group}": ("calibrated", group) for group in (*GROUPS, BLOOD)},
}
TESTS: tuple[Name, ...] = ("calibrated", "plain")


def main() -> None:
    flags = common.arguments(
        __doc__, {"arms": [*ARMS]}, work=Path("phantom_ablation"), heads=120, test_heads=60, size=128, filters=8,
        patch=64, epochs=30, folds=10, seed=0, test_seed=99, arms=[*ARMS],
    )  # fmt: skip
    tests = {style: tested(flags, style) for style in TESTS}
    with backend.starting():
        from ich.train import prediction
    rows = []
    for arm in flags.arms:
        network = prediction.load(trained(flags, arm), "last")
        row: dict[str, object] = {"trained_on": arm}
        for style, slices in tests.items():
            heads = by_head(slices, prediction.predict(network, slices) >= 0.5)
            row |= {f"{style}_{name}": value for name, value in summary(heads, flags.seed).items()}
        rows.append(row)
        write_csv(flags.work / "ablation.csv", table := pd.DataFrame(rows))
    common.write(flags, {"rows": rows}, [
        common.row(f"trained on {row['trained_on']}, tested on {style}: mean Dice", row[f"{style}_dice"])
        for row in rows for style in TESTS
    ])  # fmt: skip
    print(table.round(3).to_string(index=False))


def trained(flags: argparse.Namespace, arm: str) -> paths.Training:
    """The finished training of an arm."""
    import models
    from ich.train import runner

    folder = flags.work / arm.replace(" ", "_")
    cut(folder, flags.heads, flags.size, flags.seed, *ARMS[arm])
    create_data_set.main(["--quiet", "--raw", str(folder), "--data", str(folder / "data"), "--test-share", "0",
                          "--folds", str(flags.folds)])  # fmt: skip
    config = Changed(
        data=folder / "data", runs=folder / "runs", models={"dunet": flags.filters}, recipe="phantoms", fold=1,
        epochs=flags.epochs, validate_every=flags.epochs, seed=flags.seed, quiet=True,
        changes={"patch": flags.patch, "n_filters": flags.filters},
    )  # fmt: skip
    split = read_split(config, "kfold")
    planned = jobs.trainings(config, split, ["1"])
    runner.run_all(planned, split, models.build)
    return planned[0].files


def tested(flags: argparse.Namespace, style: Name) -> Slices:
    """All slices of the test heads of a style."""
    folder = flags.work / f"test_{style}"
    cut(folder, flags.test_heads, flags.size, flags.test_seed, style, "")
    return Slices.read(folder / "data", read_slices(folder / "data"), flags.size, 1)


def cut(folder: Path, heads: int, size: int, seed: int, style: Name, without: str) -> None:
    """Phantoms as pairs of NIfTI files in `folder`, and their slices in `folder/data`; skipped where they are."""
    if (folder / "data" / paths.RUN).exists():
        return
    write = functools.partial(write_head, folder, size, seed, style, without)
    spread(write, range(heads), 0, "phantom heads", quiet=True)
    split_raw_data.main(["--quiet", "--raw", str(folder), "--data", str(folder / "data"), "--image-size", str(size)])


def write_head(folder: Path, size: int, seed: int, style: Name, without: str, number: int) -> None:
    """One head and its mask."""
    made = make_patient(seed, number, size, style, without)
    for part, volume in (("images", made.hu), ("masks", (made.mask > 0).astype(np.uint8))):
        write_nifti(folder / part / f"{number:04d}.nii", volume, made.affine)


def by_head(slices: Slices, found: np.ndarray) -> pd.DataFrame:
    """One row per head: `blood` (bool), `dice`, `false_ml` (predicted, not blood). `found` bool (n, size, size)."""
    rows = slices.table[["patient"]].assign(
        tp=(found & (slices.masks > 0)).sum((1, 2)), fp=(found & (slices.masks == 0)).sum((1, 2)),
        fn=(~found & (slices.masks > 0)).sum((1, 2)),
    )  # fmt: skip
    spacing = slices.table[["spacing_row_mm", "spacing_column_mm", "spacing_slice_mm"]].prod(axis=1)
    heads = rows.assign(false_ml=rows["fp"] * spacing / 1000).groupby("patient").sum()
    return heads.assign(blood=heads["tp"] + heads["fn"] > 0, dice=metrics.dice(heads["tp"], heads["fp"], heads["fn"]))


def summary(heads: pd.DataFrame, seed: int) -> dict[str, float]:
    """Mean Dice over heads with blood, its interval, and the predicted volume in a clean head."""
    dice = heads.loc[heads["blood"], "dice"]
    low, high = bootstrap_interval(dice, seed)
    return {"n": len(dice), "dice": dice.mean(), "low": low, "high": high,
            "clean_ml": heads.loc[~heads["blood"], "false_ml"].mean()}  # fmt: skip


if __name__ == "__main__":
    script.run(main)
