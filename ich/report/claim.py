"""claim.md: what journals ask of a study (CLAIM 2024, TRIPOD+AI), filled in as far as manifests and tables hold it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from ich.base import paths, record
from ich.base.files import read_csv, read_json, write_text
from ich.data import audit, origin
from ich.data.table import TYPES, read_slices, scans_line
from ich.report import display, verdict
from ich.report.display import Table
from ich.score.metrics import with_blood
from ich.score.operating import Point

NAME, TEMPLATE = "claim.md", "claim.md.j2"
SOURCES = {
    origin.PHANTOMS: "Phantoms, invented heads of `make_demo_data.py`",
    origin.CT_ICH: "CT-ICH 1.3.1 of PhysioNet",
    origin.OWN_SCANS: "The authors' own scans",
    origin.OWN_PNGS: "The authors' own slices, given as PNGs",
}
PARTS = ("part", "patients", "patients_with_blood", "slices", "lesion_slices", "training_slices", *TYPES)
DEALT = {
    "patient": "Patients with blood are sorted by their number of slices with blood and dealt to the folds in turn, "
    "then those without",
    "slice": "Slices are dealt at random, those with blood and those without by themselves",
}


def write(folder: Path, data: Path, facts: Mapping[str, Any], shown: Mapping[str, Any]) -> Path:
    """Write `claim.md` into a protocol's report folder.

    `facts` is the run.json of trials.py, `shown` what the report page shows: the same numbers and sentences are used.
    """
    split = read_json(data / shown["protocol"] / paths.RUN, ("config",))["config"]
    summary = read_csv(data / shown["protocol"] / "summary.csv", ("kind", "part"), "create_data_set.py")
    slices, recipes = read_slices(data), facts.get("recipes", {})
    phantoms = facts.get("origin") == origin.PHANTOMS
    own = {
        "research_only": record.RESEARCH_ONLY, "phantoms": phantoms, "split": split,
        "runs": [run["run"] for run in facts["trained"]],
        "source": SOURCES.get(facts.get("origin", ""), "Scans of unknown origin"),
        "data": _counted(slices, facts), "fingerprint": facts["identity"]["data_fingerprint"],
        "windows": ", ".join(facts["identity"]["windows"]), "size": facts["identity"]["image_size"],
        "negatives": f"{split['negatives_per_positive']:g}", "missing": _missing(slices, summary),
        "spacing": _spacing(slices), "neighbours": _neighbours(recipes), "flipped": _flipped(recipes),
        "dealt": _dealt(slices, split), "parts": Table.of(_parts(summary), "Parts"), "recipes": _recipes(recipes),
        "software": _software(facts), "initial": _initial(facts["trained"], recipes), "given": _given(facts["trained"]),
        "code": _code(facts),
        "points": _points(shown["scores"]), "detection": _detection(shown["scores"], shown["protocol"]),
        "failures": [*shown["cautions"], *_of_tests(shown["test_sets"]), *_missed(shown["every_patient"])],
    }  # fmt: skip
    path = folder / NAME
    write_text(path, re.sub(r"\n{3,}", "\n\n", _template().render({**shown, **own})))
    return path


def _counted(slices: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """How many patients, scans and slices there are, as far as it is known whose they are."""
    blood = slices["lesion_pixels"] > 0
    counted = f"{len(slices)} slices, {blood.sum()} of them with blood"
    whose = audit.whose(facts)
    if not whose["patients_known"]:
        return f"{counted}, of an unknown number of patients"
    patients, bleeding = slices["patient"].nunique(), slices.loc[blood, "patient"].nunique()
    scans = scans_line(slices, " with {} scans")
    assumed = ", assuming that each scan is from a different patient" * ("patients_assumed" in whose)
    unit = origin.unit(facts.get("origin", ""))
    return f"{patients} {unit}{scans}, {bleeding} of them with blood{assumed}; {counted}"


def _missing(slices: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    """What the tables lack, and what is done about it."""
    blood, disagree = slices[slices["lesion_pixels"] > 0], (summary["kind"] == audit.DISAGREEMENT).sum()
    untyped, unknown = blood[list(TYPES)].isna().any(axis=1).sum(), slices["spacing_slice_mm"].isna().sum()
    of = f"of {len(slices)} slices"
    return [
        f"Type of hemorrhage unknown: {untyped} of {len(blood)} slices with blood; the table by type leaves them out.",
        f"Mask and diagnosis disagree about blood: {disagree} {of}; the mask counts.",
        f"Distance of pixels and slices not known: {unknown} {of}; their scans have no measures in mm and ml.",
    ]


def _spacing(slices: pd.DataFrame) -> str:
    known = slices["spacing_slice_mm"].dropna()
    if known.empty:
        return "The distance of the slices is not known."
    distances = " to ".join(dict.fromkeys(f"{end:.3g}" for end in (known.min(), known.max())))
    return f"Distance of the slices: {distances} mm."


def _neighbours(recipes: Mapping[str, Mapping[str, Any]]) -> str:
    names = [name for name, recipe in recipes.items() if recipe.get("neighbours")]
    return f", with those of the slices below and above it ({', '.join(names)})" if names else ""


def _flipped(recipes: Mapping[str, Mapping[str, Any]]) -> str:
    names = [name for name, recipe in recipes.items() if recipe.get("test_time_flip")]
    return (
        f"\nEach probability is the mean over the slice and its left-right mirror image ({', '.join(names)})."
        * bool(names)
    )


def _dealt(slices: pd.DataFrame, split: Mapping[str, Any]) -> str:
    test = f"{split['test_share']:.0%} of the {split['protocol']}s are kept for the test set"
    if "split" in slices:
        test = "The test set is the authors' own"
    return f"{test}. {DEALT[split['protocol']]} (seed {split['seed']})."


def _parts(summary: pd.DataFrame) -> pd.DataFrame:
    table = summary.loc[summary["kind"] == "kfold", list(PARTS)]
    return table.astype(dict.fromkeys(PARTS[1:], "Int64")).astype(object).where(table.notna(), None)


def _recipes(recipes: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each setting that is on in any of the networks."""
    names = dict.fromkeys(name for recipe in recipes.values() for name, value in recipe.items() if value)
    names.pop("init_weights", None)
    rows = [[name, *(display.shown(recipe.get(name) or "off") for recipe in recipes.values())] for name in names]
    return Table("Recipes", ["Setting", *recipes], rows)


def _initial(trained: Sequence[Mapping[str, Any]], recipes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for run in trained:
        if verdict.is_given(run):
            continue
        seeds = ", ".join(str(run["seed"] + repeat) for repeat in range(run["repeats"]))
        start = recipes.get(run["run"], {}).get("init_weights")
        weights = f"those of the file with the fingerprint `{start}`" if start else "random"
        lines.append(f"{run['run']}: {weights}; seed of each fold's trainings: {seeds}")
    return lines


def _given(trained: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(run["run"] for run in trained if verdict.is_given(run))
    return f"The masks of {names} were given: there is no record of how they were made." if names else ""


def _software(facts: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return f"Where these tables were made: ICH Detector {record.version()}, Python {facts['python']}, {packages}."


def _code(facts: Mapping[str, Any]) -> str:
    changed = ", ".join(facts.get("git_changed") or [])
    changes = f", with changes in {changed}" if changed else ""
    return (
        f"Code: ICH Detector {record.version()}, MIT License, commit `{facts.get('git_commit') or 'unknown'}`{changes}."
    )


def _points(comparison: pd.DataFrame) -> list[str]:
    """The operating point that was chosen for each run; none is split by slice."""
    if "chosen_threshold" not in comparison:
        return []
    columns = comparison[["run", "chosen_threshold", "chosen_min_lesion_mm3"]]
    return [f"{run}, chosen out of fold for the test set: {Point(*point).text}" for run, *point in columns.to_numpy()]


def _detection(comparison: pd.DataFrame, protocol: str) -> str:
    unit = "scan" if protocol == "patient" else "slice"
    areas = [f"{row['run']} {display.shown(row[f'{unit}_auroc'])}" for row in comparison.to_dict("records")]
    return (f"Shares of {unit}s with blood found, and of those without left unmarked: in the tables above. AUROC over "
            f"{unit}s, out of fold: {'; '.join(areas)}.")  # fmt: skip


def _of_tests(tests: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"On the test set: {caution}" for test in tests for caution in test["cautions"]]


def _missed(patients: pd.DataFrame) -> list[str]:
    """The patients with blood in whom no pixel of it was found, of each run."""
    if patients.empty:
        return []
    blood = with_blood(patients)
    lines = []
    for run, rows in blood.groupby("run", sort=False):
        names = ", ".join(rows.loc[rows["tp"] == 0, "patient"].astype(str)) or "none"
        lines.append(f"{run}: patients in whom no pixel of blood was found, of {len(rows)}: {names}.")
    return lines


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _plain
    return environment.get_template(TEMPLATE)


def _plain(value: object) -> object:
    """Text that Markdown shows as it is, since ids and names of runs are user input."""
    return value if isinstance(value, Markup) else Markup(re.sub(r"([\\*|<\[])", r"\\\1", str(value)))
