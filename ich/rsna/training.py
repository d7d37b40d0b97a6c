"""One network on each variant in turn; stopped and started again, it goes on from its last checkpoint."""

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ich.base import paths
from ich.base.files import read_csv, write_csv
from ich.data import origin
from ich.draw.plots import label_all
from ich.rsna import plots, scores
from ich.rsna.batches import Batches, Change
from ich.rsna.classifier import Classifier
from ich.rsna.job import Job, make
from ich.rsna.layouts import LABELS, names_of
from ich.rsna.split import PREDICT, lacking
from ich.train import device, display, jobs, loop

if TYPE_CHECKING:
    import config as settings

WORTH_MEASURING_PX = 1e10  # pixels seen in all trainings; fewer take a CPU minutes
FASTER = "a smaller --network and --image-size take less, and so does a GPU"
FASTER_THAN_PUBLISHED = "--network EfficientNetB0 --image-size 224 needs about a hundredth of it; so does a GPU"
PUBLISHED = ("EfficientNetB7", 600)


def run_all(config: "settings.RsnaTrain", variants: Sequence[str], table: pd.DataFrame) -> None:
    """Run the trainings that are not finished, all with one compiled network; all variants of a seed come together."""
    device.choose_kernels(config.deterministic)
    todo = unfinished(config, variants, table)
    if not todo:
        return
    with device.all_devices(config.batch_size):
        classifier = Classifier(config, len(todo[0].batches("train")))
        _tell_duration(todo, classifier)
        with shown(todo):
            for job in todo:
                _run(job, classifier)


def shown(todo: Sequence[Job]) -> contextlib.AbstractContextManager[None]:
    """Show what these trainings do within it, wherever they run."""
    expected = [display.Expected(job.name, job.files, job.config.epochs) for job in todo]
    return display.shown(expected, any(job.config.quiet for job in todo))


def run_apart(config: "settings.RsnaTrain", which: Sequence[tuple[str, int]], table: pd.DataFrame) -> None:
    """Run trainings (variant, repeat), all with one compiled network, while others run elsewhere."""
    device.choose_kernels(config.deterministic)
    some = [make(config, variant, repeat, table) for variant, repeat in which]
    with device.all_devices(config.batch_size):
        classifier = Classifier(config, len(some[0].batches("train")))
        for job in some:
            _run(job, classifier)


def unfinished(config: "settings.RsnaTrain", variants: Sequence[str], table: pd.DataFrame) -> list[Job]:
    """Those still to be run; the others are named. Raises InputError: all refusals before the first hour of work."""
    repeats = range(1, config.repeats + 1)
    return jobs.unfinished([make(config, variant, repeat, table) for repeat in repeats for variant in variants])


def summary_line(job: Job) -> str:
    """The epoch whose weights a finished training has kept."""
    history = read_csv(job.files.history, ("epoch", "val_loss"), "rsna_train.py")
    best = history.loc[history["val_loss"].idxmin()]
    return f"epoch {best['epoch']:.0f} has the lowest validation loss, {best['val_loss']:.3f} -> {job.files.folder}"


def _run(job: Job, classifier: Classifier) -> None:
    """Train, unless another process is training it (InputError) or has finished it in the meantime."""
    loop.run_alone(job, job.config.batch_size, lambda: _train(job, classifier))
    display.log_end(job, summary_line(job))


def _train(job: Job, classifier: Classifier) -> None:
    """Train; then predict test and unlabelled slices with the weights of the lowest validation loss."""
    started, config = time.time(), job.config
    classifier.reset(job.seed)
    change = Change(config.rotation_deg, config.shift_px / config.image_size, upside_down=config.mirror == "both")
    with contextlib.closing(job.batches("train", change)) as batches, contextlib.closing(job.batches("valid")) as valid:
        history = loop.fit(loop.Plan(
            job, classifier, batches, config.epochs, validate=lambda epoch: validate(classifier, valid, config.task),
            rank=lambda row: -row["val_loss"], shown=("loss", "accuracy"), rate_flag="--learning-rates",
            rate_of="first step",  # they are constant within an epoch, and the next one's follows its last step
        ))  # fmt: skip
    classifier.bare.load_weights(job.files.best)
    table = pd.concat([_predictions(job, classifier, part) for part in ("test", PREDICT)])
    write_csv(job.files.predictions, table)
    source = origin.read(paths.Rsna(config.data).folder)
    label_all(origin.banner(source))
    plots.loss_accuracy(job.files.curves, pd.DataFrame(history), job.name)
    slices = job.table["split"].value_counts().to_dict()
    loop.finish(job, classifier, history, started, seed_used=job.seed, slices=slices, origin=source,
                lacking=lacking(job.table, config.task))  # fmt: skip


def validate(classifier: Classifier, valid: Batches, task: str) -> dict[str, float]:
    """Exact over all slices: the batches are filled up, so Keras's own would count some twice."""
    prob, truth = classifier.predict(valid), valid.targets
    found = scores.Predicted(truth, prob, np.arange(valid.n), task == "multilabel")
    value = {name: float(values[0]) for name, values in scores.measures(found, scores.once(valid.n)).items()}
    return {"val_loss": value["log_loss"], "val_accuracy": value["accuracy"], "val_auroc": value["auroc"]}


def _predictions(job: Job, classifier: Classifier, part: str) -> pd.DataFrame:
    """Truth and probabilities `prob_<name>` of the slices of a part."""
    rows = job.table[job.table["split"] == part]
    names = names_of(job.config.task)
    if rows.empty:
        return pd.DataFrame()
    with contextlib.closing(job.batches(part)) as batches:
        prob = classifier.predict(batches)
    table = rows[["id", "patient", "split", "class", *LABELS]].reset_index(drop=True)
    if job.data.series.exists():  # for scores of whole scans
        table["series"] = table["id"].map(read_csv(job.data.series, ("id", "series"), "").set_index("id")["series"])
    return table.assign(**{f"prob_{name}": prob[:, k] for k, name in enumerate(names)})


def _tell_duration(todo: list[Job], classifier: Classifier) -> None:
    """Print how long the trainings will take on this device, if that may be long."""
    config, job = todo[0].config, todo[0]
    n_train, n_valid = (len(job.batches(part)) for part in ("train", "valid"))

    def measure() -> float:
        with contextlib.closing(job.batches("train")) as batches:
            step = loop.seconds_per_step(classifier.model, batches)
        return len(todo) * config.epochs * step * (n_train + n_valid / 3)  # a training step is about 3 passes

    if config.epochs * len(todo) * n_train * config.batch_size * config.image_size**2 >= WORTH_MEASURING_PX:
        is_published = (config.network, config.image_size) == PUBLISHED
        loop.tell_duration(len(todo), measure, FASTER_THAN_PUBLISHED if is_published else FASTER)
