"""Collects the finished folds of several runs, and refuses runs that cannot be compared."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ich.base import paths, record, tables
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json
from ich.data import audit, given_masks, identity
from ich.report import finished, repeats
from ich.score import metrics

if TYPE_CHECKING:
    import config as settings

SAME = ("protocol", "image_size", "channels", "windows", "data_fingerprint", "split_fingerprint")


COUNTED = ("thresholds", "operating", "calibration")  # tables of counts: a mean of counts would be one of no network


@dataclass(frozen=True)
class Run:
    """A run and its finished folds, in fold order, each with its repeats; every repeat has the same folds."""

    name: str
    trainings: list[paths.Training]
    _read: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def folds(self) -> list[str]:
        """Names of the finished folds."""
        return list(dict.fromkeys(training.fold for training in self.trainings))

    @cached_property
    def repeats(self) -> list["Run"]:
        """The run once per seed, each with one training of every fold."""
        numbers = sorted({training.repeat for training in self.trainings})
        if len(numbers) == 1:
            return [self]
        return [Run(self.name, [each for each in self.trainings if each.repeat == number]) for number in numbers]

    def members(self, fold: int) -> list[paths.Training]:
        """All trainings of all finished folds (`fold` 0) or of just one. Raises InputError if it is not finished."""
        chosen = [each for each in self.trainings if not fold or each.fold == paths.fold_name(fold)]
        if not chosen:
            raise InputError(f"--fold {fold}: not finished in run {self.name}; finished are {', '.join(self.folds)}")
        return chosen

    def identity(self) -> dict:
        """Model, recipe and fingerprints, as recorded by the first fold."""
        return identity.read(self.trainings[0].run)

    @property
    def recipe(self) -> dict:
        """The recipe's fields, as far as they existed when it was trained: a lever that is missing is off."""
        return self.identity()["recipe"]

    @property
    def flips(self) -> bool:
        """Whether it is scored and predicts with the mean over mirror images (`test_time_flip`)."""
        return bool(self.recipe.get("test_time_flip"))

    @property
    def given(self) -> str:
        """`masks` or `probabilities` where another method gave them (score_masks.py); empty for networks."""
        return str(self.identity().get("given", ""))

    @property
    def has_probabilities(self) -> bool:
        """Whether thresholds can be judged."""
        return self.given != given_masks.MASKS

    def about(self) -> dict:
        """`origin` of the data ("" if unknown) and what audit.whose says of patients, as recorded by the first fold."""
        facts = read_json(self.trainings[0].run)
        return {"origin": facts.get("origin", ""), **audit.whose(facts)}

    def table(self, kind: str) -> pd.DataFrame:
        """`patients`, `slices`, `thresholds`, `operating`, `calibration` or `history` of all folds, with column `fold`.

        Of several repeats the mean of each row; of the COUNTED ones all rows. Read from disk once. Each call returns
        its own copy, which the caller may change.
        """
        if kind not in self._read:
            if len(self.repeats) == 1:
                self._read[kind] = self._from_disk(kind)
            elif kind in COUNTED:
                self._read[kind] = self.rows(kind)
            else:
                self._read[kind] = repeats.mean_of([each.table(kind) for each in self.repeats], f"{self.name}, {kind}")
        return self._read[kind].copy(deep=False)  # copy-on-write: pandas copies a column when it is changed

    def rows(self, kind: str) -> pd.DataFrame:
        """As `table`, but one row for each repeat: what single networks say, not their mean."""
        return pd.concat([each.table(kind) for each in self.repeats], ignore_index=True)

    def _from_disk(self, kind: str) -> pd.DataFrame:
        parts = []
        for training in self.trainings:
            path = getattr(training, kind)
            part = read_csv(path, (), "main_kfold.py")
            tables.check_numbers(path, part)
            record.result_fingerprint(training.run, path)
            parts.append(part.assign(fold=training.fold))
        return pd.concat(parts, ignore_index=True)

    def mean_history(self) -> pd.DataFrame:
        """One row per epoch: `folds` (their number), and each column's mean and standard deviation over folds.

        Of several repeats the deviation is that of the folds' means.
        """
        history = self.table("history").drop(columns="fold")
        grouped = history.groupby("epoch")
        mean, spread = grouped.mean().add_suffix("_mean"), grouped.std(ddof=1).add_suffix("_sd")
        table = pd.concat([mean, spread], axis=1)
        table.insert(0, "folds", grouped.size())
        return table.reset_index()


def gather(folder: Path, protocol: str, names: tuple[str, ...] = ()) -> list[Run]:
    """The runs under `runs/<protocol>` with at least one finished fold, or only those in `names`.

    Copies of a run (`dunet.bak`) are skipped unless named, and so are folders of folds and repeats with other names,
    and repeats that lack a fold; a note is printed for each. Raises InputError if no run is left, or if they differ in
    data, split, windows or image size.
    """
    finished.note_misnamed([folder / protocol / name for name in names] or sorted((folder / protocol).glob("[!.]*")))
    found = finished.by_run(folder, protocol)
    if not names:
        found = finished.without_copies(found)
    if missing := [name for name in names if name not in found]:
        raise InputError(f"{folder / protocol / missing[0]}: no finished fold; runs are: {', '.join(found) or 'none'}")
    chosen = [Run(name, found[name]) for name in dict.fromkeys(names) or sorted(found, key=finished.baseline_first)]
    if not chosen:
        raise InputError(f"{folder / protocol}: no finished fold; run main_kfold.py --protocol {protocol} first")
    first = _common(chosen[0].trainings[0])
    for run in chosen:
        finished.note_left_out(folder, protocol, run.name)
        for training in run.trainings:
            refuse_mixture(training.folder, _common(training), first, chosen[0].trainings[0].folder)
            finished.refuse_copy(training)
            _refuse_other_method(training, run)
    return chosen


def networks(found: list[Run], named: bool) -> list[Run]:
    """The runs that hold networks; of the others a note, or InputError if the user `named` one, or if none is left."""
    own = [run for run in found if not run.given]
    for run in found:
        if run.given:
            text = f"{run.trainings[0].folder.parent}: holds {run.given} that were given, no networks"
            if named or not own:
                raise InputError(f"{text}; train one (main_kfold.py), or name another by --run")
            print(f"note: {text}; left out")
    return own


def refuse_other_data(config: "settings.Split", run: Run, prints: dict) -> None:
    """Raise InputError unless a run was trained on the current split, whose fingerprints are `prints`."""
    now = {"protocol": config.protocol, **prints}
    refuse_mixture(config.data / config.protocol, now, run.identity(), run.trainings[0].folder)


def refuse_mixture(what: Path, found: dict, wanted: dict, beside: Path) -> None:
    """Raise InputError naming the first setting of SAME that differs."""
    for key in SAME:
        if found.get(key) != wanted.get(key):
            raise InputError(
                f"{what}: {key} is {found.get(key)}, that of {beside} is {wanted.get(key)}; they can't be compared; "
                "name those of one data set by --compare or --run, or give --runs another folder"
            )


def prints(found: list[Run]) -> dict[str, str]:
    """Fingerprint of each training's run.json, keyed by a name such as dunet/fold_01/repeat_02."""
    return {f"{run.name}/{each.label}": record.fingerprint(each.run) for run in found for each in run.trainings}


def network_prints(found: list[Run]) -> dict[str, list[str]]:
    """Fingerprints of the kept networks of each run, last and best; not of given masks."""
    return {
        run.name: [record.result_fingerprint(each.run, path)
                   for each in run.trainings for path in (each.last, each.best) if path.exists()]
        for run in found if not run.given
    }  # fmt: skip


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


def mean_dice(run: Run) -> float:
    """Mean out-of-fold Dice at threshold 0.5 over patients with blood, as in comparison.csv; NaN without any."""
    return float(metrics.with_blood(run.table("patients"))["dice"].mean())


def best(found: list[Run]) -> Run:
    """The run with the highest `mean_dice`, of those with the most folds; the first among ties.

    A run of one fold has been judged on other patients, and fewer.
    """
    most = max(len(run.folds) for run in found)
    whole = [run for run in found if len(run.folds) == most]
    return max(whole, key=lambda run: np.nan_to_num(mean_dice(run), nan=-1))


def _common(training: paths.Training) -> dict:
    found = identity.read(training.run)
    return {key: found.get(key) for key in SAME}
