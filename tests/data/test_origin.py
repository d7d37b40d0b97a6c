"""Where the data come from is recorded by step 1, and said wherever a result is."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import Done

import trials
from ich.base import paths
from ich.base.files import read_json, write_json
from ich.data import origin
from ich.draw import plots
from ich.predict import model_card


@pytest.mark.parametrize(
    ("marked", "volumes", "slices", "expected"),
    [
        ("raw", 75, 2814, "phantoms"), (".", 12, 384, "phantoms"), ("", 75, 2814, "CT-ICH"),
        ("", 75, 2813, "own scans"), ("", 74, 2814, "own scans"), ("", 1, 1, "own scans"),
    ],
)  # fmt: skip
def test_origin_of_volumes(tmp_path: Path, marked: str, volumes: int, slices: int, expected: str) -> None:
    (tmp_path / "raw").mkdir()
    if marked:
        (tmp_path / marked / paths.PHANTOM_MARKER).touch()
    table = pd.DataFrame({"patient": [min(k, volumes - 1) for k in range(slices)]})
    assert origin.of_volumes(tmp_path / "raw", table) == expected


def report(done: Done, folder: Path, source: str) -> str:
    """The page that trials.py makes, had step 1 recorded this origin."""
    data = shutil.copytree(done.project.data, folder / "data")
    write_json(data / paths.RUN, read_json(data / paths.RUN) | {"origin": source})
    trials.main(["--data", str(data), "--runs", str(done.root / "runs"), "--reports", str(folder / "reports")])
    return (folder / "reports" / "patient" / "report.html").read_text(encoding="utf-8")


def test_phantoms_are_named_from_the_slices_to_the_report(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert origin.read(done.project.data) == origin.read(done.run("patient", "dunet") / "fold_01") == "phantoms"
    page = report(done, tmp_path, "phantoms")
    assert origin.PHANTOM_BANNER in page
    assert "Hssayeni" not in page
    assert "0.84 (D-Unet)" not in page
    assert origin.PHANTOM_BANNER in capsys.readouterr().out
    assert plots._banner == origin.PHANTOM_BANNER


@pytest.mark.parametrize("source", ["CT-ICH", "own scans", "own PNGs", ""])
def test_published_figures_and_citation_appear_with_ct_ich_alone(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture, source: str
) -> None:
    page = report(done, tmp_path, source)
    assert origin.PHANTOM_BANNER not in page + capsys.readouterr().out
    assert plots._banner == ""
    assert ("Hssayeni" in page) == ("0.84 (D-Unet)" in page) == (source == "CT-ICH")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"protocol": "patient", "patients_known": True}, "no patient is in two parts"),
        ({"protocol": "patient"}, "no patient is in two parts"),
        ({"protocol": "patient", "patients_known": False}, "which slices are of one patient is unknown"),
        ({"protocol": "slice", "patients_known": True}, "slices of one patient are on both sides"),
    ],
)
def test_a_model_card_says_no_more_of_patients_than_is_known(facts: dict, expected: str) -> None:
    assert model_card._protocol_note(facts).startswith(expected)
