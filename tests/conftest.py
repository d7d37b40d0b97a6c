"""Shared by the tests: a tiny CT-ICH folder of phantoms, cut and split once, and a browser."""

import re
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

import create_data_set
import main
import main_kfold
import make_demo_data
import split_raw_data
import tests as test_set
import trials
from ich.data.table import read_parts

ROOT = Path(__file__).parent.parent
AXE = ROOT / ".axe" / "package" / "axe.min.js"  # `npm pack axe-core`, see .ci/run
IMAGE_SIZE, FOLDS = 32, 2
# A suite started in the background of a shell ignores Ctrl-C, and so would the scripts that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Project:
    """Folders of a small project, and the flags that name them."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "ct-ich"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def slice_flags(self) -> list[str]:
        """Of the scripts that cut and split."""
        return ["--raw", str(self.raw), "--data", str(self.data)]

    @property
    def flags(self) -> list[str]:
        """Of the scripts that train and predict."""
        return ["--data", str(self.data), "--runs", str(self.runs)]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Twelve phantoms as 32 px PNGs with both splits. Read only: a test that changes files copies them."""
    made = Project(tmp_path_factory.mktemp("project"))
    make_demo_data.main(["--out", str(made.root), "--patients", "12", "--size", "64", "--rsna-patients", "12",
                         "--rsna-size", "64", "--quiet"])  # fmt: skip
    size = ["--image-size", str(IMAGE_SIZE), "--workers", "1"]
    split_raw_data.main([*made.slice_flags, *size, "--quiet"])
    for protocol in ("patient", "slice"):
        shares = ["--folds", str(FOLDS), "--test-share", "0.2", "--protocol", protocol]
        create_data_set.main([*made.slice_flags, *shares, "--quiet"])
    return made


@dataclass(frozen=True)
class Done:
    """A project after its last script."""

    project: Project
    root: Path

    def flags(self, protocol: str, *given: str) -> list[str]:
        """Of the scripts that compare and test."""
        return self.training_flags(protocol, "--reports", str(self.root / "reports"), *given)

    def training_flags(self, protocol: str, *given: str) -> list[str]:
        folders = ["--data", str(self.project.data), "--runs", str(self.root / "runs")]
        return [*folders, "--protocol", protocol, "--quiet", *given]

    def run(self, protocol: str, name: str) -> Path:
        return self.root / "runs" / protocol / name

    def report(self, protocol: str) -> Path:
        return self.root / "reports" / protocol

    def split(self, protocol: str, kind: str = "kfold") -> pd.DataFrame:
        return read_parts(self.project.data, protocol, kind)


@pytest.fixture(scope="session")
def done(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Both networks by patient, D-Unet by slice; two levels and one epoch each."""
    import models

    made = Done(project, tmp_path_factory.mktemp("done"))
    tiny = ["--models", "unet=2", "dunet=2", "--epochs", "1", "--batch-size", "16"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "LEVELS", 2)  # compiled in a third of the time
        for protocol in ("patient", "slice"):
            one = ["--model", "dunet"] if protocol == "slice" else []
            main_kfold.main(made.training_flags(protocol, *tiny, *one))
            trials.main(made.flags(protocol))
            test_set.main(made.flags(protocol))
        main.main(made.training_flags("patient", *tiny))
    return made


@pytest.fixture(autouse=True)
def precision() -> None:
    """Every test begins in float32: an earlier one, or a shared training, may have set bfloat16 for all of Keras."""
    if keras := sys.modules.get("keras"):
        keras.config.set_dtype_policy("float32")


@pytest.fixture
def browser() -> Iterator[object]:
    """Headless Chromium where it is installed; WebGL is computed on the CPU."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
                 "enable-unsafe-swiftshader"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def violations(browser: object) -> list:
    """What axe-core finds on the page that is open, all of it unfolded: contrast, names, landmarks, the keyboard."""
    if not AXE.exists():
        pytest.skip("axe-core is not there: npm pack axe-core in .axe/, see .ci/run")
    browser.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    return browser.execute_async_script(
        "axe.run().then(found => arguments[0](found.violations.map(each => [each.id, each.nodes[0].html])))"
    )


def undocumented(tables: Iterable[Path]) -> set[str]:
    """`table.csv: column` for each column that docs/files.md does not explain under "Columns"."""
    docs = (ROOT / "docs" / "files.md").read_text(encoding="utf-8").partition("## Columns")[2].partition("\n## ")[0]
    known = {word for text in re.findall(r"`([^`\n]+)`", docs) for word in (text, *text.split())}
    endings = r"_(mean|sd|median|low|high|sd_seeds|under_1ml|1_to_10ml|over_10ml)$"
    missing = set()
    for path in tables:
        for column in pd.read_csv(path, nrows=0).columns:
            plain = column.removeprefix("val_")
            if known.isdisjoint({column, plain, shorter := re.sub(endings, "", plain), re.sub(endings, "", shorter)}):
                missing.add(f"{path.name}: {column}")
    return missing
