"""The tables of trials.py: as in the paper, the comparison of runs, and the statistical tests between them."""

import itertools

import numpy as np
import pandas as pd

from ich.data import origin
from ich.report import choice
from ich.report.folds import Run, per_fold
from ich.report.published import ROW, SLICE_FOLDS, Published
from ich.report.repeats import mean_of
from ich.score import statistics
from ich.score.metrics import with_blood
from ich.score.summary import summarize

MEASURES = ("loss", "dice", "iou")
DICE = {"patient": "dice_mean", "slice": "lesion_slice_dice_mean"}  # by which repeats are compared
OF_A_REPEAT = ("dice_mean", "iou_mean", "scan_sensitivity", "scan_specificity", "lesion_slice_dice_mean", "pooled_dice")


def paper_table(runs: list[Run]) -> pd.DataFrame:
    """As in the publication: mean and standard deviation over folds of loss, Dice and IoU at every checkpoint epoch.

    Adds the last epoch, and the epoch with the best mean validation Dice; the latter is selected on the data that it
    is scored on, so its scores are too high. Runs of given masks have no epochs.
    """
    rows = []
    for run in (each for each in runs if not each.given):
        history = run.mean_history().dropna(subset=["val_dice_mean"]).set_index("epoch")
        recipe = run.recipe
        every = recipe["checkpoint_every"] or max(1, recipe["epochs"] // 5)
        kinds = {epoch: "checkpoint" for epoch in history.index if epoch % every == 0}
        kinds |= {history.index[-1]: "last"}
        best = history["val_dice_mean"].idxmax()
        rows += [_paper_row(run, history, epoch, kind) for epoch, kind in sorted(kinds.items())]
        rows.append(_paper_row(run, history, best, "best, selected on the same data"))
    return pd.DataFrame(rows, columns=None if rows else ["run", "protocol", "epoch", "weights", "folds"])


def _paper_row(run: Run, history: pd.DataFrame, epoch: int, kind: str) -> dict:
    row = {"run": run.name, "protocol": run.identity()["protocol"], "epoch": epoch, "weights": kind}
    row["folds"] = int(history.loc[epoch, "folds"])
    columns = [name for name in history.columns if name.removesuffix("_mean").removesuffix("_sd") != name]
    skip = ("learning_rate", "seconds")
    return row | {name: history.loc[epoch, name] for name in columns if not name.startswith(skip)}


def comparison(runs: list[Run], protocol: str, seed: int) -> pd.DataFrame:
    """One row per run: scores of the out-of-fold predictions at threshold 0.5, with the weights of the last epoch.

    Of several repeats every score is the mean of theirs, and `dice_sd_seeds` the standard deviation (n - 1) of their
    mean Dice; the interval is that of the patients' means. Under the slice protocol, with CT-ICH, the published figures
    are added as rows, with their own metric only.
    """
    table = pd.DataFrame([_comparison_row(run, protocol, seed) for run in runs])
    if protocol == "slice" and runs[0].about()["origin"] == origin.CT_ICH:
        trained = {run.identity()["model"] for run in runs}
        published = [_published_row(figure) for figure in SLICE_FOLDS if figure.model in trained]
        table = pd.concat([table, pd.DataFrame(published)], ignore_index=True)
    return table


def _published_row(figure: Published) -> dict:
    scores = {f"paper_{name}": value for name, value in figure._asdict().items() if name != "model"}
    return {"run": figure.model + ROW, "protocol": "slice", "folds": 10, "repeats": 1, **scores}


def _comparison_row(run: Run, protocol: str, seed: int) -> dict:
    identity = run.identity()
    row = {"run": run.name, "protocol": protocol, "folds": len(run.folds), "repeats": len(run.repeats)}
    row |= {"model": identity["model"], "n_filters": identity["n_filters"], "recipe": identity["recipe_name"]}
    if protocol == "slice":
        last = run.table("history").groupby("fold").last()
        for name in ("paper_dice", "paper_iou"):
            row |= {f"{name}_mean": last[f"val_{name}"].mean(), f"{name}_sd": last[f"val_{name}"].std(ddof=1)}
    summaries = [pd.DataFrame([_summary(each, protocol)]) for each in run.repeats]
    row |= mean_of(summaries, run.name).to_dict("records")[0]
    row["dice_sd_seeds"] = pd.concat(summaries)[DICE[protocol]].std(ddof=1)
    if protocol == "patient":
        low, high = statistics.bootstrap_interval(with_blood(run.table("patients"))["dice"].to_numpy(), seed)
        threshold, size = choice.of_run(run).point
        row |= {"chosen_threshold": threshold, "chosen_min_lesion_mm3": size}
        row |= {"dice_ci_low": low, "dice_ci_high": high}
    return row


def _summary(run: Run, protocol: str) -> dict[str, float | int]:
    return summarize(run.table("patients") if protocol == "patient" else None, run.table("slices"))


def by_repeat(runs: list[Run], protocol: str) -> pd.DataFrame:
    """One row per repeat of each run that has several: seed and scores, as in `comparison`; without any, the header."""
    rows = []
    for run in runs:
        for each in run.repeats if len(run.repeats) > 1 else ():
            repeat, summary = each.trainings[0].repeat, _summary(each, protocol)
            row = {"run": run.name, "repeat": repeat, "seed": run.identity()["seed"] + repeat - 1}
            rows.append(row | {name: summary[name] for name in OF_A_REPEAT if name in summary})
    return pd.DataFrame(rows or [], columns=None if rows else ["run", "repeat", "seed"])


def tests_between(runs: list[Run], protocol: str, seed: int) -> pd.DataFrame:
    """Test every pair of runs, second minus first: by patient, out of fold (primary), and by fold.

    p-values are Holm-corrected within each kind of test and metric.
    """
    pairs = list(itertools.combinations(runs, 2))
    rows = [_patient_test(a, b, metric, seed) for a, b in pairs for metric in ("dice", "iou") if protocol == "patient"]
    rows += [_fold_test(a, b, metric, protocol) for a, b in pairs for metric in ("dice", "iou")]
    if not rows:  # a single run: write the header alone, so that the file is still a valid table
        return pd.DataFrame(columns=["test", "a", "b", "metric", "n", "mean_difference", "p_value", "p_holm"])
    table = pd.DataFrame(rows)
    together = table.groupby(["test", "metric"])["p_value"]
    table["p_holm"] = together.transform(lambda p: statistics.holm(p.to_numpy()))
    return table


def _patient_test(a: Run, b: Run, metric: str, seed: int) -> dict:
    first, second = (with_blood(run.table("patients")).set_index("patient")[metric] for run in (a, b))
    both = sorted(set(first.index) & set(second.index))
    test = statistics.paired_by_patient(second[both].to_numpy(), first[both].to_numpy(), seed)
    return {"test": "patients, out of fold: Wilcoxon signed-rank", "a": b.name, "b": a.name, "metric": metric, **test}


def _fold_test(a: Run, b: Run, metric: str, protocol: str) -> dict:
    first, second = (per_fold(run, f"{protocol}s", metric) for run in (a, b))
    both = sorted(set(first.dropna().index) & set(second.dropna().index))
    test = statistics.corrected_resampled_t(second[both].to_numpy(), first[both].to_numpy())
    return {"test": "folds: corrected resampled t", "a": b.name, "b": a.name, "metric": metric, **test}


def strip_values(runs: list[Run], protocol: str) -> dict[str, dict[str, np.ndarray]]:
    """Values for the strip plot: Dice of every patient (or slice) with blood, and the mean of each fold."""
    kind = f"{protocol}s"
    return {
        f"each {protocol} with blood": {run.name: with_blood(run.table(kind))["dice"].to_numpy() for run in runs},
        "mean of each fold": {run.name: per_fold(run, kind, "dice").to_numpy() for run in runs},
    }
