"""The same work by Ray: refusals come before it starts, results equal those of one process, a killed worker goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, Done, Project

import config as settings
import main_kfold
import rsna_preprocess
import rsna_train
from ich.base import cluster, lock, paths, share
from ich.base.errors import InputError, MachineError
from ich.base.share import Ask
from ich.data.table import read_parts

ROOT = Path(__file__).parents[2]
RAY = ["--engine", "ray"]
SCRIPTS = (main_kfold, rsna_train, rsna_preprocess)
TINY = ["--models", "unet=2", "--batch-size", "16", "--checkpoint-seconds", "0"]
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # as a task with one core has


def machine(cores: int, gpus: int = 0) -> dict[str, float]:
    """As Ray describes one; it leaves out what is not there."""
    return {"memory": 1e9, "node:10.0.0.1": 1.0} | ({"CPU": cores} if cores else {}) | ({"GPU": gpus} if gpus else {})


@pytest.mark.parametrize(
    ("machines", "tasks", "gpu", "expected", "at_once"),
    [
        ([machine(2)], 20, True, Ask(1), 2),
        ([machine(16)], 3, True, Ask(5), 3),
        ([machine(6), machine(6)], 3, True, Ask(3), 4),  # 4 cores each would leave the third waiting
        ([machine(16), machine(4)], 1, True, Ask(4), 5),  # the smallest takes part
        ([machine(0), machine(8)], 4, True, Ask(2), 4),  # a head without cores does not
        ([machine(16, 4), machine(8)], 20, True, Ask(1, 1), 4),
        ([machine(3, 4)], 20, True, Ask(1, 1), 3),
        ([machine(16, 4)], 400, False, Ask(1), 16),  # files need no GPU
    ],
)
def test_what_a_task_asks_for(machines: list[dict], tasks: int, gpu: bool, expected: Ask, at_once: int) -> None:
    assert share.share_out(machines, tasks, gpu) == expected
    assert sum(map(expected.fit, machines)) == at_once


@pytest.mark.parametrize(
    ("machines", "line"),
    [
        ([machine(0)], "has 1 core; found 1 machine"),
        ([machine(4), machine(0, 1)], "has 1 core and a GPU; found 2 machines, 4 cores, 1 GPU"),
    ],
)
def test_what_no_machine_has_is_refused(machines: list[dict], line: str) -> None:
    with pytest.raises(InputError, match=f"{line}$"):
        share.share_out(machines, 5, True)


def test_the_plan_in_a_line() -> None:
    machines = [machine(8, 2), machine(1)]
    told = "Ray: 2 machines, 9 cores, 2 GPUs; 2 tasks at once, 2 cores and a GPU each"
    assert share.plan(machines, Ask(2, 1)) == told


class FakeRay:
    """Two cores; tasks end in the order in which they were begun. What a name in `fails` gives is raised."""

    exceptions = SimpleNamespace(RayError=RuntimeError, RayTaskError=type("RayTaskError", (RuntimeError,), {}),
                                 RaySystemError=type("RaySystemError", (RuntimeError,), {}))  # fmt: skip

    def __init__(self, **fails: Exception) -> None:
        self.fails, self.begun, self.most, self.running, self.cancelled = fails, [], 0, [], []

    def nodes(self) -> list[dict]:
        return [{"Alive": True, "Resources": machine(2)}, {"Alive": False, "Resources": machine(64)}]

    def begin(self, name: str) -> str:
        self.begun.append(name)
        self.running.append(name)
        self.most = max(self.most, len(self.running))
        return name

    def wait(self, names: list[str], num_returns: int = 1, timeout: float | None = None) -> tuple[list, list]:
        return names[:num_returns], names[num_returns:]

    def get(self, name: str) -> str:
        self.running.remove(name)
        if name in self.fails:
            raise self.fails[name]
        return name.upper()

    def cancel(self, name: str) -> None:
        self.cancelled.append(name)

    def failure(self, cause: Exception) -> Exception:
        error = self.exceptions.RayTaskError("a traceback of many lines")
        error.cause = cause
        return error


def ready(ray: FakeRay) -> Iterator[tuple[str, str]]:
    return cluster._as_ready(ray, ray.begin, dict.fromkeys("abcde"), Ask(1), threading.Event())


def test_no_more_are_begun_than_run_at_once() -> None:
    ray = FakeRay()
    assert list(ready(ray)) == [(name, name.upper()) for name in "abcde"]
    assert (ray.begun, ray.most, ray.cancelled) == (list("abcde"), 2, [])


def test_after_a_failure_what_runs_is_finished_and_nothing_begun(capsys: pytest.CaptureFixture[str]) -> None:
    ray = FakeRay()
    ray.fails = {"b": ray.failure(InputError("b.png: is bad")), "c": ray.failure(InputError("c.png: is bad, too"))}
    done = []
    with pytest.raises(InputError, match=r"^b\.png: is bad$"):
        done.extend(name for name, _ in ready(ray))
    assert ray.begun == ["a", "b", "c"]
    assert ray.cancelled == []
    assert "problem: b failed; waiting for 1 that run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cause", "kind", "told"),
    [
        (MachineError("no memory"), MachineError, "no memory"),
        (OSError(28, "No space left on device"), OSError, "No space left"),
        (ModuleNotFoundError("No module named 'ich'"), InputError, "a: No module named 'ich' on a worker; all "),
        (FakeRay.exceptions.RaySystemError("No module named 'x'\nline 2"), InputError, "named 'x' on a worker; all "),
        (ZeroDivisionError(), RuntimeError, "a traceback of many lines"),  # a bug shows where it was
        (None, MachineError, r"a: its process was lost 4 times; out of memory\? \(RuntimeError\)"),
    ],
)
def test_an_error_of_a_worker_is_told_as_if_it_were_here(cause: Exception | None, kind: type, told: str) -> None:
    ray = FakeRay()
    ray.fails = {"a": ray.failure(cause) if cause else RuntimeError("lost")}
    with pytest.raises(kind, match=told):
        list(ready(ray))


def test_stopped_halfway_what_runs_is_cancelled() -> None:
    ray = FakeRay()
    results = ready(ray)
    next(results)
    next(results)
    results.close()
    assert ray.cancelled == ray.running == ["c"]


def test_a_task_that_is_begun_again_elsewhere_takes_its_lock_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lock.TASK, "task 7")
    left = json.dumps({**lock._this_process(), "host": "elsewhere", "boot": "another", "pid": 1})
    (tmp_path / lock.NAME).write_text(left)
    with lock.writing(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
    (tmp_path / lock.NAME).write_text(left)
    monkeypatch.setenv(lock.TASK, "task 8")
    with pytest.raises(InputError, match="process 1 on host elsewhere"), lock.writing(tmp_path):
        pass


def test_a_worker_works_where_the_script_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(os, "environ", {"TF_NUM_INTEROP_THREADS": "7"})  # the user's own
    monkeypatch.setattr("cv2.setNumThreads", lambda _: None)
    share.Place(tmp_path, ["main_kfold.py", "--fold", "1"], Ask(3)).enter("task 7")
    assert (Path.cwd(), sys.argv, os.environ[lock.TASK]) == (tmp_path, ["main_kfold.py", "--fold", "1"], "task 7")
    assert [os.environ[name] for name in share.THREADS] == ["3", "7", "3"]
    with pytest.raises(InputError, match=r"not_here: No such file or directory on .*; all machines must see project"):
        share.Place(tmp_path / "not_here", [], Ask(1)).enter("task 8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--address", "auto"], "--address auto: is for --engine ray; give both or neither"),
        (["--engine", "slurm"], "invalid choice"),
    ],
)
def test_flags_that_are_refused(script: object, flags: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        script.main([*flags, "--quiet"])


def test_ray_itself_decides_how_many_run_at_once() -> None:
    with pytest.raises(InputError, match=r"^--at-once 3: is for --engine local; "):
        main_kfold.main([*RAY, "--at-once", "3", "--quiet"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_without_ray_one_line_says_how_to_install_it(script: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import finds when it is not installed
    with pytest.raises(InputError, match=r"Ray is not installed; pip install -r requirements-cluster\.txt"):
        script.main([*RAY, "--quiet"])


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is never started."""
    monkeypatch.setattr(cluster, "_ray", lambda config: SimpleNamespace(init=pytest.fail, shutdown=pytest.fail))


def test_refusals_come_before_ray_starts(done: Done, no_ray: None, tmp_path: Path) -> None:
    flags = [*done.training_flags("patient"), *RAY]
    with pytest.raises(InputError, match=r"--fold 7: the split has folds 1 to 2"):
        main_kfold.main([*flags, "--fold", "7"])
    with pytest.raises(InputError, match=r"this run was begun with .*n_filters 2, now 5"):
        main_kfold.main([*flags, "--models", "unet=5"])
    with pytest.raises(InputError, match=r"nowhere/run\.json: not found"):
        main_kfold.main([*flags, "--data", str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match=r"rsna/slices\.csv: not found"):
        rsna_train.main(["--data", str(tmp_path), *RAY, "--quiet"])
    with pytest.raises(InputError, match="'7_more' is not a variant"):
        rsna_preprocess.main(["--data", str(tmp_path), "--variants", "7_more", *RAY, "--quiet"])


def test_finished_trainings_need_no_ray(done: Done, no_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    same = ["--models", "unet=2", "dunet=2", "--epochs", "1", "--batch-size", "16"]
    main_kfold.main([*done.training_flags("patient"), *same, *RAY])
    assert capsys.readouterr().out.count(": already finished") == 2 * FOLDS


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_where_nothing_answers_is_refused_at_once(address: str) -> None:
    with pytest.raises(InputError, match=f"--address {address}: no answer"):
        cluster._refuse_silence(address)


# From here on with Ray itself.


class Script:
    """A script in a process of its own, with its lines as they come."""

    def __init__(self, name: str, *flags: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / f"{name}.py"), *flags], text=True, env=os.environ | environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.out = ""

    def until(self, pattern: str) -> re.Match:
        """Read on to the first line in which `pattern` is found."""
        for line in self.process.stdout:
            self.out += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern} is in no line of\n{self.out}\n{self.process.stderr.read()}")

    def end(self) -> int:
        out, self.err = self.process.communicate(timeout=300)
        self.out += out
        return self.process.returncode


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray cluster of two cores."""
    ray = cluster._ray(settings.MainKfold(engine="ray"))
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def weights(files: paths.Training) -> list[np.ndarray]:
    import keras

    return keras.saving.load_model(files.last, compile=False).get_weights()


def history(files: paths.Training) -> pd.DataFrame:
    return pd.read_csv(files.history).drop(columns="seconds")


@pytest.mark.slow
def test_folds_by_ray_equal_those_of_one_process_though_a_worker_is_killed(
    project: Project, address: str, tmp_path: Path
) -> None:
    flags = [*project.flags, *TINY, "--epochs", "8"]
    local = Script("main_kfold", *flags, "--runs", str(tmp_path / "local"), "--quiet", **ONE_THREAD)
    assert local.end() == 0, local.err
    script = Script("main_kfold", *flags, "--runs", str(tmp_path / "ray"), *RAY, "--address", address)
    script.until(r"^unet/fold_02 epoch 1/8 ")
    os.kill(writer_of(tmp_path / "ray" / "patient" / "unet" / "fold_02"), signal.SIGKILL)
    script.until(r"^unet/fold_02: resuming after epoch [1-8] of 8")
    assert script.end() == 0, script.err
    ends = r"^(\d) of 2: unet/fold_0([12]): 8 epochs in \d+ s, validation Dice"
    assert sorted(re.findall(ends, script.out, re.MULTILINE)) == [("1", "1"), ("2", "2")]
    for fold in (1, 2):
        one, two = (paths.Training(tmp_path / engine / "patient" / "unet" / paths.fold_name(fold))
                    for engine in ("local", "ray"))  # fmt: skip
        assert {path.name for path in one.folder.iterdir()} == {path.name for path in two.folder.iterdir()}
        for table in (one.config, one.slices, one.patients, one.thresholds, one.calibration):
            assert table.read_bytes() == (two.folder / table.name).read_bytes(), table
        pd.testing.assert_frame_equal(history(one), history(two), check_exact=True)
        assert all(map(np.array_equal, weights(one), weights(two)))
        assert json.loads(two.run.read_text())["command"].startswith(str(ROOT / "main_kfold.py"))


@pytest.mark.slow
def test_repeats_by_ray_equal_those_of_one_process(project: Project, address: str, tmp_path: Path) -> None:
    flags = [*project.flags, *TINY, "--epochs", "1", "--fold", "1", "--repeats", "2", "--quiet"]
    local = Script("main_kfold", *flags, "--runs", str(tmp_path / "local"), **ONE_THREAD)
    assert local.end() == 0, local.err
    script = Script("main_kfold", *flags, "--runs", str(tmp_path / "ray"), *RAY, "--address", address)
    assert script.end() == 0, script.err
    one, two = (paths.of_folds(tmp_path / engine / "patient" / "unet") for engine in ("local", "ray"))
    assert [each.label for each in one] == [each.label for each in two] == ["fold_01", "fold_01/repeat_02"]
    for own, other in zip(one, two, strict=True):
        assert own.thresholds.read_bytes() == other.thresholds.read_bytes()
        assert all(map(np.array_equal, weights(own), weights(other)))


@pytest.mark.slow
def test_an_error_in_a_worker_ends_the_script_with_its_line(project: Project, address: str, tmp_path: Path) -> None:
    shutil.copytree(project.data, tmp_path / "data")
    split = read_parts(tmp_path / "data", "patient", "kfold")
    damaged = tmp_path / "data" / split.loc[split["part"] == "1", "image"].iloc[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    flags = [*project.flags, *TINY, "--epochs", "1", "--data", str(tmp_path / "data")]
    script = Script("main_kfold", *flags, "--runs", str(tmp_path / "runs"), *RAY, "--address", address, "--quiet")
    assert script.end() == 2
    assert script.err.startswith(f"error: {damaged}: ")
    assert len(script.err.splitlines()) == 1
    assert not list(tmp_path.glob("runs/patient/*/*/history.csv"))


def writer_of(folder: Path) -> int:
    """The process that has locked it."""
    return json.loads((folder / lock.NAME).read_text())["pid"]


def is_running(pid: int) -> bool:
    """A process that only waits for its parent to ask for its status has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_ctrl_c_stops_the_workers(project: Project, address: str, tmp_path: Path) -> None:
    flags = [*project.flags, *TINY, "--epochs", "10000", "--runs", str(tmp_path)]
    script = Script("main_kfold", *flags, *RAY, "--address", address)
    fold = script.until(r"unet/(fold_0\d) epoch 1/").group(1)
    pid = writer_of(tmp_path / "patient" / "unet" / fold)
    script.process.send_signal(signal.SIGINT)
    assert script.end() == 130
    assert script.err.splitlines()[-1] == "interrupted; rerun the same command to resume"
    assert not list(tmp_path.rglob(".*"))  # no lock, no unfinished file
    assert list(tmp_path.glob("patient/unet/*/checkpoint"))
    for _ in range(300):  # Ray ends its processes a moment after the script has left
        if not is_running(pid):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker still runs")


@pytest.mark.slow
def test_preprocessing_by_a_ray_of_its_own_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    flags = ["--raw", str(project.root / "rsna" / "classes"), "--valid-share", "0.2", "--test-share", "0.2"]
    for engine in ("local", "ray"):
        script = Script("rsna_preprocess", *flags, "--data", str(tmp_path / engine), "--engine", engine)
        assert script.end() == 0, script.err
        assert script.err == ""
    one, two = ({path.relative_to(tmp_path / engine): path.read_bytes() for path in (tmp_path / engine).rglob("*.*")
                 if path.suffix in (".png", ".csv")} for engine in ("local", "ray"))  # fmt: skip
    assert len(one) > 7 * 2 * cluster.SHARD  # several tasks' worth
    assert one == two
    assert "slices read: " in script.out


@pytest.mark.slow
def test_rsna_trainings_by_ray_equal_those_of_one_process(project: Project, address: str, tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data")]
    shares = ["--valid-share", "0.2", "--test-share", "0.2", "--variants", "0_dicom2png", "--quiet"]
    rsna_preprocess.main(["--raw", str(project.root / "rsna" / "classes"), *data, *shares])
    flags = [*data, "--variant", "0_dicom2png", "--repeats", "2", "--network", "EfficientNetB0", "--weights", "none",
             "--image-size", "32", "--epochs", "1", "--quiet"]  # fmt: skip
    local = Script("rsna_train", *flags, "--runs", str(tmp_path / "local"), **ONE_THREAD)
    script = Script("rsna_train", *flags, "--runs", str(tmp_path / "ray"), *RAY, "--address", address)
    assert (local.end(), script.end()) == (0, 0), script.err
    assert (
        len(re.findall(r"^[12] of 2: 0_dicom2png.*: 1 epoch in .*, epoch 1 has the lowest", script.out, re.MULTILINE))
        == 2
    )
    for repeat in (1, 2):
        one, two = (paths.Classification(tmp_path / engine, "multiclass", "0_dicom2png", repeat)
                    for engine in ("local", "ray"))  # fmt: skip
        assert one.predictions.read_bytes() == two.predictions.read_bytes()
