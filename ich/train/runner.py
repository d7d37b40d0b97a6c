"""Trainings one after another, each network compiled once; how long they will take."""

import contextlib
from collections.abc import Callable

import keras

from ich.data.split import Split
from ich.train import device, display, jobs, loop, network_check, prediction, training
from ich.train.jobs import Job
from ich.train.network import Network

# Images a second of dunet n=32 at 256 px on two CPU cores; only decides whether an estimate is worth measuring.
SLOW_CPU_RATE = 3
WORTH_MEASURING_S = 600
FASTER = (
    "`--recipe laptop` (16 filters, patches) is meant for a night on two cores, with five folds (create_data_set.py "
    "--folds 5); `--models unet=16 dunet=16` alone needs about a third of the time, a GPU a hundredth"
)

FEWER = "fewer --epochs or folds take less, and a GPU needs about a hundredth"


def run_all(trainings: list[Job], split: Split, build: Callable[..., keras.Model]) -> None:
    """Run the trainings that are not finished, one after another; print first how long it will take."""
    device.choose_kernels(trainings[0].config.deterministic)
    todo = jobs.unfinished(trainings)
    networks = by_network(todo)
    for same in networks.values():  # before the first trains for hours
        _check(same[0], split, build)
    if sum(_guess_seconds(each, split) for each in todo) > WORTH_MEASURING_S:
        faster = FEWER if todo[0].config.recipe == "laptop" else FASTER
        loop.tell_duration(len(todo), lambda: _estimate_seconds(networks, split, build), faster)
    with shown(todo, split):
        for same in networks.values():
            keras.backend.clear_session()  # what Keras kept of an earlier network; never within all_devices
            _run_network(same, split, build)


def run_apart(same: list[Job], split: Split, build: Callable[..., keras.Model]) -> None:
    """Run trainings of one network while others run elsewhere."""
    device.choose_kernels(same[0].config.deterministic)
    _check(same[0], split, build)
    _run_network(same, split, build)


def by_network(todo: list[Job]) -> dict[str, list[Job]]:
    """Trainings that share a compiled network, by its name and filters: `unet=32`."""
    names = ["=".join(map(str, network_key(each))) for each in todo]
    return {name: [each for each, own in zip(todo, names, strict=True) if own == name] for name in names}


def shown(trainings: list[Job], split: Split) -> contextlib.AbstractContextManager[None]:
    """Show what these trainings do within it, wherever they run."""
    expected = [
        display.Expected(each.name, each.files, epochs := each.recipe.epochs, _guess_seconds(each, split) / epochs)
        for each in trainings
    ]
    return display.shown(expected, any(each.config.quiet for each in trainings))


def _run_network(same: list[Job], split: Split, build: Callable[..., keras.Model]) -> None:
    with device.all_devices(same[0].recipe.batch_size):
        network = compiled(same[0], split, build)
        for each in same:
            _run(each, network, split)


def _run(job: Job, network: Network, split: Split) -> None:
    part = job.identity["part"]
    training.run(job, network, split.training(part), split.validation(part), split.whole_scans)
    display.log_end(job, jobs.summary_line(job))


def network_key(job: Job) -> tuple[str, int]:
    """Trainings of one key share a compiled network."""
    return job.identity["model"], job.identity["n_filters"]


def compiled(job: Job, split: Split, build: Callable[..., keras.Model]) -> Network:
    """The network of a training."""
    return Network(_maker(job, split, build), split.prints["image_size"], job.config, job.recipe, job.steps)


def _maker(job: Job, split: Split, build: Callable[..., keras.Model]) -> Callable[[int], keras.Model]:
    """Makes the network of a training for slices of so many pixels a side."""
    name, n_filters = network_key(job)
    return lambda size: build(name, size, _channels(job, split), n_filters)


def _channels(job: Job, split: Split) -> int:
    """Those of a slice and of its neighbours."""
    return split.prints["channels"] * (prediction.THREE if job.recipe.neighbours else 1)


def _check(job: Job, split: Split, build: Callable[..., keras.Model]) -> None:
    size, patch, make = split.prints["image_size"], job.recipe.patch, _maker(job, split, build)
    name = network_key(job)[0]
    network_check.check(name, lambda: make(size), (size, size, _channels(job, split)), job.config.precision)
    if patch:
        network_check.check_sizes(name, make, size, patch)
    keras.backend.clear_session()  # names of layers are counted from the start again


def _estimate_seconds(networks: dict[str, list[Job]], split: Split, build: Callable[..., keras.Model]) -> float:
    """Seconds of all trainings on this device, measured on one fold of each network."""
    total = 0.0
    for same in networks.values():
        part = same[0].identity["part"]
        with device.all_devices(same[0].recipe.batch_size):
            network = compiled(same[0], split, build)
            seconds = training.estimate_seconds(same[0], network, split.training(part), split.validation(part))
        total += len(same) * seconds  # folds of one network differ little
    return total


def _guess_seconds(job: Job, split: Split) -> float:
    table = split.table
    slices = (table["in_training"] & (table["part"] != job.identity["part"])).sum()
    work = ((job.recipe.patch or split.prints["image_size"]) / 256) ** 2 * (job.identity["n_filters"] / 32) ** 1.5
    return job.recipe.epochs * slices * work / SLOW_CPU_RATE
