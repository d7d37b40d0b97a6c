"""The loop that every training goes through: begun or refused, resumed, kept, finished.

A pipeline gives its network and batches, and says how an epoch is validated and which one is best.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import keras
import numpy as np
import pandas as pd

from ich.base import lock, record
from ich.base.errors import InputError
from ich.base.files import atomic, write_csv, write_json
from ich.base.progress import duration
from ich.train import checkpoint, device, display
from ich.train.batches import EpochBatches
from ich.train.event_file import EventFile
from ich.train.jobs import AnyJob, refuse_other_configuration
from ich.train.network import Exact

Row = dict[str, float]  # one epoch of history.csv
LONG_S = 12 * 3600
UNMEASURED_STEPS, MEASURED_STEPS, MEASURED_S = 3, 30, 5.0  # to estimate how long a training takes


class Compiled(Protocol):
    """A network in training: `model` is compiled on the layers of `bare`; `exact` is what is saved and scored."""

    bare: keras.Model
    model: keras.Model
    exact: Exact


@dataclass(frozen=True)
class Plan:
    """What a pipeline gives the loop."""

    job: AnyJob
    network: Compiled
    batches: EpochBatches
    epochs: int
    validate: Callable[[int], Row]  # epoch (from 1) -> `val_loss` and others; empty where it is not validated
    rank: Callable[[Row], float]  # the epoch with the highest is best; of equal ones the first
    shown: tuple[str, ...]  # what the line of an epoch shows, of training and of validation
    rate_flag: str  # which flag to lower where the loss is no longer a number
    rate_of: Literal["first step", "last step"] = "last step"  # the learning rate in the row of an epoch
    keep_every: int = 0  # epochs between weights that are kept for good; 0: none


def run_alone(job: AnyJob, batch_size: int, train: Callable[[], None]) -> None:
    """Call `train` with the job's folder locked, unless another process has finished the job in the meantime.

    Raises InputError when another process is training it, MachineError when memory does not suffice.
    """
    with lock.writing(job.files.folder), device.memory_for(job.name, batch_size):
        refuse_other_configuration(job)
        if not job.files.finished:
            train()


def fit(plan: Plan) -> list[Row]:
    """Train from the last checkpoint to the last epoch; return the history, one row per epoch."""
    files = plan.job.files
    epoch, history = checkpoint.restore(files.checkpoint, plan.network.model)
    display.log_begin(plan.job, epoch, plan.epochs, computes_in())
    plan.batches.begin(epoch)
    keeper = Keeper(plan, history)
    checkpoint.settle_best(files, keeper.best_epoch)
    plan.network.model.fit(
        device.feed(plan.batches), epochs=plan.epochs, initial_epoch=epoch, verbose=0,
        callbacks=[keeper, *([EventFile(files.folder, history)] if plan.job.config.tensorboard else [])],
        shuffle=False,  # the batches are shuffled; Keras would do it again, from a state that a restart loses
    )  # fmt: skip
    return history


def finish(job: AnyJob, network: Compiled, history: list[Row], started: float, **facts: object) -> None:
    """Write run.json, which says that the training is finished, and remove the checkpoint."""
    facts = {
        "identity": job.identity, "results": record.fingerprints(job.files.results),
        "device": device.gpu_name() or "CPU", "backend": keras.backend.backend(),
        "precision": computes_in(), "parameters": network.bare.count_params(),
        "training_seconds": round(sum(row["seconds"] for row in history), 1), **facts,
    }  # fmt: skip
    write_json(job.files.run, record.manifest(job.config, started, **facts))
    job.files.checkpoint.unlink(missing_ok=True)  # of use to an unfinished training only


def computes_in() -> str:
    """The precision of the network that was built last: `float32` or `mixed_bfloat16`."""
    return keras.mixed_precision.dtype_policy().name


def tell_duration(number: int, measure: Callable[[], float], advice: str) -> None:
    """Print how long `number` trainings will take (`measure` returns seconds), and `advice` if that is long."""
    print(f"{number} trainings on {device.gpu_name() or 'the CPU'}; measuring their speed ...", flush=True)
    seconds = measure()
    print(f"estimated time: {duration(seconds)}, computing in {computes_in()}", flush=True)
    if seconds > LONG_S:
        print(f"that is long: {advice}")


def seconds_per_step(model: keras.Model, batches: EpochBatches) -> float:
    """Time of a training step on this device, reading included; the network is reset before it is used.

    Measured on 2 to MEASURED_STEPS steps, as many as MEASURED_S has time for, after the slower first ones.
    """
    steps = itertools.cycle(range(len(batches)))
    for _ in range(UNMEASURED_STEPS):
        model.train_on_batch(*batches[next(steps)])
    started, number = time.perf_counter(), 0
    while number < 2 or (number < MEASURED_STEPS and time.perf_counter() < started + MEASURED_S):
        model.train_on_batch(*batches[next(steps)])
        number += 1
    return (time.perf_counter() - started) / number


class Keeper(keras.callbacks.Callback):
    """Before each epoch: its batches. After it: history, a line of the log, the best weights, and a checkpoint."""

    def __init__(self, plan: Plan, history: list[Row]) -> None:
        super().__init__()
        self.plan, self.history = plan, history
        self.saved = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Draw the slices of the epoch; Keras calls this before it reads any."""
        self.epoch_began, self.first_rate = time.monotonic(), self._rate()
        self.plan.batches.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the result of the epoch. Raises InputError when a loss is NaN or infinite."""
        plan, files = self.plan, self.plan.job.files
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        refuse_no_number(plan.job.name, row, plan.rate_flag)
        row |= plan.validate(row["epoch"])
        refuse_no_number(plan.job.name, row, plan.rate_flag)
        row["learning_rate"] = self._rate() if plan.rate_of == "last step" else self.first_rate
        row["seconds"] = round(time.monotonic() - self.epoch_began, 2)
        self.history.append(row)
        if "val_loss" in row and self.best_epoch == row["epoch"]:
            self._save(files.waiting(row["epoch"]))
        if plan.keep_every and row["epoch"] % plan.keep_every == 0:
            self._save(files.kept(row["epoch"]))
        waited = time.monotonic() - self.saved
        if waited >= plan.job.config.checkpoint_seconds or row["epoch"] == plan.epochs:
            self._checkpoint()
        display.log(files, self._line(row))

    @property
    def best_epoch(self) -> int:
        """The best of the validated epochs so far; 0 before any."""
        validated = [row for row in self.history if "val_loss" in row]
        return int(max(validated, key=self.plan.rank, default={"epoch": 0})["epoch"])

    def _rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.plan.network.model.optimizer.learning_rate))

    def _save(self, path: Path) -> None:
        with atomic(path) as temporary:
            self.plan.network.exact.save(temporary)

    def _checkpoint(self) -> None:
        files = self.plan.job.files
        write_csv(files.history, pd.DataFrame(self.history))
        checkpoint.save(files.checkpoint, self.plan.network.model, len(self.history), self.history)
        checkpoint.settle_best(files, self.best_epoch)
        self.saved = time.monotonic()

    def _line(self, row: Row) -> str:
        plan = self.plan
        text = "train " + " ".join(f"{name} {row[name]:.3f}" for name in plan.shown)
        if "val_loss" in row:
            text += " | valid " + " ".join(f"{name} {row['val_' + name]:.3f}" for name in plan.shown)
        rate = f"lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s"
        return f"{plan.job.name} epoch {row['epoch']}/{plan.epochs}  {text}  {rate}"


def refuse_no_number(name: str, row: Row, flag: str) -> None:
    """Raise InputError when the training or the validation loss of an epoch is NaN or infinite, saying which."""
    for key, which in (("loss", "training"), ("val_loss", "validation")):
        if not np.isfinite(row.get(key, 0)):
            raise InputError(f"{name}: the {which} loss is {row[key]} in epoch {row['epoch']}; lower {flag}")
