"""One network on each variant in turn; stopped and started again, it goes on from its last checkpoint."""

import contextlib
import time
from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd

from ich.base import lock, record
from ich.base.files import atomic, read_csv, write_csv, write_json
from ich.base.progress import duration
from ich.rsna import plots, scores
from ich.rsna.batches import Batches, Change
from ich.rsna.classifier import Classifier
from ich.rsna.job import Job, begin, make, refuse_other_configuration
from ich.rsna.layouts import LABELS, names_of
from ich.rsna.split import PREDICT
from ich.train import checkpoint, device
from ich.train.jobs import tell_finished
from ich.train.training import refuse_no_number

WORTH_MEASURING_PX = 1e10  # pixels seen in all trainings; fewer take a CPU minutes
LONG_S = 12 * 3600


def run_all(config: object, variants: Sequence[str], table: pd.DataFrame) -> None:
    """Run the trainings that are not finished, all with one compiled network; all variants of a seed come together."""
    device.choose_kernels(config.deterministic)
    todo = unfinished(config, variants, table)
    if not todo:
        return
    with device.all_devices(config.batch_size):
        classifier = Classifier(config, len(todo[0].batches("train")))
        _tell_duration(todo, classifier)
        for job in todo:
            _run(job, classifier)
            print(f"{job.name}: {summary_line(job)}")


def run_one(config: object, variant: str, repeat: int, table: pd.DataFrame) -> str:
    """Run one training while others run elsewhere; return what came of it in one line."""
    device.choose_kernels(config.deterministic)
    job = make(config, variant, repeat, table)
    with device.all_devices(config.batch_size):
        _run(job, Classifier(config, len(job.batches("train"))))
    return summary_line(job)


def unfinished(config: object, variants: Sequence[str], table: pd.DataFrame) -> list[Job]:
    """Those still to be run; the others are named. Raises InputError: all refusals before the first hour of work."""
    jobs = [make(config, variant, repeat, table) for repeat in range(1, config.repeats + 1) for variant in variants]
    for job in jobs:
        begin(job)
    todo = [job for job in jobs if not job.files.finished]
    for job in jobs:
        if job not in todo:
            tell_finished(job.name, job.files)
    return todo


def summary_line(job: Job) -> str:
    """The epoch whose weights a finished training has kept."""
    history = read_csv(job.files.history, ("epoch", "val_loss"), "rsna_train.py")
    best = history.loc[history["val_loss"].idxmin()]
    return f"epoch {best['epoch']:.0f} has the lowest validation loss, {best['val_loss']:.3f} -> {job.files.folder}"


def _run(job: Job, classifier: Classifier) -> None:
    """Train, unless another process is at it (InputError) or has finished it since this one looked."""
    with lock.writing(job.files.folder), device.memory_for(job.name, job.config.batch_size):
        refuse_other_configuration(job)
        if not job.files.finished:
            _train(job, classifier)


def _train(job: Job, classifier: Classifier) -> None:
    """Train; then predict test and unlabelled slices with the weights of the lowest validation loss."""
    started, how = time.time(), job.config
    classifier.reset(job.seed)
    epoch, history = checkpoint.restore(job.files.checkpoint, classifier.model)
    if epoch:
        print(f"{job.name}: resuming after epoch {epoch}")
    change = Change(how.rotation_deg, how.shift_px / how.image_size)
    with contextlib.closing(job.batches("train", change)) as batches, contextlib.closing(job.batches("valid")) as valid:
        batches.begin(epoch)
        keeper = Keeper(job, classifier, batches, valid, history)
        checkpoint.settle_best(job.files, keeper.best["epoch"])
        classifier.model.fit(
            device.feed(batches), epochs=how.epochs, initial_epoch=epoch, verbose=0, callbacks=[keeper],
            shuffle=False,  # the batches are shuffled, in a way a restart repeats
        )  # fmt: skip
    classifier.bare.load_weights(job.files.best)
    table = pd.concat([_predictions(job, classifier, part) for part in ("test", PREDICT)])
    write_csv(job.files.predictions, table)
    plots.loss_accuracy(job.files.curves, pd.DataFrame(keeper.history), job.name)
    facts = {
        "identity": job.identity, "results": record.fingerprints(job.files.results),
        "device": device.gpu_name() or "CPU", "backend": keras.backend.backend(),
        "parameters": classifier.bare.count_params(), "seed_used": job.seed,
        "slices": job.table["split"].value_counts().to_dict(),
        "training_seconds": round(sum(row["seconds"] for row in keeper.history), 1),
    }  # fmt: skip
    write_json(job.files.run, record.manifest(how, started, **facts))
    job.files.checkpoint.unlink(missing_ok=True)


def _predictions(job: Job, classifier: Classifier, part: str) -> pd.DataFrame:
    """Truth and probabilities `prob_<name>` of the slices of a part."""
    rows = job.table[job.table["split"] == part]
    names = names_of(job.config.task)
    if rows.empty:
        return pd.DataFrame()
    with contextlib.closing(job.batches(part)) as batches:
        prob = classifier.predict(batches)
    table = rows[["id", "patient", "split", "class", *LABELS]].reset_index(drop=True)
    return table.assign(**{f"prob_{name}": prob[:, k] for k, name in enumerate(names)})


def _tell_duration(todo: list[Job], classifier: Classifier) -> None:
    """Print how long the trainings will take on this device, if that may be long."""
    how, job = todo[0].config, todo[0]
    n_train, n_valid = (len(job.batches(part)) for part in ("train", "valid"))
    seen = how.epochs * len(todo) * n_train * how.batch_size * how.image_size**2
    if seen < WORTH_MEASURING_PX:
        return
    print(f"{len(todo)} trainings on {device.gpu_name() or 'the CPU'}; measuring their speed ...", flush=True)
    with contextlib.closing(job.batches("train")) as batches:
        images, targets = batches[0]
    classifier.model.train_on_batch(images, targets)  # compiles
    began = time.perf_counter()
    for _ in range(2):
        classifier.model.train_on_batch(images, targets)
    step = (time.perf_counter() - began) / 2
    seconds = len(todo) * how.epochs * step * (n_train + n_valid / 3)  # a training step is about 3 passes
    print(f"estimated time: {duration(seconds)}", flush=True)
    if seconds > LONG_S:
        print("that is long: --network EfficientNetB0 --image-size 224 needs about a hundredth of it; so does a GPU")


class Keeper(keras.callbacks.Callback):
    """Before each epoch: its batches. After it: history, a printed line, the best weights, and a checkpoint."""

    def __init__(self, job: Job, classifier: Classifier, batches: Batches, valid: Batches, history: list[dict]) -> None:
        super().__init__()
        self.job, self.classifier, self.batches, self.valid, self.history = job, classifier, batches, valid, history
        self.saved = time.monotonic()

    @property
    def best(self) -> dict:
        """The first epoch of those with the lowest validation loss."""
        return min(self.history, key=lambda row: row["val_loss"], default={"epoch": 0})

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.began = time.monotonic()
        self.learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.batches.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep what the epoch gave. Raises InputError when a loss is no number any more."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}, **self._validated()}
        refuse_no_number(self.job.name, row, "--learning-rates")
        row |= {"learning_rate": self.learning_rate, "seconds": round(time.monotonic() - self.began, 2)}
        self.history.append(row)
        if self.best is row:
            with atomic(self.job.files.waiting(row["epoch"])) as temporary:
                self.classifier.exact.save(temporary)
        last = row["epoch"] == self.job.config.epochs
        if last or time.monotonic() - self.saved >= self.job.config.checkpoint_seconds:
            self._checkpoint()
        if not self.job.config.quiet:
            shown = "  ".join(f"{name} {row[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
            left = row["seconds"] * (self.job.config.epochs - row["epoch"])
            told = f"{self.job.name} epoch {row['epoch']}/{self.job.config.epochs}  {shown}"
            print(f"{told}  lr {row['learning_rate']:.1e}  {row['seconds']:.1f} s, {duration(left)} left", flush=True)

    def _validated(self) -> dict[str, float]:
        """Exact over all slices: the batches are filled up, so Keras's own would count some twice."""
        prob, truth = self.classifier.predict(self.valid), self.valid.targets
        found = scores.Predicted(truth, prob, np.arange(self.valid.n), self.job.config.task == "multilabel")
        value = {name: float(values[0]) for name, values in scores.measures(found, np.ones((1, self.valid.n))).items()}
        return {"val_loss": value["log_loss"], "val_accuracy": value["accuracy"], "val_auroc": value["auroc"]}

    def _checkpoint(self) -> None:
        write_csv(self.job.files.history, pd.DataFrame(self.history))
        checkpoint.save(self.job.files.checkpoint, self.model, len(self.history), self.history)
        checkpoint.settle_best(self.job.files, self.best["epoch"])
        self.saved = time.monotonic()
