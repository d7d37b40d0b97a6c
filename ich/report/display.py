"""Tables as a reader sees them on the page: few columns, plain words, values with their unit and interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich.report.words import WORDS, heading

# Of the first table; `_row` makes its cells.
EXPLAINED = {
    "patient": ("dice_mean", "scan_sensitivity", "scan_specificity", "hd95_mm_median", "volume_error_ml_median",
                "false_positive_ml_per_clean_patient"),
    "slice": ("paper_dice_mean", "lesion_slice_dice_mean", "pooled_dice", "slice_sensitivity", "slice_specificity"),
}  # fmt: skip
PATIENTS = ("run", "fold", "patient", "dice", "iou", "precision", "sensitivity", "score", "hd95_mm", "nsd_2mm",
            "volume_true_ml", "volume_pred_ml", "lesions_true", "lesions_found", "lesions_invented")  # fmt: skip
OF_BLOOD = ("dice", "iou", "precision", "sensitivity", "hd95_mm", "nsd_2mm")  # undefined for patients without it
BY_TYPE = ("run", "type", "patients", "slices", "dice_mean_of_patients", "slices_found")


@dataclass(frozen=True)
class Table:
    """A table as shown on the page: title, headings and rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    @classmethod
    def of(cls, table: pd.DataFrame, title: str) -> "Table":
        """Format a table: headings in plain words, three decimals, a dash for missing values (see `shown`)."""
        rows = [[shown(value) for value in row] for row in table.to_numpy(object)]
        return cls(title, [heading(name) for name in table.columns], rows)

    @classmethod
    def turned(cls, table: pd.DataFrame, title: str, key: str) -> "Table":
        """A row for each column of the file, under its own name, and a column for each value of `key`."""
        values = table.drop(columns=key).T
        rows = [
            [name, WORDS[name].name if name in WORDS else "", *map(shown, row)]
            for name, row in zip(values.index, values.to_numpy(object), strict=True)
        ]
        return cls(title, ["Column", "In words", *table[key].astype(str)], rows)


def shown(value: object) -> str:
    """A cell: `0.613`, `1.2e-05`, `12`, `inf`, `-` for a missing value."""
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if math.isnan(value):
        return "-"
    if math.isinf(value) or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.1e}"


def first_table(comparison: pd.DataFrame, protocol: str, title: str) -> Table:
    """The networks by their most important scores; `comparison` has the columns of comparison.csv."""
    rows = [_row(row, protocol) for row in comparison.to_dict("records")]
    return Table(title, list(rows[0]), [list(row.values()) for row in rows])


def _row(row: Mapping[str, object], protocol: str) -> dict[str, str]:
    if protocol == "slice":
        return {
            "Network": str(row["run"]),
            **{heading(f"{name}_mean") + " ± SD of folds" * (f"{name}_sd" in row): _spread(row, name)
               for name in ("paper_dice", "paper_iou")},
            **_plain(row, "lesion_slice_dice_mean"), **_plain(row, "pooled_dice"),
            heading("slice_sensitivity"): _share(row, "slice_sensitivity", _number(row, "n_lesion_slices")),
            heading("slice_specificity"): _share(row, "slice_specificity", _clean_slices(row)),
        }  # fmt: skip
    ci = "dice_ci_low" in row
    return {
        "Network": str(row["run"]),
        "Dice, mean (95 % interval)" if ci else "Dice, mean ± SD": _interval(row) if ci else _spread(row, "dice"),
        heading("scan_sensitivity"): _share(row, "scan_sensitivity", _number(row, "n_with_blood")),
        heading("scan_specificity"): _share(row, "scan_specificity", _number(row, "n_clean")),
        **_plain(row, "hd95_mm_median", 1), **_plain(row, "volume_error_ml_median", 1),
        **_plain(row, "false_positive_ml_per_clean_patient", 1),
    }  # fmt: skip


def _number(row: Mapping[str, object], name: str) -> float:
    value = row.get(name, math.nan)
    return float(value) if isinstance(value, int | float | np.number) else math.nan


def _clean_slices(row: Mapping[str, object]) -> float:
    return _number(row, "n_slices") - _number(row, "n_lesion_slices")


def _decimals(value: float, decimals: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def _plain(row: Mapping[str, object], name: str, decimals: int = 3) -> dict[str, str]:
    return {heading(name): _decimals(_number(row, name), decimals)}


def _interval(row: Mapping[str, object]) -> str:
    mean, low, high = (_number(row, name) for name in ("dice_mean", "dice_ci_low", "dice_ci_high"))
    return _decimals(mean) if math.isnan(low) else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def _spread(row: Mapping[str, object], name: str) -> str:
    mean, deviation = _number(row, f"{name}_mean"), _number(row, f"{name}_sd")
    return _decimals(mean) if math.isnan(deviation) else f"{mean:.3f} ± {deviation:.3f}"


def _share(row: Mapping[str, object], name: str, of: float) -> str:
    """`92 % of 13`: the number says how much a percentage can mean."""
    share = _number(row, name)
    return "-" if math.isnan(share) else f"{100 * share:.0f} % of {of:.0f}"


def seeds(repeats: pd.DataFrame) -> str:
    """The spread over seeds in two sentences, from repeats.csv; empty where each fold was trained once."""
    if repeats.empty:
        return ""
    name = "dice_mean" if "dice_mean" in repeats else "lesion_slice_dice_mean"
    runs = [f"{run} {', '.join(map(_decimals, rows[name]))}" for run, rows in repeats.groupby("run", sort=False)]
    return f" Scores are means over the seeds of a network's trainings. {heading(name)}, by seed: {'; '.join(runs)}."


def statistics(tests: pd.DataFrame) -> Table:
    """The tests between runs; p is corrected where there are several pairs."""
    rows = [
        [f"{test['a']} minus {test['b']}", WORDS[test["metric"]].name, str(test["test"]), f"{test['n']:.0f}",
         _difference(test), _p(test["p_holm"]), shown(test.get("note"))]
        for test in tests.to_dict("records")
    ]  # fmt: skip
    columns = ["Compared", "Score", "Test", "n", "Difference (95 % interval)", "p, corrected", "Note"]
    return Table("Differences in Dice and IoU", columns, rows)


def _difference(test: Mapping[str, object]) -> str:
    mean, low, high = (_number(test, name) for name in ("mean_difference", "ci_low", "ci_high"))
    if math.isnan(mean):
        return "-"
    return f"{mean:+.3f}" if math.isnan(low) else f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def patients(table: pd.DataFrame) -> Table:
    """All patients: measures of blood are a dash for patients without it, false-positive ml for those with it."""
    kept = table[[name for name in PATIENTS if name in table]].copy()
    clean = table["tp"] + table["fn"] == 0
    for name in OF_BLOOD:
        if name in kept:
            kept[name] = kept[name].mask(clean)
    if "volume_pred_ml" in kept:
        place = kept.columns.get_loc("volume_pred_ml") + 1
        kept.insert(place, "false_positive_ml", kept["volume_pred_ml"].where(clean))
    for name in (name for name in kept if WORDS[name].unit in ("mm", "ml")):
        kept[name] = [_decimals(value, 1) for value in kept[name]]
    return Table.of(kept, "Scores of each patient")


def settings(trained: list[dict]) -> Table:
    """What was trained: one row per setting, one column per run."""
    names = [name for name in trained[0] if name != "run"]
    rows = [[name, *(shown(run.get(name)) for run in trained)] for name in names]
    return Table("What was trained", ["Setting", *(str(run["run"]) for run in trained)], rows)
