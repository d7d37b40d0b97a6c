"""The name of every file that one step writes and another reads."""

import re
from pathlib import Path

SLICES = "slices.csv"
RUN = "run.json"
PAGE = "report.html"
PHANTOM_MARKER = "phantom.json"  # in a folder of phantoms
LONGEST_NAME = 200  # bytes; file systems allow 255
PART_COLUMN = {"holdout": "split", "kfold": "fold"}  # file stem -> the column that says which part a slice is in
ROOT = Path(__file__).parents[2]


def split_csv(data: Path, protocol: str, kind: str) -> Path:
    """`data/<protocol>/holdout.csv` or `kfold.csv`."""
    return data / protocol / f"{kind}.csv"


def is_file_name(text: str) -> bool:
    """Whether results may be named after `text`: no path, not hidden, printable, and short enough to be added to."""
    if not text or not text.isprintable() or len(text.encode()) > LONGEST_NAME:
        return False
    return Path(text).name == text and not text.startswith(".")


def fold_name(fold: int) -> str:
    """Folder of one fold inside a run: `fold_01`."""
    return f"fold_{fold:02d}"


def numbered(folder: Path, word: str, first: int = 1) -> dict[int, Path]:
    """The folders `<word>_01`, `<word>_02`, ... in `folder`, by number, from `first` on.

    Only exact names: `fold_01 copy` or `fold_1` were copied or renamed by hand, and may hold anything.
    """
    names = [re.fullmatch(rf"{word}_(0[1-9]|[1-9][0-9]+)", path.name) for path in folder.glob(f"{word}_*")]
    numbers = sorted(int(name[1]) for name in names if name)
    return {number: folder / f"{word}_{number:02d}" for number in numbers if number >= first}


def misnamed(folder: Path, word: str, first: int = 1) -> list[Path]:
    """Folders of finished trainings in `folder` that begin as `numbered` ones do, but are none of them."""
    known = numbered(folder, word, first).values()
    return [path for path in sorted(folder.glob(f"{word}_*")) if path not in known and Training(path).finished]


FIRST_REPEAT = 2  # of a folder of its own; the first training lies beside it, in the folder around it


def repeat_folder(folder: Path, repeat: int) -> Path:
    """Where a training is kept that repeats another with the next seed: `fold_01`, `fold_01/repeat_02`, ..."""
    return folder if repeat < FIRST_REPEAT else folder / f"repeat_{repeat:02d}"


class Training:
    """The files of one training, in `runs/<protocol>/<run>/holdout`, `.../fold_01` or `.../fold_01/repeat_02`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        number = re.fullmatch(r"repeat_(\d+)", folder.name)
        self.repeat = int(number[1]) if number else 1
        self.fold = folder.parent.name if number else folder.name  # `fold_01` or `holdout`
        self.config = folder / "config.json"
        self.run = folder / RUN
        self.history = folder / "history.csv"
        self.log = folder / "train.log"
        self.checkpoint = folder / "checkpoint"
        self.last = folder / "last.keras"
        self.best = folder / "best.keras"
        self.slices = folder / "valid_slices.csv"
        self.patients = folder / "valid_patients.csv"
        self.thresholds = folder / "valid_thresholds.csv"
        self.operating = folder / "valid_operating.csv"
        self.calibration = folder / "valid_calibration.csv"

    @property
    def label(self) -> str:
        """`fold_01`, or `fold_01/repeat_02`."""
        return self.fold if self.repeat < FIRST_REPEAT else f"{self.fold}/{self.folder.name}"

    @property
    def results(self) -> list[Path]:
        """What later steps read."""
        tables = [self.history, self.slices, self.patients, self.thresholds, self.operating, self.calibration]
        return [*tables, self.last, self.best]

    def kept(self, epoch: int) -> Path:
        """Weights kept at an epoch of the paper's recipe: `checkpoint_0100.keras`."""
        return self.folder / f"checkpoint_{epoch:04d}.keras"

    def waiting(self, epoch: int) -> Path:
        """The best weights so far, until a checkpoint knows of their epoch: `best_0007.keras`."""
        return self.folder / f"best_{epoch:04d}.keras"

    @property
    def finished(self) -> bool:
        """run.json is written last, so a training that has it is whole."""
        return self.run.exists()


SHIPPED, SHIPPED_RUN = ROOT / "weights", "phantoms"  # laid out as a folder of runs


def shipped() -> Training:
    """The files of the network that comes with the project."""
    return Training(SHIPPED / "patient" / SHIPPED_RUN / fold_name(1))


def starting_weights(given: Path) -> Path:
    """The file that --init-weights names: a path, or `phantoms` for the shipped network."""
    return shipped().last if given == Path(SHIPPED_RUN) and not given.is_file() else given


def fold_trainings(runs: Path, protocol: str) -> dict[str, list[Training]]:
    """Finished fold trainings by run name, in order of fold, each with its repeats."""
    found = {run.name: of_folds(run) for run in sorted((runs / protocol).glob("[!.]*"))}
    finished = {name: [training for training in trainings if training.finished] for name, trainings in found.items()}
    return {name: trainings for name, trainings in finished.items() if trainings}


def of_folds(run: Path) -> list[Training]:
    """All trainings of folds in a run's folder, begun or finished, in order of fold, each with its repeats."""
    folds = numbered(run, "fold").values()
    return [Training(folder) for fold in folds for folder in (fold, *numbered(fold, "repeat", FIRST_REPEAT).values())]


class Rsna:
    """The files of rsna_preprocess.py, in `data/rsna`."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "rsna"
        self.slices = self.folder / SLICES
        self.series = self.folder / "series.csv"
        self.rejected = self.folder / "rejected.csv"
        self.preview = self.folder / "preview.png"
        self.journal = self.folder / "journal.jsonl"
        self.run = self.folder / RUN

    def png(self, variant: str, name: str) -> Path:
        """A slice under a variant."""
        return self.folder / variant / f"{name}.png"


class Classification(Training):
    """The files of one training of rsna_train.py, in `runs/rsna/<variant>`, repeats in `.../repeat_02`."""

    def __init__(self, runs: Path, task: str, variant: str, repeat: int = 1) -> None:
        self.variant = variant
        whole = rsna_folder(runs, task) / variant
        super().__init__(repeat_folder(whole, repeat))
        self.predictions = self.folder / "predictions.csv"
        self.curves = self.folder / "loss_accuracy.png"

    @property
    def results(self) -> list[Path]:
        """What later steps read."""
        return [self.history, self.best, self.predictions]


def rsna_folder(root: Path, task: str) -> Path:
    """`runs/rsna` or `reports/rsna`; of the multilabel task `.../rsna_multilabel`."""
    return root / ("rsna" if task == "multiclass" else f"rsna_{task}")
