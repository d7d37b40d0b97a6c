"""report.html of the variants: the answer first, then tables, plots, slices, and what was trained on which data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ich.base import paths, record
from ich.base.files import read_json
from ich.data import audit, origin
from ich.report import display, render
from ich.report.display import Table
from ich.report.words import heading, meanings
from ich.rsna import examples, split
from ich.rsna.compare import Result, without_pair
from ich.rsna.identity import common
from ich.rsna.scores import MAIN, MEASURES
from ich.rsna.variants import MEANING, of_run
from ich.rsna.verdict import Verdict

TEMPLATE = Path(__file__).parent / "report.html.j2"
PLOTS = {
    "confusion.png": "Predicted against true classes of the test slices, under each variant, first training",
    "per_scan.png": "AUROC over whole scans, of each type and variant",
}
ANSWER = "Difference of each variant from what it is compared with, in five scores, with 95 % intervals over patients"
CURVES = "Loss and accuracy by epoch, training and validation: {}, first training"
SCANS = ("variant", "type", "score", "scans", "with_it")
COMPARED = ("balanced_accuracy", "auroc", "log_loss")


def write(
    folder: Path, tables: Mapping[str, pd.DataFrame], results: Sequence[Result], found: Sequence[Verdict],
    answers: Sequence[str], task: str, data: Path,
) -> str:  # fmt: skip
    """Write `report.html` into the folder of the tables and plots (by the names of their files).

    Returns why it shows no slices and no split; empty if it does.
    """
    files = paths.Rsna(data)
    missing, columns = _unlike(files, results), _columns(task)
    comparison, differences = tables["comparison"], tables["differences"]
    patients = comparison["patients"].iloc[0]
    first = {result.name: read_json(result.files[0].run) for result in results}
    render.write(
        folder / paths.PAGE, TEMPLATE, title="ICH Detector: comparison of preprocessings",
        banner=origin.banner(results[0].origin),
        answers=answers or [f"Nothing to compare yet: {without_pair(results)}."],
        reading=_reading(comparison, len(differences), results[0]), steps=MEANING,
        figure=render.figure(folder / "answer.png", ANSWER),
        first=_scores(comparison, f"Test slices: {comparison['slices'].iloc[0]} of {patients} patients, {task}",
                      columns),
        meanings=meanings(columns), comparison=Table.turned(comparison, "All columns of comparison.csv", "variant"),
        differences=_differences(differences, found) if found else None,
        all_differences=Table.turned(differences, "All columns of differences.csv", "variant") if found else None,
        per_class=_recalls(tables["per_class"]), all_classes=Table.of(tables["per_class"], "per_class.csv"),
        scans=_scans(tables["per_scan"]) if len(tables["per_scan"]) else None,
        plots=[plot for name, text in PLOTS.items() if (plot := render.figure(folder / name, text))],
        curves=[plot for result in results if (plot := render.figure(
            result.files[0].curves, CURVES.format(result.name)))],
        cases=[] if missing else examples.cases(results, task, files),
        cautions=[f"{split.lacking_line(results[0].lacking)}; means over classes leave them out"]
        if results[0].lacking else [],
        data=None if missing else _data(files), trained=display.settings(_trained(first, comparison)), missing=missing,
        settings=render.as_text(first[results[0].name]),
    )  # fmt: skip
    return missing


def _columns(task: str) -> tuple[str, ...]:
    """The scores that are shown, the one that answers first."""
    return tuple(sorted(MEASURES, key=lambda name: name != MAIN[task]))


def _unlike(files: paths.Rsna, results: Sequence[Result]) -> str:
    """Why the slices in the data folder can't be shown: they are not there, or not those that were trained on."""
    if not files.slices.exists() or not files.run.exists():
        return f"{files.folder} has no slices.csv; name the folder with --data"
    identity = read_json(results[0].files[0].run, ("identity",))["identity"]
    if identity.get("data_fingerprint") != record.fingerprint(files.slices):
        return f"{files.slices} is not what was trained on; name the folder with --data"
    variants = dict.fromkeys(of_run(result.name) for result in results)
    gone = [path for name in variants for one in results[0].ids if not (path := files.png(name, one)).exists()]
    return f"{len(gone)} of their PNGs are missing, such as {gone[0]}; run rsna_preprocess.py again" if gone else ""


def _reading(comparison: pd.DataFrame, compared: int, result: Result) -> str:
    several = len(result.series) - len(result.ids)
    return (
        f"Each patient is in one part only, and all {comparison['slices'].iloc[0]} test slices are classified by "
        "networks whose weights were chosen on the validation part. Intervals: 95 %, bootstrap over patients, each "
        f"with all slices; not corrected for the {compared} comparisons. McNemar's test treats slices as independent, "
        "which they are not: it supplements the interval."
        + f" {several} test slices of several types are left out, except in the scores of whole scans."
        * bool(several)
    )


def _scores(comparison: pd.DataFrame, title: str, columns: Sequence[str]) -> Table:
    """One row per variant: each score with its interval."""
    rows = [
        [str(row["variant"]), str(row["repeats"]), *(_interval(row, name) for name in columns)]
        for row in comparison.to_dict("records")
    ]
    return Table(title, ["Variant", "Trainings", *map(heading, columns)], rows)


def _interval(row: Mapping, name: str, sign: str = "") -> str:
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    return "-" if pd.isna(value) else f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _differences(differences: pd.DataFrame, found: Sequence[Verdict]) -> Table:
    """One row per comparison: the answer, the differences, McNemar's p, and a note where one has any."""
    noted = any(one.note for one in found)
    rows = []
    for row, one in zip(differences.to_dict("records"), found, strict=True):
        rows.append([f"{one.variant} minus {one.minus}", one.answer, *(_interval(row, name, "+") for name in COMPARED),
                     display.shown(row["mcnemar_p_holm"]), *[one.note or "-"] * noted])  # fmt: skip
    columns = ["Compared", "Better?", *map(heading, COMPARED), "p", *["Note"] * noted]
    return Table("Differences (95 % interval); p of McNemar's test, corrected by Holm", columns, rows)


def _recalls(per_class: pd.DataFrame) -> Table:
    """The share found of each class (column) under each variant (row)."""
    wide = per_class.pivot_table("recall", "variant", "class", sort=False, dropna=False)
    slices = per_class.drop_duplicates("class").set_index("class")["slices"]
    wide.columns = [f"{name} (of {slices[name]})" for name in wide.columns]
    return Table.of(wide.reset_index(), "Share of the slices of each class that were found")


def _scans(table: pd.DataFrame) -> Table:
    rows = [[*(str(row[name]) for name in SCANS), _interval(row, "auroc")] for row in table.to_dict("records")]
    return Table(
        "Whole scans: AUROC (95 % interval over patients)",
        [*map(heading, SCANS[:2]), "Score of a scan", *map(heading, SCANS[3:]), heading("auroc")],
        rows,
    )


def _data(files: paths.Rsna) -> dict:
    """Where the slices come from, and how they were split."""
    facts, table = read_json(files.run), split.read(files)
    return {
        "audit": audit.sentence(split.leaks(table)),
        "rejected": facts.get("rejected", 0),
        "parts": Table.of(split.summary(table), "Patients, slices, and slices of each class"),
        "preview": render.figure(files.preview, "The same slices under each preprocessing"),
    }


def _trained(first: Mapping[str, Mapping], comparison: pd.DataFrame) -> list[dict]:
    """One dict per run: what it was trained with."""
    repeats = comparison.set_index("variant")["repeats"]
    measured = ("backend", "device", "precision", "parameters", "training_seconds")
    return [
        {"run": name, "steps": run["identity"].get("steps"), **common(run["identity"]), "trainings": int(repeats[name]),
         **{key: run.get(key) for key in measured}}
        for name, run in first.items()
    ]  # fmt: skip
