"""Patients with several scans: neighbours, lesions and distances stay within a scan, the patient is one row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich.data import patients
from ich.data.pixels import Slices, near_rows
from ich.score import breakdown, evaluation
from ich.score.operating import Point

SPACING = {"spacing_slice_mm": 5.0, "spacing_row_mm": 1.0, "spacing_column_mm": 1.0}


def made(*scans: tuple[str, str], slices: int = 2, spacing: float = 5.0) -> Slices:
    """Slices of 8 x 8 pixels without blood, of scans given as (patient, name)."""
    rows = [
        {"id": f"{name}_{number}", "patient": patient, "slice": number, "source": f"images/{name}.nii.gz",
         **SPACING, "spacing_slice_mm": spacing}
        for patient, name in scans for number in range(1, slices + 1)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return Slices(table, np.zeros((len(table), 8, 8, 1), np.uint8), np.zeros((len(table), 8, 8), np.uint8))


def test_neighbours_are_of_the_same_scan() -> None:
    near = near_rows(made(("A", "a"), ("A", "b")).table)
    assert near.tolist() == [[0, 0, 1], [0, 1, 1], [2, 2, 3], [2, 3, 3]]


def test_counts_are_summed_and_lesions_do_not_join_scans() -> None:
    slices = made(("A", "a"), ("A", "b"))
    slices.masks[:, 2:4, 2:4] = 1  # four slices, the same place: two lesions of 8 pixels, in two scans
    prob = np.zeros(slices.masks.shape, np.float32)
    prob[:2, 2:4, 2:4] = 0.75  # the first scan is found whole, nothing of the second
    prob[3, 6, 6] = 0.875  # and a false alarm there
    (row,) = evaluation.patient_scores(slices, prob).to_dict("records")
    assert (row["patient"], row["tp"], row["fp"], row["fn"]) == ("A", 8, 1, 8)
    assert row["tn"] == 4 * 64 - 17
    assert row["dice"] == pytest.approx(2 * 8 / (2 * 8 + 1 + 8))
    assert row["score"] == 0.875
    assert (row["lesions_true"], row["lesions_found"], row["lesions_invented"]) == (2, 1, 1)
    assert row["lesions_true_under_1ml"] == 2
    # 16 voxels of 5 mm3
    assert row["volume_true_ml"] == pytest.approx(0.08)
    assert row["volume_pred_ml"] == pytest.approx(0.045)


def test_hd95_is_that_of_the_worst_scan_and_nsd_the_mean() -> None:
    slices = made(("A", "a"), ("A", "b"), ("A", "c"))
    slices.masks[:4, 2:4, 2:4] = 1
    prob = slices.masks.astype(np.float32)
    prob[2:4] = np.roll(prob[2:4], 3, axis=2)  # 3 mm aside in the second scan; the third has nothing at all
    (row,) = evaluation.patient_scores(slices, prob).to_dict("records")
    alone = evaluation.patient_scores(slices.part(slices.table["source"] == "images/b.nii.gz"), prob[2:4])
    assert row["hd95_mm"] == alone["hd95_mm"][0] > 0
    assert row["nsd_2mm"] == pytest.approx((1 + alone["nsd_2mm"][0]) / 2)


def test_small_components_are_removed_scan_by_scan() -> None:
    slices = made(("A", "a"), ("A", "b"), slices=1)
    prob = np.zeros(slices.masks.shape, np.float32)
    prob[:, 2, 2:4] = 1  # 10 mm3 in each scan, 20 mm3 if they touched
    assert not evaluation.predicted(slices, prob, Point(0.5, 15)).any()
    assert evaluation.predicted(slices, prob, Point(0.5, 10)).sum() == 4
    row = evaluation.patient_scores(slices, prob, Point(0.5, 15)).iloc[0]
    assert (row["fp"], row["lesions_invented"]) == (0, 0)


def test_operating_counts_are_those_of_the_scans_together() -> None:
    slices = made(("A", "a"), ("A", "b"))
    slices.masks[:, 2:4, 2:4] = 1
    prob = slices.masks * np.float32(0.6)
    table = evaluation.operating_counts(slices, prob)
    each = [evaluation.operating_counts(slices.part(slices.table["source"] == f"images/{name}.nii.gz"), part)
            for name, part in (("a", prob[:2]), ("b", prob[2:]))]  # fmt: skip
    for name in ("tp", "fp", "fn", "tn", "lesions_true", "lesions_found", "lesions_invented"):
        assert table[name].tolist() == (each[0][name] + each[1][name]).tolist(), name
    assert table["patient"].eq("A").all()
    assert table["voxel_mm3"].eq(5).all()
    assert not table.duplicated(["threshold", "min_lesion_mm3"]).any()


def test_voxels_of_two_sizes_count_by_their_mean() -> None:
    table = pd.concat([made(("A", "a"), ("B", "c")).table, made(("A", "b"), spacing=3.0).table], ignore_index=True)
    assert breakdown.voxel_ml(table).to_dict() == pytest.approx({"A": 0.004, "B": 0.005})


@pytest.mark.parametrize(
    ("names", "near", "lesions"),
    [
        (("A_1", "A_2", "A_3", "A_4"), [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]], 1),
        (("x_1", "x_2", "y_1", "y_2"), [[0, 0, 1], [0, 1, 1], [2, 2, 3], [2, 3, 3]], 2),  # two scans of a patient
        (("4f", "a0", "b7", "c9"), [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]], 2),  # in no order that is known
    ],
)
def test_without_volumes_a_scan_is_what_names_and_numbers_say(
    names: tuple[str, ...], near: list[list[int]], lesions: int, tmp_path: Path
) -> None:
    slices, table = made(("A", "a"), ("A", "b")), tmp_path / "patients.csv"
    table.write_text("id,patient\n" + "".join(f"{name},A\n" for name in names))
    known, notes, _ = patients.assign(pd.DataFrame({"id": names}), table)
    assert ("4 of 4 names have no slice number" in "".join(notes)) == ("4f" in names)
    own = Slices(slices.table.assign(source=np.nan, **known), slices.images, slices.masks)
    assert near_rows(own.table).tolist() == near
    own.masks[1:3, 2, 2] = 1
    assert evaluation.patient_scores(own, own.masks.astype(np.float32))["lesions_true"].tolist() == [lesions]
