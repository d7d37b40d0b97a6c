"""The phantoms: repeatable, upright, and with blood where anatomy puts it."""

import cv2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from ich.base.errors import InputError
from ich.data.table import TYPES
from ich.phantom.ct_ich import DEMOGRAPHICS_CSV, DIAGNOSIS_CSV, DIAGNOSIS_HEADER, patient_number, write_ct_ich
from ich.phantom.head import FLAGS, Patient, blood_kinds, make_patient, make_scene
from ich.phantom.marker import is_complete

SIZE, SEED, PATIENTS = 128, 3, 12
BONE_HU = 300


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [make_patient(SEED, k, SIZE) for k in range(PATIENTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("phantoms") / "ct-ich"
    write_ct_ich(made, patients=5, size=64, seed=SEED, workers=1, quiet=True)
    return made


def only(kind: str, count: int = 2) -> list[int]:
    """The first patients whose blood is all of one kind."""
    return [k for k in range(60) if blood_kinds(SEED, k) == (kind,)][:count]


def near_bone(patient: Patient) -> float:
    """Part of the blood within 3 pixels (about 5 mm) of bone in its slice."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    bone = np.dstack([cv2.dilate((p > BONE_HU).astype(np.uint8), kernel) for p in patient.hu.transpose(2, 0, 1)])
    return float(bone[patient.mask > 0].mean())


def left_to_right_and_front_to_back(patient: Patient, volume: np.ndarray) -> np.ndarray:
    """The volume with its first axis running to the patient's left and its second to the back."""
    return volume[:: -int(np.sign(patient.affine[0, 0])), :: -int(np.sign(patient.affine[1, 1]))]


def test_same_seed_same_patient_and_another_seed_another():
    first, again, other = make_patient(1, 4, 64), make_patient(1, 4, 64), make_patient(2, 4, 64)
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.mask, again.mask)
    assert np.array_equal(first.affine, again.affine)
    assert first.slices == again.slices
    assert first.hu.shape != other.hu.shape or not np.array_equal(first.hu, other.hu)


def test_patient_does_not_depend_on_how_many_are_asked_for(folder, tmp_path):
    write_ct_ich(tmp_path / "fewer", patients=2, size=64, seed=SEED, workers=1, quiet=True)
    for part in ("ct_scans/050.nii", "masks/050.nii"):
        assert (tmp_path / "fewer" / part).read_bytes() == (folder / part).read_bytes()


@pytest.mark.parametrize("size", [32, 50, 256])
def test_every_size_gives_whole_volumes(size):
    patient = make_patient(SEED, only("epidural")[0], size)
    assert patient.hu.shape == patient.mask.shape == (size, size, len(patient.slices))
    assert patient.hu.dtype == np.int16
    assert patient.mask.dtype == np.uint8
    assert set(np.unique(patient.mask)) == {0, 255}
    assert 24 <= len(patient.slices) <= 40


@pytest.mark.parametrize("size", [0, 31, 513])
def test_impossible_size_is_refused(size):
    with pytest.raises(InputError, match=str(size)):
        make_patient(0, 0, size)


def test_half_the_patients_and_a_ninth_of_the_slices_bleed(patients):
    assert sum(bool(p.mask.any()) for p in patients) == PATIENTS // 2
    bleeding = np.concatenate([p.mask.any((0, 1)) for p in patients])
    assert 0.07 < bleeding.mean() < 0.16


def test_all_kinds_appear_among_twelve_patients_and_epidural_most_often():
    kinds = [kind for k in range(120) for kind in blood_kinds(SEED, k)[:1]]
    counts = {kind: kinds.count(kind) for kind in TYPES}
    assert {kind for k in range(PATIENTS) for kind in blood_kinds(SEED, k)} == set(TYPES)
    assert counts["epidural"] == 20
    assert all(counts[kind] == 10 for kind in TYPES if kind != "epidural")


def test_blood_is_brighter_than_brain_and_not_as_bright_as_bone(patients):
    medians = [np.median(p.hu[p.mask > 0]) for p in patients if p.mask.any()]
    assert all(43 < median < 85 for median in medians)
    blood = np.concatenate([p.hu[p.mask > 0] for p in patients])
    assert 48 < np.median(blood) < 75


def test_flags_follow_the_mask(patients):
    for patient in patients:
        for at, row in enumerate(patient.slices):
            bleeds = bool(patient.mask[:, :, at].any())
            assert set(row) == set(FLAGS)
            assert row["no_hemorrhage"] == (not bleeds)
            assert any(row[kind] for kind in TYPES) == bleeds


@pytest.mark.parametrize("kind", ["epidural", "subdural"])
def test_blood_outside_the_brain_touches_the_inner_table(kind):
    for k in only(kind):
        patient = make_patient(SEED, k, SIZE)
        assert near_bone(patient) > 0.3


def test_blood_in_the_brain_stays_away_from_bone():
    for k in only("intraparenchymal"):
        assert near_bone(make_patient(SEED, k, SIZE)) < 0.02


@pytest.mark.parametrize(("kind", "field"), [("intraventricular", "ventricles"), ("subarachnoid", "depth")])
def test_blood_in_fluid_stays_inside_its_space(kind, field):
    for k in only(kind):
        patient, scene = make_patient(SEED, k, SIZE), make_scene(SEED, k)
        distance = np.stack([cv2.resize(f, (SIZE, SIZE)).T for f in scene.fields[field]], axis=-1)
        blood = left_to_right_and_front_to_back(patient, patient.mask) > 0
        assert (distance[blood] > -1.5).all()


def test_fracture_only_beside_epidural_blood(patients):
    broken = [k for k, p in enumerate(patients) if any(row["fracture"] for row in p.slices)]
    assert all("epidural" in blood_kinds(SEED, k) for k in broken)
    assert all(any(row["fracture"] for row in make_patient(0, k, 32).slices) for k in fractured(seed=0))


def fractured(seed: int) -> list[int]:
    return [k for k in range(16) if "epidural" in blood_kinds(seed, k) and make_scene(seed, k).crack is not None]


def test_affine_puts_the_nose_in_front_and_the_crown_on_top(patients):
    codes = {nib.aff2axcodes(p.affine) for p in patients}
    assert len(codes) > 1
    assert {axes[2] for axes in codes} == {"S"}
    for patient in patients:
        upright = left_to_right_and_front_to_back(patient, patient.hu)
        air_inside = sum(enclosed_air(plane).sum(0) for plane in upright.transpose(2, 0, 1))
        head = (upright > -300).sum((0, 2))
        assert center(air_inside) < center(head) - 10  # nose and sinuses lie in front
        assert (upright[:, :, -1] > BONE_HU).sum() < (upright[:, :, len(patient.slices) // 2] > BONE_HU).sum()


def enclosed_air(plane: np.ndarray) -> np.ndarray:
    return ndimage.binary_fill_holes(plane > -300) & (plane < -700)


def center(profile: np.ndarray) -> float:
    return float(np.average(np.arange(len(profile)), weights=profile))


def test_files_agree_with_the_table(folder):
    table = pd.read_csv(folder / DIAGNOSIS_CSV)
    assert tuple(table.columns) == DIAGNOSIS_HEADER
    for number, rows in table.groupby("PatientNumber"):
        ct, mask = (nib.load(folder / part / f"{number:03d}.nii") for part in ("ct_scans", "masks"))
        assert ct.shape == mask.shape == (64, 64, len(rows))
        assert np.allclose(ct.affine, mask.affine)
        assert (ct.header["qform_code"], ct.header["sform_code"]) == (1, 1)
        assert np.allclose(ct.get_qform(), ct.get_sform(), atol=1e-3)
        assert rows["SliceNumber"].tolist() == list(range(1, len(rows) + 1))
        bleeds = np.asarray(mask.dataobj).any((0, 1))
        assert (rows["No_Hemorrhage"].to_numpy() == ~bleeds).all()


def test_demographics_has_the_quirks_of_the_real_table(folder):
    table = pd.read_csv(folder / DEMOGRAPHICS_CSV, header=[0, 1])
    assert table.columns[1][0] == "Age\n(years)"
    assert table.columns[2][0].endswith(" ")
    assert len(table) > len(list((folder / "ct_scans").iterdir()))


def test_patient_numbers_skip_those_missing_in_the_real_set():
    assert [patient_number(k) for k in (0, 9, 10, 74, 75)] == [49, 58, 66, 130, 131]


def test_rerun_changes_nothing_and_other_phantoms_are_refused(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    write_ct_ich(folder, patients=5, size=64, seed=SEED, workers=1, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(InputError, match="another folder"):
        write_ct_ich(folder, patients=5, size=32, seed=SEED, workers=1, quiet=True)


def test_missing_file_is_made_again(folder):
    lost = folder / "masks" / "051.nii"
    content = lost.read_bytes()
    lost.unlink()
    write_ct_ich(folder, patients=5, size=64, seed=SEED, workers=1, quiet=True)
    assert lost.read_bytes() == content


def test_folder_with_real_scans_is_left_alone(tmp_path):
    scan = tmp_path / "ct_scans" / "049.nii"
    scan.parent.mkdir()
    scan.write_bytes(b"real")
    with pytest.raises(InputError, match="other files"):
        write_ct_ich(tmp_path, patients=1, size=32, seed=0)
    assert scan.read_bytes() == b"real"


def test_a_folder_is_claimed_once_and_whole_when_its_files_are_there(tmp_path):
    assert not is_complete(tmp_path / "new", {"seed": 1}, ["last.csv"])
    (tmp_path / "new" / "last.csv").touch()
    assert is_complete(tmp_path / "new", {"seed": 1}, ["last.csv"])
    with pytest.raises(InputError, match=r"phantoms made with \{'seed': 1\}, asked for \{'seed': 2\}: name another"):
        is_complete(tmp_path / "new", {"seed": 2}, ["last.csv"])
