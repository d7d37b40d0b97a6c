"""What the labels of a mask mean: dataset.json of nnU-Net and of the Medical Segmentation Decathlon."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import guard
from ich.base.errors import InputError
from ich.data.table import FLAGS, TYPES
from ich.scans.nifti import ROUNDING

DATASET = "dataset.json"
MOST_LABELS = 32  # in a mask; images and probabilities have more values
EXPECTED = "labels: whole numbers, 0 for no blood"
IGNORE = "ignore"  # nnU-Net's label of what nobody has looked at

Types = Mapping[int, frozenset[str]]


def read(path: Path) -> dict[int, list[str]]:
    """The names of each label above 0, from `labels` of a dataset.json; of regions (lists) each label has all names.

    Both orders are taken: {"1": "epidural"} (Decathlon) and {"epidural": 1} (nnU-Net).
    Raises InputError when the file is damaged, names no blood, several channels, or a label to be ignored.
    """
    guard.check_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        channels, labels = content.get("channel_names", content.get("modality", {})), content["labels"]
        pairs = [pair for key, value in labels.items() for pair in _pairs(key, value)]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); correct it") from None
    except (KeyError, AttributeError, TypeError):
        raise _no_labels(path, 'has no "labels" with their names') from None
    if isinstance(channels, dict) and len(channels) > 1:
        raise InputError(f"{path}: names {len(channels)} channels ({', '.join(map(str, channels.values()))}), expected "
                         "one, the CT; keep its files alone")  # fmt: skip
    return _named(path, pairs)


def _pairs(key: str, value: object) -> list[tuple[str, str]]:
    """(label, name) of one entry in either order, as text."""
    if isinstance(value, list):  # a region
        return [(str(label), key) for label in value]
    return [(key, value)] if isinstance(value, str) and not value.isdecimal() else [(str(value), key)]


def _named(path: Path, pairs: list[tuple[str, str]]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for label, name in pairs:
        if not label.isdecimal():
            raise _no_labels(path, f"label '{name}' is {label}")
        if name.strip().lower() == IGNORE:
            raise InputError(f"{path}: label {label} is '{name}', parts that nobody has marked, expected whole masks; "
                             "leave those scans out")  # fmt: skip
        names.setdefault(int(label), []).append(name)
    names.pop(0, None)
    if not names:
        raise _no_labels(path, "names no label above 0")
    return names


def _no_labels(path: Path, found: str) -> InputError:
    return InputError(f'{path}: {found}, expected such as "labels": {{"background": 0, "hemorrhage": 1}}; correct it')


def types_of(names: Mapping[int, list[str]]) -> Types:
    """The types of hemorrhage that a label's names are or contain: `Epidural hematoma` is `epidural`."""
    return {
        label: frozenset(kind for kind in TYPES for name in of_label if kind in name.lower())
        for label, of_label in names.items()
    }


def check(voxels: np.ndarray, name: str, known: Types | None) -> np.ndarray:
    """A mask's voxels as whole numbers. Raises InputError unless they are 0 and labels above (`known` ones, if any)."""
    marked = voxels[np.abs(voxels) > ROUNDING] if voxels.dtype.kind == "f" else voxels[voxels != 0]
    whole = np.rint(marked)
    if marked.size and (np.abs(marked - whole).max() > ROUNDING or whole.min() < 0):
        wrong = marked[(np.abs(marked - whole) > ROUNDING) | (whole < 0)][0]
        raise InputError(f"{name}: mask has {wrong:g}, expected {EXPECTED}; is it of probabilities?")  # fmt: skip
    found = np.unique(whole).astype(np.int64)
    if len(found) > MOST_LABELS:
        raise InputError(f"{name}: mask has {len(found)} labels, expected {MOST_LABELS} at most; is it an image?")
    if known is not None and (unknown := sorted(set(found.tolist()) - set(known))):
        raise InputError(f"{name}: mask has label {unknown[0]}, {DATASET} names {', '.join(map(str, sorted(known)))}; "
                         "correct one of them")  # fmt: skip
    return np.rint(voxels).astype(np.int64) if voxels.dtype.kind == "f" else voxels


def flags(labels: np.ndarray, types: Types | None) -> pd.DataFrame:
    """A row for each slice (along axis 2) with `slice`, from 1, and FLAGS.

    A type is empty where it is unknown: in slices with a label that names none, and everywhere if there are such labels
    and none that names it. So are fractures.
    """
    rows = [_flags(set(np.unique(labels[:, :, index]).tolist()) - {0}, types or {}) for index in range(labels.shape[2])]
    return pd.DataFrame(rows, columns=[*FLAGS]).assign(slice=range(1, len(rows) + 1))


def _flags(found: set[int], types: Types) -> dict[str, float]:
    shown = {kind for label in found for kind in types.get(label, ())}
    nameable = set().union(*types.values()) if not all(types.values()) else set(TYPES)
    known = nameable if types and all(types.get(label) for label in found) else set()
    of_type = {kind: float(kind in shown) if kind in known else np.nan for kind in TYPES}
    return {"no_hemorrhage": float(not found), **of_type, "fracture": np.nan}
