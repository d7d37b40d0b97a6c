"""report.html: one file that opens offline, built only from the tables and plots in a report folder; and claim.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ich.base import paths
from ich.base.files import read_csv, read_json
from ich.data import audit, origin
from ich.data.table import read_slices, scans_line
from ich.report import cautions, claim, display, gallery, published, render, verdict
from ich.report.display import Table
from ich.report.words import meanings

TEMPLATE = Path(__file__).parent / "report.html.j2"
PAIRED = {
    "patient": "Dice of every patient with blood under each network, out of fold; means with 95 % intervals",
    "slice": "Mean Dice of the slices with blood of each fold under each network",
}
PLOTS = {
    "folds_fig.png": "Dice of every patient and of every fold, by run",
    "dice_fig_vs.png": "Validation Dice by epoch, mean over folds and one standard deviation, all runs",
    "dice_fig.png": "Dice by epoch, training and validation, one panel per run, best epoch marked",
    "iou_fig.png": "IoU by epoch, training and validation, one panel per run",
    "loss_fig.png": "Loss by epoch, training and validation, one panel per run",
    "operating_fig.png": "Precision against sensitivity over thresholds, and mean Dice by threshold",
    "calibration_fig.png": "Reliability of the probabilities of pixels and of slices",
    "volume_fig.png": "Bland-Altman plot of predicted against true volume",
    "roc_fig.png": "ROC curve over scans",
}
READING = {
    "patient": "Out of fold: every patient is scored by a network that never saw them. Means are over patients with "
    "blood, at threshold 0.5; a missed patient counts as 0. Intervals: 95 %, bootstrap over patients.",
    "slice": "Slices of the same patient are on both sides of this split, so scores are too high for new patients.",
}
HOW_TESTED = {
    "patient": "By patient: Wilcoxon signed-rank test, bootstrap 95 % interval of the mean difference over patients; "
    "the variation between repeated trainings is not included. ",
    "slice": "",
}
BY_FOLD = "By fold: corrected resampled t (Nadeau and Bengio 2003). p is corrected for the number of pairs (Holm 1979)."


def build(folder: Path, data: Path, protocol: str, warnings: Sequence[str] = ()) -> Path:
    """Write `report.html` and `claim.md` into a protocol's report folder, from what trials.py and tests.py wrote there.

    Return the path of the page. Raises InputError when trials.py has not run.
    """
    facts = read_json(folder / paths.RUN, ("leak_audit", "warnings", "trained", "identity", "packages"))
    is_ct_ich = facts.get("origin") == origin.CT_ICH
    comparison = _read(folder, "comparison")
    patients, statistics = _read(folder, "patients"), _read(folder, "statistics")
    seeds = display.seeds(_read(folder, "repeats"))
    answers = [str(each) for each in verdict.verdicts(statistics, facts["trained"])]
    networks = facts.get("networks")
    tests = gallery.test_sets(folder, data, networks)
    shown = {
        "protocol": protocol, "answers": answers or ["Only one run is finished: train another to compare."],
        "reading": "".join([READING[protocol], _on_trust(facts["trained"]), _several_scans(data), seeds]),
        "first": display.first_table(comparison, protocol, f"Out of fold, split by {protocol}"),
        "meanings": meanings(display.EXPLAINED[protocol]),
        "comparison": Table.turned(comparison, "All columns of comparison.csv", "run"),
        "figure": render.figure(folder / "paired_fig.png", PAIRED[protocol]),
        "cautions": cautions.of_report(comparison, _read(folder, "folds")),
        "banner": origin.banner(facts.get("origin", "")),
        "published": _published() if is_ct_ich else None,
        "comparable": published.NOT_COMPARABLE if protocol == "patient" else published.COMPARABLE,
        "audit": audit.sentence(facts["leak_audit"], audit.whose(facts)),
        "warnings": [*facts["warnings"], *warnings, *_not_tested(networks, tests)],
        "trained": display.settings(facts["trained"]), "settings": render.as_text(facts),
        "how_tested": HOW_TESTED[protocol] + BY_FOLD,
        "statistics": display.statistics(statistics),
        "all_statistics": Table.of(statistics, "All columns of statistics.csv"),
        "plots": _plots(folder), "by_type": _by_type(folder), "subgroups": _subgroups(folder),
        "patients": display.patients(patients) if len(patients) else None,
        "test_table": _test_table(tests, protocol), "test_sets": [_test_set(test) for test in tests],
        "legend": gallery.legend(), "citation": render.CITE + render.CITE_CT_ICH * is_ct_ich,
    }  # fmt: skip
    path = folder / paths.PAGE
    render.write(path, TEMPLATE, title="ICH Detector: comparison of networks", **shown)
    claim.write(folder, data, facts, {**shown, "scores": comparison, "every_patient": patients, "seeds": seeds})
    return path


def _not_tested(networks: Mapping[str, object] | None, tests: Sequence[Mapping[str, object]]) -> list[str]:
    """A warning where some of the runs have no results on the test set, or only those of earlier networks."""
    lacking = {*(networks or {})} - {test["run"] for test in tests}
    if not tests or not lacking:
        return []
    return [f"no scores of {', '.join(sorted(lacking))} on the test set since it was trained; run tests.py"]


def _on_trust(trained: Sequence[Mapping[str, object]]) -> str:
    """What the program can't know of masks that were given."""
    names = ", ".join(str(run["run"]) for run in trained if verdict.is_given(run))
    return f" Whether {names} was trained on these patients is unknown here: its masks were given." if names else ""


def _several_scans(data: Path) -> str:
    """What a score means where patients have several scans."""
    slices = read_slices(data)
    return scans_line(slices, f" The {slices['patient'].nunique()} patients have {{}} scans: those of a patient count "
                      "together, and a patient is called bleeding where any of them is.")  # fmt: skip


def _published() -> Table:
    return Table.of(published.table(), "Published on CT-ICH")


def _test_table(tests: list[dict], protocol: str) -> Table | None:
    """The first table for the test sets, each at the threshold of its first column."""
    rows = []
    for test in tests:
        scores = test["summary"].set_index("measure").iloc[:, 0]
        smoothed = {f"{name}_mean": scores[name] for name in ("paper_dice", "paper_iou") if name in scores}
        rows.append({"run": f"{test['name']}, threshold {scores['threshold']:.2f}", **scores, **smoothed})
    return display.first_table(pd.DataFrame(rows), protocol, "Held-out test set") if rows else None


def _test_set(test: dict) -> dict:
    scores = test["summary"].set_index("measure").iloc[:, 0].to_dict()
    return {**test, "cautions": cautions.cautions(scores, test["name"]),
            "summary": Table.turned(test["summary"].set_index("measure").T.rename_axis("at").reset_index(),
                                    f"{test['name']}: all of its summary.csv", "at")}  # fmt: skip


def _plots(folder: Path) -> list[dict[str, str]]:
    return [figure for name, text in PLOTS.items() if (figure := render.figure(folder / name, text))]


def _by_type(folder: Path) -> Table | None:
    table = _read(folder, "by_type")
    return Table.of(_columns(table, display.BY_TYPE), "Slices of exactly one type, out of fold") if len(table) else None


def _subgroups(folder: Path) -> list[Table]:
    titles = {
        "repeats": "repeats.csv: all folds trained with one seed each",
        "by_type": "All columns of by_type.csv: slices of exactly one type, out of fold",
        "by_size": "by_size.csv: by volume of the 3-D lesion, out of fold",
        "agreement": "agreement.csv: predicted against true volume of patients with blood; bias, 95 % limits, ICC(A,1)",
        "calibration_error": "calibration_error.csv: expected calibration error; pixels with p >= 0.01 or blood",
    }
    return [Table.of(table, title) for name, title in titles.items() if len(table := _read(folder, name))]


def _columns(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    return table[[name for name in names if name in table.columns]]


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    return read_csv(path, (), "trials.py") if path.exists() else pd.DataFrame()
