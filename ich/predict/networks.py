"""Which networks predict and what computes them: the choice of predict.py."""

import errno
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ich.base import backend, lock, paths
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.data import origin
from ich.predict import engines, method, shipped
from ich.predict.job import Job
from ich.predict.method import Method
from ich.report import folds
from ich.report.choice import Choice

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
    if config.export and (changed := _changed(config, OF_A_PREDICTION)):
        raise InputError(f"--export: writes networks and predicts nothing; leave out {changed}")
    if config.model and (changed := _changed(config, OF_A_RUN)):
        raise InputError(f"--model {config.model}: its networks and windows are those that were exported; "
                         f"leave out {changed}, or leave out --model")  # fmt: skip


def _changed(config: "settings.Predict", names: tuple[str, ...]) -> str:
    """Those of the flags that differ from config.py."""
    usual = type(config)()
    return ", ".join("--" + name.replace("_", "-") if name != config.POSITIONAL else "the scans"
                     for name in names if getattr(config, name) != getattr(usual, name))  # fmt: skip


class Trained(NamedTuple):
    """The chosen folds of a run, and how they predict."""

    run: folds.Run
    method: Method
    trainings: list[paths.Training]


def _trained(config: "settings.Predict") -> Trained:
    if shipped.predicts(config):
        run = shipped.run()
        none = "" if config.run else f"no fold of a network is trained in {config.runs} (main_kfold.py): using the "
        print(f"note: {none}{shipped.describe()}")
    else:
        run = method.choose_run(config.runs, config.protocol, config.run)
    return Trained(run, *method.of_run(run, config.fold, config.weights, config.windows))


def prepare(config: "settings.Predict") -> Job:
    """The job of a call (`config` is config.Predict): exported files where an engine for them is installed, or Keras.

    Files of a run are exported once, beside its folds. Raises InputError for what is missing.
    """
    name = engines.choose(config.engine, config.precision)
    if not config.model:
        trained = _trained(config)
        used = trained.method
        name, engine = _of_run(config, name, trained)
    elif name == "keras":
        raise InputError(f"--model {config.model}: exported files need openvino or onnxruntime; pip install openvino")
    else:
        used = method.of_export(config.model, engines.files(config.precision))
        engine = engines.exported(name, config.model, config.precision)
    chosen = used.choice.replaced(config.threshold, config.min_lesion_mm3)
    _report(config, name, used, chosen)
    facts = {"engine": name, "precision": config.precision, "method": used.facts}
    return Job(config, used, chosen.point, engine, facts)


def _of_run(config: "settings.Predict", name: str, trained: Trained) -> tuple[str, engines.Engine]:
    """The name of the engine that is used in the end, and the engine itself, of a run's trainings."""
    if name != "keras":
        folder = _cache(config, trained.run)
        if _is_current(config, folder, trained):
            return name, engines.exported(name, folder, config.precision)
        if not engines.lacks_for_export():
            return name, _newly_exported(config, name, folder, trained)
        _check_keras_can(config, name, trained.run)
    with backend.starting():
        return "keras", engines.keras(trained.trainings, config.weights, trained.method)


def _newly_exported(config: "settings.Predict", name: str, folder: Path, trained: Trained) -> engines.Engine:
    """The engine, after the run was exported to `folder`; where that is read only, to a temporary one."""
    run = trained.run.name
    if reason := _read_only(folder):
        print(f"{folder}: can't be written ({reason}); {run} is exported for {name} for this call only")
        with tempfile.TemporaryDirectory(prefix="ich_exported_") as temporary:
            _export(config, Path(temporary), trained)
            return engines.exported(name, Path(temporary), config.precision)  # it has read them by now
    with lock.writing(folder, wait_s=LONGEST_WAIT_S):
        if not _is_current(config, folder, trained):  # nor exported by the process that had the lock
            print(f"{run}: exporting for {name}, once")
            _export(config, folder, trained)
    return engines.exported(name, folder, config.precision)


def _is_current(config: "settings.Predict", folder: Path, trained: Trained) -> bool:
    return method.is_exported(folder, trained.method, engines.files(config.precision))


def _read_only(folder: Path) -> str:
    """Why the folder can't be made or written; empty where it can."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        if error.errno in READ_ONLY:
            return str(error.strerror)
        raise


def export(config: "settings.Predict", folder: Path) -> None:
    """Write the networks of the chosen run to `folder`. Raises InputError when packages or trainings are missing."""
    if lacking := engines.lacks_for_export():
        raise InputError(f"--export: needs {lacking}")
    trained = _trained(config)
    with lock.writing(folder):
        _export(config, folder, trained)
    written = " ".join(sorted(path.name for path in folder.iterdir()))
    print(f"{trained.run.name}: {', '.join(trained.method.facts['folds'])} -> {folder}: {written}")


def _export(config: "settings.Predict", folder: Path, trained: Trained) -> None:
    with backend.starting():
        from ich.predict import export, model_card, quantize
    slices = None
    if config.precision == "int8":
        packed = shipped.is_packed(trained.trainings[0])
        slices = quantize.phantom_slices(trained.method) if packed else quantize.read_slices(config, trained.method)
    export.write(
        folder, trained.method, trained.trainings, model_card.scores_of(trained.run, trained.trainings), slices
    )
    if slices is not None:
        quantize.report(read_json(folder / method.CARD)["int8_dice_with_float32"])


def _cache(config: "settings.Predict", run: folds.Run) -> Path:
    fold = f"_{paths.fold_name(config.fold)}" if config.fold else ""
    best = "_best" if config.weights == "best" else ""
    return run.trainings[0].folder.parent / f"{CACHE}{fold}{best}"


def _check_keras_can(config: "settings.Predict", name: str, run: folds.Run) -> None:
    """Raise InputError unless Keras may and can predict instead of an engine whose files can't be written here."""
    lacking = f"run {run.name} is not exported for {name}, which needs {engines.lacks_for_export()}"
    if config.engine != "auto" or config.precision != "float32":
        raise InputError(f"--engine {name}: {lacking}")
    if missing := [package for package in ("keras", backend.name()) if not backend.has(package)]:
        raise InputError(f"{lacking}, and Keras can't predict instead without {' and '.join(missing)}; install them, "
                         "or export it on another computer (predict.py --export exported) and give "
                         "--model exported")  # fmt: skip
    print(f"{lacking}: predicting with Keras, which is slower")


def _report(config: "settings.Predict", name: str, used: Method, chosen: Choice) -> None:
    why = "the first installed of openvino, onnx, keras" if config.engine == "auto" else "asked for"
    members = used.facts["folds"]
    networks = f"the mean of {len(members)} networks" if len(members) > 1 else members[0]
    print(f"{used.facts['run']}, {networks}; engine {name} ({why})")
    print(chosen.text(len(members)))
    if used.flip or config.flip:
        print("mean over each slice and its mirror image"
              + (" (--flip); threshold and smallest lesion were chosen without" * (not used.flip)))  # fmt: skip
    if notice := origin.networks_notice(used.facts.get("origin", "")):
        print(f"note: {notice}")
