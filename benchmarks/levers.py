"""Which changes of a recipe help: each trained alone against `fast`, on the same folds and seeds of one data folder.

    python make_demo_data.py --style calibrated --patients 60 --size 128 --out levers
    python split_raw_data.py --raw levers/ct-ich --data levers/data --image-size 128
    python create_data_set.py --raw levers/ct-ich --data levers/data --folds 5
    python benchmarks/levers.py --data levers/data --runs levers/runs --folds 1 2 --epochs 30

Works on the slices of CT-ICH as well. Each lever is a run under --runs; rerun after an interruption, it skips what is
finished and resumes what is not. `twice` and `four_times` are `fast` for more epochs; `best` is neighbours, patches,
mirror and more epochs together, `best_quarter`, `best_half` and `best_twice` are `best` for fewer and more, and
`weights` is `best_quarter` from --init-weights, at half the learning rate. Prints one row per lever: mean Dice over
patients with blood, the difference to the lever --against with its bootstrap interval over these patients and the p of
the Wilcoxon signed-rank test, Dice of all pixels together, and false-positive ml in a clean patient.
"""

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
from benchmarks import common
from ich.base import backend, paths, script
from ich.base.files import write_csv
from ich.data.split import Split, read_split
from ich.report import folds
from ich.score import metrics, statistics, summary
from ich.train import jobs

BASE, FROM_WEIGHTS = "fast", "weights"
PATCH = {"patch": 64}
EACH: dict[str, dict] = {
    "neighbours": {"neighbours": 1},
    "patch": PATCH,
    "ema": {"ema": 0.999},
    "clean_weight": {"clean_weight": 0.2},
    "negatives": {"negatives_per_positive": 2},
    "mirror": {"test_time_flip": True},
    "augmentation": {"elastic": 0.3, "gamma": 0.3, "blur": 0.2, "low_resolution": 0.2},
}
BEST = EACH["neighbours"] | PATCH | EACH["mirror"]
LEVERS: dict[str, dict] = {
    BASE: {},
    **EACH,
    "neighbours_patch": EACH["neighbours"] | PATCH,
    "all": {name: value for changes in EACH.values() for name, value in changes.items()},
    "twice": {},
    "four_times": {},
    "best": BEST,
    "best_quarter": BEST,
    "best_half": BEST,
    "best_twice": BEST,
    FROM_WEIGHTS: BEST,
}
# Epochs as a multiple of --epochs; `best` is as much longer than `fast` as its recipe says.
OF_BEST = settings.RECIPES["best"].epochs // settings.RECIPES[BASE].epochs
LONGER = {
    "twice": 2, "four_times": 4, "best": OF_BEST, "best_quarter": OF_BEST // 4, "best_half": OF_BEST // 2,
    "best_twice": OF_BEST * 2,
}  # fmt: skip


@dataclass
class Changed(settings.MainKfold):
    """main_kfold.py with some fields of its recipe changed."""

    changes: dict = field(default_factory=dict)

    def resolved_recipe(self) -> settings.Recipe:
        """The recipe with its changes."""
        return replace(super().resolved_recipe(), **self.changes)


def main() -> None:
    flags = common.arguments(
        __doc__, {"levers": LEVERS, "against": LEVERS}, data=Path("data"), runs=Path("levers"), network="dunet",
        filters=16, against=BASE, epochs=30, folds=[1], levers=[*EACH, "neighbours_patch", "all"], **PATCH,
        init_weights="phantoms", seed=0,
    )  # fmt: skip
    split = read_split(settings.Split(data=flags.data), "kfold")
    parts = [part for fold in flags.folds for part in jobs.check_folds(split, fold)]
    with backend.starting():
        import models
        from ich.train import runner
    names = list(dict.fromkeys([flags.against, *flags.levers]))
    for name in names:
        runner.run_all(jobs.trainings(configured(flags, name), split, parts), split, models.build)
    table = pd.DataFrame(compared(flags, names))
    write_csv(flags.runs / "levers.csv", table)
    about = {"origin": split.about["origin"], "against": flags.against, "rows": table.to_dict("records")}
    common.write(flags, about, figures(table, flags.against))
    print(described(flags, split))
    print(table.round(3).to_string(index=False))


def configured(flags: argparse.Namespace, name: str) -> Changed:
    """The settings of a lever; patches are of --patch pixels."""
    changes = dict(LEVERS[name])
    if "patch" in changes:
        changes["patch"] = flags.patch
    given: dict = {}
    if name == FROM_WEIGHTS:
        given["init_weights"] = Path(flags.init_weights)
        changes["learning_rate"] = settings.RECIPES[BASE].learning_rate / 2
    return Changed(
        data=flags.data, runs=flags.runs, models={flags.network: flags.filters}, run=name, recipe=BASE,
        epochs=flags.epochs * LONGER.get(name, 1), seed=flags.seed, quiet=True, changes=changes, **given,
    )  # fmt: skip


def compared(flags: argparse.Namespace, names: list[str]) -> list[dict]:
    """One row per lever."""
    found = {name: _patients(flags, name) for name in names}
    base = metrics.with_blood(found[flags.against])["dice"]
    rows = []
    for name, patients in found.items():
        blood = metrics.with_blood(patients)
        test = statistics.paired_by_patient(blood["dice"], base, flags.seed)
        of_all = summary.patient_summary(patients)
        pooled = metrics.dice(*(patients[count].sum() for count in ("tp", "fp", "fn")))
        rows.append({
            "lever": name, "epochs": flags.epochs * LONGER.get(name, 1), "n": of_all["n_with_blood"],
            "dice": of_all["dice_mean"],
            "difference": test["mean_difference"], "ci_low": test["ci_low"], "ci_high": test["ci_high"],
            "p": test["p_value"], "pooled_dice": float(pooled), "clean_n": of_all["n_clean"],
            "clean_false_ml": of_all["false_positive_ml_per_clean_patient"],
        })  # fmt: skip
    return rows


def _patients(flags: argparse.Namespace, name: str) -> pd.DataFrame:
    """The patients of the folds asked for, in the same order for every lever."""
    wanted = {paths.fold_name(fold) for fold in flags.folds}
    of_run = paths.of_folds(flags.runs / "patient" / name)
    run = folds.Run(name, [each for each in of_run if each.finished and each.fold in wanted])
    return run.table("patients").sort_values("patient").reset_index(drop=True)


def figures(table: pd.DataFrame, against: str) -> list[dict]:
    return [common.row(f"{row.lever} against {against}, mean Dice", row.difference) for row in table.itertuples()]


def described(flags: argparse.Namespace, split: Split) -> str:
    """What was trained, in one sentence."""
    folds_of = ", ".join(map(str, flags.folds))
    return (
        f"{flags.network} n={flags.filters}, {split.prints['image_size']} px, patches of {flags.patch}, "
        f"folds {folds_of} of {split.table['part'].nunique()}, seed {flags.seed}, on "
        f"{split.about['origin'] or 'own data'}"
    )


if __name__ == "__main__":
    script.run(main)
