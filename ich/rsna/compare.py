"""Which preprocessing is best? Tables over variants, with intervals over patients, from finished trainings."""

from collections.abc import Collection, Mapping, Sequence
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
from ich.rsna.layouts import LABELS, names_of, targets
from ich.rsna.scores import MEASURES, Draws, Predicted
from ich.rsna.variants import RUN_NAMES, compared_with
from ich.score import statistics

DRAWS = 1000  # of patients: the ends of a 95 % interval then rest on 25 draws each; more only takes longer
PERCENTILES = [0.025, 0.975]
TRUTH = ["id", "patient", "class", *LABELS]


class Result(NamedTuple):
    """The finished trainings of a variant on the same test slices, one for each seed, and their scores.

    `whole`: one row per training, its MEASURES. `drawn`: (draws, measures), means over trainings, of the same bootstrap
    draws of patients for every variant, so that differences between variants are paired.
    """

    name: str
    trainings: list[Predicted]
    whole: pd.DataFrame
    drawn: pd.DataFrame
    origin: str = ""  # see ich.data.origin
    lacking: Mapping[str, list[str]] = MappingProxyType({})  # by part the classes that it has no slices of
    series: np.ndarray = np.array([], str)  # of each slice; "" where it is unknown
    ids: np.ndarray = np.array([], str)  # of each slice


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
    tables = {training: _read(training, task) for trainings in finished.values() for training in trainings}
    first = next(iter(tables))
    for training in tables:
        _refuse_mixture(training, first, tables)
    for training in tables:
        _refuse_copy(training)
    drawn = patient_draws(tables[first]["patient"].to_numpy(), draws, seed)
    series = _series(tables.values())
    lacking = split.lacking(tables[first], task, ("test",)) | read_json(first.run).get("lacking", {})
    return [
        _result(name, [_predicted(tables[training], task) for training in trainings], drawn)._replace(
            origin=origin.read(trainings[0].folder),
            lacking=lacking,
            series=series,
            ids=tables[first]["id"].to_numpy(str),
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


def _series(tables: Collection[pd.DataFrame]) -> np.ndarray:
    """The series of each test slice, from any training that has recorded it: they have the same slices."""
    known = next((table["series"] for table in tables if "series" in table), None)
    slices = len(next(iter(tables)))
    return np.full(slices, "") if known is None else known.fillna("").to_numpy(str)


def _columns(task: str) -> list[str]:
    """Of the probabilities, in the order of the network's outputs."""
    return [f"prob_{name}" for name in names_of(task)]


def _predicted(table: pd.DataFrame, task: str) -> Predicted:
    prob = table[_columns(task)].to_numpy(np.float64)
    return Predicted(targets(table, task), prob, table["patient"].to_numpy(), task == "multilabel")


def patient_draws(patient: np.ndarray, draws: int, seed: int) -> Draws:
    """Patients are drawn with replacement, each with all its slices.

    Slices of one patient are not independent, so they go together (cluster bootstrap; Davison and Hinkley 1997).
    """
    _, index = np.unique(patient, return_inverse=True)
    number = index.max() + 1
    return Draws(np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=draws), index)


def _result(name: str, trainings: list[Predicted], draws: Draws) -> Result:
    once = scores.once(len(draws.group))
    whole = pd.concat([pd.DataFrame(scores.measures(one, once)) for one in trainings], ignore_index=True)
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


def differences(results: Sequence[Result]) -> pd.DataFrame:
    """Each of `pairs`: the difference in each measure with its 95 % interval over patients; McNemar's p, by Holm too.

    McNemar's test (exact, of the first seed) takes slices for independent, which those of a patient are not: it is a
    second opinion.
    """
    if not (both := pairs(results)):  # the header alone, so that the file is still a valid table
        return pd.DataFrame(columns=["variant", "minus", *MEASURES, "mcnemar_p", "mcnemar_p_holm"])
    rows = []
    for result, base in both:
        row: dict[str, object] = {"variant": result.name, "minus": base.name}
        for name in MEASURES:
            change = result.whole[name].mean() - base.whole[name].mean()
            row |= _with_interval(name, change, result.drawn[name] - base.drawn[name])
        rows.append(row | mcnemar(result.trainings[0].right, base.trainings[0].right))
    table = pd.DataFrame(rows)
    return table.assign(mcnemar_p_holm=statistics.holm(table["mcnemar_p"]))


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


def per_class(results: Sequence[Result], task: str) -> pd.DataFrame:
    """One row per variant and class; means over trainings."""
    tables = {}
    for result in results:
        trainings = pd.concat([scores.per_class(training, names_of(task)) for training in result.trainings])
        tables[result.name] = trainings.groupby("class", sort=False).mean()
    return pd.concat(tables, names=["variant"]).reset_index().astype({"slices": int})


def confusion(results: Sequence[Result], task: str) -> dict[str, pd.DataFrame]:
    """By variant, slices of the first seed: true class by predicted class; in multilabel each label's four counts."""
    names = list(names_of(task))
    tables = {}
    for result in results:
        first = result.trainings[0]
        if first.multilabel:
            four = scores.counts(first.truth, first.decided, scores.once(len(first.truth)))
            columns = ["found", "false alarm", "missed", "correctly absent"]
            tables[result.name] = pd.DataFrame(np.vstack(four).T.astype(int), names, columns)
        else:
            tables[result.name] = pd.DataFrame(scores.confusion(first), names, names)
    return tables
