"""Every script is killed at chosen and at random moments, run again until it is done, and has lost nothing.

Killed: SIGKILL, as by a power cut. Stopped: SIGINT and SIGTERM. What it leaves in the end is compared, file by file,
with what an undisturbed run leaves.
"""

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pydicom
import pytest
from conftest import FOLDS, IMAGE_SIZE, Project

from ich.base.files import unfinished

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
HOOKS = Path(__file__).parent / "crash"
VARY = ("command", "config", "git_commit", "finished", "seconds", "training_seconds")  # in run.json; config has paths
TIMED = ("history.csv", "last.keras", "best.keras")
STOPPED = "interrupted; rerun the same command to resume\n"

RAW, DATA, RUNS, REPORTS = ["--raw", "ct-ich"], ["--data", "data"], ["--runs", "runs"], ["--reports", "reports"]
SPLIT = ["split_raw_data.py", *RAW, *DATA, "--image-size", str(IMAGE_SIZE), "--workers", "2"]
DATA_SET = ["create_data_set.py", *RAW, *DATA, "--image-size", str(IMAGE_SIZE), "--folds", str(FOLDS),
            "--test-share", "0.2", "--workers", "2"]  # fmt: skip
SHORT = ["--epochs", "3", "--batch-size", "8", "--checkpoint-seconds", "0", "--deterministic"]
TINY = ["--models", "dunet=2", "--validate-every", "1", *SHORT]
R_TINY = ["--network", "EfficientNetB0", "--image-size", "32", "--weights", "none", "--learning-rates", "1e-3",
          *SHORT]  # fmt: skip
STEPS = {
    "demo": ["make_demo_data.py", "--out", "demo", "--patients", "4", "--size", "32", "--rsna-patients", "4",
             "--rsna-size", "32"],
    "preprocess": ["rsna_preprocess.py", "--raw", "rsna/classes", *DATA, "--valid-share", "0.2", "--test-share", "0.2",
                   "--workers", "2", "--variants", "0_dicom2png", "1_roi"],
    "holdout": ["main.py", *DATA, *RUNS, *TINY],
    "kfold": ["main_kfold.py", *DATA, *RUNS, *TINY, "--model", "dunet"],
    "trials": ["trials.py", *DATA, *RUNS, *REPORTS],
    "tests": ["tests.py", *DATA, *RUNS, *REPORTS],
    "predict": ["predict.py", "unseen/dicom", "unseen/scan.nii", *DATA, *RUNS, "--engine", "keras",
                "--out", "predicted", "--view", "--probabilities"],
    "train": ["rsna_train.py", *DATA, *RUNS, *R_TINY, "--variant", "1_roi"],
    "compare": ["rsna_compare.py", *RUNS, *REPORTS],
}  # fmt: skip
IN_ONE_PROCESS = """
import importlib, json, pathlib, sys
sys.path.insert(0, sys.argv[1])
for name, (script, *flags) in json.loads(sys.argv[2]).items():
    importlib.import_module(script.removesuffix(".py")).main(flags)
    pathlib.Path(name + ".done").touch()
"""


class Work:
    """A folder in which scripts run with the scans of the phantoms, and what else was copied into it."""

    def __init__(self, folder: Path, project: Project) -> None:
        self.folder = folder
        folder.mkdir()
        for name, there in (("ct-ich", project.raw), ("rsna", project.root / "rsna"), ("unseen", "unseen")):
            (folder / name).symlink_to(project.root / there)

    def start(self, command: Sequence[str], at: str = "") -> subprocess.Popen:
        """In a session of its own, whose processes are found by its number."""
        environment = {**os.environ, "PYTHONPATH": str(HOOKS), "CRASH_AT": at}
        script, *flags = command
        return subprocess.Popen(
            [sys.executable, str(ROOT / script), *flags], cwd=self.folder, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def crash(self, command: Sequence[str], *moments: str) -> None:
        """Run it once for each moment; each time it is killed then, with all its processes."""
        for at in moments:
            process = self.start(command, at)
            told = process.communicate(timeout=200)
            assert process.returncode == -signal.SIGKILL, (at, told)
            assert_none_left(process.pid)

    def crash_within(self, command: Sequence[str], seconds: float) -> None:
        """Kill it at some moment; it may have ended before."""
        process = self.start(command)
        time.sleep(seconds)
        process.kill()
        process.communicate()
        assert_none_left(process.pid)

    def finish(self, command: Sequence[str]) -> str:
        """Run it undisturbed; what it printed."""
        process = self.start(command)
        out, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
        assert_none_left(process.pid)
        return out

    def stop(self, command: Sequence[str], line: str, how: signal.Signals) -> None:
        """Stop it once it has printed `line`: Ctrl-C goes to all its processes, SIGTERM to the script alone."""
        process = self.start(command)
        read_until(process, line)
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        error = process.communicate(timeout=100)[1]
        assert (process.returncode, error) == (130, STOPPED)
        assert_none_left(process.pid)
        assert list(self.folder.rglob(".*")) == []  # no lock, nothing unfinished


def read_until(process: subprocess.Popen, line: str) -> None:
    """Read what it prints up to a line like `line`."""
    while not re.search(line, told := process.stdout.readline()):
        assert told, process.communicate()


def assert_none_left(session: int) -> None:
    """No process of its group runs on; the system may take a moment to end them."""
    end = time.monotonic() + 20
    while left := processes_of(session):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def processes_of(session: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        if int(rest.split()[3]) == session and rest.split()[0] not in "ZX":
            found.append(name)
    return found


def contents(folder: Path) -> dict[str, object]:
    """Every file by its relative name, as what must be equal in it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): content(path) for path in paths}


def content(path: Path) -> object:
    if path.suffix == ".keras":
        return arrays(path)
    if path.name in ("run.json", "phantom.json"):
        facts = {key: value for key, value in json.loads(path.read_text()).items() if key not in VARY}
        if "results" in facts:  # fingerprints, also of files that hold times
            facts["results"] = {name: each for name, each in facts["results"].items() if name not in TIMED}
        if isinstance(facts.get("source"), dict):  # of a prediction: paths from the root
            facts["source"] = {name: each for name, each in facts["source"].items() if "path" not in name}
        return facts
    if path.name.endswith("history.csv"):
        table = pd.read_csv(path)
        return table[[name for name in table if "seconds" not in name]].to_csv()
    if path.name == "train.log":  # says when it was stopped
        return path.exists()
    if path.name == "journal.jsonl":  # what was not noted before a kill is at its end
        return {json.loads(line)[0]: line for line in path.read_text().splitlines()[1:]}
    if path.name == "mask.dcm":  # highdicom stamps it with the time
        return pydicom.dcmread(path).PixelData
    if path.name == "report.dcm":  # and this, and new UIDs are in it
        return len(pydicom.dcmread(path).ContentSequence)
    return path.read_bytes()


def arrays(path: Path) -> dict[str, bytes]:
    """Weights by name, from the zip with time stamps that a .keras file is."""
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as whole, h5py.File(io.BytesIO(whole.read("model.weights.h5"))) as weights:
        weights.visititems(lambda name, item: found.update({name: np.asarray(item).tobytes()})
                           if isinstance(item, h5py.Dataset) else None)  # fmt: skip
    return found


def assert_same(found: Path, expected: Path) -> None:
    one, other = contents(found), contents(expected)
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []


@pytest.fixture(scope="module")
def reference(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """Every step undisturbed, one after another in one process, while the tests run; `wait_for` the step you need."""
    work = Work(tmp_path_factory.mktemp("reference") / "work", project)
    shutil.copytree(project.data, work.folder / "data")
    environment = {**os.environ, "PYTHONPATH": str(HOOKS)}
    command = [sys.executable, "-c", IN_ONE_PROCESS, str(ROOT), json.dumps(STEPS)]
    with (work.folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=work.folder, env=environment, stdout=log, stderr=log)
    work.process = process
    yield work
    process.kill()
    process.wait()


def wait_for(reference: Work, step: str) -> Path:
    """The reference's folder, once it has done the step."""
    while not (reference.folder / f"{step}.done").exists():
        assert reference.process.poll() in (None, 0), (reference.folder / "log").read_text()
        time.sleep(0.2)
    return reference.folder


@pytest.fixture
def work(project: Project, tmp_path: Path) -> Work:
    return Work(tmp_path / "work", project)


def copied(work: Work, there: Path, *names: str) -> Work:
    """What earlier steps left undisturbed, for the step to come."""
    for name in names:
        shutil.copytree(there / name, work.folder / name)
    return work


def test_split_raw_data(work: Work, project: Project) -> None:
    work.crash(SPLIT, "half:1:run.json$", "renamed:7:image/", "whole:40:label/", "whole:2:run.json$")
    assert not (work.folder / "data" / "slices.csv").exists()
    work.crash(SPLIT, "half:1:slices.csv$")
    work.crash_within(SPLIT, random.Random(1).uniform(1, 4))
    work.finish(SPLIT)
    for name in ("image", "label"):
        assert_same(work.folder / "data" / name, project.data / name)
    for name in ("run.json", "slices.csv"):
        assert content(work.folder / "data" / name) == content(project.data / name)
    assert "nothing to do" in work.finish(SPLIT)


def test_create_data_set_from_nothing(work: Work, project: Project) -> None:
    """It cuts the volumes first, under its own lock."""
    work.crash(DATA_SET, "whole:20:image/", "half:1:holdout.csv$", "renamed:1:kfold.csv$", "whole:1:patient/run.json$")
    assert not (work.folder / "data" / "patient" / "run.json").exists()
    work.crash_within(DATA_SET, random.Random(2).uniform(1, 4))
    work.finish(DATA_SET)
    assert_same(work.folder / "data" / "patient", project.data / "patient")


def test_make_demo_data(work: Work, reference: Work) -> None:
    command = STEPS["demo"]
    work.crash(command, "half:1:ct-ich/phantom.json$", "whole:3:nii$", "half:20:dcm$", "whole:5:unseen/dicom/")
    work.finish(command)
    assert_same(work.folder / "demo", wait_for(reference, "demo") / "demo")


def test_rsna_preprocess(work: Work, reference: Work) -> None:
    command = STEPS["preprocess"]
    work.crash(command, "half:1:journal", "whole:10:1_roi/", "whole:1:rejected.csv$")
    journal = work.folder / "data" / "rsna" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])  # killed within a line
    noted = json.loads(journal.read_text().splitlines()[1])[0]
    (work.folder / "data" / "rsna" / "1_roi" / f"{noted}.png").unlink()
    work.crash(command, "renamed:1:preview.png$", "renamed:1:slices.csv$", "deleted:1:slices.csv$", "whole:1:run.json$")
    work.finish(command)
    assert_same(work.folder / "data" / "rsna", wait_for(reference, "preprocess") / "data" / "rsna")


def test_main(work: Work, reference: Work, project: Project) -> None:
    """Killed in the first checkpoint, in an epoch, before the second's best weights are the best, and at the end."""
    command, folder = STEPS["holdout"], work.folder / "runs" / "patient" / "dunet" / "holdout"
    shutil.copytree(project.data, work.folder / "data")
    work.crash(command, "half:1:checkpoint$")
    assert not (folder / "checkpoint").exists()
    work.crash(command, "renamed:1:checkpoint$", "whole:1:last.keras$", "half:1:run.json$")
    assert not (folder / "run.json").exists()
    work.finish(command)
    assert_same(folder, wait_for(reference, "holdout") / "runs/patient/dunet/holdout")


def test_main_killed_in_an_epoch(work: Work, reference: Work, project: Project) -> None:
    """Twice, at random moments after the first epoch."""
    command, folder = STEPS["holdout"], work.folder / "runs" / "patient" / "dunet" / "holdout"
    shutil.copytree(project.data, work.folder / "data")
    for number in range(2):
        process = work.start(command)
        read_until(process, r"epoch \d( of |/)3")
        time.sleep(random.Random(number).uniform(0, 0.3))
        process.kill()
        process.communicate()
    assert re.search("resuming after epoch|already finished", work.finish(command))
    assert_same(folder, wait_for(reference, "holdout") / "runs/patient/dunet/holdout")


def test_main_kfold(work: Work, reference: Work, project: Project) -> None:
    command, folder = STEPS["kfold"], work.folder / "runs" / "patient" / "dunet"
    shutil.copytree(project.data, work.folder / "data")
    work.crash(command, "renamed:1:fold_01/last.keras$", "half:2:fold_02/checkpoint$")
    assert (folder / "fold_01" / "run.json").exists()
    work.crash(command, "renamed:1:fold_02/run.json$")
    assert (folder / "fold_02" / "checkpoint").exists()  # of no use any more
    assert "fold_02: already finished" in work.finish(command)
    there = wait_for(reference, "kfold") / "runs" / "patient" / "dunet"
    for fold in ("fold_01", "fold_02"):
        (folder / fold / ".lock").unlink(missing_ok=True)  # of the killed process; a finished fold is not written
        assert_same(folder / fold, there / fold)


def test_trials(work: Work, reference: Work) -> None:
    command = STEPS["trials"]
    there = wait_for(reference, "tests")
    copied(work, there, "data", "runs")
    work.crash(command, "half:1:comparison.csv$", "renamed:1:dice_fig.png$", "whole:1:report.html$")
    work.finish(command)
    for path in (work.folder / "reports" / "patient").iterdir():
        if path.name not in ("report.html", "claim.md"):  # the reference's show the test set too
            assert content(path) == content(there / "reports" / "patient" / path.name)


def test_tests(work: Work, reference: Work) -> None:
    command = STEPS["tests"]
    there = wait_for(reference, "tests")
    copied(work, there, "data", "runs", "reports")
    shutil.rmtree(work.folder / "reports" / "patient" / "test_dunet")
    work.crash(command, "renamed:3:masks/", "whole:1:test_dunet/run.json$")
    assert not (work.folder / "reports" / "patient" / "test_dunet" / "run.json").exists()
    work.finish(command)
    assert_same(work.folder / "reports", there / "reports")


def test_predict(work: Work, reference: Work) -> None:
    command = STEPS["predict"]
    there = wait_for(reference, "predict")
    copied(work, there, "data", "runs")
    work.crash(command, "half:1:mask.nii.gz$", "renamed:2:dicom/run.json$")
    assert "already predicted" in work.finish(command)
    assert_same(work.folder / "predicted", there / "predicted")


def test_rsna_train(work: Work, reference: Work) -> None:
    command = STEPS["train"]
    there = wait_for(reference, "train")
    copied(work, there, "data")
    work.crash(command, "half:2:checkpoint$", "renamed:1:best.keras$", "whole:1:predictions.csv$")
    work.finish(command)
    assert_same(work.folder / "runs" / "rsna", there / "runs" / "rsna")


def test_rsna_compare(work: Work, reference: Work) -> None:
    command = STEPS["compare"]
    there = wait_for(reference, "compare")
    copied(work, there, "data", "runs")
    work.crash(command, "half:1:per_class.csv$", "renamed:1:confusion.png$", "whole:1:run.json$")
    work.finish(command)
    assert_same(work.folder / "reports" / "rsna", there / "reports" / "rsna")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_split_goes_on(work: Work, project: Project, how: signal.Signals) -> None:
    work.stop(SPLIT, "patients read: ", how)
    assert not (work.folder / "data" / "slices.csv").exists()
    work.finish(SPLIT)
    assert_same(work.folder / "data" / "image", project.data / "image")


def test_stopped_training_goes_on(work: Work, reference: Work, project: Project) -> None:
    command = STEPS["kfold"]
    shutil.copytree(project.data, work.folder / "data")
    work.stop(command, "fold_01 epoch 1/3", signal.SIGINT)
    work.stop(command, "fold_01: resuming after epoch [123] of 3", signal.SIGTERM)
    assert "resuming after epoch" in work.finish(command)
    there = wait_for(reference, "kfold")
    for fold in ("fold_01", "fold_02"):
        assert_same(work.folder / "runs/patient/dunet" / fold, there / "runs/patient/dunet" / fold)


def test_stopped_trainings_of_two_networks_at_once_go_on(work: Work, project: Project) -> None:
    """Both are stopped, and each leaves what it leaves alone."""
    command = ["main_kfold.py", *DATA, *RUNS, *TINY, "--models", "unet=2", "dunet=2"]
    shutil.copytree(project.data, work.folder / "data")
    work.stop([*command, "--at-once", "2"], "fold_01 epoch 1/3", signal.SIGINT)
    work.finish([*command, "--at-once", "2"])
    work.finish([*command, "--runs", "alone"])
    for fold in ("unet/fold_01", "unet/fold_02", "dunet/fold_01", "dunet/fold_02"):
        assert_same(work.folder / "runs/patient" / fold, work.folder / "alone/patient" / fold)


def test_stopped_while_workers_start(work: Work) -> None:
    """They load their libraries, and would tell of Ctrl-C each with a traceback."""
    process = work.start(SPLIT)
    while len(processes_of(process.pid)) < 3:
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=100)[1] == STOPPED
    assert_none_left(process.pid)


def test_nothing_unfinished_counts_as_a_result(project: Project, tmp_path: Path) -> None:
    """Step 2 takes what lies in the folders of own PNGs; a file that was being written is none."""
    from ich.data import own_pngs

    for name in ("image", "label"):
        shutil.copytree(project.data / name, tmp_path / name)
    before = own_pngs.read(tmp_path, IMAGE_SIZE, None)[0]
    unfinished(tmp_path / "image" / "049_001.png").write_bytes(b"half of a PNG")
    pd.testing.assert_frame_equal(own_pngs.read(tmp_path, IMAGE_SIZE, None)[0], before)
