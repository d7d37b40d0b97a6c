"""Is training starved of data? Epochs of the project's own batches beside as many steps on one batch in memory.

    python benchmarks/loader.py               (writes benchmarks/results/loader.json)
    python benchmarks/loader.py --filters 32 --patients 75          (longer: the size of the real data)
    python benchmarks/loader.py --network EfficientNetB7 --image-size 600

`epoch_ratio` is the one over the other: 1.05 means that data cost 5 %. Both run in one process on the same compiled
network, alternating, best of some rounds. `rows` are the recipes of main.py in the first backend, on slices of --size
pixels; there `images_per_s` is what the batches alone deliver, without any network, by number of threads: what a faster
device could be fed with. `classifier` is an EfficientNet as rsna_train.py compiles it, without ImageNet weights, in
every backend, on PNGs of --png-size pixels; its `images_per_s` is that of training on the batch in memory.
"""

import functools
import math
import sys
import tempfile
import typing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import numpy as np
import pandas as pd

import config as settings
from benchmarks import common, machine, phantoms
from ich.base.paths import Rsna
from ich.data.split import read_split
from ich.rsna.layouts import CLASSES
from ich.scans.png import write_png
from ich.scans.window import Window

if typing.TYPE_CHECKING:  # brings Keras, which the asking process does without
    from ich.train.jobs import Job

WORKERS = (0, 1, 2, 4)  # threads; 0: each batch is made when it is asked for
EPOCHS = 2  # one after another, since batches are made ahead across their ends
DELIVERED = 64  # batches, so many that the few made ahead and never used do not count
TARGETS = {"cpu": "<= 1.05", "gpu": "<= 1.10"}
VARIANT = "0_dicom2png"


def main() -> None:
    on_gpu = machine.gpu() is not None
    flags = common.arguments(  # few filters are the harder test
        __doc__, {"network": typing.get_args(settings.Backbone)}, backends=common.installed(), size=256,
        filters=32 if on_gpu else 8, patients=75 if on_gpu else 12, rounds=6, network="EfficientNetB0", image_size=224,
        batch_size=settings.RsnaTrain().batch_size, png_size=512, steps=50 if on_gpu else 12, classifier_rounds=2,
    )  # fmt: skip
    rows, classified = [], []
    with tempfile.TemporaryDirectory() as folder:
        phantoms.prepare(Path(folder), flags.patients, flags.size, ("patient",))
        for recipe in fitting(flags.size):
            part = {"recipe": recipe, "filters": flags.filters, "rounds": flags.rounds, "folder": folder}
            facts = common.once(segmentation, part, flags.backends[0])
            rows.append({"backend": flags.backends[0], "recipe": recipe, **facts})
        for number, hu in enumerate(phantoms.middle_slices(flags.steps * flags.batch_size, flags.png_size)):
            write_png(Rsna(Path(folder)).png(VARIANT, str(number)), Window(40, 120)(hu), sync=False)
        shared = {name: getattr(flags, name) for name in ("network", "image_size", "batch_size", "steps")}
        shared["rounds"] = flags.classifier_rounds
        for backend in flags.backends:
            facts = common.once(classification, {**shared, "folder": folder}, backend)
            classified.append({"backend": backend, **shared, **facts})
    summary = [figure for row in rows for figure in recipe_figures(row)]
    summary += [figure for row in classified for figure in classifier_figures(row)]
    common.write(flags, {"rows": rows, "classifier": classified}, summary)


def fitting(size: int) -> list[str]:
    """The recipes whose patches fit into slices of so many pixels; one that differs in filters only says no more."""
    return [name for name, recipe in settings.RECIPES.items() if recipe.patch <= size and not recipe.n_filters]


def recipe_figures(row: dict) -> list[dict]:
    what = f"recipe {row['recipe']}, {row['backend']}"
    alone = f"batches alone, {what}"
    rates = [common.row(f"{alone}, {name}", rate, "images/s") for name, rate in row["images_per_s"].items()]
    return [ratio_figure(row, what), *rates]


def classifier_figures(row: dict) -> list[dict]:
    what = f"{row['network']}, {row['image_size']} px, batch {row['batch_size']}, {row['backend']}"
    return [common.row(f"training, {what}", row["images_per_s"], "images/s"), ratio_figure(row, what)]


def ratio_figure(row: dict, what: str) -> dict:
    target = TARGETS["cpu" if row["device"] == "CPU" else "gpu"]
    return common.row(f"epoch against one batch in memory, {what}", row["epoch_ratio"], "", target)


def segmentation(part: dict) -> dict:
    """In its own process: training D-Unet with one recipe, and its batches alone."""
    import models
    from benchmarks import nets
    from ich.train import jobs, runner, training

    config = settings.Main(data=Path(part["folder"]) / "data", recipe=part["recipe"], models={"dunet": part["filters"]})
    split = read_split(config, "holdout")
    (job,) = jobs.trainings(config, split, ["valid"], models.find)
    train = split.training("valid")
    make = functools.partial(training.training_batches, job, train, 0)
    model = runner.compiled(job, split, models.build).model
    return {
        "device": nets.device_name(), "steps": job.steps, "batch": job.recipe.batch_size, "epochs_each": EPOCHS,
        **nets.epochs_and_same_batch(model, make, EPOCHS, part["rounds"]),
        "images_per_s": delivered(job, train, part["rounds"]),
    }  # fmt: skip


def delivered(job: "Job", train: object, rounds: int) -> dict[str, float]:
    """Images a second by number of workers."""
    from benchmarks import nets
    from ich.train.batches import TrainingBatches

    recipe, epochs = job.recipe, math.ceil(DELIVERED / job.steps)
    fresh = recipe.negatives == "each_epoch"

    def read(workers: int) -> None:
        batches = TrainingBatches(train, recipe, recipe.batch_size, job.steps, job.config.seed, fresh, 0, workers)
        with nets.closing(batches):
            for epoch in range(epochs):
                batches.begin(epoch)
                for index in range(len(batches)):
                    batches[index]

    best = nets.in_turns({f"{workers} workers": functools.partial(read, workers) for workers in WORKERS}, rounds)
    return {name: epochs * job.steps * recipe.batch_size / least for name, least in best.items()}


def classification(part: dict) -> dict:
    """In its own process: training an EfficientNet: an epoch reads, shrinks and changes PNGs."""
    from benchmarks import nets
    from ich.rsna.batches import Batches, Change
    from ich.rsna.classifier import Classifier

    config = settings.RsnaTrain(
        weights="none", **{name: part[name] for name in ("network", "image_size", "batch_size")}
    )
    number = part["steps"] * config.batch_size
    table = pd.DataFrame({"id": np.arange(number).astype(str), "class": np.resize(CLASSES, number)})
    change = Change(config.rotation_deg, config.shift_px / config.image_size)
    make = functools.partial(
        Batches, table, Rsna(Path(part["folder"])), VARIANT, config.task, config.image_size, config.batch_size,
        change, workers=config.workers,
    )  # fmt: skip
    model = Classifier(config, part["steps"]).model
    best = nets.epochs_and_same_batch(model, make, 1, part["rounds"])
    return {
        "device": nets.device_name(), "parameters": model.count_params(), **best,
        "images_per_s": number / best["same_batch"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
