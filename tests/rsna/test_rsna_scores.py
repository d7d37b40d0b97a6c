"""Scores and comparisons of classifiers: by hand, and against scikit-learn."""

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics

from ich.rsna import compare, scores
from ich.rsna.scores import MEASURES, Draws, Predicted


def random_predictions(multilabel: bool, n: int = 60, seed: int = 0) -> Predicted:
    rng = np.random.default_rng(seed)
    if multilabel:
        truth, prob = (rng.random((n, 6)) < 0.4).astype(float), rng.random((n, 6)).round(1)  # ties
    else:
        truth = np.eye(6)[rng.integers(6, size=n)]
        prob = rng.dirichlet(np.ones(6), n) + 0.1 * truth
        prob /= prob.sum(1, keepdims=True)
    return Predicted(truth, prob, np.repeat([f"p{k}" for k in range(n // 4)], 4), multilabel)


def test_multiclass_measures_are_scikit_learns_with_weights() -> None:
    found = random_predictions(False)
    weight = np.random.default_rng(1).integers(1, 4, len(found.truth)).astype(float)
    got = {name: value[0] for name, value in scores.measures(found, Draws(weight[None], np.arange(60))).items()}
    truth, decided = found.truth.argmax(1), found.prob.argmax(1)
    how = {"sample_weight": weight}
    areas = [metrics.roc_auc_score(found.truth[:, k], found.prob[:, k], **how) for k in range(6)]
    assert got == pytest.approx({
        "accuracy": metrics.accuracy_score(truth, decided, **how),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, decided, **how),
        "macro_f1": metrics.f1_score(truth, decided, average="macro", **how),
        "auroc": np.mean(areas),
        "log_loss": metrics.log_loss(truth, found.prob, labels=range(6), **how),
    })  # fmt: skip


def test_multilabel_measures_are_scikit_learns() -> None:
    found = random_predictions(True)
    got = {name: value[0] for name, value in scores.measures(found, scores.once(60)).items()}
    decided = found.prob >= 0.5
    each = [metrics.balanced_accuracy_score(found.truth[:, k], decided[:, k]) for k in range(6)]
    assert got["accuracy"] == pytest.approx((found.truth == decided).mean())
    assert got["balanced_accuracy"] == pytest.approx(np.mean(each))
    assert got["macro_f1"] == pytest.approx(metrics.f1_score(found.truth, decided, average="macro"))
    assert got["auroc"] == pytest.approx(metrics.roc_auc_score(found.truth, found.prob, average="macro"))


def test_log_loss_of_the_competition_by_hand() -> None:
    truth = np.array([[1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    prob = np.array([[0.8, 0.5, 0.5, 0.5, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    first = (2 * -np.log(0.8) + 4 * np.log(2) + np.log(4)) / 7
    assert scores.log_losses(truth, prob, True) == pytest.approx([first, -np.log(1e-15) / 7], rel=1e-3)


def test_auroc_by_hand() -> None:
    positive, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.9])
    times = np.array([[1, 1, 1, 1], [3, 1, 1, 1], [0, 0, 1, 1]])
    areas = scores.aurocs(positive, score, Draws(times, np.arange(4)))
    assert areas == pytest.approx([3.5 / 4, 7.5 / 8, np.nan], nan_ok=True)  # one tie of four pairs
    assert np.isnan(scores.aurocs(np.ones(4), score, scores.once(4)))


@pytest.mark.parametrize("multilabel", [False, True])
def test_draws_of_patients_give_the_measures_of_the_drawn_slices(multilabel: bool) -> None:
    found = random_predictions(multilabel)
    draws = compare.patient_draws(found.patient, 20, seed=0)
    got = scores.measures(found, draws)
    for number, times in enumerate(draws.times):
        rows = np.repeat(np.arange(60), times[draws.group])
        drawn = Predicted(found.truth[rows], found.prob[rows], found.patient[rows], multilabel)
        for name, value in scores.measures(drawn, scores.once(len(rows))).items():
            assert got[name][number] == pytest.approx(value[0], rel=1e-12, nan_ok=True), name


def test_draws_take_little_memory() -> None:
    """A thousand draws of 20,000 slices as numbers would be 160 MB."""
    n = 20_000
    rng = np.random.default_rng(0)
    found = Predicted(np.eye(6)[rng.integers(6, size=n)], rng.random((n, 6)), np.repeat(np.arange(n // 40), 40), False)
    tracemalloc.start()
    scores.measures(found, compare.patient_draws(found.patient, 1000, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_confusion_and_classes_by_hand() -> None:
    truth, decided = [0, 0, 0, 1, 1, 5], [0, 0, 1, 1, 0, 5]
    found = Predicted(np.eye(6)[truth], np.eye(6)[decided], np.array(list("aabbcc")), False)
    matrix = scores.confusion(found)
    assert matrix[:2, :2].tolist() == [[2, 1], [1, 1]]
    assert (matrix[5, 5], matrix.sum()) == (1, 6)
    rows = scores.per_class(found, tuple("abcdef"))
    assert rows.iloc[0].to_dict() | {"auroc": 0} == pytest.approx(
        {"class": "a", "slices": 3, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "specificity": 2 / 3, "auroc": 0}
    )
    assert np.isnan(rows.loc[2, "recall"])


def test_a_class_that_is_not_there_is_left_out_of_means() -> None:
    found = Predicted(np.eye(6)[[0, 1]], np.eye(6)[[0, 0]], np.array(["a", "b"]), False)
    got = scores.measures(found, scores.once(2))
    assert got["balanced_accuracy"][0] == pytest.approx(1 / 2)
    assert got["macro_f1"][0] == pytest.approx((2 / 3 + 0) / 2)


def test_draws_take_whole_patients() -> None:
    patient = np.array(["b", "a", "b", "c"])
    draws = compare.patient_draws(patient, 500, seed=0)
    assert draws.group.tolist() == [1, 0, 1, 2]
    assert (draws.times.sum(1) == 3).all()
    assert draws.times[:, 1].mean() == pytest.approx(1, abs=0.15)
    assert draws.sums(np.array([[1.0], [10], [100], [1000]]))[:, 0] == pytest.approx(draws.times @ [10, 101, 1000])


def test_mcnemar_by_hand() -> None:
    a, b = np.array([1, 1, 1, 1, 1, 0, 1, 0], bool), np.array([0, 0, 0, 0, 0, 1, 1, 0], bool)
    got = compare.mcnemar(a, b)  # 5 against 1: 2 * (1 + 6) / 2**6
    assert got == {"only_this_right": 5, "only_baseline_right": 1, "mcnemar_p": pytest.approx(14 / 64)}
    assert compare.mcnemar(a, a)["mcnemar_p"] == 1


def result(name: str, *trainings: Predicted) -> compare.Result:
    seeds = range(len(trainings))
    return compare._result(name, list(trainings), compare.patient_draws(trainings[0].patient, 300, 0), seeds)


def test_differences_are_paired_and_means_are_over_seeds() -> None:
    base = random_predictions(False)
    better = Predicted(base.truth, 0.5 * base.prob + 0.5 * base.truth, base.patient, False)
    results = [result("0_dicom2png", base), result("1_roi", base), result("2_roi_clahe", better, base)]
    table = compare.differences(results).set_index("variant")
    assert (table.loc["1_roi", list(MEASURES)] == 0).all()
    assert table.loc["1_roi", ["accuracy_low", "accuracy_high"]].tolist() == [0, 0]
    assert table.loc["2_roi_clahe", "accuracy_low"] > 0
    assert table.loc["2_roi_clahe", "log_loss_high"] < 0
    assert table["mcnemar_p_holm"]["2_roi_clahe"] == pytest.approx(2 * table["mcnemar_p"]["2_roi_clahe"])
    rows = compare.comparison(results).set_index("variant")
    once = rows.loc["0_dicom2png", "accuracy"]
    assert rows.loc["2_roi_clahe", "accuracy"] == pytest.approx((1 + once) / 2)
    assert rows.loc["2_roi_clahe", "accuracy_sd_seeds"] == pytest.approx((1 - once) / np.sqrt(2))
    assert rows.loc["0_dicom2png", "accuracy_low"] <= once <= rows.loc["0_dicom2png", "accuracy_high"]
    assert compare.differences(results[1:]).empty
