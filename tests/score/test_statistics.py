"""Paired tests: values worked by hand, and brute force over all signs or all subsets."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ich.score import statistics

pytestmark = pytest.mark.filterwarnings("error")
D_UNET = np.array([0.8, 0.7, 0.9, 0.6, 0.5, 0.4, 0.85])
UNET = D_UNET - [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, -0.07]


def test_paired_by_patient_worked_by_hand():
    result = statistics.paired_by_patient(D_UNET, UNET, seed=0)
    # ranks of |d| are 1..7, the negative one has rank 7: R+ = 21, R- = 7, effect (21-7)/28
    assert result["rank_biserial"] == pytest.approx(0.5)
    # of 2**7 equally likely signs, 19 subsets of 1..7 sum to at most 7: p = 2*19/128
    assert result["p_value"] == pytest.approx(2 * 19 / 128)
    assert result["mean_difference"] == pytest.approx(0.14 / 7)
    assert (result["n"], result["n_nonzero"], result["note"]) == (7, 7, "")
    assert result["ci_low"] < 0.02 < result["ci_high"]


def test_exchanging_the_models_turns_the_signs():
    there, back = (statistics.paired_by_patient(*pair, seed=0) for pair in ((D_UNET, UNET), (UNET, D_UNET)))
    assert back["p_value"] == there["p_value"]
    for name in ("rank_biserial", "mean_difference"):
        assert back[name] == pytest.approx(-there[name])
    assert (back["ci_low"], back["ci_high"]) == pytest.approx((-there["ci_high"], -there["ci_low"]))


def test_zeros_are_ranked_and_split():
    # |d|: two zeros share rank 1.5, then 1, 2, 3 have ranks 3, 4, 5. R+ = 3+5+1.5, R- = 4+1.5: (9.5-5.5)/15
    assert statistics.rank_biserial([0, 0, 1, -2, 3]) == pytest.approx(4 / 15)
    assert statistics.rank_biserial([-1, -1, -1]) == -1


def test_zeros_are_split_in_the_normal_approximation_too():
    # n = 20: six zeros share rank 3.5, then -1, -2, 3 .. 14 have ranks 7, 8, 9 .. 20. Half of the zeros' 21 goes to
    # each side: R- = 7 + 8 + 10.5 = 25.5, expected 20*21/4 = 105, variance (20*21*41 - (6**3 - 6)/2) / 24
    difference = np.array([0] * 6 + [-1, -2, *range(3, 15)])
    z = (25.5 - 105) / np.sqrt((20 * 21 * 41 - 105) / 24)
    result = statistics.paired_by_patient(difference, np.zeros(20), seed=0, draws=100)
    assert result["p_value"] == pytest.approx(2 * stats.norm.cdf(z))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_wilcoxon_agrees_with_all_signs_tried(difference):
    result = statistics.paired_by_patient(difference, np.zeros(len(difference)), seed=0, draws=10)
    ranks = stats.rankdata(np.abs(difference))
    observed = abs(np.sum(np.sign(difference) * ranks))
    all_sums = [abs(np.sum(signs * np.sign(difference) * ranks)) for signs in product((-1, 1), repeat=len(ranks))]
    as_extreme = np.mean(np.array(all_sums) >= observed - 1e-9)
    assert result["p_value"] == pytest.approx(as_extreme)
    assert result["rank_biserial"] == pytest.approx(np.sum(np.sign(difference) * ranks) / ranks.sum())


@pytest.mark.parametrize("n", [1, 5, 13, 14, 60])
def test_equal_models_differ_in_nothing(n):
    result = statistics.paired_by_patient(np.full(n, 0.7), np.full(n, 0.7), seed=0, draws=100)
    assert result["p_value"] == 1
    numbers = ("mean_difference", "ci_low", "ci_high", "rank_biserial", "n_nonzero")
    assert [result[name] for name in numbers] == [0, 0, 0, 0, 0]
    assert result["note"] == "too few pairs"


@pytest.mark.parametrize(("nonzero", "note"), [(5, "too few pairs"), (6, "")])
def test_pairs_are_too_few_where_no_outcome_could_be_significant(nonzero, note):
    result = statistics.paired_by_patient([1.0] * nonzero + [0.0] * 3, np.zeros(nonzero + 3), seed=0, draws=100)
    assert (result["n"], result["n_nonzero"], result["note"]) == (nonzero + 3, nonzero, note)
    assert result["p_value"] == pytest.approx(2 / 2**nonzero)
    assert (result["p_value"] < 0.05) == (note == "")


def test_no_patients_give_nan():
    result = statistics.paired_by_patient([], [], seed=0)
    assert (result["n"], result["note"]) == (0, "too few pairs")
    assert np.isnan([result["p_value"], result["mean_difference"], result["ci_low"], result["rank_biserial"]]).all()


@pytest.mark.parametrize("test", [lambda a, b: statistics.paired_by_patient(a, b, 0), statistics.corrected_resampled_t])
def test_values_that_make_no_pairs_are_refused(test):
    with pytest.raises(ValueError, match="the same length"):
        test([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        test([1.0, np.nan], [1.0, 1.0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        test([1.0, np.inf], [1.0, np.inf])


def test_bootstrap_interval_is_repeatable_and_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(0.1, 0.2, size=400)
    low, high = statistics.bootstrap_interval(values, seed=3)
    assert (low, high) == statistics.bootstrap_interval(values, seed=3)
    assert (low, high) != statistics.bootstrap_interval(values, seed=4)
    half_width = 1.96 * values.std() / np.sqrt(400)  # normal by the central limit theorem
    assert (low, high) == pytest.approx((values.mean() - half_width, values.mean() + half_width), abs=0.002)


def test_bootstrap_of_two_values_worked_by_hand():
    # the mean of two draws from {0, 1} is 0, 1/2 or 1, and 0 and 1 come in a quarter of the draws each
    assert statistics.bootstrap_interval([0, 1], seed=0) == (0, 1)
    assert np.isnan(statistics.bootstrap_interval([], seed=0)).all()


def test_corrected_resampled_t_worked_by_hand():
    # d = 1, 2, 3, 4, 5: mean 3, variance 2.5, k = 5; factor 1/5 + 1/4 = 0.45; t = 3 / sqrt(0.45 * 2.5) = 2.8284
    result = statistics.corrected_resampled_t([1, 2, 3, 4, 5], np.zeros(5))
    assert result["t"] == pytest.approx(np.sqrt(8))
    assert (result["n"], result["df"], result["mean_difference"]) == (5, 4, 3)
    # Student's t with 4 degrees of freedom: F(t) = 1/2 + 3/8 * x * (1 - x**2/12), x = t / sqrt(1 + t**2/4)
    x = np.sqrt(8) / np.sqrt(1 + 8 / 4)
    assert result["p_value"] == pytest.approx(2 * (1 / 2 - 3 / 8 * x * (1 - x**2 / 12)))
    assert result["p_value"] > stats.ttest_rel([1, 2, 3, 4, 5], np.zeros(5)).pvalue
    assert statistics.corrected_resampled_t(np.zeros(5), [1, 2, 3, 4, 5])["t"] == pytest.approx(-np.sqrt(8))


def test_corrected_resampled_t_without_variance_or_folds():
    same = statistics.corrected_resampled_t([0.5, 0.6], [0.5, 0.6])
    assert (same["t"], same["p_value"]) == (0, 1)
    below = statistics.corrected_resampled_t([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert (below["t"], below["p_value"]) == (-np.inf, 0)
    one = statistics.corrected_resampled_t([0.5], [0.25])
    assert (one["n"], one["mean_difference"]) == (1, 0.25)
    assert np.isnan([one["t"], one["p_value"]]).all()
    assert np.isnan(statistics.corrected_resampled_t([], [])["mean_difference"])


def test_holm_worked_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04 -> the last may not fall: 0.06
    np.testing.assert_allclose(statistics.holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(statistics.holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    np.testing.assert_allclose(statistics.holm([0.6, 0.7]), [1, 1])
    assert statistics.holm([]).shape == (0,)
    assert np.isnan(statistics.holm([np.nan])).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_bonferroni_test(p_values):
    """Holm rejects a hypothesis where Bonferroni rejects every set of hypotheses that holds it (Marcus 1976)."""
    numbers = range(len(p_values))
    subsets = [some for size in numbers for some in combinations(numbers, size + 1)]
    expected = [max(len(some) * min(p_values[i] for i in some) for some in subsets if k in some) for k in numbers]
    np.testing.assert_allclose(statistics.holm(p_values), np.minimum(expected, 1))
