"""What demo.sh says at the end, and the flags that it takes."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Done
from scipy import ndimage

from ich.base.files import read_csv, read_json, write_csv, write_json
from ich.phantom.head import blood_kinds, make_patient
from ich.predict import closing

ROOT = Path(__file__).parents[2]


def told(capsys: pytest.CaptureFixture[str], *given: Path) -> list[str]:
    closing.main(*given)
    return capsys.readouterr().out.splitlines()


def test_result_of_phantoms(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, done.project.data, done.root / "reports")
    assert lines[1:3] == ["Result", "PHANTOM DATA: shows that the program works, says nothing about patients"]
    assert lines[3].startswith("* Cross-validation on phantoms: Is ")
    patients = read_csv(done.report("patient") / "test_dunet" / "patients.csv", ("dice",), "")
    blood = patients[patients["tp"] + patients["fn"] > 0]
    assert f"mean Dice over {len(blood)} phantom patient{'s' if len(blood) > 1 else ''} with blood: " in lines[4]
    assert f"dunet {blood['dice'].mean():.3f}" in lines[4]
    assert f"without blood and left unmarked, of {len(patients) - len(blood)}: " in lines[4]
    assert lines[5:7] == ["Open these", f"  {done.report('patient') / 'report.html'}"]
    assert all(Path(line.strip()).exists() for line in lines[6:])
    assert len(lines[6:]) == 3


def test_the_unseen_head_has_its_true_volume_beside_the_predicted_one(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ct-ich").symlink_to(done.project.raw)
    found = {"scan": ["dicom", "scan"], "volume_ml": [12.34, 9.0], "lesions": [1, 7]}
    write_csv(tmp_path / "predicted" / "volumes.csv", pd.DataFrame(found))
    made = read_json(done.project.raw / "phantom.json")
    number = next(number for number in (made["patients"], made["patients"] + 1) if blood_kinds(made["seed"], number))
    head = make_patient(made["seed"], number, made["size"])
    lesions = ndimage.label(head.mask, np.ones((3, 3, 3)))[1]
    ml = (head.mask > 0).sum() * abs(np.linalg.det(head.affine[:3, :3])) / 1000
    (line,) = [line for line in told(capsys, done.project.data, done.root / "reports", tmp_path) if "Unseen" in line]
    assert f"it has {ml:.1f} ml of blood in {lesions} lesion" in line
    assert line.endswith("; the prediction is 12.3 ml in 1 lesion.")
    write_csv(tmp_path / closing.SHIPPED / "volumes.csv", pd.DataFrame(found))
    (line,) = [line for line in told(capsys, done.project.data, done.root / "reports", tmp_path) if "Unseen" in line]
    assert line.endswith("by the shipped network, trained on other phantoms, 9.0 ml in 7 lesions.")


def test_the_answer_about_single_slices(done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "patient").symlink_to(done.report("patient"))
    write_json(tmp_path / "rsna" / "run.json", {"answers": ["Does preprocessing help? Better: 1_roi (+0.123)."]})
    (tmp_path / "rsna" / "report.html").write_text("page")
    lines = told(capsys, done.project.data, tmp_path)
    assert lines[5] == "* Single slices: Does preprocessing help? Better: 1_roi (+0.123)."
    assert lines[8] == f"  {tmp_path / 'rsna' / 'report.html'}"


@pytest.mark.parametrize(
    ("given", "status", "line"),
    [
        (["--help"], 0, "Runs every step"),
        (["--colour"], 2, "error: --colour: unknown flag; `bash demo.sh --help` says what there is\n"),
        (["nowhere"], 2, "error: nowhere: not a folder, expected that of CT-ICH as downloaded; "),
        (["tests", "docs"], 2, "error: tests docs: expected one folder at most, and perhaps the word laptop; "),
        (["nowhere", "laptop"], 2, "error: nowhere: not a folder, expected that of CT-ICH as downloaded; "),
        (["a", "laptop", "b"], 2, "error: a laptop b: expected one folder at most, "),
    ],
)
def test_flags_of_the_demo(given: list[str], status: int, line: str) -> None:
    answer = subprocess.run(["bash", "demo.sh", *given], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == status
    shown = answer.stderr if status else answer.stdout
    assert shown.startswith(line)
    assert not status or shown.count("\n") == 1
