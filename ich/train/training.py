"""One training, from its slices to its tables; stopped and started again, it goes on from its last checkpoint."""

import contextlib
import os
import time

import numpy as np
import pandas as pd

from ich.base.files import atomic, write_csv
from ich.data import origin
from ich.data.pixels import Pairs, Slices
from ich.draw import plots
from ich.score import evaluation
from ich.train import device, loop, prediction
from ich.train.batches import TrainingBatches
from ich.train.jobs import Job
from ich.train.losses import PAPER_BATCH
from ich.train.network import Network

MOST_WORKERS = 8  # threads; more deliver no faster


def run(job: Job, network: Network, train: Slices | Pairs, valid: Slices, whole_scans: bool) -> None:
    """Train, then score the validation part with the last weights; run.json is written last.

    `whole_scans`: validation holds every slice of its patients, so values per patient make sense. Raises InputError
    when another process is training it, MachineError when memory does not suffice.
    """
    loop.run_alone(job, job.recipe.batch_size, lambda: _run(job, network, train, valid, whole_scans))


def _run(job: Job, network: Network, train: Slices | Pairs, valid: Slices, whole_scans: bool) -> None:
    started = time.time()
    network.reset(job.seed)
    with contextlib.closing(training_batches(job, train, 0)) as batches:
        history = loop.fit(plan(job, network, batches, valid))
    with atomic(job.files.last) as temporary:
        network.exact.save(temporary)
    score(job, network, valid, whole_scans)
    plots.label_all(origin.banner(job.about["origin"]))
    plots.training_curves(job.files.folder, pd.DataFrame(history), job.name)
    loop.finish(
        job, network, history, started, **job.about, devices=len(device.device_names()),
        training_slices=len(train.table), valid_slices=len(valid.images),
    )  # fmt: skip


def plan(job: Job, network: Network, batches: TrainingBatches, valid: Slices) -> loop.Plan:
    """How a segmentation network is trained: the best epoch is the one with the highest validation Dice."""
    validated = validated_epochs(job)
    # under the slice protocol the slices over which the published metric is pooled
    batch_size = PAPER_BATCH if job.config.protocol == "slice" else job.recipe.batch_size
    return loop.Plan(
        job, network, batches, job.recipe.epochs,
        validate=lambda epoch: network.validate(valid, batch_size) if epoch in validated else {},
        rank=lambda row: row["val_dice"], shown=("loss", "dice", "iou"), rate_flag="--learning-rate",
        keep_every=job.recipe.checkpoint_every,
    )  # fmt: skip


def training_batches(job: Job, train: Slices | Pairs, epoch: int) -> TrainingBatches:
    """Batches from `epoch` on; close them."""
    recipe = job.recipe
    fresh = recipe.negatives == "each_epoch"
    seed, workers = job.seed, job.config.workers or min(MOST_WORKERS, os.cpu_count() or 1)
    return TrainingBatches(train, recipe, recipe.batch_size, job.steps, seed, fresh, epoch, workers)


def validated_epochs(job: Job) -> set[int]:
    """Every `validate_every` epochs, and the last."""
    last, every = job.recipe.epochs, job.recipe.validate_every
    return {*range(every, last + 1, every), last}


def score(job: Job, network: Network, valid: Slices, whole_scans: bool) -> None:
    """Write the validation tables."""
    prob = prediction.predict(network.exact.predictor, valid, job.recipe.batch_size, job.recipe.test_time_flip)
    for name, table in evaluation.tables(valid, prob, whole_scans).items():
        write_csv(getattr(job.files, name), table)


def estimate_seconds(job: Job, network: Network, train: Slices | Pairs, valid: Slices) -> float:
    """Seconds that this training will take on this device, from a few steps; the network is reset before it is used."""
    with contextlib.closing(training_batches(job, train, 0)) as batches:
        step = loop.seconds_per_step(network.model, batches)
    of_tables = 2 if job.recipe.test_time_flip else 1
    seen = (len(validated_epochs(job)) + of_tables) * len(valid.images)
    return job.recipe.epochs * job.steps * step + seen * _seconds_per_slice(job, network, valid)


def _seconds_per_slice(job: Job, network: Network, valid: Slices) -> float:
    """Time of predicting a slice, measured on two batches."""
    few = valid.part(pd.Series(np.arange(len(valid.images)) < 2 * job.recipe.batch_size))
    predictor = network.exact.predictor
    prediction.predict(predictor, few, job.recipe.batch_size)  # compiles
    started = time.perf_counter()
    prediction.predict(predictor, few, job.recipe.batch_size)
    return (time.perf_counter() - started) / len(few.images)
