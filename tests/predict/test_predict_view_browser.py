"""The page of a scan in a browser: slices by keys, slider, wheel and swipe, HU under the pointer, the scale."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predict_files import write_nifti

from ich.base.record import RESEARCH_ONLY
from ich.predict import view
from ich.scans.scan import read_nifti
from ich.scans.window import Window

pytestmark = pytest.mark.slow

SHAPE, SPACING = (12, 10, 28), (16.0, 16.0, 5.0)  # voxels, mm
MOST_BLOOD = 10  # index of the slice with it
AIR, BONE = (2, 3, MOST_BLOOD), (8, 6, MOST_BLOOD)
# Signs of the file's axes against RAS: as most scanners store them, and head first.
DIRECTIONS = [(-1, 1, 1), (1, -1, -1)]


def noise() -> np.ndarray:
    """HU whose neighbours differ, so that only the right voxel has the right value."""
    hu = np.random.default_rng(0).integers(-90, 270, SHAPE).astype(np.int16)
    hu[AIR], hu[BONE] = -1000, 1500
    return hu


class Page:
    """view.html of `noise` in a browser."""

    def __init__(self, driver: object, folder: Path, signs: tuple[int, int, int] = DIRECTIONS[0]) -> None:
        affine = np.diag([*np.multiply(signs, SPACING), 1.0])
        affine[:3, 3] = (7, -20, 30)
        mask = np.zeros(SHAPE, bool)
        mask[5, 5, MOST_BLOOD] = True
        scan = read_nifti(write_nifti(folder / "a.nii", noise(), affine))
        view.write(
            folder / "view.html",
            scan,
            mask,
            Window(40, 120),
            "a: 1.3 ml in 1 lesion",
            "For research, not for diagnosis.",
        )
        self.driver, self.affine = driver, affine
        driver.get((folder / "view.html").resolve().as_uri())
        self.wait(lambda: self.text("name"))

    def wait(self, is_done: Callable[[], object]) -> None:
        """Until the page shows it, ten seconds at most."""
        end = time.monotonic() + 10
        while not is_done() and time.monotonic() < end:
            time.sleep(0.05)
        assert is_done()

    def text(self, name: str) -> str:
        return self.driver.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def box(self, name: str) -> dict[str, float]:
        """Place and size in CSS pixels."""
        script = "return document.getElementById(arguments[0]).getBoundingClientRect().toJSON()"
        return self.driver.execute_script(script, name)

    def where(self, voxel: tuple[int, int, int]) -> tuple[int, int]:
        """Pixel of a voxel in the axial view, by the scale alone: the scan in the middle, the right on the left."""
        length, unit = self.text("scale").split()
        per_mm = self.box("scale")["width"] / (float(length) * {"mm": 1, "cm": 10}[unit])
        canvas, middle = self.box("scan"), (np.array(SHAPE) - 1) / 2
        x, y, _ = self.affine[:3, :3] @ (np.array(voxel) - middle) * per_mm
        return round(canvas["x"] + canvas["width"] / 2 - x), round(canvas["y"] + canvas["height"] / 2 - y)

    def mouse(self, kind: str, place: tuple[int, int], **more: object) -> None:
        event = {"type": kind, "x": place[0], "y": place[1], **more}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def touch(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in places]
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def errors(self) -> list[dict]:
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def phone(browser: object) -> object:
    """A screen of 390 px that is touched."""
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    return browser


def test_keys_slider_and_wheel_move_through_the_slices(browser: object, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, tmp_path)
    assert page.text("name") == "slice 11 of 28"
    for key, number in [(Keys.ARROW_UP, 12), (Keys.ARROW_RIGHT, 13), (Keys.ARROW_DOWN, 12), (Keys.ARROW_LEFT, 11),
                        (Keys.PAGE_UP, 16), (Keys.PAGE_DOWN, 11), (Keys.END, 28), (Keys.PAGE_UP, 28), (Keys.HOME, 1),
                        (Keys.ARROW_LEFT, 1), (Keys.PAGE_UP, 6)]:  # fmt: skip
        page.press(key)
        assert page.text("name") == f"slice {number} of 28", key
    page.press(Keys.TAB)
    slider = browser.switch_to.active_element
    assert slider.get_attribute("id") == "slice"
    assert slider.value_of_css_property("outline-style") == "solid"
    page.press(Keys.ARROW_RIGHT)
    assert [slider.get_attribute(name) for name in ("value", "aria-valuetext")] == ["7", "slice 7 of 28"]
    box = page.box("slice")
    place = round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
    page.mouse("mousePressed", place, button="left", clickCount=1)
    page.mouse("mouseReleased", place, button="left", clickCount=1)
    assert page.text("name") in ("slice 14 of 28", "slice 15 of 28")
    before = int(slider.get_attribute("value"))
    page.mouse("mouseWheel", page.where((5, 5, 0)), deltaX=0, deltaY=100)
    page.wait(lambda: abs(int(slider.get_attribute("value")) - before) == 1)
    assert page.text("name") == f"slice {slider.get_attribute('value')} of 28"
    assert page.errors() == []


def test_keys_follow_the_view_and_leave_the_other_controls_alone(browser: object, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    page = Page(browser, tmp_path)
    views = Select(browser.find_element(By.ID, "view"))
    for name, count in (("coronal", SHAPE[1]), ("sagittal", SHAPE[0])):
        views.select_by_visible_text(name)
        browser.find_element(By.ID, "slice").send_keys(Keys.END)
        assert page.text("name") == f"{name} slice {count} of {count}"
    views.select_by_visible_text("all three")
    assert page.text("name") == "slice 11 of 28"
    opacity = browser.find_element(By.ID, "opacity")
    opacity.send_keys(Keys.ARROW_RIGHT)
    assert opacity.get_attribute("value") == "0.55"
    assert page.text("name") == "slice 11 of 28"


@pytest.mark.parametrize("signs", DIRECTIONS)
def test_pointer_shows_hu_of_the_file_at_that_voxel(
    browser: object, tmp_path: Path, signs: tuple[int, int, int]
) -> None:
    from selenium.webdriver.common.keys import Keys

    page, hu = Page(browser, tmp_path, signs), noise()
    for voxel in [(0, 0, 10), (11, 0, 10), (4, 7, 10), (11, 9, 10), (9, 2, 10)]:
        page.mouse("mouseMoved", page.where(voxel))
        assert re.fullmatch(r"-?\d+ HU", page.text("hu")), voxel
        assert int(page.text("hu").split()[0]) == pytest.approx(hu[voxel], abs=1), voxel
    for voxel, text in ((AIR, "-100 HU or less"), (BONE, "282.5 HU or more")):
        page.mouse("mouseMoved", page.where(voxel))
        assert page.text("hu") == text
    page.press(Keys.HOME)  # the pointer rests, the slice under it changes: to the first of the file
    assert page.text("name") == "slice 1 of 28"
    assert int(page.text("hu").split()[0]) == pytest.approx(hu[BONE[0], BONE[1], 0], abs=1)
    page.mouse("mouseMoved", page.where((-3, 5, 0)))  # beside the scan
    assert page.text("hu") == ""


def test_sides_are_marked(browser: object, tmp_path: Path) -> None:
    """White letters in the middle of the left and the right edge, where the noise doesn't reach."""
    browser.set_window_size(1400, 900)
    page = Page(browser, tmp_path)
    box = page.box("scan")
    grey = np.array(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L"))
    middle = slice(int(box["y"] + box["height"] / 2) - 20, int(box["y"] + box["height"] / 2) + 20)
    left, right = int(box["x"]), int(box["x"] + box["width"])
    for edge in (grey[middle, left : left + 30], grey[middle, right - 30 : right]):
        assert 20 < (edge > 150).sum() < edge.size / 4


def test_swipes_on_a_phone(phone: object, tmp_path: Path) -> None:
    """Up and to the left onwards, and back; a tap shows HU and stays; nothing is wider than the screen."""
    page = Page(phone, tmp_path)
    x, y = page.where((5, 5, MOST_BLOOD))
    step = min(24, page.box("scan")["height"] / SHAPE[2])
    for dx, dy, number in [(0, -4, 15), (-3, 0, 18), (0, 4, 14), (3, 0, 11), (0, 30, 1)]:
        page.touch("touchStart", (x, y))
        for part in (0.5, 1):
            page.touch("touchMove", (x + dx * part * step, y + dy * part * step))
        page.touch("touchEnd")
        page.wait(lambda number=number: page.text("name") == f"slice {number} of 28")
    page.touch("touchStart", page.where((4, 7, 0)))
    page.touch("touchEnd")
    assert int(page.text("hu").split()[0]) == pytest.approx(noise()[4, 7, 0], abs=1)
    widths = phone.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert widths == [390, 390]
    for name in ("slice", "opacity", "view"):
        assert page.box(name)["height"] >= 44
    assert RESEARCH_ONLY in phone.execute_script("return document.body.innerText")
    assert page.errors() == []


def test_page_may_load_nothing(browser: object, tmp_path: Path) -> None:
    """Even what gets into it: its content security policy forbids it."""
    Page(browser, tmp_path)
    other = (tmp_path / "a.nii").resolve().as_uri()
    script = "fetch(arguments[0]).then(() => arguments[1]('loaded'), () => arguments[1]('refused'))"
    assert browser.execute_async_script(script, other) == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_page_says_where_webgl_is_missing(tmp_path: Path, browser: object) -> None:
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument",
                            {"source": "HTMLCanvasElement.prototype.getContext = () => null"})  # fmt: skip
    page = Page(browser, tmp_path)
    assert page.text("name").startswith("cannot show the scan in this browser")
