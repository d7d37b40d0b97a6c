"""The one file that an interrupted training goes on from: weights, optimizer, random states, history, together."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from ich.base import guard
from ich.base.errors import InputError
from ich.base.files import atomic
from ich.base.paths import Training


def read_state(model: keras.Model) -> list[np.ndarray]:
    """Everything that training changes: weights, states of the dropout layers' random generators, optimizer.

    `.keras` files lose the random states. An array of zeros takes no memory: before training those of the optimizer
    are twice the weights.
    """
    return [_kept(keras.ops.convert_to_numpy(variable)) for variable in _variables(model)]


def write_state(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Put `values` of `read_state` back. Raises ValueError when they are of another network."""
    variables = _variables(model)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise ValueError("state of another network or optimizer")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value.copy())


def save(path: Path, model: keras.Model, epoch: int, history: list[dict]) -> None:
    """Write the whole state of a compiled `model` after `epoch` epochs, atomically.

    An .npz file, written one array after another: `numpy.savez` needs a second copy of them all in memory.
    """
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, "epoch", np.array(epoch))
        _add(archive, "history", np.array(json.dumps(history)))
        for index, variable in enumerate(_variables(model)):
            _add(archive, f"v{index}", keras.ops.convert_to_numpy(variable))


def restore(path: Path, model: keras.Model) -> tuple[int, list[dict]]:
    """Put a saved state back into `model`; return its epoch and history (0 and [] where there is none).

    Raises InputError when the file is damaged or of another network.
    """
    if not path.exists():
        return 0, []
    try:
        guard.check_archive(path)
        with np.load(path, allow_pickle=False) as saved:
            values = [saved[f"v{index}"] for index in range(len(saved.files) - 2)]
            epoch, history = int(saved["epoch"]), json.loads(str(saved["history"]))
        write_state(model, values)
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it to train from the start") from None
    return epoch, history


def settle_best(files: Training, epoch: int) -> None:
    """Call the weights that wait since `epoch`, if there are any, the best; remove those of other epochs.

    Done after a checkpoint and before going on from one, so that best.keras is of an epoch in the kept history, even
    where the same epoch comes out otherwise a second time.
    """
    for path in sorted(files.folder.glob("best_*.keras")):
        number = path.stem.removeprefix("best_")
        if not number.isdecimal() or path != files.waiting(int(number)):
            continue  # a copy that the user keeps, `best_of_may.keras` say
        if path == files.waiting(epoch):
            path.replace(files.best)
        else:
            path.unlink()


def _kept(value: np.ndarray) -> np.ndarray:
    return value.copy() if value.any() else np.broadcast_to(np.zeros((), value.dtype), value.shape)


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def _variables(model: keras.Model) -> list[keras.Variable]:
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
