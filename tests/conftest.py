"""Shared by the tests: a tiny CT-ICH folder of phantoms, cut and split once."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import create_data_set
import make_demo_data
import split_raw_data

IMAGE_SIZE, FOLDS = 32, 2


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
    def flags(self) -> list[str]:
        names = ("raw", "data", "runs", "reports")
        return [part for name in names for part in (f"--{name}", str(getattr(self, name)))]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Twelve phantoms as 32 px PNGs with both splits. Read only: a test that changes files copies them."""
    made = Project(tmp_path_factory.mktemp("project"))
    make_demo_data.main(["--out", str(made.root), "--patients", "12", "--size", "64", "--quiet"])
    size = ["--image-size", str(IMAGE_SIZE), "--workers", "1"]
    split_raw_data.main([*made.flags, *size, "--quiet"])
    for protocol in ("patient", "slice"):
        shares = ["--folds", str(FOLDS), "--test-share", "0.2", "--protocol", protocol]
        create_data_set.main([*made.flags, *shares, "--quiet"])
    return made
