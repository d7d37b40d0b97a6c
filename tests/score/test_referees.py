"""Other people's code on the same masks: segauge (surface meshes) and SimpleITK, for random masks and phantoms.

Voxel and lesion counts agree exactly, surface distances within a voxel. Where a definition differs, the test says how.
"""

from typing import NamedTuple

import numpy as np
import pytest
import segauge
import SimpleITK as sitk
from scipy import ndimage
from segauge.metrics.distance import SurfaceDistances, compute_surface_distances

from ich.phantom.head import blood_kinds, make_patient
from ich.score.metrics import Mask, dice
from ich.score.patient import patient_row
from ich.score.surfaces import NSD_TOLERANCE_MM, Spacing, surface_scores


class Case(NamedTuple):
    """Bool volumes (slices, rows, columns) and their spacing in mm."""

    truth: Mask
    pred: Mask
    spacing_mm: Spacing

    @property
    def row(self) -> dict[str, float | int]:
        return patient_row(self.truth, self.pred, self.pred.astype(np.float32), self.spacing_mm)


def specks(seed: int) -> Case:
    """Single voxels and pairs, most of them beside each other only across an edge or a corner."""
    rng = np.random.default_rng(seed)
    return Case(*(rng.random((2, 6, 9, 10)) < 0.12), (5.0, 0.5, 0.7))


def blobs(seed: int) -> Case:
    """Rounded regions that overlap in part."""
    noise, other = ndimage.gaussian_filter(np.random.default_rng(seed).random((2, 10, 20, 20)), (0, 1, 2, 2))
    return Case(*(field > np.quantile(field, 0.85) for field in (noise, noise + other)), (2.0, 0.8, 1.0))


def head(kind: str) -> Case:
    """The blood of a phantom, and a mask that is thicker, lies aside, and has a false component."""
    number = next(k for k in range(40) if kind in blood_kinds(5, k))
    made = make_patient(5, number, 64)
    truth = made.mask.transpose(2, 1, 0) > 0
    pred = np.roll(ndimage.binary_dilation(truth), 1, axis=2)
    pred[1, 1:3, 1:3] = True
    spacing = np.linalg.norm(made.affine[:3, :3], axis=0)[::-1]
    return Case(truth, pred, tuple(map(float, spacing)))


CASES = {
    **{f"specks {seed}": (specks, seed) for seed in range(4)},
    **{f"blobs {seed}": (blobs, seed) for seed in range(4)},
    **{kind: (head, kind) for kind in ("epidural", "subdural", "intraparenchymal", "subarachnoid")},
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    make, given = request.param
    return make(given)


def image(mask: Mask, spacing_mm: Spacing) -> sitk.Image:
    made = sitk.GetImageFromArray(mask.astype(np.uint8))
    made.SetSpacing(spacing_mm[::-1])  # ITK counts the axes from the fastest one
    return made


def components(mask: sitk.Image) -> sitk.Image:
    return sitk.ConnectedComponent(mask, True)  # True: by face, edge and corner


def touched(labels: sitk.Image, other: sitk.Image) -> list[bool]:
    """For each label whether a voxel of it is in the mask `other`."""
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(other, labels)
    return [statistics.GetMaximum(label) > 0 for label in statistics.GetLabels() if label]


def directed_hd95(distances: SurfaceDistances) -> float:
    """The larger of the two directed percentiles; segauge's own is that of both surfaces in one pool."""
    both = ((distances.d_pg, distances.w_pg), (distances.d_gp, distances.w_gp))
    return max(float(np.quantile(d, 0.95, weights=area, method="inverted_cdf")) for d, area in both)


def test_overlap(case: Case) -> None:
    row = case.row
    assert tuple(row[name] for name in ("tp", "fp", "fn", "tn")) == segauge.confusion(case.pred, case.truth)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(image(case.pred, case.spacing_mm), image(case.truth, case.spacing_mm))
    assert row["dice"] == pytest.approx(segauge.dice(case.pred, case.truth), abs=1e-12)
    assert row["dice"] == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-12)
    assert row["iou"] == pytest.approx(segauge.iou(case.pred, case.truth), abs=1e-12)
    assert row["iou"] == pytest.approx(overlap.GetJaccardCoefficient(), abs=1e-12)
    assert row["sensitivity"] == pytest.approx(1 - overlap.GetFalseNegativeError(), abs=1e-12)


def test_volumes(case: Case) -> None:
    for name, mask in (("volume_true_ml", case.truth), ("volume_pred_ml", case.pred)):
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(image(mask, case.spacing_mm))
        assert case.row[name] == pytest.approx(shape.GetPhysicalSize(1) / 1000)


def test_lesions(case: Case) -> None:
    truth, pred = (image(mask, case.spacing_mm) for mask in (case.truth, case.pred))
    found, on_blood = touched(components(truth), pred), touched(components(pred), truth)
    row = case.row
    assert (row["lesions_true"], row["lesions_found"]) == (len(found), sum(found))
    assert row["lesions_invented"] == on_blood.count(False)
    # segauge pairs each lesion with one component at most: of two lesions under one component it finds one, and of two
    # components on one lesion it calls one false.
    paired = segauge.detection_scores(case.pred, case.truth, iou_threshold=1e-9, connectivity=3)
    assert (paired.tp + paired.fn, paired.tp + paired.fp) == (len(found), len(on_blood))
    assert paired.tp <= row["lesions_found"]
    assert paired.fp >= row["lesions_invented"]


def test_surfaces_agree_within_a_voxel(case: Case) -> None:
    """surface-distance puts a surface element at the corner of voxels, segauge a mesh between their centres.

    Within the cell around a corner both are at most half its diagonal apart, so the distance of two surfaces is at
    most one diagonal, and the NSD lies between those at tolerances that differ by so much.
    """
    theirs = compute_surface_distances(case.pred, case.truth, case.spacing_mm)
    diagonal = float(np.linalg.norm(case.spacing_mm))
    assert case.row["hd95_mm"] == pytest.approx(directed_hd95(theirs), abs=diagonal)
    low, high = (segauge.nsd(theirs, max(NSD_TOLERANCE_MM + step, 0)) for step in (-diagonal, diagonal))
    assert low <= case.row["nsd_2mm"] <= high


@pytest.mark.parametrize(("inner", "outer", "nsd"), [(11, 12, 1.0), (6, 12, 0.0)])
def test_distance_of_two_balls_with_one_centre(inner: int, outer: int, nsd: float) -> None:
    """The difference of the radii, in 1 mm voxels. A voxel in the corner moves the maximum and no 95th percentile."""
    distance = np.linalg.norm(np.indices((27, 27, 27)) - 13, axis=0)
    truth, pred, spacing = distance <= inner, distance <= outer, (1.0, 1.0, 1.0)
    pred[0, 0, 0] = True
    ours = surface_scores(truth, pred, spacing)
    theirs = segauge.surface_metrics(pred, truth, spacing, nsd_tolerance=NSD_TOLERANCE_MM)
    assert ours["hd95_mm"] == pytest.approx(outer - inner, abs=0.5)
    assert theirs["hd95"] == pytest.approx(outer - inner, abs=0.5)
    assert ours["nsd_2mm"] == pytest.approx(nsd, abs=0.01)
    assert theirs["nsd"] == pytest.approx(nsd, abs=0.01)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(image(truth, spacing), image(pred, spacing))
    assert hausdorff.GetHausdorffDistance() == pytest.approx(13 * 3**0.5 - inner, abs=0.5)


def test_empty_masks_are_undefined_here_and_perfect_there() -> None:
    """segauge scores two empty masks 1 (Metrics Reloaded); here such patients are judged by their volume alone."""
    empty, one = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    one[1, 1, 1] = True
    assert segauge.dice(empty, empty) == segauge.surface_metrics(empty, empty)["nsd"] == 1
    ours = surface_scores(empty, empty, (1, 1, 1))
    assert np.isnan([dice(0, 0, 0), ours["hd95_mm"], ours["nsd_2mm"]]).all()
    missed = segauge.surface_metrics(empty, one)
    assert surface_scores(one, empty, (1, 1, 1)) == {"hd95_mm": missed["hd95"], "nsd_2mm": missed["nsd"]}
