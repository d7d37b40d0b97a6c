"""The shipped network, trained on phantoms alone: when it predicts, and how a training becomes it.

python -m ich.predict.shipped RUNS WEIGHTS     (the last step of train_weights.sh)
"""

import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ich.base import backend, paths, record, script
from ich.base.errors import InputError
from ich.base.files import atomic, read_json, write_bytes, write_json
from ich.report import folds

if TYPE_CHECKING:
    import keras

    import config as settings

MOST_DIFFERENCE = 1e-3  # between probabilities before and after the weights are rounded
DROPPED_BITS = 9  # of the 23 of a float32's fraction; with 10 bits left, as float16 has, the difference is 0.01
FACTS = (
    "note", "identity", "backend", "precision", "parameters", "training_seconds", "split_audit", "patients_known",
    "origin", "training_slices", "valid_slices", "packages", "python", "git_commit", "finished",
)  # fmt: skip
# Flags of predict.py that ask for something else than the shipped network, so that a wrong name is still an error.
ASKS = ("runs", "protocol", "fold", "weights", "windows")


def predicts(config: "settings.Predict") -> bool:
    """Whether the shipped network is meant (`config` is config.Predict): by its name, or since none is trained here."""
    if config.run == paths.SHIPPED_RUN:
        return not paths.of_folds(config.runs / config.protocol / config.run)
    if config.run or any(getattr(config, name) != getattr(type(config)(), name) for name in ASKS):
        return False
    found = paths.fold_trainings(config.runs, config.protocol)
    return all(folds.Run(name, trainings).given for name, trainings in found.items())


def run() -> folds.Run:
    """The shipped run. Raises InputError where it is missing."""
    training = paths.shipped()
    if not training.finished:
        raise InputError(f"{training.folder}: the shipped network is missing; restore it with git checkout weights")
    return folds.gather(paths.SHIPPED, "patient", (paths.SHIPPED_RUN,))[0]


def describe() -> str:
    """What it is, in one sentence."""
    heads = read_json(paths.shipped().run)["phantoms"]["patients"]
    return (
        f"shipped network, trained on {heads} phantom heads, never on a patient's scan ({paths.SHIPPED.name}/README.md)"
    )


def is_packed(training: paths.Training) -> bool:
    """Whether `pack` wrote it: then its training slices are not there, but phantoms like them can be drawn."""
    return "phantoms" in read_json(training.run)


def pack(runs: Path, weights: Path) -> None:
    """Copy the finished run `phantoms` of `runs` to `weights`, small, and without the paths of this machine."""
    trained = folds.gather(runs, "patient", (paths.SHIPPED_RUN,))[0].trainings[0]
    shipped = paths.Training(weights / trained.folder.relative_to(runs))
    facts = read_json(trained.run)
    data = Path(facts["config"]["data"])
    with backend.starting():
        difference = pack_network(trained.last, shipped.last)
    for path in (trained.config, trained.history, trained.patients, trained.operating):
        write_bytes(shipped.folder / path.name, path.read_bytes())
    kept = [shipped.last, shipped.history, shipped.patients, shipped.operating]
    write_json(shipped.run, {
        **{name: facts[name] for name in FACTS}, "command": "bash train_weights.sh",
        "results": record.fingerprints(kept), "rounding_changes_probabilities_by": difference,
        "phantoms": read_json(data.parent / "ct-ich" / paths.PHANTOM_MARKER),
    })  # fmt: skip
    size = sum(path.stat().st_size for path in shipped.folder.iterdir()) / 1e6
    print(f"{trained.folder} -> {shipped.folder}: {size:.1f} MB, probabilities differ by {difference:.1e} at most")


def pack_network(source: Path, target: Path) -> float:
    """Write a .keras file with rounded weights, packed; the largest difference of its probabilities.

    Raises InputError when that is above MOST_DIFFERENCE.
    """
    import keras

    network = keras.models.load_model(source, compile=False, safe_mode=True)
    before = _on_phantom(network)
    network.set_weights([rounded(values) for values in network.get_weights()])
    difference = float(np.abs(_on_phantom(network) - before).max())
    if difference > MOST_DIFFERENCE:
        raise InputError(f"{source}: rounded weights change probabilities by {difference:.4f}, expected at most "
                         f"{MOST_DIFFERENCE}; train again with another seed")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, atomic(target) as temporary:
        network.save(plain := Path(folder) / "network.keras")
        with zipfile.ZipFile(plain) as loose, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in loose.namelist():
                packed.writestr(name, loose.read(name))
    return difference


def rounded(values: np.ndarray) -> np.ndarray:
    """Float32 `values` to the nearest with 14 bits of fraction, so that a file of them can be packed."""
    half = np.int32(1 << (DROPPED_BITS - 1))
    bits = np.ascontiguousarray(values, np.float32).view(np.int32) + half
    return ((bits >> DROPPED_BITS) << DROPPED_BITS).view(np.float32)


def _on_phantom(network: "keras.Model") -> np.ndarray:
    """Probabilities of the slices of a phantom."""
    from ich.phantom.head import make_patient
    from ich.scans.window import Window, square

    _, size, _, channels = network.input_shape
    hu = make_patient(0, 1, size, "calibrated").hu
    grey = np.stack([square(Window(40, 120)(hu[:, :, k].T), size) for k in range(0, hu.shape[2], 4)])
    return np.asarray(network.predict(np.repeat(grey[..., None], channels, -1), verbose=0), np.float32)


if __name__ == "__main__":
    script.run(lambda: pack(*map(Path, sys.argv[1:])))
