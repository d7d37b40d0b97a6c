"""Slices at any distances: how thick each counts, where slices are missing, and the grid that shows them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from predict_files import job, only, phantom
from pydicom.uid import generate_uid
from series_files import changed, moved, read, slices_of, turned

from ich.base.errors import InputError
from ich.base.files import read_json
from ich.phantom.head import Patient, blood_kinds, make_patient
from ich.phantom.series import write_series
from ich.predict import measure
from ich.predict.job import predict_once
from ich.predict.method import Method
from ich.scans import slice_geometry
from ich.scans.scan import Scan
from ich.scans.window import Window
from ich.score.operating import FIXED

NO = np.nan
PIXELS = (512, 512)


def at(*distances: float) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(distances)])


def laid(heights: np.ndarray, said: object = NO) -> slice_geometry.Layout:
    return slice_geometry.lay_out(heights, np.broadcast_to(np.array(said, float), heights.shape), "x", PIXELS)


THIN_BELOW = at(2.5, 2.5, 2.5, 2.5, 3.75, 5, 5, 5)  # five of 2.5 mm below four of 5 mm, all touching
SAID = [2.5] * 5 + [5] * 4
GEOMETRY = {  # heights, SliceThickness -> counted thickness, step, cells a slice, missing
    "equal": (at(5, 5, 5, 5), 5, [5] * 5, 5, [1] * 5, {}),
    "equal, thickness unknown": (at(5, 5, 5, 5), NO, [5] * 5, 5, [1] * 5, {}),
    "rounded to whole mm": (at(5, 5, 4.99, 5.01), 5, [5] * 5, 5, [1] * 5, {}),
    "2.5 below 5": (THIN_BELOW, SAID, SAID, 2.5, [1] * 5 + [2] * 4, {}),
    # Half way between the two is 1.875 from each: the last thin one counts 1.25 + 1.875, the first thick one 4.375.
    "2.5 below 5, thickness unknown": (
        THIN_BELOW, NO, [2.5] * 4 + [3.125, 4.375] + [5] * 3, 0.625, [4] * 4 + [5, 7] + [8] * 3, {}),
    # The thick ones overlap the last thin one: 1.25 + 1.25, then 1.25 + 2.5.
    "2.5 below 5, joint 2.5": (
        at(2.5, 2.5, 2.5, 2.5, 5, 5, 5), [2.5] * 4 + [5] * 4, [2.5] * 4 + [3.75] + [5] * 3, 1.25,
        [2] * 4 + [3] + [4] * 3, {}),
    "5 below 2.5": (THIN_BELOW.max() - THIN_BELOW[::-1], SAID[::-1], SAID[::-1], 2.5, [2] * 4 + [1] * 5, {}),
    # A whole region of larger distances is a protocol, whatever SliceThickness says.
    "thickness wrong": (at(2.5, 2.5, 2.5, 2.5, 5, 5, 5), 2.5, [2.5] * 4 + [3.75, 5, 5, 5], 1.25,
                        [2] * 4 + [3, 4, 4, 4], {}),
    "two thick ones at the top": (at(2.5, 2.5, 2.5, 2.5, 3.75, 5), [2.5] * 5 + [5] * 2, [2.5] * 5 + [5] * 2, 2.5,
                                  [1] * 5 + [2] * 2, {}),
    "one missing": (at(5, 5, 5, 10, 5, 5, 5), 5, [5] * 8, 5, [1] * 8, {3: 1}),
    "two missing, thickness unknown": (at(5, 5, 15, 5, 5, 5), NO, [5] * 7, 5, [1] * 7, {2: 2}),
    "two gaps": (at(5, 5, 5, 10, 10, 5, 5, 5), 5, [5] * 9, 5, [1] * 9, {3: 1, 4: 1}),
    "first one alone": (at(10, 5, 5, 5), 5, [5] * 5, 5, [1] * 5, {0: 1}),
    "missing among thick ones": (at(2.5, 2.5, 2.5, 3.75, 5, 5, 5, 10, 5), [2.5] * 4 + [5] * 6, [2.5] * 4 + [5] * 6,
                                 2.5, [1] * 4 + [2] * 6, {7: 1}),
    "missing at the joint": (at(2.5, 2.5, 2.5, 8.75, 5, 5, 5), [2.5] * 4 + [5] * 4, [2.5] * 4 + [5] * 4, 2.5,
                             [1] * 4 + [2] * 4, {3: 1}),
    "rounded thin ones": (at(0.6, 0.6, 0.7, 0.6, 0.6, 0.6, 0.7, 0.6), NO, [0.625] * 9, 0.625, [1] * 9, {}),
}  # fmt: skip


@pytest.mark.parametrize(("heights", "said", "thickness", "step", "cells", "missing"), GEOMETRY.values(), ids=GEOMETRY)
def test_thickness_and_grid(
    heights: np.ndarray, said: object, thickness: list[float], step: float, cells: list[int], missing: dict[int, int]
) -> None:
    found = laid(heights, said)
    np.testing.assert_allclose(found.thickness, thickness, atol=0.02)
    assert found.step == pytest.approx(step, abs=0.01)
    assert np.bincount(found.cells[found.cells >= 0]).tolist() == cells
    assert found.missing == missing
    assert found.off < 0.05
    empty = (found.cells < 0).sum() * found.step
    assert len(found.cells) * found.step == pytest.approx(found.thickness.sum() + empty)
    # Each slice is shown where it was measured: its centre lies in a cell of its own.
    own = np.floor((heights - found.start) / found.step + 1e-6).astype(int)
    np.testing.assert_array_equal(found.cells[own], np.arange(len(heights)))


def test_distances_without_a_common_part_still_lie_close_to_the_grid() -> None:
    heights = at(1.0, 1.0, 1.0, np.pi, np.pi, np.pi, np.e, np.e, np.e)
    found = laid(heights)
    assert 1 / 8 <= found.step <= 1
    assert set(found.cells) == set(range(10))
    assert found.thickness.sum() == pytest.approx(heights[-1] + 0.5 + np.e / 2)
    counted = np.bincount(found.cells) * found.step
    assert np.abs(counted - found.thickness).max() <= 2 * found.off + 1e-9
    assert "several for a thick slice" in slice_geometry.notes(found, np.full(10, NO))[0]


def test_equal_slices_at_unequal_steps_are_not_called_thick_and_thin() -> None:
    """Two runs of 5 mm slices with a distance between them that is no multiple of 5 mm."""
    found = laid(at(5, 5, 5, 5, 18.3, 5, 5, 5, 5), 5)
    _, note = slice_geometry.notes(found, np.full(10, 5.0))
    assert note.startswith("slices are 5 mm thick but do not lie on equal steps; mask and scan are written in cells of")


def test_a_grid_of_too_many_cells_is_refused() -> None:
    """Thousands of slices at distances that nothing divides: more voxels than any head."""
    heights = at(*[0.01, 0.013, 0.017] * 3, *np.linspace(90, 91, 400))
    with pytest.raises(InputError, match=r"x: declares 512 x 512 x \d+, expected at most"):
        laid(heights)


@pytest.mark.parametrize(
    ("heights", "said", "note"),
    [
        (at(5, 5, 5, 5), 5, None),
        (at(5, 5, 5, 5), 4.5, None),
        (at(5, 5, 5, 5), NO, None),
        (THIN_BELOW, SAID, "slices are 2.5 to 5 mm thick and each counts with its own thickness; mask and scan are "
                           "written in cells of 2.5 mm, several for a thick slice"),
        (at(2.5, 2.5, 2.5, 2.5), 5, "SliceThickness is 5 mm but slices are 2.5 mm apart, so they overlap; volumes are "
                                    "computed from the distances"),
        (at(10, 10, 10, 10), 5, "SliceThickness is 5 mm but slices are 10 mm apart, so they leave gaps; volumes are "
                                "computed from the distances"),
        (at(5, 5, 5, 10, 5, 5, 5), 5, "1 slice is missing (above slice 4 of 8, counted from the feet); left empty, so "
                                      "the volume may be too small"),
    ],
)  # fmt: skip
def test_notes(heights: np.ndarray, said: object, note: str | None) -> None:
    thickness = np.broadcast_to(np.array(said, float), heights.shape)
    assert slice_geometry.notes(laid(heights, said), thickness) == ([note] if note else [])


@pytest.fixture(scope="module")
def bleeding() -> Patient:
    return make_patient(0, next(number for number in range(2) if blood_kinds(0, number)), 64)


def blood(scan: Scan, made: Patient) -> dict:
    """Measures of the phantom's true mask; each slice is found by its height."""
    heights = [pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2] for path in scan.sources]
    bottom, step = made.affine[2, 3], made.affine[2, 2]
    true = np.stack([made.mask[:, :, round((height - bottom) / step)] > 0 for height in heights], axis=2)
    flips = [slice(None, None, -int(np.sign(made.affine[axis, axis]))) for axis in (0, 1)]  # LPS as DICOM
    return measure.measures(true[flips[0], flips[1]], scan)


def test_thin_slices_below_give_the_volume_of_equal_ones(tmp_path: Path, bleeding: Patient) -> None:
    thick = int(np.flatnonzero(bleeding.mask.any(axis=(0, 1))).mean())  # the joint lies within the blood
    for name, thin in (("equal", 0), ("mixed", thick)):
        write_series(tmp_path / name, bleeding, thin=thin, scout=False)
    equal, mixed = read(tmp_path / "equal"), read(tmp_path / "mixed")
    one, other = blood(equal, bleeding), blood(mixed, bleeding)
    assert one["volume_ml"] > 1
    assert other["volume_ml"] == pytest.approx(one["volume_ml"], rel=1e-6)
    assert other["lesions"] == one["lesions"]
    assert mixed.voxels.shape[2] == equal.voxels.shape[2] + thick
    assert not any("missing" in note for note in mixed.notes)
    # Written on 2.5 mm cells, both scans agree everywhere.
    np.testing.assert_array_equal(mixed.on_grid(mixed.voxels), np.repeat(equal.voxels, 2, axis=2))
    np.testing.assert_allclose(mixed.affine[:3, 2], equal.affine[:3, 2] / 2)
    np.testing.assert_allclose(mixed.affine[:3, 3], equal.affine[:3, 3] - equal.affine[:3, 2] / 4, atol=1e-5)
    np.testing.assert_array_equal(mixed.on_slices(mixed.on_grid(mixed.voxels)), mixed.voxels)


def test_the_mask_on_file_has_the_volume_of_the_table(tmp_path: Path, bleeding: Patient) -> None:
    """Whoever counts voxels of mask.nii.gz finds the volume that volumes.csv says."""
    write_series(tmp_path / "head", bleeding, thin=14, missing=(20,))
    work = job(
        tmp_path / "out", Method(64, (Window(40, 120),), FIXED, {}), lambda planes: (planes > 45) & (planes < 90)
    )
    predict_once(work, only(tmp_path / "head"))
    mask = nib.load(tmp_path / "out" / "head" / "mask.nii.gz")
    table = read_json(tmp_path / "out" / "head" / "run.json")
    voxel_ml = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
    assert table["measures"]["volume_ml"] == pytest.approx(np.count_nonzero(mask.dataobj) * voxel_ml, rel=1e-4)
    assert any(note.startswith("1 slice is missing (above slice 34 of 45") for note in table["notes"])
    assert mask.shape[2] == 64


def test_a_tilted_mixed_series_keeps_its_shear(tmp_path: Path) -> None:
    write_series(tmp_path / "head", phantom(), thin=10, tilt_deg=20, scout=False)
    scan = read(tmp_path / "head")
    np.testing.assert_allclose(scan.affine[:3, 2], (0, -2.5 * np.tan(np.radians(20)), 2.5), atol=1e-3)
    assert any("gantry tilt of 20.0 degrees" in note for note in scan.notes)
    header = pydicom.dcmread(scan.sources[-1])  # the centre of the last slice is the joint of its two cells
    place = scan.affine @ [0, 0, len(scan.cells) - 1.5, 1]
    np.testing.assert_allclose(place[:3] * [-1, -1, 1], header.ImagePositionPatient, atol=1e-3)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    write_series(tmp_path / "head", phantom(), scout=False)
    return tmp_path / "head"


def noisy(header: pydicom.Dataset, noise: np.random.Generator) -> None:
    for name, size in (("ImageOrientationPatient", 1e-4), ("PixelSpacing", 1e-5), ("ImagePositionPatient", 1e-4)):
        values = np.array(header[name].value, float)
        setattr(header, name, [f"{value:.8f}" for value in values + noise.uniform(-size, size, values.shape)])


def test_rounding_noise_makes_no_second_form(copy: Path) -> None:
    expected, noise = read(copy), np.random.default_rng(0)
    for path in slices_of(copy):
        changed(path, lambda header: noisy(header, noise))
    scan = read(copy)
    assert scan.notes == ()
    np.testing.assert_array_equal(scan.voxels, expected.voxels)
    np.testing.assert_allclose(scan.affine, expected.affine, atol=2e-3)


@pytest.mark.parametrize("number", [3, 12])
def test_two_stacks_of_different_tilt_are_refused(copy: Path, number: int) -> None:
    for path in slices_of(copy)[:number]:
        changed(path, lambda header: turned(header, 15))
    message = rf"head: series 2 'Head 5mm': holds 2 stacks.*: {32 - number} images .* tilted 0\.0 degrees .*; {number} "
    with pytest.raises(InputError, match=message + r"images of 32 x 32 pixels .* tilted -?15\.0 degrees"):
        read(copy)


def test_a_form_for_each_slice_is_refused(copy: Path) -> None:
    for number, path in enumerate(slices_of(copy)):
        changed(path, lambda header, number=number: setattr(header, "PixelSpacing", [5 + number / 10] * 2))
    with pytest.raises(InputError, match=r"holds 20 stacks"):
        read(copy)


@pytest.mark.parametrize(("index", "inside"), [(0, False), (10, True)])
def test_one_image_of_another_form_is_noted(copy: Path, index: int, inside: bool) -> None:
    path = slices_of(copy)[index]
    changed(path, lambda header: turned(header, 15))
    note, *others = read(copy).notes
    assert note.startswith(f"1 image left out ({path.name}): other size, pixel spacing or orientation than the rest")
    assert ("the volume may be too small" in note) == inside
    assert [other.startswith("1 slice is missing (above slice 10 of 31") for other in others] == [True] * inside


def test_a_slice_shifted_sideways_is_refused(copy: Path) -> None:
    path = slices_of(copy)[7]
    changed(path, lambda header: moved(header, 12, 0, 0))
    message = rf"head: .* 1 image shifted sideways from the line of the others, {path.name} by 12\.0 mm"
    with pytest.raises(InputError, match=message):
        read(copy)


@pytest.mark.parametrize("index", [0, -1])
def test_the_outermost_slice_shifted_sideways_is_refused_by_name(copy: Path, index: int) -> None:
    path = slices_of(copy)[index]
    changed(path, lambda header: moved(header, 0, -30, 0))
    with pytest.raises(InputError, match=rf"{path.name} by 30\.0 mm"):
        read(copy)


def test_one_uid_for_all_slices(copy: Path) -> None:
    """Some programs that remove names give each slice the same UID."""
    expected = read(copy)
    for path in slices_of(copy):
        changed(path, lambda header: setattr(header, "SOPInstanceUID", "1.2.3"))
    scan = read(copy)
    np.testing.assert_array_equal(scan.voxels, expected.voxels)
    assert scan.notes == ()


def test_copies_are_known_by_place_and_pixels(copy: Path) -> None:
    expected = read(copy)
    for number, path in enumerate(slices_of(copy)[:3]):
        shutil.copy(path, copy / f"again{number}.dcm")
        changed(copy / f"again{number}.dcm", lambda header: setattr(header, "SOPInstanceUID", generate_uid()))
    scan = read(copy)
    np.testing.assert_array_equal(scan.voxels, expected.voxels)
    assert scan.notes == ("left out 3 copies of slices (equal place and pixels)",)


def other_pixels(header: pydicom.Dataset) -> None:
    header.PixelData = header.PixelData[::-1]


def one_height(header: pydicom.Dataset) -> None:
    moved(header, 0.4, 0, 0)


@pytest.mark.parametrize("change", [other_pixels, one_height])
def test_two_different_slices_at_one_place_are_refused(
    copy: Path, change: Callable[[pydicom.Dataset], None]
) -> None:  # fmt: skip
    shutil.copy(slices_of(copy)[0], copy / "again.dcm")
    changed(copy / "again.dcm", change)
    with pytest.raises(InputError, match=r"head/IM.* different slices at one place.* with a call of its own"):
        read(copy)


def acquired(copy: Path, number: Callable[[int], int]) -> None:
    for place, path in enumerate(slices_of(copy)):
        changed(path, lambda header, place=place: setattr(header, "AcquisitionNumber", number(place)))


@pytest.mark.parametrize("number", [lambda k: 1, lambda k: k + 1, lambda k: 1 + k // 4, lambda k: 99 - k],
                         ids=["one", "each its own", "four a position", "downwards"])  # fmt: skip
def test_acquisitions_one_after_another_are_one_scan(copy: Path, number: Callable[[int], int]) -> None:
    acquired(copy, number)
    assert read(copy).voxels.shape[2] == 32


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (lambda k: 1 + k % 2, "1 with 16 images and 2 with 16 images"),
        (lambda k: 1 + (k == 10), "1 with 31 images and 2 with 1 image"),
        (lambda k: 1 + (k > 20 or k == 18), "1 with 20 images and 2 with 12 images"),
    ],
)
def test_acquisitions_in_one_another_are_refused(copy: Path, number: Callable[[int], int], message: str) -> None:
    acquired(copy, number)
    with pytest.raises(InputError, match=rf"two acquisitions overlap in space \(AcquisitionNumber {message}\)"):
        read(copy)


def second_acquisition(header: pydicom.Dataset) -> None:
    header.AcquisitionNumber = 2
    moved(header, 0, 0, 2.5)


def test_a_repeated_acquisition_half_a_step_higher_is_refused(copy: Path) -> None:
    acquired(copy, lambda k: 1)
    for path in slices_of(copy):
        shutil.copy(path, copy / f"2{path.name}")
        changed(copy / f"2{path.name}", second_acquisition)
    with pytest.raises(InputError, match="1 with 32 images and 2 with 32 images"):
        read(copy)


@pytest.mark.parametrize(
    ("name", "message"), [("PatientID", r"2 patients \(PatientID\)"), ("StudyInstanceUID", "2 studies"),
                       ("FrameOfReferenceUID", "2 frames of reference")],
)  # fmt: skip
def test_images_of_two_heads_are_refused(copy: Path, name: str, message: str) -> None:
    for path in slices_of(copy)[20:]:
        changed(path, lambda header: setattr(header, name, "1.2.3"))
    images = "20 images such as .*/head/IM.*, 12 images such as .*/head/IM.* with a call of its own"
    with pytest.raises(InputError, match=rf"head: .*: holds {message}.*: {images}"):
        read(copy)
