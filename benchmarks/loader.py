"""Is training starved of data? An epoch of main.py's loop beside as many steps on one batch already in memory.

    python benchmarks/loader.py               (writes benchmarks/results/loader.json)
    python benchmarks/loader.py --filters 32 --patients 75          (longer: the size of the real data)

`epoch_ratio` is the one over the other: 1.05 means that data cost 5 %. Both run in one process on the same compiled
network, alternating, best of some rounds. `images_per_s` is what the batches alone deliver, without any network, by
number of threads: what a faster device could be fed with.
"""

import functools
import math
import sys
import tempfile
import time
import typing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import config as settings
from benchmarks import common, machine, phantoms
from ich.base import script
from ich.data.split import Split, read_split

if typing.TYPE_CHECKING:  # they bring Keras, which the asking process does without
    from ich.train.jobs import Job

WORKERS = (0, 1, 2, 4)  # threads; 0: each batch is made when it is asked for
EPOCHS = 2  # one after another, since batches are made ahead across their ends
DELIVERED = 64  # batches, so many that the few made ahead and never used do not count
TARGETS = {"cpu": 1.05, "gpu": 1.10}


def main() -> None:
    parser = common.parser(__doc__)
    on_gpu = machine.gpu() is not None
    parser.add_argument("--backends", nargs="+", default=common.installed()[:1], choices=common.BACKENDS)
    parser.add_argument("--recipes", nargs="+", default=list(settings.RECIPES), choices=settings.RECIPES)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--filters", type=int, default=32 if on_gpu else 8, help="few: the harder test")
    parser.add_argument("--patients", type=int, default=75 if on_gpu else 12)
    parser.add_argument("--rounds", type=int, default=6)
    given, began = parser.parse_args(), time.time()
    if given.part:
        serve(given.part)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        phantoms.prepare(Path(folder), given.patients, given.size, ("patient",))
        for backend in given.backends:
            for recipe in given.recipes:
                part = {"recipe": recipe, "filters": given.filters, "rounds": given.rounds, "folder": folder}
                rows.append({"backend": backend, "recipe": recipe, **common.once(__file__, part, backend)})
    common.write(given, began, {"rows": rows}, [figure for row in rows for figure in figures(row)])


def figures(row: dict) -> list[dict]:
    what = f"recipe {row['recipe']}, {row['backend']}"
    target = TARGETS["cpu" if row["device"] == "CPU" else "gpu"]
    ratio = row["epoch_ratio"]
    found = [common.row(f"epoch against one batch in memory, {what}", ratio, "", f"<= {target}", ratio <= target)]
    return found + [
        common.row(f"batches alone, {what}, {name}", rate, "images/s") for name, rate in row["images_per_s"].items()
    ]


def serve(part: dict) -> None:
    """In its own process: one recipe in one backend."""
    with script.starting_backend():
        import models
        from benchmarks import nets
        from ich.train import device, jobs, runner, training
    config = settings.Main(data=Path(part["folder"]) / "data", recipe=part["recipe"], models={"dunet": part["filters"]})
    split = read_split(config, "holdout")
    (job,) = jobs.trainings(config, split, ["valid"], models.find)
    model = runner.compiled(job, split, models.build).model
    make = functools.partial(training.training_batches, job, split.training("valid"), 0)
    best = nets.epochs_and_same_batch(model, make, EPOCHS, part["rounds"])
    common.serve({
        "device": device.gpu_name() or "CPU", "steps": job.steps, "batch": job.recipe.batch_size, "epochs_each": EPOCHS,
        **best, "epoch_ratio": best["epochs"] / best["same_batch"],
        "images_per_s": delivered(job, split, part["rounds"]),
    })  # fmt: skip


def delivered(job: "Job", split: "Split", rounds: int) -> dict[str, float]:
    """Images a second by number of workers."""
    from benchmarks import nets
    from ich.train.batches import TrainingBatches

    works, recipe, epochs = {}, job.recipe, math.ceil(DELIVERED / job.steps)
    fresh = recipe.negatives == "each_epoch"

    def read(train: object, workers: int) -> None:
        batches = TrainingBatches(train, recipe, recipe.batch_size, job.steps, job.config.seed, fresh, 0, workers)
        with nets.closing(batches):
            for epoch in range(epochs):
                batches.begin(epoch)
                for index in range(len(batches)):
                    batches[index]

    train = split.training("valid")
    for workers in WORKERS:
        works[f"{workers} workers"] = functools.partial(read, train, workers)
    images = epochs * job.steps * recipe.batch_size
    return {name: images / least for name, least in nets.in_turns(works, rounds).items()}


if __name__ == "__main__":
    main()
