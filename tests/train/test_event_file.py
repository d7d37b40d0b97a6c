"""--tensorboard: the event file holds the rows of the history, each epoch once, also of a training that was stopped."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from conftest import Project

import main
import models
from ich.base import backend, paths
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.train import event_file, loop

needs_tensorboard = pytest.mark.skipif(not backend.has("tensorboard"), reason="tensorboard is not installed")


@dataclass(frozen=True)
class Work:
    """A project in which trainings of three epochs run."""

    project: Project
    runs: Path

    def train(self, *given: str) -> paths.Training:
        folders = ["--data", str(self.project.data), "--runs", str(self.runs), "--quiet", "--checkpoint-seconds", "0"]
        small = ["--models", "dunet=2", "--epochs", "3", "--batch-size", "16", "--validate-every", "2"]
        main.main([*folders, *small, *given])
        return self.files

    @property
    def files(self) -> paths.Training:
        return paths.Training(self.runs / "patient" / "dunet" / "holdout")


@pytest.fixture
def work(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(models, "LEVELS", 2)
    return Work(project, tmp_path)


class Stop(Exception):
    """In place of Ctrl-C."""


def stop_before_checkpoint(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the training after an epoch whose row is written, but not its checkpoint."""
    write = event_file.EventFile.on_epoch_end

    def write_and_stop(self: event_file.EventFile, number: int, logs: dict | None = None) -> None:
        write(self, number, logs)
        if number + 1 == epoch:
            raise Stop

    save = loop.Keeper._checkpoint
    monkeypatch.setattr(event_file.EventFile, "on_epoch_end", write_and_stop)
    monkeypatch.setattr(loop.Keeper, "_checkpoint", lambda self: len(self.history) < epoch and save(self))


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(epoch, value) of each curve, as they lie on disk."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    (path,) = folder.glob(event_file.NAMES)
    found: dict[str, list[tuple[int, float]]] = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, float(make_ndarray(value.tensor))))
    return found


def of_history(files: paths.Training) -> dict[str, list[tuple[int, float]]]:
    table = pd.read_csv(files.history)
    columns = {name: table[["epoch", name]].dropna().astype({"epoch": int}) for name in table if name != "epoch"}
    return {event_file.tag(name): list(rows.itertuples(index=False, name=None)) for name, rows in columns.items()}


def assert_same(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for name, rows in expected.items():
        assert [epoch for epoch, _ in found[name]] == [epoch for epoch, _ in rows]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in rows], rel=1e-5)


@pytest.mark.parametrize(
    ("column", "expected"),
    [("loss", "loss/train"), ("val_loss", "loss/valid"), ("val_paper_dice", "paper_dice/valid"),
     ("learning_rate", "learning_rate"), ("seconds", "seconds")],
)  # fmt: skip
def test_names_of_curves(column: str, expected: str) -> None:
    assert event_file.tag(column) == expected


@needs_tensorboard
def test_each_epoch_is_there_once_after_a_stop(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_before_checkpoint(2, patch)
        with pytest.raises(Stop):
            work.train("--tensorboard")
    assert [epoch for epoch, _ in points(work.files.folder)["dice/train"]] == [1, 2]  # while it runs
    assert not work.files.finished
    files = work.train("--tensorboard")
    found = points(files.folder)
    assert [epoch for epoch, _ in found["loss/train"]] == [1, 2, 3]
    assert [epoch for epoch, _ in found["loss/valid"]] == [2, 3]
    assert_same(found, of_history(files))


@needs_tensorboard
def test_it_may_be_asked_for_later_and_is_no_part_of_the_identity(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*given: object, **facts: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish", stop)  # after the last epoch
        with pytest.raises(Stop):
            work.train()
    assert not list(work.files.folder.glob(event_file.NAMES))
    files = work.train("--tensorboard")
    assert_same(points(files.folder), of_history(files))
    assert "tensorboard" not in read_json(files.config)
    assert read_json(files.run)["config"]["tensorboard"] is True


def test_without_tensorboard_it_is_refused_in_one_line(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "has", lambda package: package != "tensorboard")
    with pytest.raises(InputError, match="--tensorboard: tensorboard is not installed; pip install tensorboard"):
        work.train("--tensorboard")
    assert not work.files.config.exists()
