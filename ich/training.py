"""One training, from its slices to its tables; stopped and started again, it goes on from its last checkpoint."""

import math
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from ich import calibration, checkpoint, device, evaluation, plots, prediction, runs
from ich.batches import PlainBatches, TrainingBatches
from ich.errors import InputError
from ich.jobs import Job
from ich.losses import PAPER_BATCH
from ich.network import Network
from ich.stack import Slices


def run(job: Job, network: Network, train: Slices, valid: Slices, whole_scans: bool) -> None:
    """Train, then score the validation part with the last weights; run.json is written last.

    `whole_scans`: validation holds every slice of its patients, so values per patient make sense.
    """
    started = time.time()
    network.reset()
    epoch, history = checkpoint.restore(job.files.checkpoint, network.model)
    if epoch:
        print(f"{job.name}: goes on after epoch {epoch}")
    batches = training_batches(job, train, epoch)
    keeper = Keeper(job, network, batches, history)
    network.model.fit(
        batches, epochs=job.recipe.epochs, initial_epoch=epoch, verbose=0, callbacks=[keeper],
        validation_data=PlainBatches(valid, validation_batch(job)), validation_freq=validated_epochs(job),
        shuffle=False,  # the batches are shuffled; Keras would do it again, from a state that a restart loses
    )  # fmt: skip
    with runs.atomic(job.files.last) as temporary:
        network.bare.save(temporary)
    score(job, network, valid, whole_scans)
    plots.training_curves(job.files.folder, pd.DataFrame(keeper.history), job.name)
    facts = {
        "identity": job.identity, "split_audit": job.audit, "device": device.gpu_name() or "CPU",
        "backend": keras.backend.backend(), "precision": keras.mixed_precision.dtype_policy().name,
        "parameters": network.bare.count_params(),
        "training_slices": len(train.images), "valid_slices": len(valid.images),
        "training_seconds": round(sum(row["seconds"] for row in keeper.history), 1),
    }  # fmt: skip
    runs.write_json(job.files.run, runs.manifest(job.config, started, **facts))
    job.files.checkpoint.unlink(missing_ok=True)  # of use to an unfinished training only


def training_batches(job: Job, train: Slices, epoch: int) -> TrainingBatches:
    """Batches from `epoch` on."""
    recipe = job.recipe
    fresh = recipe.negatives == "each_epoch"
    seed, workers = job.config.seed, job.config.workers
    return TrainingBatches(train, recipe, recipe.batch_size, job.steps, seed, fresh, epoch, workers)


def validated_epochs(job: Job) -> list[int]:
    """Every `validate_every` epochs, and the last."""
    last = job.recipe.epochs
    return sorted({*range(job.config.validate_every, last + 1, job.config.validate_every), last})


def validation_batch(job: Job) -> int:
    """Slices in a validation batch: under the slice protocol those over which the published metric is pooled."""
    return PAPER_BATCH if job.config.protocol == "slice" else job.recipe.batch_size


def score(job: Job, network: Network, valid: Slices, whole_scans: bool) -> None:
    """Write the validation tables."""
    prob = prediction.predict(network.model, valid, job.recipe.batch_size)
    runs.write_csv(job.files.slices, evaluation.slice_scores(valid, prob))
    runs.write_csv(job.files.calibration, calibration.pixel_bins(valid.masks.astype(bool), prob))
    if whole_scans:
        runs.write_csv(job.files.patients, evaluation.patient_scores(valid, prob))
        runs.write_csv(job.files.thresholds, evaluation.threshold_counts(valid, prob))


def estimate_seconds(job: Job, network: Network, train: Slices, valid: Slices) -> float:
    """Seconds that this training will take on this device, from two steps; the network is reset before it is used."""
    images, masks = training_batches(job, train, 0)[0]
    network.model.train_on_batch(images, masks)  # compiles
    started = time.perf_counter()
    for _ in range(2):
        network.model.train_on_batch(images, masks)
    step = (time.perf_counter() - started) / 2
    forward = step / 3 * math.ceil(len(valid.images) / job.recipe.batch_size)  # a training step is about 3 passes
    return job.recipe.epochs * job.steps * step + len(validated_epochs(job)) * forward


class Keeper(keras.callbacks.Callback):
    """Before each epoch: its batches. After it: history, a printed line, the best weights, and a checkpoint."""

    def __init__(self, job: Job, network: Network, batches: TrainingBatches, history: list[dict]) -> None:
        super().__init__()
        self.job, self.network, self.batches, self.history = job, network, batches, history
        self.saved = self.began = time.monotonic()
        self.done_before = len(history)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Draw the slices of the epoch; Keras calls this before it reads any."""
        self.epoch_began = time.monotonic()
        self.batches.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep what the epoch gave. Raises InputError when the loss is no number any more."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        if not np.isfinite(row["loss"]):
            raise InputError(f"{self.job.name}: the loss is {row['loss']} in epoch {epoch + 1}; lower --learning-rate")
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.monotonic() - self.epoch_began, 2)
        best = max((past.get("val_dice", -1) for past in self.history), default=-1)
        self.history.append(row)
        if row.get("val_dice", -1) > best:
            self._save(self.job.files.best)
        if (every := self.job.recipe.checkpoint_every) and row["epoch"] % every == 0:
            self._save(self.job.files.kept(row["epoch"]))
        waited = time.monotonic() - self.saved
        if waited >= self.job.config.checkpoint_seconds or row["epoch"] == self.job.recipe.epochs:
            self._checkpoint()
        if not self.job.config.quiet:
            print(self._line(row), flush=True)

    def _save(self, path: Path) -> None:
        with runs.atomic(path) as temporary:
            self.network.bare.save(temporary)

    def _checkpoint(self) -> None:
        runs.write_csv(self.job.files.history, pd.DataFrame(self.history))
        checkpoint.save(self.job.files.checkpoint, self.model, len(self.history), self.history)
        self.saved = time.monotonic()

    def _line(self, row: dict) -> str:
        epochs = self.job.recipe.epochs
        left = (time.monotonic() - self.began) / (len(self.history) - self.done_before) * (epochs - row["epoch"])
        shown = " ".join(f"{name} {row[name]:.3f}" for name in ("loss", "dice", "iou"))
        if "val_loss" in row:
            shown += " | valid " + " ".join(f"{name} {row['val_' + name]:.3f}" for name in ("loss", "dice", "iou"))
        rate = f"lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s, {duration(left)} left"
        return f"{self.job.name} epoch {row['epoch']}/{epochs}  train {shown}  {rate}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for unit, size in (("days", 86_400), ("h", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
