"""What trials.py writes beyond the comparison: subgroups, operating point, calibration, volumes, ROC."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ich.base.files import write_csv
from ich.draw import analysis_plots
from ich.report import choice
from ich.report.folds import Run
from ich.score import breakdown, calibration, statistics
from ich.score.metrics import with_blood


def write(folder: Path, found: list[Run], slices: pd.DataFrame, protocol: str) -> None:
    """Write tables and plots of the out-of-fold predictions of all runs; `slices` is the content of slices.csv."""
    tables = {"by_type": _each(found, lambda run: breakdown.by_type(run.table("slices"), slices))}
    bins = {run.name: _bins(run) for run in found}
    tables["calibration"] = pd.concat(
        [table.assign(run=name, of=of) for name, pair in bins.items() for of, table in pair.items()], ignore_index=True
    )
    tables["calibration_error"] = pd.DataFrame(
        {"run": name, **{of: calibration.expected_error(table) for of, table in pair.items()}}
        for name, pair in bins.items()
    )
    analysis_plots.reliability(folder / "calibration_fig.png", bins)
    if protocol == "patient":
        tables |= _of_patients(folder, found, slices)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)


def _of_patients(folder: Path, found: list[Run], slices: pd.DataFrame) -> dict[str, pd.DataFrame]:
    tables = {
        "patients": _each(found, lambda run: run.table("patients")),
        "by_size": _each(found, lambda run: breakdown.by_size(run.table("patients"))),
        "operating": _each(found, lambda run: breakdown.by_threshold(run.table("thresholds"), slices)),
        "operating_point": _each(found, choice.candidates_of),
        "roc": _each(found, lambda run: breakdown.scan_roc(run.table("patients"))),
        "agreement": pd.DataFrame([{"run": run.name, **_agreement(run)} for run in found]),
    }
    chosen = {run.name: choice.of_run(run).point.threshold for run in found}
    analysis_plots.operating_point(folder / "operating_fig.png", tables["operating"], chosen)
    analysis_plots.roc(folder / "roc_fig.png", tables["roc"])
    blood = with_blood(tables["patients"])
    if blood["volume_true_ml"].notna().all():
        analysis_plots.bland_altman(folder / "volume_fig.png", blood, tables["agreement"])
    return tables


def _each(found: list[Run], make: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    parts = [make(run) for run in found]
    for run, part in zip(found, parts, strict=True):
        part.insert(0, "run", run.name)
    return pd.concat(parts, ignore_index=True)


def _bins(run: Run) -> dict[str, pd.DataFrame]:
    pixels = calibration.add_up([run.table("calibration")])
    return {"pixels": pixels, "slices": calibration.slice_bins(run.table("slices"))}


def _agreement(run: Run) -> dict[str, float]:
    blood = with_blood(run.table("patients"))
    pair = blood["volume_true_ml"], blood["volume_pred_ml"]
    return {"patients": len(blood), **statistics.bland_altman(*pair), "icc_a1": statistics.icc_a1(*pair)}
