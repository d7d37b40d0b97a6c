"""Results that can hardly be true get a warning, those that can do not."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from predict_files import SIZE, job, only, phantom, write_nifti

from ich.predict import job as jobs
from ich.predict import measure, plausibility, results
from ich.predict.method import Method
from ich.scans.scan import Scan
from ich.scans.window import Window
from ich.score.operating import FIXED

SLICES, ROWS, COLUMNS = 20, 60, 50
ADVICE = "; check that this is a head CT in HU and that the network fits; see overlay.png"


def head(pixel_mm: float = 4.0) -> Scan:
    """A block of 40 x 50 x 20 voxels of 4 x 4 x 5 mm, 3.2 litres, with air around it and a hollow in it."""
    hu = np.full((COLUMNS, ROWS, SLICES), -1000, np.int16)
    hu[5:45, 5:55] = 40
    hu[20:30, 20:30] = -1000
    hu[6, 6:50] = 30000  # metal
    affine = np.diag([pixel_mm, -pixel_mm, 5, 1])
    return Scan(Path("a"), nib.Nifti1Image(hu, affine), hu, affine)


def box(*sides: slice) -> np.ndarray:
    mask = np.zeros((COLUMNS, ROWS, SLICES), bool)
    mask[sides] = bool(sides)
    return mask


def warned(scan: Scan, mask: np.ndarray) -> list[str]:
    planes, masks = scan.upright(), scan.upright(mask)
    return plausibility.warnings(planes, masks, scan, measure.measures(mask, scan))


def test_volume_of_the_head_has_all_that_it_encloses() -> None:
    scan = head()
    assert plausibility.head_ml(scan.upright(), scan.voxel_mm3) == pytest.approx(40 * 50 * 20 * 0.08)


MIDDLE = slice(2, 18)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (box(), ""),
        (box(slice(10, 20), slice(10, 25), slice(5, 15)), ""),  # 120 ml
        (box(slice(10, 20), slice(10, 35), MIDDLE), "320 ml of blood, 10% of the head"),
        (box(slice(5, 45), slice(5, 55), MIDDLE), "2560 ml of blood, 80% of the head; one lesion is 256 mm long, "
                                                  "longer than a brain"),
        (box(slice(10, 12), slice(5, 55), slice(3, 8)), "one lesion is 200 mm long, longer than a brain"),
        (box(slice(10, 12), slice(5, 54), slice(3, 8)), ""),  # 196 mm
        (box(slice(9, 11), slice(9, 11), slice(0, 20)), "blood in 20 of 20 slices, down to the first and up to "
                                                           "the last"),
        (box(slice(9, 11), slice(9, 11), slice(1, 20)), ""),
    ],
)  # fmt: skip
def test_what_can_hardly_be_true_is_said(mask: np.ndarray, reason: str) -> None:
    expected = [f"warning: {reason}{ADVICE}"] if reason else []
    assert warned(head(), mask) == expected


@pytest.mark.parametrize(("columns", "reasons"), [(10, []), (20, ["96 ml of blood, 12% of the head"])])
def test_a_tenth_of_a_small_head_is_too_much_as_well(columns: int, reasons: list[str]) -> None:
    """Pixels of 2 mm: a head of 0.8 litres."""
    mask = box(slice(10, 10 + columns), slice(10, 34), slice(5, 15))
    assert warned(head(2.0), mask) == [f"warning: {reason}{ADVICE}" for reason in reasons]


@pytest.mark.parametrize(("least_hu", "times"), [(-20, 1), (2500, 0)])
def test_a_warning_is_printed_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture, least_hu: int, times: int
) -> None:
    """A network that calls all tissue blood, and one that finds none."""
    made = phantom()
    path = write_nifti(tmp_path / "a.nii", made.hu, made.affine)
    method = Method(SIZE, (Window(40, 120),), FIXED, {})
    work = job(tmp_path / "out", method, lambda hu: (hu > least_hu).astype(np.float32))
    jobs.predict_once(work, only(path))
    results.write_volumes(tmp_path / "out")
    for text in (capsys.readouterr().out, (tmp_path / "out/volumes.csv").read_text()):
        assert text.count("warning: ") == text.count(ADVICE) == times
    notes = results.read(tmp_path / "out/a").facts["notes"]
    assert [note.startswith("warning: ") for note in notes] == [True] * times


@pytest.mark.parametrize(("slice_mm", "reasons"), [(15.0, 0), (15.5, 1)])
def test_scan_longer_than_a_head_and_neck(slice_mm: float, reasons: int) -> None:
    """20 slices of 15.5 mm are 310 mm; no blood is needed for the warning."""
    scan = head()
    affine = scan.affine.copy()
    affine[2, 2] = slice_mm
    warnings = warned(dataclasses.replace(scan, affine=affine), box())
    assert len(warnings) == reasons
    assert all("310 mm long, longer than a head and neck: are these two scans in one?" in each for each in warnings)
