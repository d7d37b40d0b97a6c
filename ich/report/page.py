"""report.html: one file that opens offline, built only from the tables and plots in a report folder."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from ich.base import paths, record
from ich.base.files import read_csv, read_json, write_text
from ich.data import audit, origin
from ich.report import gallery, published, verdict

TEMPLATE = "report.html.j2"
OVERVIEW = {
    "patient": ("run", "folds", "n_with_blood", "dice_mean", "dice_ci_low", "dice_ci_high", "dice_sd", "iou_mean",
                "nsd_2mm_mean", "hd95_mm_median", "scan_sensitivity", "scan_specificity", "scan_auroc"),
    "slice": ("run", "folds", "paper_dice_mean", "paper_dice_sd", "paper_iou_mean", "paper_iou_sd",
              "lesion_slice_dice_mean", "pooled_dice"),
}  # fmt: skip
PATIENTS = ("run", "fold", "patient", "dice", "iou", "precision", "sensitivity", "score", "hd95_mm", "nsd_2mm",
            "volume_true_ml", "volume_pred_ml", "lesions_true", "lesions_found", "lesions_invented")  # fmt: skip
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
    "blood, at threshold 0.5; a missed patient counts as 0. ci: bootstrap 95 % interval over patients.",
    "slice": "Slices of the same patient are on both sides of this split, so scores are too high for new patients.",
}
CITE = "Cite ICH Detector (CITATION.cff)"
CITE_CT_ICH = (
    ", and the data set: Hssayeni et al., Intracranial Hemorrhage Segmentation Using a Deep Convolutional Model, "
    "Data 2020, 5(1), 14"
)


@dataclass(frozen=True)
class Table:
    """A table as shown on the page: column names and rows of text."""

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""

    @classmethod
    def of(cls, table: pd.DataFrame, caption: str = "") -> "Table":
        """Format a table: three decimals, a dash for missing values (see `shown`)."""
        return cls(list(table.columns), [[shown(value) for value in row] for row in table.to_numpy(object)], caption)


def shown(value: object) -> str:
    """A cell: `0.613`, `1.2e-05`, `12`, `inf`, `-` for a missing value."""
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if math.isnan(value):
        return "-"
    if math.isinf(value) or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.1e}"


def build(folder: Path, data: Path, protocol: str, warnings: Sequence[str] = ()) -> Path:
    """Write `report.html` into a protocol's report folder, from what trials.py and tests.py wrote there.

    Raises InputError when trials.py has not run.
    """
    facts = read_json(folder / paths.RUN, ("leak_audit", "warnings", "trained", "identity", "packages"))
    is_ct_ich = facts.get("origin") == origin.CT_ICH
    comparison = _read(folder, "comparison")
    patients, statistics = _read(folder, "patients"), _read(folder, "statistics")
    answers = [str(each) for each in verdict.verdicts(statistics, facts["trained"])]
    page = _template().render(
        title="ICH Detector: comparison of networks", research_only=record.RESEARCH_ONLY, protocol=protocol,
        answers=answers or ["Only one run is finished: train another to compare."], reading=READING[protocol],
        overview=Table.of(_columns(comparison, OVERVIEW[protocol])),
        banner=origin.banner(facts.get("origin", "")),
        published=_published() if is_ct_ich else None,
        comparable=published.NOT_COMPARABLE if protocol == "patient" else published.COMPARABLE,
        audit=audit.sentence(facts["leak_audit"], facts.get("patients_known", True)),
        warnings=[*facts["warnings"], *warnings],
        trained=Table.of(pd.DataFrame(facts["trained"])), settings=_settings(facts),
        statistics=Table.of(statistics), plots=_plots(folder),
        subgroups=[Table.of(table, caption) for table, caption in _subgroups(folder)],
        patients=Table.of(_columns(patients, PATIENTS)) if len(patients) else None,
        test_sets=gallery.test_sets(folder, data, Table.of), legend=gallery.legend(),
        citation=CITE + CITE_CT_ICH * is_ct_ich + ".",
    )  # fmt: skip
    path = folder / "report.html"
    write_text(path, page)
    return path


def _settings(facts: dict) -> str:
    names = ("identity", "packages", "python", "git_commit", "git_changed")
    return json.dumps({name: facts.get(name) for name in names}, indent=2)


def _published() -> Table:
    return Table.of(published.table(), "Published on CT-ICH")


def _plots(folder: Path) -> list[dict[str, str]]:
    return [
        {"source": gallery.data_url((folder / name).read_bytes()), "text": text}
        for name, text in PLOTS.items()
        if (folder / name).exists()
    ]


def _subgroups(folder: Path) -> list[tuple[pd.DataFrame, str]]:
    captions = {
        "repeats": "Each fold trained several times, with one seed each: every row is one training of all folds",
        "by_type": "By type, slices of exactly one type, out of fold. slices_found: at least one pixel found",
        "by_size": "By volume of the 3-D lesion, out of fold. Found: at least one of its voxels was predicted",
        "agreement": "Predicted against true volume of patients with blood: bias, 95 % limits, ICC(A,1)",
        "calibration_error": "Expected calibration error; pixels with p >= 0.01 or reference blood",
    }
    return [(table, caption) for name, caption in captions.items() if len(table := _read(folder, name))]


def _columns(table: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    return table[[name for name in names if name in table.columns]]


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.csv"
    return read_csv(path, (), "trials.py") if path.exists() else pd.DataFrame()


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    # Everything is escaped, since ids and file names are user input.
    return jinja2.Environment(loader=loader, autoescape=True).get_template(TEMPLATE)
