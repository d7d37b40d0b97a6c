"""Step 4. Compare the cross-validated networks: tables, tests, curves.

    python trials.py
    python trials.py --compare unet my_network     (any two or more runs)

reads   <runs>/<protocol>/*/fold_*/ (any number of finished folds)
writes  <reports>/<protocol>/: table.csv comparison.csv statistics.csv <run>_mean_history.csv
        loss_fig.png dice_fig.png iou_fig.png dice_fig_vs.png iou_fig_vs.png folds_fig.png run.json
"""

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import config as settings
from ich import cli, comparison, folds, paths, plots, runs, splits
from ich.published import NOT_COMPARABLE


def main(argv: Sequence[str] | None = None) -> None:
    config = cli.parse(settings.Trials, __doc__, argv)
    started = time.time()
    found = folds.gather(config.runs, config.protocol, config.compare)
    folder = config.reports / config.protocol
    _tell_missing(found, config)
    table = comparison.comparison(found, config.protocol)
    tests = comparison.tests_between(found, config.protocol, config.seed)
    runs.write_csv(folder / "table.csv", comparison.paper_table(found))
    runs.write_csv(folder / "comparison.csv", table)
    runs.write_csv(folder / "statistics.csv", tests)
    _plot(found, folder, config.protocol)
    facts = {"runs": {run.name: run.folds for run in found}, "identity": found[0].identity()}
    runs.write_json(folder / paths.RUN, runs.manifest(config, started, **facts))
    _tell(table, tests, config.protocol, folder)


def _tell_missing(found: list[folds.Run], config: settings.Trials) -> None:
    kfold = splits.read(config.data, config.protocol, "kfold")
    k = kfold["part"].nunique() - int((kfold["part"] == "test").any())
    for run in found:
        if missing := folds.missing_folds(run, k):
            print(f"warning: {run.name} lacks {', '.join(missing)} of {k} folds; its numbers are of the others")


def _plot(found: list[folds.Run], folder: Path, protocol: str) -> None:
    histories = {run.name: run.mean_history() for run in found}
    for name, history in histories.items():
        runs.write_csv(folder / f"{name}_mean_history.csv", history)
    for measure in plots.CURVES:
        plots.fold_curves(folder / f"{measure}_fig.png", histories, measure, protocol)
    for measure in ("dice", "iou"):
        plots.versus_curves(folder / f"{measure}_fig_vs.png", histories, measure, protocol)
    title = f"Out-of-fold Dice at threshold 0.5, split by {protocol}"
    plots.strips(folder / "folds_fig.png", comparison.strip_values(found, protocol), "Dice", title)


def _tell(table: pd.DataFrame, tests: pd.DataFrame, protocol: str, folder: Path) -> None:
    columns = {
        "patient": ["run", "folds", "n_with_blood", "dice_mean", "dice_sd", "iou_mean", "sensitivity_mean",
                    "precision_mean", "pooled_dice", "scan_auroc"],
        "slice": ["run", "folds", "paper_dice_mean", "paper_dice_sd", "paper_iou_mean", "paper_iou_sd", "pooled_dice",
                  "lesion_slice_dice_mean"],
    }[protocol]  # fmt: skip
    print(f"\nOut-of-fold scores, split by {protocol}; threshold 0.5, last weights, means over patients with blood:")
    print(table[columns].to_string(index=False, float_format="%.3f", na_rep="-"))
    if protocol == "patient":
        for _, test in tests[tests["metric"] == "dice"].iterrows():
            if test["test"].startswith("patients"):
                print(comparison.sentence(test))
        print(NOT_COMPARABLE)
    print(f"-> {folder}: table.csv comparison.csv statistics.csv dice_fig_vs.png folds_fig.png dice_fig.png ...")


if __name__ == "__main__":
    cli.run(main)
