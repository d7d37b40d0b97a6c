"""How long the whole experiment takes on this device, from epochs of the project's own training.

    python benchmarks/experiment.py           (writes benchmarks/results/experiment.json)

An epoch with its callbacks, validation and checkpoints, at the size of the real data and with the project's own choice
of precision and XLA: the difference of two trainings, one longer than the other, on one compiled network. `overhead_ms`
is what an epoch takes beyond its steps on a batch in memory. Projected from both, with D-Unet for both networks: the
published experiment (2 networks x 10 folds x 1000 epochs of 515 slices, 10.3 million image passes), and recipe `fast`.
Without a GPU, or with --small, everything is small: it shows that the script runs, and its minutes mean nothing.
"""

import functools
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import config as settings
from benchmarks import common, machine, phantoms
from ich.data.split import read_split

NETWORKS, FOLDS, SLICES = 2, 10, 515  # of the published experiment; slices an epoch
MINUTES_TARGET = {"paper": 90, "fast": 10}  # on one GPU
PROTOCOL = {"paper": "slice", "fast": "patient"}  # what each recipe is meant for
FULL = {"size": 256, "filters": 32, "batch_size": None, "patients": 75, "epochs": (5, 25)}
SMALL = {"size": 32, "filters": 2, "batch_size": 4, "patients": 8, "epochs": (2, 4)}


def main() -> None:
    flags = common.arguments(__doc__, backends=common.installed(), small=machine.gpu() is None)
    scale, rows = SMALL if flags.small else FULL, []
    with tempfile.TemporaryDirectory() as folder:
        phantoms.prepare(Path(folder), scale["patients"], scale["size"], tuple(PROTOCOL.values()))
        for backend in flags.backends:
            for recipe, protocol in PROTOCOL.items():
                part = {**scale, "folder": folder, "backend": backend, "recipe": recipe, "protocol": protocol}
                rows.append(projected({**part, **common.once(measure, part, backend)}))
    common.write(flags, {"rows": rows}, [figure for row in rows for figure in figures(row, flags.small)])


def projected(row: dict) -> dict:
    """Add the minutes of all networks and folds, from steps of this batch size and the overhead of an epoch."""
    overhead = row["epoch_s"] - row["steps"] * row["step_s"]
    number = NETWORKS * FOLDS * settings.RECIPES[row["recipe"]].epochs
    epoch = math.ceil(SLICES / row["batch"]) * row["step_s"] + max(0.0, overhead)
    return {**row, "overhead_ms": 1000 * overhead, "all_epochs": number, "all_minutes": number * epoch / 60}


def figures(row: dict, small: bool) -> list[dict]:
    what = f"recipe {row['recipe']}, {row['backend']}"
    projected_what = f"{NETWORKS} networks x {FOLDS} folds, projected, {what}"
    target = "" if small else f"<= {MINUTES_TARGET[row['recipe']]}"
    return [
        common.row(f"an epoch beyond its steps, {what}", row["overhead_ms"], "ms"),
        common.row(projected_what, row["all_minutes"], "min", target),
    ]


def measure(part: dict) -> dict:
    """In its own process: both trainings, and steps on a batch in memory."""
    import models
    from benchmarks import nets
    from ich.train import jobs, runner, training

    config = configured(part)
    split = read_split(config, "holdout")
    (job,) = jobs.trainings(config, split, ["valid"], models.find)
    network, parts = runner.compiled(job, split, models.build), (split.training("valid"), split.validation("valid"))

    def train(epochs: int) -> None:
        longer = replace(config, epochs=epochs, runs=config.runs / str(epochs))
        (its_job,) = jobs.trainings(longer, split, ["valid"], models.find)
        jobs.begin(its_job)
        training.run(its_job, network, *parts, split.whole_scans)

    short, long = part["epochs"]
    lengths = (1, short, long)  # the first one compiles
    taken = {epochs: common.seconds(functools.partial(train, epochs)) for epochs in lengths}
    with nets.closing(training.training_batches(job, parts[0], 0)) as batches:
        same = nets.SameBatch(*batches[0], job.steps)
    step = min(common.seconds(functools.partial(nets.fit, network.model, same)) for _ in range(3)) / job.steps
    return {
        "device": nets.device_name(), "valid_slices": len(parts[1].images), "steps": job.steps,
        "batch": job.recipe.batch_size, "step_s": step, "epoch_s": (taken[long] - taken[short]) / (long - short),
    }  # fmt: skip


def configured(part: dict) -> settings.Main:
    root = Path(part["folder"])
    return settings.Main(
        data=root / "data", runs=root / "runs" / part["backend"] / part["recipe"], recipe=part["recipe"],
        protocol=part["protocol"], models={"dunet": part["filters"]}, batch_size=part["batch_size"], quiet=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
