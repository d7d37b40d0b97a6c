"""Which networks predict and what computes them: the choice of predict.py."""

from pathlib import Path

from ich import cli, folds, lock, paths, runs
from ich.errors import InputError
from ich.predict import engines, method
from ich.predict.job import Job

CACHE = "exported"  # folder beside a run's folds


def prepare(config: object) -> Job:
    """The job of a call (`config` is config.Predict): exported files where an engine for them is installed, or Keras.

    Files of a run are exported once, beside its folds. Raises InputError for what is missing.
    """
    name = engines.choose(config.engine, config.precision)
    if config.model:
        how, engine = method.of_export(config.model), _exported_engine(config, name, config.model)
    else:
        name, how, engine = _of_run(config, name)
    threshold = how.threshold if config.threshold is None else config.threshold
    _tell(config, name, how, threshold)
    facts = {"engine": name, "precision": config.precision, "method": how.facts}
    return Job(config, how, threshold, engines.with_flip(engine) if config.flip else engine, facts)


def _of_run(config: object, name: str) -> tuple[str, method.Method, engines.Engine]:
    """The engine that is used in the end, the method and the engine itself, of a run's trainings."""
    run = method.choose_run(config.runs, config.protocol, config.run)
    how, trainings = method.of_run(run, config.fold, config.weights)
    folder = _cache(config, run)
    exported = name != "keras" and method.is_exported(folder, how, engines.file(name, config.precision))
    if name != "keras" and not exported and not engines.can_export():
        name = _without_export(config, name)
    if name == "keras":
        with cli.starting_backend():
            return name, how, engines.keras(trainings, config.weights, how)
    if not exported:
        print(f"{run.name}: exporting for {name}, once")
        _export(config, folder, how, trainings, run)
    return name, how, _exported_engine(config, name, folder)


def export(config: object, folder: Path) -> None:
    """Write the networks of the chosen run to `folder`. Raises InputError when packages or trainings are missing."""
    if not engines.can_export():
        raise InputError(f"--export: needs {', '.join(engines.EXPORTERS)}; pip install -r requirements-predict.txt")
    run = method.choose_run(config.runs, config.protocol, config.run)
    how, trainings = method.of_run(run, config.fold, config.weights)
    _export(config, folder, how, trainings, run)
    written = " ".join(sorted(path.name for path in folder.iterdir()))
    print(f"{run.name}: {', '.join(how.facts['folds'])} -> {folder}: {written}")


def _export(
    config: object, folder: Path, how: method.Method, trainings: list[paths.Training], run: folds.Run
) -> None:
    with cli.starting_backend():
        from ich.predict import export, model_card, quantize
    measured = quantize.read_slices(config, how) if config.precision == "int8" else None
    with lock.writing(folder):
        export.write(folder, how, trainings, model_card.scores_of(run), measured)
    if measured is not None:
        quantize.tell(runs.read_json(folder / method.CARD)["int8_dice_with_float32"])


def _cache(config: object, run: folds.Run) -> Path:
    fold = f"_{paths.fold_name(config.fold)}" if config.fold else ""
    best = "_best" if config.weights == "best" else ""
    return run.trainings[0].folder.parent / f"{CACHE}{fold}{best}"


def _exported_engine(config: object, name: str, folder: Path) -> engines.Engine:
    if name == "openvino":
        return engines.openvino(folder, config.precision)
    if name == "onnx":
        return engines.onnx(folder)
    raise InputError(f"--model {folder}: exported files need openvino or onnxruntime; pip install openvino")


def _without_export(config: object, name: str) -> str:
    """Keras instead of an engine whose files can't be written here; InputError where the user asked for it."""
    lacking = f"the run is not exported for {name}, which needs {', '.join(engines.EXPORTERS)}"
    if config.engine != "auto" or config.precision != "float32":
        raise InputError(f"--engine {name}: {lacking}; pip install -r requirements-predict.txt")
    print(f"{lacking}: predicting with Keras, which is slower")
    return "keras"


def _tell(config: object, name: str, how: method.Method, threshold: float) -> None:
    why = "the fastest that is installed" if config.engine == "auto" else "asked for"
    count = len(how.facts["folds"])
    of = f"the mean of {count} networks" if count > 1 else how.facts["folds"][0]
    source = how.facts["threshold_is"] if config.threshold is None else "given"
    print(f"{how.facts['run']}, {of}; engine {name} ({why}); threshold {threshold:.3f} ({source})")
