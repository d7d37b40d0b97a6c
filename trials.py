"""Step 4. Compare the cross-validated networks: tables, tests, curves.

    python trials.py
    python trials.py --compare unet my_network     (any two or more runs)

reads   <runs>/<protocol>/*/fold_*/ (any number of finished folds, with their repeats)
writes  <reports>/<protocol>/: table.csv comparison.csv repeats.csv statistics.csv <run>_mean_history.csv
        folds.csv patients.csv by_type.csv by_size.csv operating.csv operating_point.csv calibration.csv
        calibration_error.csv agreement.csv roc.csv paired_fig.png loss_fig.png dice_fig.png iou_fig.png
        dice_fig_vs.png iou_fig_vs.png folds_fig.png operating_fig.png calibration_fig.png volume_fig.png
        roc_fig.png report.html claim.md run.json
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
from ich.base import flags, lock, paths, record, script, steps
from ich.base.files import read_json, write_csv, write_json
from ich.data import audit, identity, origin
from ich.data.split import split_fingerprints
from ich.data.table import read_parts, read_slices
from ich.draw import colours, plots
from ich.report import analysis, cautions, comparison, folds, page, published, verdict

# What _trained says, in this order.
TRAINED = ("run", "network", "filters", "parameters", "image", "windows HU", "recipe", "levers", "epochs", "batch",
           "learning rate", "starts from", "seed", "folds", "repeats", "device", "backend", "precision",
           "hours")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.Trials, __doc__, argv)
    found = folds.gather(config.runs, config.protocol, config.compare)
    folds.refuse_other_data(config, found[0], split_fingerprints(config, "kfold"))
    with lock.writing(config.reports / config.protocol):
        _write(config, found)
    steps.tell_next("tests.py", config, "data", "runs", "reports", "protocol", "seed")


def _write(config: settings.Trials, found: list[folds.Run]) -> None:
    started = time.time()
    folder = config.reports / config.protocol
    (folder / paths.RUN).unlink(missing_ok=True)  # written last: until then the files may be of two calls
    for path in folder.glob("*_mean_history.csv"):
        path.unlink()  # also of runs that are not compared any more
    source = origin.read(config.data)
    plots.label_all(origin.banner(source))
    warnings = _missing(found, config)
    for warning in warnings:
        print(f"warning: {warning}")
    table = comparison.comparison(found, config.protocol, config.seed)
    tests = comparison.tests_between(found, config.protocol, config.seed)
    write_csv(folder / "table.csv", comparison.paper_table(found))
    write_csv(folder / "comparison.csv", table)
    write_csv(folder / "repeats.csv", comparison.by_repeat(found, config.protocol))
    write_csv(folder / "statistics.csv", tests)
    colour_of = colours.of_runs(paths.fold_trainings(config.runs, config.protocol))
    _plot(found, folder, config.protocol, colour_of)
    analysis.draw_paired(folder / "paired_fig.png", found, table, config.protocol, source, colour_of)
    analysis.write(folder, found, read_slices(config.data), config.protocol, colour_of)
    split = read_json(config.data / config.protocol / paths.RUN, ("leak_audit",))
    trained = [_trained(run) for run in found]
    facts = {
        "trained": trained, "trainings": folds.prints(found), "networks": folds.network_prints(found),
        "recipes": {run.name: _recipe(run) for run in found if not run.given},
        "identity": found[0].identity(), "warnings": warnings, "origin": source,
        "leak_audit": split["leak_audit"], **audit.whose(split),
    }  # fmt: skip
    write_json(folder / paths.RUN, record.manifest(config, started, **facts))
    page.build(folder, config.data, config.protocol)
    _tell(found, table, tests, trained, source, folder, is_all=not config.compare)


def _trained(run: folds.Run) -> dict:
    """What the report says of a run: network, recipe, device, time; None where masks were given."""
    made_of = run.identity()
    if run.given:
        about = {"run": run.name, "network": f"given {run.given}", "folds": len(run.folds)}
        return {**dict.fromkeys(TRAINED), **about}
    needed = ("identity", "parameters", "device", "backend", "training_seconds")
    manifests = [read_json(training.run, needed) for training in run.trainings]
    recipe = made_of["recipe"]
    return {
        "run": run.name, "network": made_of["model"], "filters": made_of["n_filters"],
        "parameters": manifests[0]["parameters"], "image": f"{made_of['image_size']} px",
        "windows HU": ", ".join(made_of["windows"]) or "unknown", "recipe": made_of["recipe_name"],
        "levers": ", ".join(f"{name} {recipe[name]:g}" for name in settings.LEVERS if _has_effect(name, made_of))
        or "none",
        "epochs": recipe["epochs"],
        "batch": recipe["batch_size"], "learning rate": recipe["learning_rate"],
        "starts from": identity.starts_from(made_of), "seed": made_of["seed"],
        "folds": len(run.folds), "repeats": len(run.repeats),
        "device": manifests[0]["device"], "backend": manifests[0]["backend"],
        "precision": ", ".join(sorted({manifest.get("precision", "unknown") for manifest in manifests})),
        "hours": round(sum(manifest["training_seconds"] for manifest in manifests) / 3600, 2),
    }  # fmt: skip


def _has_effect(lever: str, made_of: dict) -> bool:
    """Whether a lever is on; the learning rate of fine-tuning only where a training starts from weights."""
    return bool(made_of["recipe"].get(lever)) and (lever != "fine_tune_rate" or bool(made_of.get("init_weights")))


def _recipe(run: folds.Run) -> dict:
    """How a run was trained, setting by setting, and from which weights."""
    made_of = run.identity()
    return {**made_of["recipe"], "init_weights": made_of.get("init_weights")}


def _missing(found: list[folds.Run], config: settings.Trials) -> list[str]:
    """Which folds are not finished."""
    kfold = read_parts(config.data, config.protocol, "kfold")
    k = kfold["part"].nunique() - int((kfold["part"] == "test").any())
    lacking = {run.name: missing for run in found if (missing := folds.missing_folds(run, k))}
    return [
        f"{run} lacks {', '.join(names)} of {k} folds; its numbers cover the others" for run, names in lacking.items()
    ]


def _plot(found: list[folds.Run], folder: Path, protocol: str, colour_of: dict[str, str]) -> None:
    histories = {run.name: run.mean_history() for run in found if not run.given}
    for name, history in histories.items():
        write_csv(folder / f"{name}_mean_history.csv", history)
    for measure in plots.CURVES:
        path, versus = (folder / f"{measure}_{ending}.png" for ending in ("fig", "fig_vs"))
        if not histories:  # given masks alone
            path.unlink(missing_ok=True)
            versus.unlink(missing_ok=True)
            continue
        plots.fold_curves(path, histories, measure, protocol, colour_of)
        if measure != "loss":
            plots.versus_curves(versus, histories, measure, protocol, colour_of)
    title = f"Out-of-fold Dice at threshold 0.5, split by {protocol}"
    plots.strips(folder / "folds_fig.png", comparison.strip_values(found, protocol), "Dice", title, colour_of)


def _tell(
    found: list[folds.Run], table: pd.DataFrame, tests: pd.DataFrame, trained: list[dict], source: str, folder: Path,
    is_all: bool,
) -> None:  # fmt: skip
    protocol = folder.name
    columns = {
        "patient": ["run", "folds", "n_with_blood", "dice_mean", "dice_sd", "iou_mean", "sensitivity_mean",
                    "precision_mean", "pooled_dice", "scan_auroc"],
        "slice": ["run", "folds", "paper_dice_mean", "paper_dice_sd", "paper_iou_mean", "paper_iou_sd", "pooled_dice",
                  "lesion_slice_dice_mean"],
    }[protocol]  # fmt: skip
    if table["repeats"].max() > 1:
        columns = [*columns[:2], "repeats", *columns[2:], "dice_sd_seeds"]
    means = f"means over {protocol}s with blood" + (", paper_* smoothed over batches" if protocol == "slice" else "")
    print(f"\nOut-of-fold scores, split by {protocol}; threshold 0.5, last weights, {means}:")
    print(table[columns].to_string(index=False, float_format="%.3f", na_rep="-"))
    if protocol == "patient":
        if len(found) > 1:
            own = [run for run in found if not run.given]
            if own:
                takes = "; predict.py takes it unless --run names another" * is_all
                among = " of the networks" * (len(own) < len(found))
                among += " with most folds" * (len({len(run.folds) for run in own}) > 1)
                print(f"highest mean Dice{among}: {folds.best(own).name}{takes}")
        if source == origin.CT_ICH:
            print(published.NOT_COMPARABLE)
    for caution in cautions.of_report(table, analysis.fold_means(found, protocol)):
        print(f"caution: {caution}")
    for each in verdict.verdicts(tests, trained):
        print(each)
    origin.tell(source)
    print(f"-> {folder}: report.html claim.md comparison.csv statistics.csv folds_fig.png ...")


if __name__ == "__main__":
    script.run(main)
