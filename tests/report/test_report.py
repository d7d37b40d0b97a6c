"""The report page: its numbers are those of the tables beside it, and it works in a browser."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from conftest import Done

from ich.base import paths
from ich.base.files import read_json, write_csv, write_json
from ich.data import origin
from ich.report import display
from ich.report import page as report_page
from ich.score import metrics, statistics
from ich.score.summary import patient_summary


class Cells(HTMLParser):
    """Collects the tables of a page as lists of rows of text, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.inside:
            self.tables[-1][-1][-1] += data

    def table_with(self, column: str, rows: int) -> pd.DataFrame:
        """The table that has `column` and so many rows."""
        (found,) = [table for table in self.tables if column in table[0] and len(table) == rows + 1]
        return pd.DataFrame(found[1:], columns=found[0])


@pytest.fixture(scope="module")
def page(done: Done) -> Cells:
    return Cells((done.report("patient") / "report.html").read_text(encoding="utf-8"))


def test_page_shows_the_comparison_table(done: Done, page: Cells) -> None:
    table = pd.read_csv(done.report("patient") / "comparison.csv").set_index("run")
    cells = page.table_with("Dice, mean (95 % interval)", len(table)).set_index("Network")
    assert list(cells.columns) == [
        "Dice, mean (95 % interval)", "Scans with blood found", "Scans without blood left unmarked",
        "HD95, median (mm)",
        "Volume error, median (ml)", "False-positive blood per scan without blood (ml)",
    ]  # fmt: skip
    for run, row in table.iterrows():
        dice = f"{row['dice_mean']:.3f} ({row['dice_ci_low']:.3f} to {row['dice_ci_high']:.3f})"
        clean = f"{100 * row['scan_specificity']:.0f} % of {row['n_clean']}"
        invented = f"{row['false_positive_ml_per_clean_patient']:.1f}"
        assert list(cells.loc[run].iloc[[0, 2, 5]]) == [dice, clean, invented]


def test_every_column_of_the_comparison_is_under_details(done: Done, page: Cells) -> None:
    table = pd.read_csv(done.report("patient") / "comparison.csv").set_index("run")
    cells = page.table_with("In words", len(table.columns)).set_index("Column")
    for name in table.columns:
        assert list(cells.loc[name, list(table.index)]) == [display.shown(value) for value in table[name].tolist()]


def test_names_of_columns_are_shown_under_details_only(done: Done) -> None:
    for protocol in ("patient", "slice"):
        text = (done.report(protocol) / "report.html").read_text(encoding="utf-8")
        visible = re.sub(r"<details>.*?</details>|<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
        headings = re.findall(r"<th[^>]*>(?:<button[^>]*>)?(.*?)<", visible)
        assert headings
        assert [name for name in headings if "_" in name] == []


def test_comparison_can_be_recomputed_from_the_patients(done: Done) -> None:
    folder = done.report("patient")
    patients, table = pd.read_csv(folder / "patients.csv"), pd.read_csv(folder / "comparison.csv").set_index("run")
    for run, rows in patients.groupby("run"):
        blood = metrics.with_blood(rows)
        assert table.loc[run, "dice_mean"] == pytest.approx(metrics.dice(blood.tp, blood.fp, blood.fn).mean(), rel=1e-5)
        low, high = statistics.bootstrap_interval(blood["dice"].to_numpy(), seed=0)
        assert (table.loc[run, "dice_ci_low"], table.loc[run, "dice_ci_high"]) == pytest.approx((low, high), rel=1e-4)
        again = patient_summary(rows)
        for name in ("scan_auroc", "hd95_mm_median", "lesion_sensitivity", "volume_true_ml_mean"):
            if name in again:
                assert table.loc[run, name] == pytest.approx(again[name], rel=1e-5, nan_ok=True)


def test_statistics_can_be_recomputed_from_the_patients(done: Done) -> None:
    folder = done.report("patient")
    blood = metrics.with_blood(pd.read_csv(folder / "patients.csv", dtype={"patient": str}))
    wide = blood.pivot_table(index="patient", columns="run", values="dice")
    test = pd.read_csv(folder / "statistics.csv").query("metric == 'dice' and test.str.startswith('patients')").iloc[0]
    again = statistics.paired_by_patient(wide["dunet"].to_numpy(), wide["unet"].to_numpy(), seed=0)
    for name in ("mean_difference", "ci_low", "ci_high", "p_value"):
        assert test[name] == pytest.approx(again[name], rel=1e-4)


def test_first_section_answers_the_question(page: Cells) -> None:
    text = " ".join(page.text)
    answer = r"Is d?unet better than d?unet\? (Yes|Probably|Not shown|Too few).*95 % interval.* over \d patients"
    assert re.search(answer, text)
    assert "For research, not for diagnosis." in text
    assert "no patient is in two parts" in text


def test_page_is_one_file_without_network(done: Done) -> None:
    text = (done.report("patient") / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:|#)', text) == []
    pictures = re.findall(r"<img[^>]*>", text)
    assert pictures
    assert all(re.search(r'alt="[^"]+"', picture) for picture in pictures)


def test_page_by_slice_says_that_it_leaks(done: Done) -> None:
    text = (done.report("slice") / "report.html").read_text(encoding="utf-8")
    assert "scores are too high for new patients" in text


def test_published_rows_are_shown_with_the_published_data_only(done: Done, tmp_path: Path) -> None:
    shutil.copytree(done.report("slice"), tmp_path / "slice", ignore=shutil.ignore_patterns("test_*"))
    for source, shown in ((origin.PHANTOMS, False), (origin.OWN_PNGS, False), (origin.CT_ICH, True)):
        facts = read_json(tmp_path / "slice" / paths.RUN)
        write_json(tmp_path / "slice" / paths.RUN, {**facts, "origin": source})
        text = report_page.build(tmp_path / "slice", done.project.data, "slice").read_text(encoding="utf-8")
        assert ("Published on CT-ICH" in text) == shown


def test_before_the_test_set_the_page_says_so(done: Done, tmp_path: Path) -> None:
    shutil.copytree(done.report("patient"), tmp_path / "patient", ignore=shutil.ignore_patterns("test_*"))
    path = report_page.build(tmp_path / "patient", done.project.data, "patient")
    assert "Not run yet" in path.read_text(encoding="utf-8")


def test_page_of_one_run_and_with_columns_of_a_later_version(done: Done, tmp_path: Path) -> None:
    folder = tmp_path / "patient"
    shutil.copytree(done.report("patient"), folder, ignore=shutil.ignore_patterns("test_*"))
    table = pd.read_csv(folder / "comparison.csv").head(1).assign(repeats=3, dice_sd_seeds=0.0125)
    write_csv(folder / "comparison.csv", table)
    write_csv(folder / "statistics.csv", pd.read_csv(folder / "statistics.csv").head(0))
    page = Cells(report_page.build(folder, done.project.data, "patient").read_text(encoding="utf-8"))
    assert "Only one run is finished" in " ".join(page.text)
    assert len(page.table_with("Dice, mean (95 % interval)", 1).columns) == 7
    every = page.table_with("In words", len(table.columns) - 1).set_index("Column")
    assert list(every.loc[["repeats", "dice_sd_seeds"], "unet"]) == ["3", "0.013"]


def test_ids_are_escaped(done: Done, tmp_path: Path) -> None:
    shutil.copytree(done.report("patient"), tmp_path / "patient", ignore=shutil.ignore_patterns("test_*"))
    path = tmp_path / "patient" / "patients.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[0, "patient"] = "<script>alert(1)</script>"
    write_csv(path, table)
    text = report_page.build(tmp_path / "patient", done.project.data, "patient").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.6129, "0.613"), (12.0, "12"), (float("nan"), "-"), (float("inf"), "inf"), (1.2e-5, "1.2e-05"), ("a", "a")],
)
def test_cells(value: object, text: str) -> None:
    assert display.shown(value) == text


def test_files_of_the_report_are_named_once(done: Done) -> None:
    """Every table the page may be recomputed from lies beside it."""
    names = {path.name for path in done.report("patient").glob("*.csv")}
    assert {"comparison.csv", "statistics.csv", "patients.csv", "by_type.csv", "by_size.csv", "operating.csv",
            "calibration.csv", "calibration_error.csv", "agreement.csv", "roc.csv"} <= names  # fmt: skip
    assert (done.report("patient") / paths.RUN).exists()


def test_test_scores_of_other_networks_are_left_out(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was trained again since, and one that is not compared now."""
    folder = Path(shutil.copytree(done.report("patient"), tmp_path / "patient"))
    names = sorted(path.parent.name for path in folder.glob(f"test_*/{paths.RUN}"))
    assert {"test_dunet", "test_unet"} <= {*names}
    run = folder / "test_unet" / paths.RUN
    facts = read_json(run)
    write_json(run, facts | {"inputs": facts["inputs"] | {"networks": ["of an earlier training"]}})
    made = Cells(report_page.build(folder, done.project.data, "patient").read_text(encoding="utf-8"))
    assert f"note: {run.parent}: left out of the report page" in capsys.readouterr().out
    assert "no scores of unet on the test set since it was trained; run tests.py" in "".join(made.text)
    assert "no scores of" not in (done.report("patient") / "report.html").read_text(encoding="utf-8")
    for text in ("".join(made.text), (folder / "claim.md").read_text(encoding="utf-8")):
        assert "dunet, threshold 0.50" in text
        assert "unet, threshold 0.50" not in text.replace("dunet", "")


def test_test_scores_of_runs_that_are_not_compared_are_left_out(done: Done, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done.report("patient"), tmp_path / "patient"))
    facts = read_json(folder / paths.RUN)
    write_json(folder / paths.RUN, facts | {"networks": {"dunet": facts["networks"]["dunet"]}})
    text = report_page.build(folder, done.project.data, "patient").read_text(encoding="utf-8")
    assert "no scores of" not in text
    assert "unet, threshold 0.50" not in text.replace("dunet", "")
