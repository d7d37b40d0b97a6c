"""Which preprocessing is best? Tables over variants, with intervals over patients, from finished trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json
from ich.data import origin
from ich.rsna import scores, split
from ich.rsna.identity import common
from ich.rsna.layouts import LABELS, names_of, targets, usable
from ich.rsna.scores import MEASURES, Draws, Predicted
from ich.rsna.variants import RUN_NAMES, compared_with
from ich.score import statistics

DRAWS = 1000  # of patients: the ends of a 95 % interval then rest on 25 draws each; more only takes longer
PERCENTILES = [0.025, 0.975]
TRUTH = ["id", "patient", "class", *LABELS]


class Result(NamedTuple):
    """The finished trainings of a variant on the same test slices, one for each seed, and their scores.

    `whole`: one row per training, its MEASURES, by seed. `drawn`: (draws, measures), means over trainings, of the same
    bootstrap draws of patients for every variant, so that differences between variants are paired.
    """

    name: str
    trainings: list[Predicted]
    whole: pd.DataFrame
    drawn: pd.DataFrame
    origin: str = ""  # see ich.data.origin
    lacking: Mapping[str, list[str]] = MappingProxyType({})  # by part the classes that it has no slices of
    ids: np.ndarray = np.array([], str)  # of each slice
    files: Sequence[paths.Classification] = ()  # of each training
    in_scans: Sequence[Predicted] = ()  # of each training LABELS of all test slices, those of several types too
    series: np.ndarray = np.array([], str)  # of each of these; "" where it is unknown


def gather(folder: Path, task: str, seed: int, draws: int = DRAWS) -> list[Result]:
    """Score the finished trainings under `runs/rsna`.

    Raises InputError when there are none, or when they were tested on other slices or trained in another way.
    """
    root = paths.rsna_folder(folder, task)
    for path in sorted(run.parent for run in root.glob(f"*/{paths.RUN}") if run.parent.name not in RUN_NAMES):
        print(f"note: {path}: left out, since its name is none of the variants")
    finished = {name: trainings for name in RUN_NAMES if (trainings := _finished(folder, task, name))}
    if not finished:
        raise InputError(f"{root}: no finished training; run `python rsna_train.py` first")
    every = {training: _read(training, task) for trainings in finished.values() for training in trainings}
    tables = {training: usable(table, task).reset_index(drop=True) for training, table in every.items()}
    first = next(iter(tables))
    for training in tables:
        _refuse_mixture(training, first, tables)
    for training in tables:
        _refuse_copy(training)
    drawn = patient_draws(tables[first]["patient"].to_numpy(), draws, seed)
    series = _series([*every.values()])
    lacking = split.lacking(tables[first], task, ("test",)) | read_json(first.run).get("lacking", {})
    return [
        _result(
            name,
            [_predicted(tables[training], task) for training in trainings],
            drawn,
            [_seed(training) for training in trainings],
        )._replace(
            origin=origin.read(trainings[0].folder),
            lacking=lacking,
            ids=tables[first]["id"].to_numpy(str),
            files=trainings,
            in_scans=[_in_scans(every[training], task) for training in trainings],
            series=series,
        )
        for name, trainings in finished.items()
    ]


def _finished(folder: Path, task: str, name: str) -> list[paths.Classification]:
    root = paths.rsna_folder(folder, task) / name
    for path in paths.misnamed(root, "repeat", paths.FIRST_REPEAT):
        print(f"note: {path}: left out, since its name is none of repeat_02, repeat_03, ...")
    repeats = (1, *paths.numbered(root, "repeat", paths.FIRST_REPEAT))
    trainings = [paths.Classification(folder, task, name, repeat) for repeat in repeats]
    return [training for training in trainings if training.finished]


def _read(training: paths.Classification, task: str) -> pd.DataFrame:
    table = read_csv(training.predictions, (*TRUTH, "split", *_columns(task)), "rsna_train.py")
    return table[table["split"] == "test"].sort_values("id", ignore_index=True)


def _refuse_mixture(
    training: paths.Classification, first: paths.Classification, tables: dict[paths.Classification, pd.DataFrame]
) -> None:
    """Raise InputError unless a training has the test slices and the method (variant and seed apart) of the first."""
    if not tables[training][TRUTH].equals(tables[first][TRUTH]):
        raise InputError(
            f"{training.predictions}: holds {len(tables[training])} test slices, and not the same as the "
            f"{len(tables[first])} of {first.predictions}; train both on one split: delete {training.folder} "
            "and run rsna_train.py"
        )
    own, other = (read_json(each.run, ("identity",))["identity"] for each in (training, first))
    if pairs := record.differences(common(own), common(other)):
        changes = "; ".join(f"{key} {here}, there {there}" for key, here, there in pairs)
        raise InputError(f"{training.run}: was trained otherwise than {first.run}: {changes}; they can't be compared")


def _refuse_copy(training: paths.Classification) -> None:
    """Raise InputError for predictions other than those recorded in run.json, or a folder of another variant."""
    record.result_fingerprint(training.run, training.predictions)
    identity = read_json(training.run, ("identity",))["identity"]
    for name in ("variant", "repeat"):
        if identity.get(name) != getattr(training, name):
            raise InputError(
                f"{training.folder}: was trained as {name} {identity.get(name)}; is it a copy of another? "
                "Delete it and run rsna_train.py again"
            )


def _seed(training: paths.Classification) -> int:
    """That a training was begun with; its repeat, where an earlier version did not record it."""
    return int(read_json(training.run).get("seed_used", training.repeat - 1))


def _series(tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """The series of each test slice, from any training that has recorded it; unknown where their slices differ.

    Earlier versions did not predict slices of several types.
    """
    first = tables[0]["id"]
    known = next((table["series"] for table in tables if "series" in table), None)
    if known is None or not all(table["id"].equals(first) for table in tables):
        return np.full(len(first), "")
    return known.fillna("").to_numpy(str)


def _columns(task: str) -> list[str]:
    """Of the probabilities, in the order of the network's outputs."""
    return [f"prob_{name}" for name in names_of(task)]


def _predicted(table: pd.DataFrame, task: str) -> Predicted:
    prob = table[_columns(task)].to_numpy(np.float64)
    return Predicted(targets(table, task), prob, table["patient"].to_numpy(), task == "multilabel")


def _in_scans(table: pd.DataFrame, task: str) -> Predicted:
    """LABELS of the slices; of six classes `any` is what is not healthy."""
    prob = table[_columns(task)].to_numpy(np.float64)
    if task == "multiclass":
        prob = np.column_stack([1 - prob[:, 0], prob[:, 1:]])
    return Predicted(targets(table, "multilabel"), prob, table["patient"].to_numpy(), True)


def patient_draws(patient: np.ndarray, draws: int, seed: int) -> Draws:
    """Patients are drawn with replacement, each with all its slices.

    Slices of one patient are not independent, so they go together (cluster bootstrap; Davison and Hinkley 1997).
    """
    _, index = np.unique(patient, return_inverse=True)
    number = index.max() + 1
    return Draws(np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=draws), index)


def _result(name: str, trainings: list[Predicted], draws: Draws, seeds: Sequence[int]) -> Result:
    once = scores.once(len(draws.group))
    whole = pd.concat([pd.DataFrame(scores.measures(one, once)) for one in trainings]).set_axis([*seeds])
    drawn = sum(pd.DataFrame(scores.measures(one, draws)) for one in trainings) / len(trainings)
    return Result(name, trainings, whole, drawn)


def comparison(results: Sequence[Result]) -> pd.DataFrame:
    """One row per variant: each measure (mean over trainings), its interval over patients and its spread over seeds."""
    rows = []
    for result in results:
        first = result.trainings[0]
        row: dict[str, object] = {"variant": result.name, "repeats": len(result.trainings), "slices": len(first.truth),
               "patients": len(set(first.patient))}  # fmt: skip
        for name in MEASURES:
            row |= _with_interval(name, result.whole[name].mean(), result.drawn[name])
            row[f"{name}_sd_seeds"] = result.whole[name].std(ddof=1)
        rows.append(row)
    return pd.DataFrame(rows)


def pairs(results: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Each run beside the one that it is compared with, where that is there."""
    by_name = {result.name: result for result in results}
    wanted = [(name, compared_with(name)) for name in by_name]
    return [(by_name[name], by_name[base]) for name, base in wanted if base in by_name and base != name]


def without_pair(results: Sequence[Result]) -> str:
    """What to train, so that each run has the one that it is compared with; empty where nothing lacks it."""
    names = [result.name for result in results]
    lacking = {compared_with(name) for name in names} - {*names}
    if len(names) == 1 and not lacking:
        lacking = {"another variant"}
    return f"train {' and '.join(sorted(lacking))} too, with the flags of the others" if lacking else ""


def differences(results: Sequence[Result]) -> pd.DataFrame:
    """Each of `pairs`: the difference in each measure with its 95 % interval over patients; McNemar's p, by Holm too.

    McNemar's test (exact, of the first seed of both) takes slices for independent, which those of a patient are not: it
    is a second opinion.
    """
    if not (both := pairs(results)):  # the header alone, so that the file is still a valid table
        return pd.DataFrame(columns=["variant", "minus", *MEASURES, "mcnemar_p", "mcnemar_p_holm"])
    rows = []
    for result, base in both:
        row: dict[str, object] = {"variant": result.name, "minus": base.name}
        for name in MEASURES:
            change = result.whole[name].mean() - base.whole[name].mean()
            row |= _with_interval(name, change, result.drawn[name] - base.drawn[name])
        rows.append(row | mcnemar(*(one.right for one in _of_one_seed(result, base))))
    table = pd.DataFrame(rows)
    return table.assign(mcnemar_p_holm=statistics.holm(table["mcnemar_p"]))


def _of_one_seed(*results: Result) -> list[Predicted]:
    """A training of each: of the first seed that all were trained with, or else the first."""
    shared = [seed for seed in results[0].whole.index if all(seed in each.whole.index for each in results)]
    return [each.trainings[each.whole.index.get_loc(shared[0]) if shared else 0] for each in results]


def by_seed(results: Sequence[Result]) -> dict[str, pd.DataFrame]:
    """Each of `pairs`, a row for each seed that both were trained with: the difference in each of MEASURES."""
    return {result.name: (result.whole - base.whole).dropna(how="all") for result, base in pairs(results)}


def _with_interval(name: str, value: float, drawn: pd.Series) -> dict[str, float]:
    """A measure and the ends of its interval; draws without any patient of a class have no value, and are left out."""
    low, high = drawn.quantile(PERCENTILES)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def mcnemar(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Exact McNemar test (McNemar 1947) of two bool (n,): right by only a against right by only b."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {"only_this_right": only_a, "only_baseline_right": only_b, "mcnemar_p": float(p)}
