"""The report page: its numbers are those of the tables beside it, and it works in a browser."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Done

from ich.base import paths
from ich.base.files import write_csv
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
        "Dice, mean (95 % interval)", "Scans with blood found", "Scans without blood called clean", "HD95, median (mm)",
        "Volume error, median (ml)", "Invented blood per scan without blood (ml)",
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
    assert "dunet (published)" in text


def test_before_the_test_set_the_page_says_so(done: Done, tmp_path: Path) -> None:
    shutil.copytree(done.report("patient"), tmp_path / "patient", ignore=shutil.ignore_patterns("test_*"))
    path = report_page.build(tmp_path / "patient", done.project.data, "patient")
    assert "Not run yet" in path.read_text(encoding="utf-8")


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


@pytest.mark.slow
def test_page_in_a_browser(done: Done, browser: object) -> None:
    """Sort by Dice both ways, filter, switch the outlines, by mouse and keyboard; no error on the console."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get((done.report("patient") / "report.html").resolve().as_uri())
    heads = browser.find_elements(By.CSS_SELECTOR, "#patient-table th button")
    column = [head.text for head in heads].index("Dice")

    def values() -> list[float]:
        cells = browser.find_elements(By.CSS_SELECTOR, f"#patient-table tbody tr td:nth-child({column + 1})")
        return [float(cell.text) for cell in cells if cell.text not in ("-", "")]

    heads[column].click()
    assert values() == sorted(values())
    heads[column].send_keys(Keys.ENTER)
    assert values() == sorted(values(), reverse=True)
    browser.find_element(By.ID, "filter").send_keys("dunet")
    shown = [row for row in browser.find_elements(By.CSS_SELECTOR, "#patient-table tbody tr") if row.is_displayed()]
    assert shown
    assert all("dunet" in row.text for row in shown)
    tint = browser.find_element(By.CSS_SELECTOR, ".tile img + img")
    assert tint.is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".switch").click()
    assert not tint.is_displayed()
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    browser.set_window_size(390, 800)  # a phone: nothing is wider than the screen
    assert browser.execute_script("return document.documentElement.scrollWidth") <= np.ceil(
        browser.execute_script("return window.innerWidth")
    )


def test_files_of_the_report_are_named_once(done: Done) -> None:
    """Every table the page may be recomputed from lies beside it."""
    names = {path.name for path in done.report("patient").glob("*.csv")}
    assert {"comparison.csv", "statistics.csv", "patients.csv", "by_type.csv", "by_size.csv", "operating.csv",
            "calibration.csv", "calibration_error.csv", "agreement.csv", "roc.csv"} <= names  # fmt: skip
    assert (done.report("patient") / paths.RUN).exists()
