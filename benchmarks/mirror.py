"""Whether the mean with the prediction of the mirrored slices is better: `test_time_flip` of a recipe, `--flip`.

    python benchmarks/mirror.py --data data --runs runs --run dunet

Scores the finished folds of a run again, out of fold, without and with the mirror, at threshold 0.5. Prints mean Dice
over patients with blood, the paired difference with its bootstrap interval over these patients and the p of the
Wilcoxon signed-rank test, and false-positive ml in a clean patient. The mirror takes twice the time.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
from benchmarks import common
from ich.base import backend, script
from ich.data import identity
from ich.data.split import read_split
from ich.report import folds
from ich.score import evaluation, metrics, statistics, summary


def main() -> None:
    flags = common.arguments(__doc__, data=Path("data"), runs=Path("runs"), run="dunet", seed=0)
    plain, mirrored = scored(flags)
    blood, other = (metrics.with_blood(table)["dice"] for table in (plain, mirrored))
    test = statistics.paired_by_patient(other, blood, flags.seed)
    rows = []
    for name, table in (("plain", plain), ("with mirror", mirrored)):
        of_all = summary.patient_summary(table)
        rows.append({
            "prediction": name, "n": len(blood), "dice": of_all["dice_mean"], "clean_n": of_all["n_clean"],
            "clean_false_ml": of_all["false_positive_ml_per_clean_patient"],
        })  # fmt: skip
    common.write(flags, {"rows": rows, "test": test}, [
        common.row("with mirror against plain, mean Dice", test["mean_difference"]),
    ])  # fmt: skip
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    interval = f"{test['ci_low']:.3f} to {test['ci_high']:.3f}"
    print(f"difference {test['mean_difference']:+.3f} ({interval}), p {test['p_value']:.3f}")


def scored(flags: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The patients of all finished folds, without and with the mirror, one row each, in the same order."""
    run = folds.gather(flags.runs, "patient", (flags.run,))[0].repeats[0]
    split = read_split(settings.Split(data=flags.data), "kfold")
    folds.refuse_other_data(settings.Tests(data=flags.data), run, split.prints)
    with backend.starting():
        from ich.train import prediction
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame]] = [], []
    for training in run.trainings:
        network = prediction.load(training, "last")
        slices = split.validation(identity.read(training.run)["part"])
        prob = prediction.predict(network, slices)
        both = prediction.predict(network, slices, flip=True)
        for found, each in zip(tables, (prob, both), strict=True):
            found.append(evaluation.patient_scores(slices, each))
    plain, mirrored = (pd.concat(found, ignore_index=True) for found in tables)
    return plain, mirrored


if __name__ == "__main__":
    script.run(main)
