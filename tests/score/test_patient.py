"""Whole scans: surfaces with unequal spacing worked by hand, lesions against a flood fill, summaries."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from surface_distance import metrics as metrics_of_package

from ich.score import metrics, surfaces
from ich.score.patient import invented_lesions, lesions, patient_row, size_class, volume_ml
from ich.score.summary import patient_summary, slice_summary, summarize
from ich.score.surfaces import surface_scores

pytestmark = pytest.mark.filterwarnings("error")
SPACING = (5.0, 0.5, 0.5)


def volume(*voxels, shape=(8, 16, 16)):
    """Return a bool volume with these voxels (or index tuples with slices) set."""
    mask = np.zeros(shape, dtype=bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


# Surface elements sit on voxel corners. Of two voxels k apart, half of the corners are k steps from the other voxel
# and half are k - 1: HD95 is k steps, and NSD is 1, 1/2 or 0 as both, one or none of them lie within 2 mm.
@pytest.mark.parametrize(
    ("other", "hd95", "nsd"),
    [
        ((2, 4, 4), 0.0, 1.0),
        ((3, 4, 4), 5.0, 0.5),  # one slice of 5 mm: the common face is at distance 0, the far one at 5
        ((5, 4, 4), 15.0, 0.0),
        ((2, 8, 4), 2.0, 1.0),  # four rows of 0.5 mm: 1.5 and 2 mm, and 2 mm still counts
        ((2, 9, 4), 2.5, 0.5),
        ((2, 4, 10), 3.0, 0.0),  # six columns: 2.5 and 3 mm
    ],
)
def test_surfaces_of_two_voxels_with_unequal_spacing(other, hd95, nsd):
    scores = surface_scores(volume((2, 4, 4)), volume(other), SPACING)
    assert scores == pytest.approx({"hd95_mm": hd95, "nsd_2mm": nsd})


@pytest.mark.parametrize(("axis", "expected"), [(0, 10.0), (1, 2.0), (2, 4.0)])
def test_spacing_belongs_to_its_axis(axis, expected):
    shifted = [3, 3, 3]
    shifted[axis] += 2
    scores = surface_scores(volume((3, 3, 3)), volume(tuple(shifted)), (5.0, 1.0, 2.0))
    assert scores["hd95_mm"] == expected


# A bar of L voxels of 1 mm, the first of which is the other mask: from the voxel to the bar 0 mm, from the bar to the
# voxel up to L - 1. The bar's end face has four corner elements of area sqrt(3)/8 each, every ring between has
# four edge elements of area sqrt(2)/2. L = 4: the end is 0.87 of 10.2 mm2, more than 5 %, so its 3 mm count.
# L = 11: 0.87 of 30.0 mm2 is less than 5 %, so the 95th percentile is the ring before the end: 9 mm, not 10.
@pytest.mark.parametrize(("length", "hd95"), [(4, 3.0), (11, 9.0)])
def test_hd95_is_the_larger_directed_percentile_not_the_maximum(length, hd95):
    voxel, bar = volume((4, 4, 2)), volume((4, 4, slice(2, 2 + length)))
    assert surface_scores(voxel, bar, (1, 1, 1))["hd95_mm"] == pytest.approx(hd95)
    assert surface_scores(bar, voxel, (1, 1, 1))["hd95_mm"] == pytest.approx(hd95)


def corners(mask, spacing_mm):
    """Return the places (mm) of the voxel corners with blood on one side and none on another, one by one."""
    padded = np.pad(mask, 1)
    ranges = [range(size + 1) for size in mask.shape]
    mixed = [p for p in np.ndindex(*map(len, ranges)) if 0 < padded[tuple(slice(i, i + 2) for i in p)].sum() < 8]
    return np.array(mixed) * spacing_mm


@settings(max_examples=25, deadline=None)
@given(arrays(bool, (3, 4, 4)), arrays(bool, (3, 4, 4)))
def test_surfaces_agree_with_distances_between_all_corners(truth, pred):
    assume(truth.any() and pred.any())
    distance = cdist(corners(truth, SPACING), corners(pred, SPACING))
    nearest = np.concatenate([distance.min(axis=0), distance.min(axis=1)])
    scores = surface_scores(truth, pred, SPACING)
    assert np.isclose(nearest, scores["hd95_mm"]).any()
    assert scores["hd95_mm"] <= nearest.max() + 1e-9
    if (nearest <= 2).all() or (nearest > 2).all():
        assert scores["nsd_2mm"] == pytest.approx((nearest <= 2).mean())
    assert surface_scores(pred, truth, SPACING) == pytest.approx(scores)


def test_surfaces_of_empty_masks():
    empty, one = volume(), volume((1, 1, 1))
    missed = {"hd95_mm": np.inf, "nsd_2mm": 0.0}
    assert surface_scores(one, empty, SPACING) == missed
    assert surface_scores(empty, one, SPACING) == missed
    assert np.isnan(list(surface_scores(empty, empty, SPACING).values())).all()


@pytest.mark.parametrize("spacing", [(5.0, 0.5), (5.0, 0.0, 0.5), (5.0, float("nan"), 0.5), (float("nan"), 1, 1)])
def test_a_spacing_that_measures_nothing_is_refused(spacing):
    with pytest.raises(ValueError, match="3 spacings above 0"):
        surface_scores(volume((1, 1, 1)), volume((1, 1, 1)), spacing)


def test_volume_in_millilitres():
    assert volume_ml(volume((slice(0, 4), slice(0, 10), slice(0, 10))), SPACING) == 0.5  # 400 * 1.25 mm3


@pytest.mark.parametrize(("ml", "expected"), [(0.99, "<1"), (1, "1-10"), (10, "1-10"), (10.01, ">10")])
def test_size_classes(ml, expected):
    assert size_class(ml) == expected


def test_lesions_worked_by_hand():
    one_lesion = [(0, 0, 0), (1, 1, 1)]  # they share a corner only
    block = (slice(4, 6), slice(4, 8), slice(4, 8))  # 32 voxels of 50 mm3 = 1.6 ml
    truth = volume(*one_lesion, block)
    pred = volume((5, 7, 7), (5, 8, 8), (0, 12, 12), (7, 15, 0), (7, 14, 0))  # on the block twice joined; two invented
    assert lesions(truth, pred, (2, 5, 5)) == [
        {"volume_ml": 0.1, "size_class": "<1", "found": False},
        {"volume_ml": 1.6, "size_class": "1-10", "found": True},
    ]
    assert invented_lesions(truth, pred) == 2
    assert lesions(volume(), pred, SPACING) == []
    assert invented_lesions(volume(), pred) == 3
    assert invented_lesions(truth, volume()) == 0


def components(mask):
    """Return the 26-connected components as sets of voxels, found by flood fill."""
    left, found = set(map(tuple, np.argwhere(mask))), []
    while left:
        part, edge = set(), {left.pop()}
        while edge:
            part |= edge
            edge = {q for q in left if any(max(abs(np.subtract(p, q))) == 1 for p in edge)}
            left -= edge
        found.append(part)
    return found


@settings(max_examples=25, deadline=None)
@given(arrays(bool, (3, 5, 5), elements=st.sampled_from([False] * 4 + [True])), st.integers(0, 2**32))
def test_lesions_agree_with_a_flood_fill(truth, seed):
    pred = np.random.default_rng(seed).random(truth.shape) < 0.15
    blood, predicted = (set(map(tuple, np.argwhere(mask))) for mask in (truth, pred))
    found = lesions(truth, pred, (10, 10, 10))
    expected = sorted((float(len(part)), bool(part & predicted)) for part in components(truth))
    assert sorted((lesion["volume_ml"], lesion["found"]) for lesion in found) == expected
    assert invented_lesions(truth, pred) == sum(not part & blood for part in components(pred))


COLUMNS = (
    "tp fp fn tn dice iou precision sensitivity score hd95_mm nsd_2mm volume_true_ml volume_pred_ml "
    "lesions_true lesions_found lesions_invented lesions_true_under_1ml lesions_found_under_1ml "
    "lesions_true_1_to_10ml lesions_found_1_to_10ml lesions_true_over_10ml lesions_found_over_10ml"
)


def test_patient_row_worked_by_hand():
    truth = volume((2, 4, 4), (2, 4, 5), (6, slice(0, 4), slice(0, 4)))  # 2 and 16 voxels of 100 mm3: 0.2 and 1.6 ml
    prob = np.zeros(truth.shape, np.float32)
    prob[6, 0:4, 0:4] = 0.5  # the larger lesion, exactly at the threshold
    prob[0, 15, 12:16] = 0.75  # an invented one of 4 voxels
    row = patient_row(truth, prob >= 0.5, prob, (4.0, 5.0, 5.0))
    assert list(row) == COLUMNS.split()
    assert (row["tp"], row["fp"], row["fn"], row["tn"]) == (16, 4, 2, 2048 - 22)
    expected = {"dice": 32 / 38, "iou": 16 / 22, "precision": 0.8, "sensitivity": 16 / 18, "score": 0.75}
    expected |= {"volume_true_ml": 1.8, "volume_pred_ml": 2.0}
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert [row[name] for name in COLUMNS.split()[13:]] == [2, 1, 1, 1, 0, 1, 1, 0, 0]
    assert all(type(value) in (int, float) for value in row.values())


def clean_and_bloody_patients():
    blood, empty = volume((2, slice(4, 6), slice(4, 6))), volume()
    half = volume((2, 4, slice(4, 6)))  # two of four voxels: Dice 2/3
    alarm = volume((7, 0, 0), (7, 0, 1))
    truths, preds = (blood, blood, blood, empty, empty), (blood, half, empty, empty, alarm)
    probs = [np.where(pred, 0.9, 0.1).astype(np.float32) for pred in preds]
    scans = [(truth, prob >= 0.5, prob) for truth, prob in zip(truths, probs, strict=True)]
    rows = [patient_row(*scan, (10, 10, 10)) for scan in scans]
    slices = [pd.DataFrame(metrics.slice_table(*scan)) for scan in scans]
    return pd.DataFrame(rows), pd.concat(slices, ignore_index=True)


def test_summary_worked_by_hand():
    result = summarize(*clean_and_bloody_patients())
    expected = {"n_patients": 5, "n_with_blood": 3, "n_clean": 2, "n_empty": 1, "n_hd95_undefined": 1}
    expected |= {"dice_mean": 5 / 9, "dice_median": 2 / 3, "iou_mean": 0.5}  # Dice 1, 2/3, 0; IoU 1, 1/2, 0
    expected |= {"dice_sd": np.sqrt(((4 / 9) ** 2 + (1 / 9) ** 2 + (5 / 9) ** 2) / 2)}
    expected |= {"hd95_mm_median": 10.0}  # 0, one row of 10 mm, infinite
    expected |= {"volume_error_ml_median": 2.0}  # of 4 ml: 4, 2 and 0 ml predicted
    expected |= {"scan_sensitivity": 2 / 3, "scan_specificity": 0.5}
    # scores 0.9 0.9 0.1 against 0.1 0.9: of six pairs two are won (0.9 over 0.1), three drawn, one lost
    expected |= {"scan_auroc": (2 + 3 / 2) / 6}
    expected |= {"false_positive_ml_per_clean_patient": 1.0}  # 0 and 2 voxels of 1 ml
    expected |= {"lesions_true": 3, "lesions_found": 2, "lesions_invented": 1, "lesion_sensitivity": 2 / 3}
    # the lesion of 4 voxels has 4 ml
    expected |= {"lesions_true_1_to_10ml": 3, "lesions_found_1_to_10ml": 2, "lesions_true_over_10ml": 0}
    expected |= {"lesion_sensitivity_1_to_10ml": 2 / 3}
    expected |= {"n_slices": 40, "n_lesion_slices": 3, "n_empty_slices": 36, "lesion_slice_dice_mean": 5 / 9}
    expected |= {"pooled_dice": 12 / 20, "pooled_iou": 6 / 14}  # tp 4+2, fp 2, fn 2+4
    expected |= {"pooled_precision": 6 / 8, "pooled_sensitivity": 6 / 12}
    expected |= {"slice_sensitivity": 2 / 3, "slice_specificity": 36 / 37}
    # 3 slices against 37: the two at 0.9 win 36 and draw one each, the one at 0.1 draws 36 and loses one
    expected |= {"slice_auroc": (2 * 36.5 + 36 / 2) / (3 * 37)}
    assert {name: result[name] for name in expected} == pytest.approx(expected)


def test_summary_of_one_class_or_of_nothing():
    patients, slices = clean_and_bloody_patients()
    clean = summarize(patients[3:], slices[24:])
    assert np.isnan([clean[name] for name in ("dice_mean", "hd95_mm_median", "scan_auroc", "slice_auroc")]).all()
    assert np.isnan([clean["scan_sensitivity"], clean["lesion_sensitivity"]]).all()
    assert np.isnan(clean["lesion_sensitivity_over_10ml"])
    assert (clean["scan_specificity"], clean["pooled_dice"], clean["n_hd95_undefined"]) == (0.5, 0, 0)
    bloody = summarize(patients[:3], slices[:24])
    assert np.isnan([bloody["scan_specificity"], bloody["false_positive_ml_per_clean_patient"]]).all()
    nothing = summarize(patients[:0], slices[:0])
    assert nothing["n_patients"] == 0
    assert np.isnan([nothing["dice_mean"], nothing["pooled_dice"]]).all()


def test_summary_without_whole_scans_has_no_patient_values():
    _, slices = clean_and_bloody_patients()
    result = summarize(None, slices)
    assert result == slice_summary(slices)
    assert not any("scan" in name or "patient" in name or "hd95" in name for name in result)


def test_the_worst_hd95_counts_in_the_median():
    patients, _ = clean_and_bloody_patients()
    assert patient_summary(patients.iloc[[0, 2, 2]])["hd95_mm_median"] == np.inf
    assert patient_summary(patients.iloc[[1, 2]])["hd95_mm_median"] == np.inf


def test_sorting_is_that_of_the_package() -> None:
    """By distance, then area; what the package does with a Python list of pairs."""
    rng = np.random.default_rng(0)
    distances, areas = rng.integers(0, 9, 500) / 2, rng.random(500).round(1)
    expected = np.array(sorted(zip(distances, areas, strict=True)))
    np.testing.assert_array_equal(np.column_stack(surfaces.sort_by_distance(distances, areas)), expected)
    assert metrics_of_package._sort_distances_surfels is surfaces.sort_by_distance  # the one that is called
