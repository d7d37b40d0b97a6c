"""claim.md: every item of both checklists once, the numbers of the page, and no more than the data hold."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import Done

from ich.base import paths
from ich.base.files import read_json, write_csv, write_json
from ich.data import origin
from ich.data.table import TYPES
from ich.report import claim, display
from ich.report import page as report_page

LETTERS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}
TRIPOD = [f"{number}{letter}" for number in range(1, 28) for letter in LETTERS.get(number, ("",))]
Build = Callable[..., str]


@pytest.fixture
def build(done: Done, tmp_path: Path) -> Build:
    """Makes claim.md of a protocol again, had trials.py found other facts or written other tables."""

    def make(protocol: str = "patient", tables: dict[str, pd.DataFrame] | None = None, **facts: object) -> str:
        folder = tmp_path / protocol
        shutil.copytree(done.report(protocol), folder, dirs_exist_ok=True)
        write_json(folder / paths.RUN, read_json(folder / paths.RUN) | facts)
        for name, table in (tables or {}).items():
            write_csv(folder / f"{name}.csv", table)
        report_page.build(folder, done.project.data, protocol)
        return (folder / "claim.md").read_text(encoding="utf-8")

    return make


def section(text: str, heading: str) -> str:
    """What stands under the heading that begins so."""
    (found,) = re.findall(rf"^### {re.escape(heading)}.*?\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return found


@pytest.mark.parametrize("protocol", ["patient", "slice"])
def test_every_item_of_both_checklists_is_there_once(done: Done, protocol: str) -> None:
    text = (done.report(protocol) / "claim.md").read_text(encoding="utf-8")
    headings = [re.search(r"\((?:CLAIM ([\d, ]+))?(?:; )?(?:TRIPOD\+AI ([\da-g, ]+))?\)$", line)
                for line in text.splitlines() if line.startswith("### ")]  # fmt: skip
    claims, tripod = ([part for found in headings if found[k] for part in found[k].split(", ")] for k in (1, 2))
    assert claims == [str(number) for number in range(1, 45)]
    assert sorted(tripod) == sorted(TRIPOD)
    assert re.search(r"\{[{%]|None\b(?! (is|in|after))|nan|Undefined", text) is None


def test_scores_are_those_of_the_page(done: Done) -> None:
    text = (done.report("patient") / "claim.md").read_text(encoding="utf-8")
    table = pd.read_csv(done.report("patient") / "comparison.csv")
    for row in display.first_table(table, "patient", "").rows:
        assert f"| {' | '.join(row)} |" in section(text, "Performance")
    page = (done.report("patient") / "report.html").read_text(encoding="utf-8")
    (answer,) = re.findall(r'<p class="answer">(.*?)</p>', page)
    assert answer in section(text, "Performance")
    assert "Held-out test set" in section(text, "Performance")


def test_numbers_of_the_data_are_counted(done: Done) -> None:
    text = (done.report("patient") / "claim.md").read_text(encoding="utf-8")
    slices = pd.read_csv(done.project.data / "slices.csv", dtype={"patient": str})
    bleeding = slices[slices["lesion_pixels"] > 0]
    counted = (f"12 phantom heads, {bleeding['patient'].nunique()} of them with blood; {len(slices)} slices, "
               f"{len(bleeding)} of them with blood")  # fmt: skip
    assert counted in section(text, "Data sources")
    kfold = pd.read_csv(done.project.data / "patient" / "kfold.csv", dtype=str)
    for part, rows in kfold.groupby("fold"):
        assert re.search(rf"^\| {part} \| {rows['patient'].nunique()} \|", section(text, "Partitions"), re.MULTILINE)
    assert "seed 0" in section(text, "Partitions")
    assert "Distance of the slices: 5 mm." in section(text, "Image acquisition")


def test_phantoms_are_named_and_patients_not_asked_about(build: Build) -> None:
    text = build()
    assert origin.PHANTOM_BANNER in text
    assert "Not applicable to phantoms." in section(text, "Ethics")
    assert "drawn into the phantoms" in section(text, "Reference standard")
    real = build(origin=origin.CT_ICH)
    assert origin.PHANTOM_BANNER not in real
    assert "hantom" not in real
    assert all("To be written" in section(real, name) for name in ("Ethics", "Reference standard", "Eligibility"))
    assert "Hssayeni" in real


def test_by_slice_the_leak_is_said(done: Done) -> None:
    text = (done.report("slice") / "claim.md").read_text(encoding="utf-8")
    assert "Only one run" not in text  # advice of the page
    assert "scores overestimate performance on new patients" in section(text, "What separates the partitions")
    assert "too high for new patients" in section(text, "Internal testing")
    assert "chosen out of fold" not in text


def test_seeds_and_weights_of_each_training(build: Build, done: Done) -> None:
    facts = read_json(done.report("patient") / paths.RUN)
    trained = [run | {"seed": 5, "repeats": 3} for run in facts["trained"]]
    levers = {"init_weights": "0a1b", "neighbours": 1, "test_time_flip": True}
    recipes = facts["recipes"] | {"dunet": facts["recipes"]["dunet"] | levers}
    text = build(trained=trained, recipes=recipes)
    assert "unet: random; seed of each fold's trainings: 5, 6, 7" in section(text, "Initial weights")
    assert "dunet: those of the file with the fingerprint `0a1b`" in section(text, "Initial weights")
    assert "below and above it (dunet); no clinical data" in section(text, "Predictors")
    assert "| neighbours | off | 1 |" in section(text, "Training")
    assert "its left-right mirror image (dunet)." in section(text, "Choice of weights")


def test_of_given_masks_nothing_is_said_of_their_training(build: Build, done: Done) -> None:
    facts = read_json(done.report("patient") / paths.RUN)
    given = [dict.fromkeys(run) | {"run": "reader", "network": "given masks", "repeats": 1} for run in facts["trained"]]
    text = build(trained=given[:1], recipes={})
    for name in ("Networks", "Initial weights", "Training", "Choice of weights"):
        assert "The masks of reader were given" in section(text, name)
    assert "Adam" not in text
    assert "is unknown here: its masks were given" in text


def test_missed_patients_are_named(build: Build, done: Done) -> None:
    patients = pd.read_csv(done.report("patient") / "patients.csv", dtype={"patient": str})
    blood = patients["tp"] + patients["fn"] > 0
    ours = blood & (patients["run"] == "dunet")
    missed = patients.loc[ours, "patient"].iloc[0]
    patients.loc[ours, "tp"] = [0, *[9] * (ours.sum() - 1)]
    failures = section(build(tables={"patients": patients}), "Failures")
    assert f"dunet: patients in whom no pixel of blood was found, of {ours.sum()}: {missed}." in failures


def test_what_is_missing_is_counted() -> None:
    types = {name: [None, None, 0, 0] for name in TYPES}
    slices = pd.DataFrame({"lesion_pixels": [0, 3, 3, 3], "spacing_slice_mm": [5.0, 5.0, None, 2.5], **types})
    summary = pd.DataFrame({"kind": ["kfold", "mask_and_table_disagree"], "part": ["1", "049_001"]})
    lines = claim._missing(slices, summary)
    assert [re.search(r": (\d of \d)", line)[1] for line in lines] == ["1 of 3", "1 of 4", "1 of 4"]
    assert claim._spacing(slices) == "Distance of the slices: 2.5 to 5 mm."


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"patients_known": False}, "4 slices, 2 of them with blood, of an unknown number of patients"),
        (
            {"patients_assumed": True},
            "3 patients, 1 of them with blood, assuming that each scan is from a different patient; 4 slices",
        ),
        ({}, "3 patients, 1 of them with blood; 4 slices, 2 of them with blood"),
    ],
)
def test_no_more_is_said_of_patients_than_is_known(facts: dict, expected: str) -> None:
    slices = pd.DataFrame({"patient": ["a", "a", "b", "c"], "lesion_pixels": [3, 4, 0, 0]})
    assert claim._counted(slices, facts).startswith(expected)


def test_names_of_runs_are_shown_as_they_are(build: Build, done: Done) -> None:
    table = pd.read_csv(done.report("patient") / "comparison.csv").replace({"run": {"dunet": "a|b<script>*"}})
    assert r"| a\|b\<script>\* | " in build(tables={"comparison": table})
