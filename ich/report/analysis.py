"""What trials.py writes beyond the comparison: subgroups, operating point, calibration, volumes, ROC."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from ich.base.files import write_csv
from ich.draw import analysis_plots
from ich.draw.paired import Mean, paired
from ich.report import choice
from ich.report.folds import Run, per_fold
from ich.report.repeats import mean_of
from ich.score import breakdown, calibration, statistics
from ich.score.metrics import with_blood

OF_PROBABILITIES = (
    "calibration.csv", "calibration_error.csv", "calibration_fig.png", "operating.csv", "operating_point.csv",
    "operating_fig.png", "roc.csv", "roc_fig.png",
)  # fmt: skip


def write(folder: Path, found: list[Run], slices: pd.DataFrame, protocol: str, colours: Mapping[str, str]) -> None:
    """Write tables and plots of the out-of-fold predictions of all runs.

    `slices`: the content of slices.csv; `colours`: of each run. Of several repeats shares, limits and lesions found are
    means over repeats; curves are over the rows of all. OF_PROBABILITIES leave out runs of given masks.
    """
    tables = {"by_type": _mean_of_each(found, lambda run: breakdown.by_type(run.table("slices"), slices))}
    tables["folds"] = fold_means(found, protocol)
    if protocol == "patient":
        tables |= _of_patients(found)
    if soft := [run for run in found if run.has_probabilities]:
        tables |= _reliability(folder, soft, colours)
        if protocol == "patient":
            tables |= _of_thresholds(folder, soft, slices, colours)
    else:
        for name in OF_PROBABILITIES:  # of runs that are not compared any more
            (folder / name).unlink(missing_ok=True)
    if "agreement" in tables and (blood := with_blood(tables["patients"]))["volume_true_ml"].notna().all():
        analysis_plots.bland_altman(folder / "volume_fig.png", blood, tables["agreement"], colours)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)


def _reliability(folder: Path, found: list[Run], colours: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    bins = {run.name: _bins(run) for run in found}
    analysis_plots.reliability(folder / "calibration_fig.png", bins, colours)
    tables = [table.assign(run=name, of=of) for name, pair in bins.items() for of, table in pair.items()]
    errors = (
        {"run": name, **{of: calibration.expected_error(table) for of, table in pair.items()}}
        for name, pair in bins.items()
    )
    return {"calibration": pd.concat(tables, ignore_index=True), "calibration_error": pd.DataFrame(errors)}


def fold_means(found: list[Run], protocol: str) -> pd.DataFrame:
    """One row per fold: mean Dice and IoU over its patients (by slice: its slices) with blood."""
    return _each(found, lambda run: _fold_means(with_blood(run.table(f"{protocol}s"))))


def _fold_means(blood: pd.DataFrame) -> pd.DataFrame:
    grouped = blood.groupby("fold")
    means = grouped[["dice", "iou"]].mean().add_suffix("_mean")
    means.insert(0, "n_with_blood", grouped.size())
    return means.reset_index()


def draw_paired(
    path: Path, found: list[Run], comparison: pd.DataFrame, protocol: str, source: str, colours: Mapping[str, str]
) -> None:
    """The plot of the first screen: Dice of each patient with blood, with the means and intervals of `comparison`.

    By slice, where slices say little by themselves: the mean of each fold, and one standard deviation over folds.
    """
    origin = f" ({source})" if source else ""
    if protocol == "patient":
        values = pd.DataFrame(
            {run.name: with_blood(run.table("patients")).set_index("patient")["dice"] for run in found}
        )
        ends = comparison.set_index("run")[["dice_mean", "dice_ci_low", "dice_ci_high"]]
        means = {run: Mean(*row) for run, *row in ends.itertuples()}
        title = (
            f"{len(values.dropna())} patients with blood{origin}: one line each\ndiamond: mean and its 95 % interval"
        )
        paired(path, values, means, title, "Dice, out of fold", colours)
        return
    values = pd.DataFrame({run.name: per_fold(run, "slices", "dice") for run in found})
    spread = values.std(ddof=1)
    means = {run: Mean(mean, mean - spread[run], mean + spread[run]) for run, mean in values.mean().items()}
    title = f"{len(values)} folds by slice{origin}: one line each\ndiamond: mean ± one standard deviation"
    paired(path, values, means, title, "Dice of slices with blood, out of fold", colours)


def _of_patients(found: list[Run]) -> dict[str, pd.DataFrame]:
    return {
        "patients": _each(found, lambda run: run.table("patients")),
        "by_size": _mean_of_each(found, lambda run: breakdown.by_size(run.table("patients"))),
        "agreement": _mean_of_each(found, _agreement),
    }


def _of_thresholds(
    folder: Path, found: list[Run], slices: pd.DataFrame, colours: Mapping[str, str]
) -> dict[str, pd.DataFrame]:
    tables = {
        "operating": _each(found, lambda run: breakdown.by_threshold(run.table("thresholds"), slices)),
        "operating_point": _each(found, choice.candidates_of),
        "roc": _each(found, lambda run: breakdown.scan_roc(run.rows("patients"))),
    }
    points = tables["operating_point"][tables["operating_point"]["chosen"]]
    chosen = dict(zip(points["run"], points["threshold"], strict=True))
    analysis_plots.operating_point(folder / "operating_fig.png", tables["operating"], chosen, colours)
    analysis_plots.roc(folder / "roc_fig.png", tables["roc"], colours)
    return tables


def _mean_of_each(found: list[Run], make: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    """As `_each`, of what single networks do: `make` is called with each repeat, and the mean is taken after."""
    return _each(found, lambda run: mean_of([make(each) for each in run.repeats], run.name))


def _each(found: list[Run], make: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    parts = [make(run) for run in found]
    for run, part in zip(found, parts, strict=True):
        part.insert(0, "run", run.name)
    return pd.concat(parts, ignore_index=True)


def _bins(run: Run) -> dict[str, pd.DataFrame]:
    pixels = calibration.add_up([run.table("calibration")])
    return {"pixels": pixels, "slices": calibration.slice_bins(run.rows("slices"))}


def _agreement(run: Run) -> pd.DataFrame:
    blood = with_blood(run.table("patients"))
    pair = blood["volume_true_ml"], blood["volume_pred_ml"]
    return pd.DataFrame(
        [{"patients": len(blood), **statistics.bland_altman(*pair), "icc_a1": statistics.icc_a1(*pair)}]
    )
