"""One training, from its slices to its tables; stopped and started again, it goes on from its last checkpoint."""

import contextlib
import math
import os
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from ich.base import lock, record
from ich.base.errors import InputError
from ich.base.files import atomic, write_csv, write_json
from ich.base.progress import duration
from ich.data.pixels import Pairs, Slices
from ich.draw import plots
from ich.score import calibration, evaluation
from ich.train import checkpoint, device, jobs, prediction
from ich.train.batches import TrainingBatches
from ich.train.jobs import Job
from ich.train.losses import PAPER_BATCH
from ich.train.network import Network

MOST_WORKERS = 8  # threads; more deliver no faster


def run(job: Job, network: Network, train: Slices | Pairs, valid: Slices, whole_scans: bool) -> None:
    """Train, then score the validation part with the last weights; run.json is written last.

    `whole_scans`: validation holds every slice of its patients, so values per patient make sense. Raises InputError
    when another process is at it, MachineError when memory does not suffice.
    """
    with lock.writing(job.files.folder), device.memory_for(job.name, job.recipe.batch_size):
        jobs.refuse_other_configuration(job)
        if not job.files.finished:  # by another process, since this one looked
            _run(job, network, train, valid, whole_scans)


def _run(job: Job, network: Network, train: Slices | Pairs, valid: Slices, whole_scans: bool) -> None:
    started = time.time()
    network.reset()
    epoch, history = checkpoint.restore(job.files.checkpoint, network.model)
    if epoch:
        print(f"{job.name}: resuming after epoch {epoch}")
    batches = training_batches(job, train, epoch)
    keeper = Keeper(job, network, batches, valid, history)
    checkpoint.settle_best(job.files, keeper.best_epoch)
    with contextlib.closing(batches):
        network.model.fit(
            device.feed(batches), epochs=job.recipe.epochs, initial_epoch=epoch, verbose=0, callbacks=[keeper],
            shuffle=False,  # the batches are shuffled; Keras would do it again, from a state that a restart loses
        )  # fmt: skip
    with atomic(job.files.last) as temporary:
        network.exact.save(temporary)
    score(job, network, valid, whole_scans)
    plots.training_curves(job.files.folder, pd.DataFrame(keeper.history), job.name)
    facts = {
        "identity": job.identity, "results": record.fingerprints(job.files.results), "split_audit": job.audit,
        "device": device.gpu_name() or "CPU",
        "devices": len(device.device_names()),
        "backend": keras.backend.backend(), "precision": keras.mixed_precision.dtype_policy().name,
        "parameters": network.bare.count_params(),
        "training_slices": len(train.table), "valid_slices": len(valid.images),
        "training_seconds": round(sum(row["seconds"] for row in keeper.history), 1),
    }  # fmt: skip
    write_json(job.files.run, record.manifest(job.config, started, **facts))
    job.files.checkpoint.unlink(missing_ok=True)  # of use to an unfinished training only


def training_batches(job: Job, train: Slices | Pairs, epoch: int) -> TrainingBatches:
    """Batches from `epoch` on; close them."""
    recipe = job.recipe
    fresh = recipe.negatives == "each_epoch"
    seed, workers = job.config.seed, job.config.workers or min(MOST_WORKERS, os.cpu_count() or 1)
    return TrainingBatches(train, recipe, recipe.batch_size, job.steps, seed, fresh, epoch, workers)


def validated_epochs(job: Job) -> set[int]:
    """Every `validate_every` epochs, and the last."""
    last, every = job.recipe.epochs, job.recipe.validate_every
    return {*range(every, last + 1, every), last}


def validation_batch(job: Job) -> int:
    """Slices in a validation batch: under the slice protocol those over which the published metric is pooled."""
    return PAPER_BATCH if job.config.protocol == "slice" else job.recipe.batch_size


def score(job: Job, network: Network, valid: Slices, whole_scans: bool) -> None:
    """Write the validation tables."""
    prob = prediction.predict(network.exact.predictor, valid, job.recipe.batch_size)
    write_csv(job.files.slices, evaluation.slice_scores(valid, prob))
    write_csv(job.files.calibration, calibration.pixel_bins(valid.masks.astype(bool), prob))
    if whole_scans:
        write_csv(job.files.patients, evaluation.patient_scores(valid, prob))
        write_csv(job.files.thresholds, evaluation.threshold_counts(valid, prob))


def estimate_seconds(job: Job, network: Network, train: Slices | Pairs, valid: Slices) -> float:
    """Seconds that this training will take on this device, from two steps; the network is reset before it is used."""
    with contextlib.closing(training_batches(job, train, 0)) as batches:
        images, masks = batches[0]
    network.model.train_on_batch(images, masks)  # compiles
    started = time.perf_counter()
    for _ in range(2):
        network.model.train_on_batch(images, masks)
    step = (time.perf_counter() - started) / 2
    forward = step / 3 * math.ceil(len(valid.images) / job.recipe.batch_size)  # a training step is about 3 passes
    return job.recipe.epochs * job.steps * step + len(validated_epochs(job)) * forward


class Keeper(keras.callbacks.Callback):
    """Before each epoch: its batches. After it: history, a printed line, the best weights, and a checkpoint."""

    def __init__(
        self, job: Job, network: Network, batches: TrainingBatches, valid: Slices, history: list[dict]
    ) -> None:
        super().__init__()
        self.job, self.network, self.batches, self.valid, self.history = job, network, batches, valid, history
        self.validated = validated_epochs(job)
        self.saved = self.began = time.monotonic()
        self.done_before = len(history)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Draw the slices of the epoch; Keras calls this before it reads any."""
        self.epoch_began = time.monotonic()
        self.batches.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep what the epoch gave. Raises InputError when a loss is no number any more."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        refuse_no_number(self.job.name, row, "--learning-rate")
        if row["epoch"] in self.validated:
            row |= self.network.validate(self.valid, validation_batch(self.job))
            refuse_no_number(self.job.name, row, "--learning-rate")
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.monotonic() - self.epoch_began, 2)
        self.history.append(row)
        if "val_dice" in row and self.best_epoch == row["epoch"]:
            self._save(self.job.files.waiting(row["epoch"]))
        if (every := self.job.recipe.checkpoint_every) and row["epoch"] % every == 0:
            self._save(self.job.files.kept(row["epoch"]))
        waited = time.monotonic() - self.saved
        if waited >= self.job.config.checkpoint_seconds or row["epoch"] == self.job.recipe.epochs:
            self._checkpoint()
        if not self.job.config.quiet:
            print(self._line(row), flush=True)

    @property
    def best_epoch(self) -> int:
        """The first of those with the highest validation Dice; 0 before any."""
        best = max(self.history, key=lambda row: row.get("val_dice", -1), default={"epoch": 0})
        return best["epoch"]

    def _save(self, path: Path) -> None:
        with atomic(path) as temporary:
            self.network.exact.save(temporary)

    def _checkpoint(self) -> None:
        write_csv(self.job.files.history, pd.DataFrame(self.history))
        checkpoint.save(self.job.files.checkpoint, self.model, len(self.history), self.history)
        checkpoint.settle_best(self.job.files, self.best_epoch)
        self.saved = time.monotonic()

    def _line(self, row: dict) -> str:
        epochs = self.job.recipe.epochs
        left = (time.monotonic() - self.began) / (len(self.history) - self.done_before) * (epochs - row["epoch"])
        shown = " ".join(f"{name} {row[name]:.3f}" for name in ("loss", "dice", "iou"))
        if "val_loss" in row:
            shown += " | valid " + " ".join(f"{name} {row['val_' + name]:.3f}" for name in ("loss", "dice", "iou"))
        rate = f"lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s, {duration(left)} left"
        return f"{self.job.name} epoch {row['epoch']}/{epochs}  train {shown}  {rate}"


def refuse_no_number(name: str, row: dict, flag: str) -> None:
    """Raise InputError when the training or the validation loss of an epoch is NaN or infinite; it says which."""
    for key, which in (("loss", "training"), ("val_loss", "validation")):
        if not np.isfinite(row.get(key, 0)):
            raise InputError(f"{name}: the {which} loss is {row[key]} in epoch {row['epoch']}; lower {flag}")
