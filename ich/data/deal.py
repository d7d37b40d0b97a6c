"""Who is trained on, validated on and tested on: hold-out and folds, by patient or by slice, and the leak audit.

A split is a column: `split` (train, valid, test) or `fold` (1 to k, or test). Column `in_training` marks the slices
that a balanced training uses: all with blood, and the lesion-free ones drawn once with the seed.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ich.base.errors import InputError

VALID_SHARE = 1 / 9  # of what is left after the test set: 8 parts training, 1 part validation
_TEST, _VALID, _NEGATIVES, _FOLDS = range(4)  # streams of random numbers, so that one choice does not move another


def by_patient(slices: pd.DataFrame, folds: int, test_share: float, seed: int) -> pd.DataFrame:
    """Add the columns `split` and `fold`; all slices of a patient are in the same part.

    Patients with blood are sorted by their number of lesion slices (ties by seed) and dealt to the folds in serpentine
    order, the clean ones likewise. Raises InputError when there are fewer patients with blood than folds.
    """
    load = lesion_load(slices)
    bleeding, clean = _ordered(load[load > 0], seed), _ordered(load[load == 0], seed)
    test = _drawn(bleeding, test_share, [seed, _TEST]) + _drawn(clean, test_share, [seed, _TEST])
    rest = [[patient for patient in group if patient not in test] for group in (bleeding, clean)]
    if len(rest[0]) < folds:
        advice = f"use --folds {len(rest[0])} or fewer" if len(rest[0]) > 1 else "at least two are needed"
        raise InputError(
            f"{len(rest[0])} patients with blood outside the test set for {folds} folds, expected at least one "
            f"each; {advice}"
        )
    valid = [patient for group in rest for patient in _drawn(group, VALID_SHARE, [seed, _VALID])]
    # The clean ones continue where those with blood ended, so that folds differ by at most one patient.
    fold_of = serpentine(rest[0] + rest[1], folds)
    patient = slices["patient"]
    split = np.select([patient.isin(test), patient.isin(valid)], ["test", "valid"], "train")
    return slices.assign(split=split, fold=patient.map(fold_of).fillna(0).astype(int).astype(str).replace("0", "test"))


def by_slice(slices: pd.DataFrame, folds: int, test_share: float, seed: int) -> pd.DataFrame:
    """The published split: balanced slices, stratified by label, whatever the patient. Adds `split` and `fold`."""
    from sklearn.model_selection import StratifiedKFold  # takes a second, and most scripts only read_parts splits

    slices = slices[slices["in_training"]].reset_index(drop=True)
    label = (slices["lesion_pixels"] > 0).to_numpy()
    if min(label.sum(), (~label).sum()) < 2 * folds:
        raise InputError(f"{label.sum()} slices with blood and {(~label).sum()} without are too few for {folds} folds")
    rest = _without_share(np.arange(len(slices)), label, test_share, seed)[0]
    if min(label[rest].sum(), (~label[rest]).sum()) < folds:
        raise InputError(f"--test-share {test_share} leaves too few of {len(slices)} slices for {folds} folds")
    train, valid = _without_share(rest, label, VALID_SHARE, seed)
    split, fold = np.full((2, len(slices)), "test", object)
    split[train], split[valid] = "train", "valid"
    kfold = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, part) in enumerate(kfold.split(rest, label[rest]), 1):
        fold[rest[part]] = str(number)
    return slices.assign(split=split, fold=fold)


def _without_share(rows: np.ndarray, label: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rest of the rows and the share, stratified by label."""
    if share == 0:
        return rows, rows[:0]
    from sklearn.model_selection import train_test_split

    try:
        return train_test_split(rows, test_size=share, stratify=label[rows], random_state=seed)
    except ValueError:
        raise InputError(f"{share:.3g} of {len(rows)} slices is too few or too many for a stratified part") from None


def from_folders(slices: pd.DataFrame, folds: int, seed: int, protocol: str) -> pd.DataFrame:
    """Keep the user's own train, valid and test folders (column `split`); deal train and valid to the folds."""
    deal = {"patient": by_patient, "slice": by_slice}[protocol]
    ready = slices["split"]
    dealt = deal(slices[ready != "test"], folds, 0.0, seed).set_index("id")["fold"]
    fold = slices["id"].map(dealt).where(ready != "test", "test")
    return slices.assign(fold=fold)[fold.notna()].reset_index(drop=True)


def balanced(slices: pd.DataFrame, negatives_per_positive: float, seed: int) -> pd.DataFrame:
    """Add `in_training`: all slices with blood, and for each `negatives_per_positive` lesion-free ones, drawn once."""
    lesion = (slices["lesion_pixels"] > 0).to_numpy(copy=True)
    free = np.flatnonzero(~lesion)
    wanted = round(negatives_per_positive * lesion.sum())
    lesion[np.random.default_rng([seed, _NEGATIVES]).permutation(free)[:wanted]] = True
    return slices.assign(in_training=lesion)


def lesion_load(slices: pd.DataFrame) -> pd.Series:
    """Number of slices with blood of each patient."""
    return (slices["lesion_pixels"] > 0).groupby(slices["patient"]).sum()


def serpentine(ordered: Sequence[str], folds: int) -> dict[str, int]:
    """Deal patients to folds 1..k, k..1, 1..k and so on: each fold gets its share of large and of small ones."""
    round_trip = [*range(1, folds + 1), *range(folds, 0, -1)]
    return dict(zip(ordered, itertools.cycle(round_trip), strict=False))


def _ordered(load: pd.Series, seed: int) -> list[str]:
    """Most lesion slices first; ties in an order drawn by the seed."""
    names = load.sort_index()
    tie = np.random.default_rng([seed, _FOLDS]).permutation(len(names))
    return [str(name) for name in names.index[np.lexsort((tie, -names.to_numpy()))]]


def _drawn(ordered: list[str], share: float, seed: list[int]) -> list[str]:
    """A share of the patients, one from each of as many equal stretches of the order: large and small alike."""
    wanted = max(round(share * len(ordered)), int(share > 0 and len(ordered) > 1))
    rng = np.random.default_rng(seed)
    return [str(rng.choice(stretch)) for stretch in np.array_split(np.array(ordered, object), wanted)] if wanted else []
