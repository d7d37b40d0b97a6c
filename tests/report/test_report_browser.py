"""The report page in a browser: sorting, a phone, paper, keyboard and screen reader."""

import base64
import re

import pytest
from conftest import Done, violations

pytestmark = pytest.mark.slow

WIDTH_OF_A4 = 718  # CSS pixels between margins of 10 mm
PROTOCOLS = pytest.mark.parametrize("protocol", ["patient", "slice"])


def show(browser: object, done: Done, protocol: str, width: int, **media: object) -> None:
    """Open the page in a window of `width` CSS pixels."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get((done.report(protocol) / "report.html").resolve().as_uri())


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


@PROTOCOLS
def test_nothing_of_the_first_table_is_cut_and_the_figure_is_on_the_first_screen(
    browser: object, done: Done, protocol: str
) -> None:
    show(browser, done, protocol, 1400)
    shown, whole = browser.execute_script(
        "const first = document.querySelector('.scroll'); return [first.clientWidth, first.scrollWidth]"
    )
    assert whole <= shown
    assert browser.execute_script("return document.querySelector('figure img').getBoundingClientRect().bottom") <= 900


@PROTOCOLS
def test_a_phone_scrolls_tables_and_not_the_page(browser: object, done: Done, protocol: str) -> None:
    show(browser, done, protocol, 390)
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    widths = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths == [390, 390]


@PROTOCOLS
def test_paper_has_every_column_on_eight_pages(browser: object, done: Done, protocol: str) -> None:
    show(browser, done, protocol, WIDTH_OF_A4, media="print")
    cut, hidden = browser.execute_script(
        "const tables = [...document.querySelectorAll('table')];"
        "const cut = (table) => table.getBoundingClientRect().right > innerWidth + 1;"
        "return [tables.filter(cut).length, tables.filter((table) => !table.checkVisibility()).length]"
    )
    assert (cut, hidden) == (0, 0)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {})
    paper = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(paper))) <= 8
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0  # as before


@PROTOCOLS
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: object, done: Done, protocol: str, scheme: str) -> None:
    show(browser, done, protocol, 1400, features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert violations(browser) == []
