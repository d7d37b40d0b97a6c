"""Which networks predict and what computes them: the choice of predict.py."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ich.base import lock, paths, script
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.predict import engines, method
from ich.predict.job import Job
from ich.report import folds

if TYPE_CHECKING:
    import config as settings

CACHE = "exported"  # folder beside a run's folds
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
LONGEST_WAIT_S = 1800  # for another process's export, of ten large networks in 8-bit integers too
OF_A_RUN = ("runs", "protocol", "run", "fold", "weights", "windows")  # exported networks have theirs
OF_A_PREDICTION = (
    "scans", "out", "model", "engine", "threshold", "flip", "min_lesion_mm3", "probabilities", "view", "scan_nifti",
    "series", "orientation",
)  # fmt: skip


def check(config: "settings.Predict") -> None:
    """Raise InputError for flags (`config` is config.Predict) that would have no effect, and for damaged ones."""
    method.parsed(config.windows)
    if config.export and (given := _given(config, OF_A_PREDICTION)):
        raise InputError(f"--export: writes networks and predicts nothing; leave out {given}")
    if config.model and (given := _given(config, OF_A_RUN)):
        raise InputError(f"--model {config.model}: its networks and windows are those that were exported; "
                         f"leave out {given}, or leave out --model")  # fmt: skip


def _given(config: "settings.Predict", names: tuple[str, ...]) -> str:
    """Those of the flags that differ from config.py."""
    usual = type(config)()
    return ", ".join("--" + name.replace("_", "-") if name != config.POSITIONAL else "the scans"
                     for name in names if getattr(config, name) != getattr(usual, name))  # fmt: skip


def prepare(config: "settings.Predict") -> Job:
    """The job of a call (`config` is config.Predict): exported files where an engine for them is installed, or Keras.

    Files of a run are exported once, beside its folds. Raises InputError for what is missing.
    """
    name = engines.choose(config.engine, config.precision)
    if config.model:
        if name == "keras":
            raise InputError(f"--model {config.model}: exported files need openvino or onnxruntime; "
                             "pip install openvino")  # fmt: skip
        how = method.of_export(config.model, engines.files(name, config.precision))
        engine = _exported_engine(config, name, config.model)
    else:
        name, how, engine = _of_run(config, name)
    threshold = how.threshold if config.threshold is None else config.threshold
    _tell(config, name, how, threshold)
    facts = {"engine": name, "precision": config.precision, "method": how.facts}
    return Job(config, how, threshold, engines.with_flip(engine) if config.flip else engine, facts)


def _of_run(config: "settings.Predict", name: str) -> tuple[str, method.Method, engines.Engine]:
    """The engine that is used in the end, the method and the engine itself, of a run's trainings."""
    run = method.choose_run(config.runs, config.protocol, config.run)
    how, trainings = method.of_run(run, config.fold, config.weights, config.windows)
    folder = _cache(config, run)
    if name != "keras" and _is_exported(config, name, folder, how):
        return name, how, _exported_engine(config, name, folder)
    if name != "keras" and not engines.can_export():
        name = _without_export(config, name, run)
    if name == "keras":
        with script.starting_backend():
            return name, how, engines.keras(trainings, config.weights, how)
    with _newly_exported(config, name, folder, how, trainings, run) as there:
        return name, how, _exported_engine(config, name, there)


def _is_exported(config: "settings.Predict", name: str, folder: Path, how: method.Method) -> bool:
    return method.is_exported(folder, how, engines.files(name, config.precision))


@contextlib.contextmanager
def _newly_exported(
    config: "settings.Predict",
    name: str,
    folder: Path,
    how: method.Method,
    trainings: list[paths.Training],
    run: folds.Run,
) -> Iterator[Path]:
    """Where the exported files are now: in `folder`, or where that is read only in a temporary one.

    Engines read them at once, so the temporary ones may go when this ends.
    """
    if reason := _read_only(folder):
        print(f"{folder}: can't be written ({reason}); {run.name} is exported for {name} for this call only")
        with tempfile.TemporaryDirectory(prefix="ich_exported_") as place:
            _export(config, Path(place), how, trainings, run)
            yield Path(place)
    else:
        with lock.writing(folder, wait_s=LONGEST_WAIT_S):
            if not _is_exported(config, name, folder, how):  # nor by the process that had the lock before
                print(f"{run.name}: exporting for {name}, once")
                _export(config, folder, how, trainings, run)
        yield folder


def _read_only(folder: Path) -> str:
    """Why the folder can't be made or written; empty where it can."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as error:
        if error.errno in READ_ONLY:
            return str(error.strerror)
        raise


def export(config: "settings.Predict", folder: Path) -> None:
    """Write the networks of the chosen run to `folder`. Raises InputError when packages or trainings are missing."""
    if lacking := engines.lacks_for_export():
        raise InputError(f"--export: needs {lacking}")
    run = method.choose_run(config.runs, config.protocol, config.run)
    how, trainings = method.of_run(run, config.fold, config.weights, config.windows)
    with lock.writing(folder):
        _export(config, folder, how, trainings, run)
    written = " ".join(sorted(path.name for path in folder.iterdir()))
    print(f"{run.name}: {', '.join(how.facts['folds'])} -> {folder}: {written}")


def _export(
    config: "settings.Predict", folder: Path, how: method.Method, trainings: list[paths.Training], run: folds.Run
) -> None:
    with script.starting_backend():
        from ich.predict import export, model_card, quantize
    measured = quantize.read_slices(config, how) if config.precision == "int8" else None
    export.write(folder, how, trainings, model_card.scores_of(run), measured)
    if measured is not None:
        quantize.tell(read_json(folder / method.CARD)["int8_dice_with_float32"])


def _cache(config: "settings.Predict", run: folds.Run) -> Path:
    fold = f"_{paths.fold_name(config.fold)}" if config.fold else ""
    best = "_best" if config.weights == "best" else ""
    return run.trainings[0].folder.parent / f"{CACHE}{fold}{best}"


def _exported_engine(config: "settings.Predict", name: str, folder: Path) -> engines.Engine:
    return engines.openvino(folder, config.precision) if name == "openvino" else engines.onnx(folder)


def _without_export(config: "settings.Predict", name: str, run: folds.Run) -> str:
    """Keras instead of an engine whose files can't be written here; InputError where that can't be or was not asked."""
    lacking = f"run {run.name} is not exported for {name}, which needs {engines.lacks_for_export()}"
    if config.engine != "auto" or config.precision != "float32":
        raise InputError(f"--engine {name}: {lacking}")
    if not engines.installed("keras"):
        raise InputError(f"{lacking}, and Keras can't predict instead without {_missing()}; install them, or export "
                         "it on another computer (predict.py --export exported) and give --model exported")  # fmt: skip
    print(f"{lacking}: predicting with Keras, which is slower")
    return "keras"


def _missing() -> str:
    return " and ".join(name for name in ("keras", engines.keras_backend()) if not engines.has(name))


def _tell(config: "settings.Predict", name: str, how: method.Method, threshold: float) -> None:
    why = "the fastest that is installed" if config.engine == "auto" else "asked for"
    count = len(how.facts["folds"])
    of = f"the mean of {count} networks" if count > 1 else how.facts["folds"][0]
    source = how.facts["threshold_is"] if config.threshold is None else "given"
    print(f"{how.facts['run']}, {of}; engine {name} ({why}); threshold {threshold:.3f} ({source})")
