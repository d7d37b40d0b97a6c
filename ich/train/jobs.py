"""What there is to train: from settings and a split to jobs, known by their folder and identity. Needs no Keras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from ich.base import backend, lock, paths
from ich.base.errors import InputError
from ich.base.files import as_json, read_csv, write_json
from ich.data import identity
from ich.data.split import Split
from ich.data.table import scan_of

if TYPE_CHECKING:
    import config as settings


PATCH_STEP = 16  # the networks halve their input four times


class AnyJob(Protocol):
    """A training of either pipeline, as the loop knows it."""

    @property
    def name(self) -> str:
        """As printed."""

    @property
    def files(self) -> paths.Training:
        """Where it is kept."""

    @property
    def config(self) -> "settings.Train | settings.RsnaTrain":
        """Settings; `quiet`, `checkpoint_seconds` and `tensorboard` are read."""

    @property
    def identity(self) -> dict:
        """What makes it this training; goes into config.json."""

    @property
    def same_run(self) -> Sequence[paths.Training]:
        """The trainings, itself among them, that must have been begun with the same identity."""

    @property
    def advice(self) -> str:
        """What to do where they were not."""


Kind = TypeVar("Kind", bound=AnyJob)


@dataclass(frozen=True)
class Job:
    """What one training depends on. A run folder that was begun with another identity is refused."""

    files: paths.Training
    recipe: "settings.Recipe"
    steps: int  # an epoch; the same in every fold, so that a network is compiled once
    identity: dict  # goes into config.json
    config: "settings.Train"
    about: dict  # of the split, for run.json

    advice = "Give --run another name"

    @property
    def name(self) -> str:
        """Run and part, as printed: `dunet/fold_01`, `dunet/fold_01/repeat_02`."""
        return f"{self.run.name}/{self.files.label}"

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.files.folder.parents[0 if self.files.repeat < paths.FIRST_REPEAT else 1]

    @property
    def seed(self) -> int:
        """Of initial weights, order and augmentation: each repeat has the next one."""
        return self.config.seed + self.files.repeat - 1

    @property
    def same_run(self) -> list[paths.Training]:
        """All trainings of the run's folds, or the hold-out training alone."""
        return [self.files] if self.files.fold == "holdout" else paths.of_folds(self.run)


def job(config: "settings.Train", split: Split, name: str, n_filters: int, part: str, repeat: int = 1) -> Job:
    """The training of network `name` that is validated on `part` (`valid`, or the number of a fold)."""
    recipe = config.resolved_recipe()
    n_filters = _filters(config, recipe, n_filters)
    folder = "holdout" if part == "valid" else paths.fold_name(int(part))
    return Job(
        paths.Training(paths.repeat_folder(config.runs / config.protocol / (config.run or name) / folder, repeat)),
        recipe,
        split.steps(recipe.batch_size, recipe.negatives_per_positive),
        identity.make(config, recipe, name, n_filters, part, split.prints) | ({"repeat": repeat} if repeat > 1 else {}),
        config,
        split.about,
    )


def _filters(config: "settings.Train", recipe: "settings.Recipe", n_filters: int) -> int:
    """Of the first level: those of the recipe, if it names any, unless `--models` asks for others."""
    return n_filters if config.models != type(config)().models else recipe.n_filters or n_filters


def begin(job: AnyJob) -> None:
    """Write config.json, or refuse a run that holds another configuration, naming the differences."""
    refuse_other_configuration(job)
    if not is_begun(job.files):
        with lock.writing(job.files.folder):
            write_json(job.files.config, job.identity)


def refuse_other_configuration(job: AnyJob) -> None:
    """Raise InputError when a fold was begun with another one: the mean over folds is that of one method."""
    wanted = as_json(job.identity)
    for files in job.same_run:
        if files.config.exists() and is_begun(files):
            identity.refuse_difference(files.config, identity.read(files.config), wanted, job.advice)


def is_begun(files: paths.Training) -> bool:
    """Whether an epoch is kept, or a process is at work: until then another configuration costs nothing."""
    return any(path.exists() for path in (files.run, files.checkpoint, files.folder / lock.NAME))


def tell_finished(name: str, files: paths.Training) -> None:
    """Print that there is nothing to do; remove the checkpoint, if a kill came just before that."""
    print(f"{name}: already finished")
    if files.checkpoint.exists():
        files.checkpoint.unlink()


def trainings(
    config: "settings.Main | settings.MainKfold", split: Split, parts: list[str], find: Callable[[str], str] = str
) -> list[Job]:
    """Every network of the configuration on every part; `find` gives a network's own name (models.find).

    First comes every fold once, then every fold with the next seed.
    """
    _check_recipe(config, split)
    networks, repeats = chosen(config, find), range(1, getattr(config, "repeats", 1) + 1)
    if find is not str and config.init_weights and paths.starting_weights(config.init_weights) == paths.shipped().last:
        _check_shipped(config, networks, split.prints)
    planned = [
        job(config, split, name, filters, part, repeat)
        for name, filters in networks.items()
        for repeat in repeats
        for part in parts
    ]
    if config.init_weights:
        _refuse_start(paths.starting_weights(config.init_weights), planned)
    return planned


def _refuse_start(start: Path, planned: Sequence[Job]) -> None:
    """Raise InputError for starting weights that were trained on what a training is scored on."""
    if not (run := start.parent / paths.RUN).exists():
        return
    made = identity.read(run)
    for each in planned:
        if made.get("data_fingerprint") == each.identity["data_fingerprint"] and any(
            made.get(name) != each.identity[name] for name in ("part", "split_fingerprint")
        ):
            raise InputError(f"--init-weights {start}: was trained on patients that {each.name} is scored on, so its "
                             "scores would be too high; take weights of other data, or of the same fold")  # fmt: skip


def _check_recipe(config: "settings.Train", split: Split) -> None:
    """Raise InputError for a recipe that this split can't be trained with."""
    recipe, size, flag = config.resolved_recipe(), split.prints["image_size"], f"--recipe {config.recipe}"
    if recipe.patch > size or recipe.patch % PATCH_STEP:
        raise InputError(f"{flag}: trains on patches of {recipe.patch} pixels, the slices have {size}; expected a "
                         f"multiple of {PATCH_STEP} up to that. Cut larger slices (split_raw_data.py --image-size), or "
                         "change `patch` in config.py")  # fmt: skip
    if recipe.neighbours and not (split.whole_scans and split.about.get("patients_known", True)):
        reason = "patients are unknown" if split.whole_scans else "a split by slice puts them into other parts"
        raise InputError(f"{flag}: takes the slices above and below, but {reason}; use --recipe fast, or --protocol "
                         "patient with known patients")  # fmt: skip
    if recipe.neighbours and scan_of(split.table).is_unique:
        raise InputError(f"{flag}: takes the slices above and below, but no slice has another of its scan beside it; "
                         "name them PATIENT_SLICE.png, or use --recipe fast")  # fmt: skip
    if recipe.neighbours and (split.table.groupby("patient")["part"].nunique() > 1).any():
        raise InputError(f"{flag}: takes the slices above and below, but patients are in two parts, so they would be "
                         "seen in training; use --recipe fast, or folders with whole patients")  # fmt: skip


def _check_shipped(config: "settings.Train", networks: dict[str, int], prints: dict) -> None:
    """Raise InputError for `--init-weights phantoms` with a network or slices that the shipped weights do not fit.

    The windows of own PNGs are unknown.
    """
    made, recipe = identity.read(paths.shipped().run), config.resolved_recipe()
    windows = prints["windows"] or made["windows"] * (prints["channels"] == made["channels"])
    wanted = (made["model"], made["n_filters"], made["recipe"]["neighbours"], " ".join(made["windows"]))
    for name, filters in networks.items():
        found = (name, _filters(config, recipe, filters), recipe.neighbours, " ".join(windows) or "unknown")
        if found != wanted:
            said = "{} with {} filters, neighbours {}, windows {}"
            raise InputError(f"--init-weights phantoms: the shipped network is {said.format(*wanted)}, this one "
                             f"{said.format(*found)}; use --model {wanted[0]} --recipe laptop")  # fmt: skip


def all_finished(config: "settings.Main | settings.MainKfold", split: Split, parts: list[str]) -> bool:
    """Whether nothing is left to train; finished ones are named, those of another configuration refused."""
    if config.model and config.model not in config.models:
        return False  # the published code's name for one of them, or none at all: models.find tells
    planned = trainings(config, split, parts)
    return all(training.files.finished for training in planned) and not unfinished(planned)


def unfinished(trainings: list[Kind]) -> list[Kind]:
    """Those still to be run; the others are named. Raises InputError: all refusals before the first hour of work."""
    if any(training.config.tensorboard for training in trainings) and not backend.has("tensorboard"):
        raise InputError("--tensorboard: tensorboard is not installed; pip install tensorboard")
    for training in trainings:
        begin(training)
    _note_further_repeats(trainings)
    todo = []
    for training in trainings:
        if training.files.finished:
            tell_finished(training.name, training.files)
        else:
            todo.append(training)
    return todo


def _note_further_repeats(trainings: Sequence[AnyJob]) -> None:
    """Say that repeats are there beyond those asked for: they are kept, and count, but are not trained further."""
    most = max((training.files.repeat for training in trainings), default=1)
    same = {files.folder: files for training in trainings for files in training.same_run}
    if further := [files for files in same.values() if files.repeat > most and is_begun(files)]:
        print(
            f"note: {further[0].folder}: is beyond --repeats {most}, so it is left as it is; trials.py and tests.py "
            "use it once its repeat is finished in all folds"
        )


def chosen(config: "settings.Main | settings.MainKfold", find: Callable[[str], str] = str) -> dict[str, int]:
    """Networks to train and their filters; `find` gives a network's own name (models.find).

    Raises InputError for a model that is not in the configuration, and for one `--run` name for several networks.
    """
    networks = {find(name): filters for name, filters in config.models.items()}
    if config.model:
        name = find(config.model)
        if name not in networks:
            names = ", ".join(networks)
            raise InputError(f"--model {name}: not among the models of config.py ({names}); add it there")
        networks = {name: networks[name]}
    if config.run and len(networks) > 1:
        raise InputError(f"--run {config.run}: is one run, but {len(networks)} models are to be trained; add --model")
    return networks


def summary_line(job: Job) -> str:
    """The scores of a finished training in one line."""
    whole = job.files.patients.exists()
    path, unit = (job.files.patients, "patient") if whole else (job.files.slices, "slice")
    table = read_csv(path, ("dice", "tp", "fn"), "main_kfold.py")
    dice = table.loc[table["tp"] + table["fn"] > 0, "dice"]
    several = unit if len(dice) == 1 else f"{unit}s"
    return f"validation Dice {dice.mean():.3f} over {len(dice)} {several} with blood -> {job.files.folder}"


def check_folds(split: Split, fold: int) -> list[str]:
    """The numbers of the folds to run. Raises InputError for a fold that the split does not have."""
    folds = sorted(split.table["part"].unique(), key=int)
    if fold and str(fold) not in folds:
        raise InputError(f"--fold {fold}: the split has folds {folds[0]} to {folds[-1]}; make another by --folds")
    return [str(fold)] if fold else folds
