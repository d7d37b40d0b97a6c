"""From a split on disk to trainings: shared by main.py and main_kfold.py."""

import functools
from collections.abc import Callable

import keras

from ich import paths, runs, training
from ich.errors import InputError
from ich.network import Network
from ich.stack import Split

# Images a second of dunet n=32 at 256 px on two CPU cores; only decides whether an estimate is worth measuring.
SLOW_CPU_RATE = 3
WORTH_MEASURING_S = 600
LONG_S = 12 * 3600


def job(config: object, split: Split, name: str, n_filters: int, part: str) -> training.Job:
    """The training of network `name` that is validated on `part` (`valid`, or the number of a fold)."""
    recipe = config.resolved_recipe()
    place = "holdout" if part == "valid" else paths.fold_name(int(part))
    return training.Job(
        paths.Training(config.runs / config.protocol / (config.run or name) / place),
        recipe,
        split.steps(recipe.batch_size),
        training.identity(config, recipe, name, n_filters, part, split.prints),
        config,
        split.audit,
    )


def run_all(jobs: list[training.Job], split: Split, build: Callable[..., keras.Model]) -> None:
    """Run the trainings that are not finished, one after another; print first how long it will take."""
    for each in jobs:
        training.begin(each)  # all refusals before the first hour of work
    todo = [each for each in jobs if not each.files.finished]
    for each in jobs:
        if each not in todo:
            print(f"{each.name}: finished before")
    networks = {key: [each for each in todo if network_key(each) == key] for key in map(network_key, todo)}
    if sum(_guess_seconds(each, split) for each in todo) > WORTH_MEASURING_S:
        tell_duration(networks, split, build)
    for same in networks.values():
        network = compiled(same[0], split, build)
        for each in same:
            part = each.identity["part"]
            training.run(each, network, split.training(part), split.validation(part), split.whole_scans)
            print(f"{each.name}: {summary_line(each)}")


def network_key(job: training.Job) -> tuple[str, int]:
    """Trainings of one key share a compiled network."""
    return job.identity["model"], job.identity["n_filters"]


def compiled(job: training.Job, split: Split, build: Callable[..., keras.Model]) -> Network:
    """The network of a training; what an earlier one left in the session is dropped."""
    keras.backend.clear_session()
    name, n_filters = network_key(job)
    make = functools.partial(build, name, split.prints["image_size"], split.prints["channels"], n_filters)
    return Network(make, job.config, job.recipe, job.steps)


def tell_duration(
    networks: dict[tuple[str, int], list[training.Job]], split: Split, build: Callable[..., keras.Model]
) -> None:
    """Print the estimated time of the trainings on this device, measured on one fold of each network."""
    number = sum(map(len, networks.values()))
    print(f"{number} trainings on {training.device.gpu_name() or 'the CPU'}; measuring their speed ...", flush=True)
    total = 0.0
    for same in networks.values():
        part = same[0].identity["part"]
        network = compiled(same[0], split, build)
        total += len(same) * training.estimate_seconds(
            same[0], network, split.training(part), split.validation(part)
        )  # folds of one network differ little
    print(f"estimated time: {training.duration(total)}")
    if total > LONG_S:
        print(
            "that is long: `--models unet=16 dunet=16` needs about a third of it, PNGs of half the side "
            "(split_raw_data.py --image-size 128, then create_data_set.py) a quarter; a GPU a hundredth"
        )


def _guess_seconds(job: training.Job, split: Split) -> float:
    table = split.slices.table
    slices = (table["in_training"] & (table["part"] != job.identity["part"])).sum()
    work = (split.prints["image_size"] / 256) ** 2 * (job.identity["n_filters"] / 32) ** 1.5
    return job.recipe.epochs * slices * work / SLOW_CPU_RATE


def summary_line(job: training.Job) -> str:
    """The scores of a finished training in one line."""
    whole = job.files.patients.exists()
    path, unit = (job.files.patients, "patient") if whole else (job.files.slices, "slice")
    table = runs.read_csv(path, ("dice", "tp", "fn"), "main_kfold.py")
    dice = table.loc[table["tp"] + table["fn"] > 0, "dice"]
    return f"validation Dice per {unit} with blood {dice.mean():.3f} (n = {len(dice)}) -> {job.files.folder}"


def check_folds(split: Split, fold: int) -> list[str]:
    """The numbers of the folds to run. Raises InputError for a fold that the split does not have."""
    found = sorted(split.slices.table["part"].unique(), key=int)
    if fold and str(fold) not in found:
        raise InputError(f"--fold {fold}: the split has folds {found[0]} to {found[-1]}; make another by --folds")
    return [str(fold)] if fold else found


def unique_run(config: object, networks: dict[str, int]) -> None:
    """Raise InputError when one `--run` name would have to hold two networks."""
    if config.run and len(networks) > 1:
        raise InputError(f"--run {config.run}: is one run, but {len(networks)} models are to be trained; add --model")
