"""Collects the finished folds of several runs, and refuses runs that cannot be compared."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ich.base import paths, record, tables
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json
from ich.data import identity
from ich.score import metrics

if TYPE_CHECKING:
    import config as settings

SAME = ("protocol", "image_size", "channels", "windows", "data_fingerprint", "split_fingerprint")


@dataclass(frozen=True)
class Run:
    """A run and its finished folds, in fold order."""

    name: str
    trainings: list[paths.Training]
    _read: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def folds(self) -> list[str]:
        """Names of the finished folds."""
        return [training.folder.name for training in self.trainings]

    def members(self, fold: int) -> list[paths.Training]:
        """All finished folds (`fold` 0) or just one. Raises InputError if that fold is not finished."""
        chosen = [each for each in self.trainings if not fold or each.folder.name == paths.fold_name(fold)]
        if not chosen:
            raise InputError(f"--fold {fold}: not finished in run {self.name}; finished are {', '.join(self.folds)}")
        return chosen

    def identity(self) -> dict:
        """Model, recipe and fingerprints, as recorded by the first fold."""
        return identity.read(self.trainings[0].run)

    def about(self) -> dict:
        """`origin` of the data ("" if unknown) and `patients_known`, as recorded by the first fold."""
        facts = read_json(self.trainings[0].run)
        return {"origin": facts.get("origin", ""), "patients_known": facts.get("patients_known", True)}

    def table(self, kind: str) -> pd.DataFrame:
        """`patients`, `slices`, `thresholds`, `operating` or `history` of all folds, with the column `fold`; read once.

        Each call returns its own copy, which the caller may change.
        """
        if kind not in self._read:
            parts = []
            for training in self.trainings:
                path = getattr(training, kind)
                part = read_csv(path, (), "main_kfold.py")
                tables.check_numbers(path, part)
                record.result_fingerprint(training.run, path)
                parts.append(part.assign(fold=training.folder.name))
            self._read[kind] = pd.concat(parts, ignore_index=True)
        return self._read[kind].copy(deep=False)  # copy-on-write: pandas copies a column when it is changed

    def mean_history(self) -> pd.DataFrame:
        """One row per epoch: `folds` (their number), and each column's mean and standard deviation over folds."""
        history = self.table("history").drop(columns="fold")
        grouped = history.groupby("epoch")
        mean, spread = grouped.mean().add_suffix("_mean"), grouped.std(ddof=1).add_suffix("_sd")
        table = pd.concat([mean, spread], axis=1)
        table.insert(0, "folds", grouped.size())
        return table.reset_index()


def gather(folder: Path, protocol: str, names: tuple[str, ...] = ()) -> list[Run]:
    """The runs under `runs/<protocol>` with at least one finished fold, or only those in `names`.

    Copies of a run (`dunet.bak`) are skipped unless named, and so are fold folders with other names; a note is printed
    for each. Raises InputError if no run is left, or if they differ in data, split, windows or image size.
    """
    for place in [folder / protocol / name for name in names] or sorted((folder / protocol).glob("[!.]*")):
        for path in paths.misnamed(place, "fold"):
            print(f"note: {path}: skipped, since it is not named fold_01, fold_02, ...")
    found = paths.fold_trainings(folder, protocol)
    if not names:
        found = _without_copies(found)
    if missing := [name for name in names if name not in found]:
        raise InputError(f"{folder / protocol / missing[0]}: no finished fold; runs are: {', '.join(found) or 'none'}")
    chosen = [Run(name, found[name]) for name in dict.fromkeys(names) or sorted(found, key=_baseline_first)]
    if not chosen:
        raise InputError(f"{folder / protocol}: no finished fold; run main_kfold.py --protocol {protocol} first")
    first = _common(chosen[0].trainings[0])
    for run in chosen:
        for training in run.trainings:
            refuse_mixture(training.folder, _common(training), first, chosen[0].trainings[0].folder)
            _refuse_other_fold(training)
            _refuse_other_method(training, run)
    return chosen


def refuse_other_data(config: "settings.Split", run: Run, prints: dict) -> None:
    """Raise InputError unless a run was trained on the current split, whose fingerprints are `prints`."""
    now = {"protocol": config.protocol, **prints}
    refuse_mixture(config.data / config.protocol, now, run.identity(), run.trainings[0].folder)


def refuse_mixture(what: Path, found: dict, wanted: dict, beside: Path) -> None:
    """Raise InputError naming the first setting of SAME that differs."""
    for key in SAME:
        if found.get(key) != wanted.get(key):
            raise InputError(
                f"{what}: {key} is {found.get(key)}, that of {beside} is {wanted.get(key)}; they can't be compared"
            )


def prints(found: list[Run]) -> dict[str, str]:
    """Fingerprint of each training's run.json, keyed by a name such as dunet/fold_01."""
    return {f"{run.name}/{each.folder.name}": record.fingerprint(each.run) for run in found for each in run.trainings}


def _refuse_other_fold(training: paths.Training) -> None:
    """Raise InputError for a copied fold folder: its patients would be counted twice."""
    part, name = identity.read(training.run).get("part"), training.folder.name
    if part and part != name.removeprefix("fold_").lstrip("0"):
        raise InputError(
            f"{training.folder}: was validated on part {part}, expected that of {name}; is it a copy of another fold? "
            "Delete it and run main_kfold.py again"
        )


def _refuse_other_method(training: paths.Training, run: Run) -> None:
    if pairs := identity.differences(identity.read(training.run), run.identity()):
        changes = "; ".join(f"{key} {here}, there {there}" for key, here, there in pairs)
        raise InputError(f"{training.folder}: was trained differently from {run.folds[0]} of the same run: {changes}")


def missing_folds(run: Run, k: int) -> list[str]:
    """Folds of the split that the run has not finished."""
    return [name for name in map(paths.fold_name, range(1, k + 1)) if name not in run.folds]


def per_fold(run: Run, kind: str, column: str) -> pd.Series:
    """Mean of a column of `patients` (or `slices`) over those with blood, indexed by fold."""
    table = metrics.with_blood(run.table(kind))
    return table.groupby("fold")[column].mean()


def _without_copies(found: dict[str, list[paths.Training]]) -> dict[str, list[paths.Training]]:
    """Drop runs whose trainings (by run.json) are all in another run; of identical runs keep the shortest name."""
    trained = {name: {record.fingerprint(each.run) for each in trainings} for name, trainings in found.items()}
    kept: dict[str, list[paths.Training]] = {}
    for name in sorted(found, key=lambda name: (-len(trained[name]), _baseline_first(name)[0], len(name), name)):
        if original := next((other for other in kept if trained[name] <= trained[other]), ""):
            print(f"note: {found[name][0].folder.parent}: a copy of {original}, skipped unless it is named")
        else:
            kept[name] = found[name]
    return kept


def mean_dice(run: Run) -> float:
    """Mean out-of-fold Dice at threshold 0.5 over patients with blood, as in comparison.csv; NaN without any."""
    return float(metrics.with_blood(run.table("patients"))["dice"].mean())


def best(found: list[Run]) -> Run:
    """The run with the highest `mean_dice`; the first among ties."""
    return max(found, key=lambda run: np.nan_to_num(mean_dice(run), nan=-1))


def _common(training: paths.Training) -> dict:
    found = identity.read(training.run)
    return {key: found.get(key) for key in SAME}


def _baseline_first(name: str) -> tuple[int, str]:
    """Sort key: U-Net, then D-Unet, then all others by name."""
    known = ("unet", "dunet")
    return (known.index(name) if name in known else len(known), name)
