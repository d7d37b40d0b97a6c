"""A full disk, a read-only folder, a file that is gone, a NaN loss, no memory: one line, and nothing is lost."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from conftest import IMAGE_SIZE, Done, Project

import main_kfold
import tests as test_set
from ich.base import paths, script
from ich.base.errors import InputError, MachineError
from ich.train import checkpoint, device, jobs, loop

ROOT = Path(__file__).parent.parent
TINY = ["--models", "dunet=2", "--epochs", "2", "--checkpoint-seconds", "0", "--validate-every", "1"]
NO_ROOM = r"error: .*: (No space left on device|File too large); make room or choose another folder\n"


def call(script: str, *flags: object, most_bytes: int = 0) -> subprocess.CompletedProcess:
    """Run a script; `most_bytes`: no file of it may become larger."""
    limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))) if most_bytes else None
    return subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, flags)], capture_output=True, text=True, preexec_fn=limit
    )


def refused(done: subprocess.CompletedProcess, status: int, line: str) -> None:
    assert done.returncode == status, done.stderr
    assert re.fullmatch(line, done.stderr), done.stderr


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mount(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"a disk of its own needs root: {done.stderr.decode().strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1000 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=1000k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def split_flags(project: Project, data: Path) -> list[object]:
    return ["--raw", project.raw, "--data", data, "--image-size", IMAGE_SIZE, "--quiet"]


@pytest.mark.parametrize("workers", [1, 2])
def test_full_disk_while_slicing(project: Project, small_disk: Path, workers: int) -> None:
    data, flags = small_disk / "data", ["--workers", workers]
    refused(call("split_raw_data.py", *split_flags(project, data), *flags), 3, NO_ROOM)
    assert not (data / "slices.csv").exists()
    assert [path.name for path in data.rglob(".*")] == []
    mount(small_disk, "remount", "size=20m")
    assert call("split_raw_data.py", *split_flags(project, data), *flags).returncode == 0
    pngs = {path.relative_to(data): content for path, content in contents(data / "image").items()}
    assert pngs == {path.relative_to(project.data): each for path, each in contents(project.data / "image").items()}


def test_full_disk_while_training_keeps_the_last_checkpoint(project: Project, small_disk: Path) -> None:
    """Room for the first epoch's files, not for the second's. With more room it goes on after the first."""
    flags = [*project.flags, "--runs", small_disk, *TINY, "--batch-size", "16"]
    refused(call("main.py", *flags), 3, NO_ROOM)
    folder = small_disk / "patient" / "dunet" / "holdout"
    assert len(pd.read_csv(folder / "history.csv")) >= 1
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    keras.models.load_model(folder / "best.keras", compile=False)
    mount(small_disk, "remount", "size=20m")
    done = call("main.py", *flags)
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch 1" in done.stdout


@pytest.mark.parametrize("script", ["split_raw_data.py", "trials.py", "predict.py"])
def test_files_that_may_not_grow(script: str, done: Done, tmp_path: Path) -> None:
    """The second way to have no room, which needs no root. Earlier results stay as they were."""
    runs_folder, reports = done.root / "runs", tmp_path / "reports"
    shutil.copytree(done.root / "reports", reports)
    flags = {
        "split_raw_data.py": split_flags(done.project, tmp_path / "data"),
        "trials.py": [*done.project.flags, "--runs", runs_folder, "--reports", reports],
        "predict.py": [done.project.root / "unseen" / "scan.nii", "--runs", runs_folder, "--engine", "keras",
                       "--out", tmp_path / "out", "--run", "dunet"],
    }[script]  # fmt: skip
    before = contents(reports)
    refused(call(script, *flags, most_bytes=2000), 3, NO_ROOM)
    if script == "trials.py":
        del before[reports / "patient" / "run.json"]  # of tables that might be of two calls
    assert contents(reports) == before
    assert list(tmp_path.rglob(".*")) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Makes a folder read only; for root, who may write everywhere, by a disk of its own."""
    mounted: list[Path] = []

    def lock_up(folder: Path) -> None:
        if os.geteuid():
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            return
        held = shutil.copytree(folder, tmp_path / "held", symlinks=True)
        mount(folder, "size=20m")
        mounted.append(folder)
        shutil.copytree(held, folder, dirs_exist_ok=True, symlinks=True)
        mount(folder, "remount", "ro")

    yield lock_up
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_read_only_folder(project: Project, tmp_path: Path, read_only: Callable[[Path], None]) -> None:
    """What is up to date needs no writing, and no lock; what is not is said."""
    data = shutil.copytree(project.data, tmp_path / "data")
    (tmp_path / "ct-ich").symlink_to(project.raw)
    flags = ["--raw", tmp_path / "ct-ich", "--data", data, "--workers", "1"]
    read_only(data)
    same = call("split_raw_data.py", *flags, "--image-size", IMAGE_SIZE)
    assert (same.returncode, "nothing to do" in same.stdout) == (0, True), same.stderr
    other = call("split_raw_data.py", *flags, "--image-size", 16)
    refused(other, 3, r"error: .*: (Read-only file system|Permission denied); make room or choose another folder\n")
    assert contents(data) == {data / path.relative_to(project.data): each
                              for path, each in contents(project.data).items()}  # fmt: skip


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("data/image", r"image/.*\.png: .*run the step that writes it again|not found"),
        ("data/patient/kfold.csv", r"kfold\.csv: not found; run create_data_set\.py"),
        ("data/patient/run.json", r"patient/run\.json: not found; run the step that writes it"),
        ("data/slices.csv", r"slices\.csv: not found; run `python split_raw_data\.py` first"),
        ("runs/patient/dunet/fold_01/last.keras", r"last\.keras.*main_kfold\.py"),
        ("runs/patient/dunet/fold_01/valid_operating.csv", r"valid_operating\.csv: not found; .*main_kfold\.py"),
    ],
)
def test_a_file_removed_between_two_steps(done: Done, tmp_path: Path, gone: str, told: str) -> None:
    shutil.copytree(done.project.data, tmp_path / "data")
    shutil.copytree(done.root / "runs", tmp_path / "runs")
    path = tmp_path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    places = ["--data", tmp_path / "data", "--runs", tmp_path / "runs", "--reports", tmp_path / "reports"]
    with pytest.raises(InputError, match=told):
        test_set.main([*map(str, places), "--run", "dunet", "--quiet"])
    assert not (tmp_path / "reports").exists()


def test_a_file_removed_while_a_script_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        script.run(lambda: Path("gone.csv").read_bytes())
    assert stop.value.code == 2
    told = "error: gone.csv: No such file or directory; it was removed while this ran: run the step that writes it"
    assert capsys.readouterr().err == f"{told} again\n"


def too_large() -> None:
    np.empty(2**60, np.uint8)


def tensorflow_error() -> None:
    tf = pytest.importorskip("tensorflow")
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[16,64,512,512]")


def torch_error() -> None:
    raise pytest.importorskip("torch").OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def torch_error_of_the_cpu() -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to")


def jax_error() -> None:
    jax = pytest.importorskip("jax")
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.")


def opencv_error() -> None:
    raise cv2.error("OpenCV(4.13) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes")


def system_error() -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize(
    "fail",
    [too_large, tensorflow_error, torch_error, torch_error_of_the_cpu, jax_error, opencv_error, system_error],
)
def test_want_of_memory_is_known_from_every_library(fail: Callable[[], None]) -> None:
    told = r"dunet/fold_01: out of memory on .*; halve --batch-size \(now 16\)$"
    with pytest.raises(MachineError, match=told), device.memory_for("dunet/fold_01", 16):
        fail()


@pytest.mark.parametrize("error", [InputError("a.nii: out of memory is its name"), RuntimeError("shapes differ"),
                                   OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])  # fmt: skip
def test_other_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, device.memory_for("dunet/fold_01", 16):
        raise error
    assert caught.value is error


def test_a_batch_of_one_cannot_be_halved() -> None:
    with pytest.raises(MachineError, match="take a smaller network or image size"), device.memory_for("a", 1):
        raise MemoryError


@pytest.mark.parametrize("error", [MachineError("dunet: out of memory; halve --batch-size (now 16)"), MemoryError()])
def test_want_of_memory_ends_with_3_and_one_line(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        script.run(main)
    assert stop.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search("out of memory.*--batch-size", line)


def fail_in(epoch: int, what: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """From `epoch` (from 0) on the first thing that an epoch does is `what`."""
    begin = loop.Keeper.on_epoch_begin

    def begin_and_fail(self: loop.Keeper, number: int, logs: dict | None = None) -> None:
        begin(self, number, logs)
        if number == epoch:
            what()

    monkeypatch.setattr(loop.Keeper, "on_epoch_begin", begin_and_fail)


def test_without_memory_what_is_trained_stays_and_a_smaller_batch_may_begin(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import models

    monkeypatch.setattr(models, "LEVELS", 2)
    flags = done.training_flags("patient", *TINY, "--fold", "1")
    train = [*flags, "--model", "dunet", "--runs", str(tmp_path)]
    files = paths.Training(tmp_path / "patient" / "dunet" / "fold_01")

    def none_left() -> None:
        raise MemoryError

    told = r"dunet/fold_01: out of memory on .*; halve --batch-size \(now 16\)"
    with monkeypatch.context() as patch:
        fail_in(0, none_left, patch)
        with pytest.raises(MachineError, match=told):
            main_kfold.main([*train, "--batch-size", "16"])
    assert {path.name for path in files.folder.iterdir()} == {"config.json", "train.log"}

    with monkeypatch.context() as patch:
        fail_in(1, none_left, patch)
        with pytest.raises(MachineError, match="now 8"):
            main_kfold.main([*train, "--batch-size", "8"])  # nothing was trained with 16
    assert files.checkpoint.exists()
    with pytest.raises(InputError, match=r"begun with recipe\.batch_size 8, now 4"):
        main_kfold.main([*train, "--batch-size", "4"])
    main_kfold.main([*train, "--batch-size", "8"])
    assert len(pd.read_csv(files.history)) == 2


def test_a_loss_of_no_number_leaves_the_epochs_before(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import models

    monkeypatch.setattr(models, "LEVELS", 2)
    flags = done.training_flags("patient", *TINY, "--fold", "1")
    files = paths.Training(tmp_path / "patient" / "dunet" / "fold_01")
    end = loop.Keeper.on_epoch_end

    def spoilt(self: loop.Keeper, number: int, logs: dict) -> None:
        end(self, number, {**logs, "loss": float("nan")} if number == 1 else logs)

    monkeypatch.setattr(loop.Keeper, "on_epoch_end", spoilt)
    with pytest.raises(InputError, match="dunet/fold_01: the training loss is nan in epoch 2; lower --learning-rate"):
        main_kfold.main([*flags, "--model", "dunet", "--runs", str(tmp_path)])
    assert list(pd.read_csv(files.history)["epoch"]) == [1]
    keras.models.load_model(files.best, compile=False)
    with np.load(files.checkpoint) as kept:
        assert int(kept["epoch"]) == 1


def test_best_weights_are_of_an_epoch_that_the_checkpoint_knows(tmp_path: Path) -> None:
    """Killed between the weights of epoch 7 and the checkpoint: epoch 7 will come again, maybe otherwise."""
    files = paths.Training(tmp_path)
    for epoch in (5, 7):
        files.waiting(epoch).write_text(f"of epoch {epoch}")
    checkpoint.settle_best(files, 5)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"best.keras": "of epoch 5"}
    checkpoint.settle_best(files, 5)
    assert files.best.exists()


def test_a_checkpoint_of_a_finished_training_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = paths.Training(tmp_path)
    files.checkpoint.touch()
    jobs.tell_finished("dunet/fold_01", files)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == "dunet/fold_01: already finished\n"
