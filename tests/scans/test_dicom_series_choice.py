"""Which series of which folders is predicted: what was asked for, or a list of what is there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from predict_files import phantom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage, SegmentationStorage, generate_uid
from series_files import changed, moved, slices_of

from ich.base.errors import InputError
from ich.phantom.series import NAME, write_series
from ich.scans import dicom_series
from ich.scans.dicom_series import Series


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series 2 'Head 5mm' with a scout, and series 3 'Bone', each in a folder of its own."""
    root = tmp_path_factory.mktemp("series")
    write_series(root / "head", phantom())
    write_series(root / "bone", phantom(), number=3, description="Bone", scout=False)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    for name in ("head", "bone"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def both(root: Path) -> Path:
    """One folder with both series."""
    for path in (root / "bone").iterdir():
        path.rename(root / "head" / path.name)
    (root / "bone").rmdir()
    return root / "head"


def find(*folders: Path, wanted: str = "") -> tuple[list[Series], list[str]]:
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if not path.is_dir()]
    return dicom_series.find(files, wanted)


def uid_of(folder: Path, number: int) -> str:
    headers = (pydicom.dcmread(path) for path in folder.iterdir())
    return next(str(header.SeriesInstanceUID) for header in headers if header.SeriesNumber == number)


def test_a_folder_with_one_series_is_that_scan(root: Path) -> None:
    ((found,), notes) = find(root / "head")
    header = pydicom.dcmread(slices_of(root / "head")[0])
    assert (found.folder, found.name, len(found.files)) == (root / "head", "head", 32)
    assert found.facts == {
        "study_uid": header.StudyInstanceUID, "series_uid": header.SeriesInstanceUID, "series_number": "2",
        "series_description": "Head 5mm"}  # fmt: skip
    assert found.read().notes == ("left out 1 of 33 files: scout (LOCALIZER)",)
    assert notes == []


def test_several_need_a_choice(both: Path) -> None:
    ((found,), notes) = find(both)
    message = (
        r"head: holds 2 axial CT series \(2 'Head 5mm': 32 images of 5 mm, 3 'Bone': 32 images of 5 mm\); "
        r"choose with --series NUMBER, description, UID or all"
    )
    with pytest.raises(InputError, match=message):
        found.read()
    assert (found.name, len(found.files), notes) == ("head", 64, [])


@pytest.mark.parametrize("wanted", ["3", "Bone", "UID"])
def test_the_one_that_is_asked_for(both: Path, wanted: str) -> None:
    wanted = uid_of(both, 3) if wanted == "UID" else wanted
    ((found,), notes) = find(both, wanted=wanted)
    scan = found.read()
    assert {pydicom.dcmread(path).SeriesNumber for path in scan.sources} == {3}
    assert "series 2 'Head 5mm' left out: not the one asked for" in scan.notes
    assert (found.name, found.facts["series_number"], notes) == ("head", "3", [])


@pytest.mark.parametrize("wanted", ["7", "999", "Head", "head 5mm", "1", "Scout", "02"])
@pytest.mark.parametrize("number", [1, 2])
def test_what_is_not_there_is_refused_with_a_list(root: Path, number: int, wanted: str) -> None:
    if number == 2:
        shutil.copytree(root / "bone", root / "head", dirs_exist_ok=True)
    (found,), _ = find(root / "head", wanted=wanted)
    with pytest.raises(InputError, match=rf"no axial CT series has the number, description or UID '{wanted}'; it ho"):
        found.read()
    with pytest.raises(InputError, match=r"2 'Head 5mm': 32 images of 5 mm.*; left out 1 of \d+ files: scout"):
        found.read()


@pytest.mark.parametrize("value", ["", None])
def test_a_missing_description_is_no_choice(both: Path, value: str | None) -> None:
    for path in both.iterdir():
        changed(path, lambda header: setattr(header, "SeriesDescription", value))
    (found,), _ = find(both)
    with pytest.raises(InputError, match=r"holds 2 axial CT series \(2: 32 images of 5 mm, 3: 32 images"):
        found.read()


def test_a_number_that_two_have_is_listed_with_uids(both: Path) -> None:
    for path in both.iterdir():
        changed(path, lambda header: (setattr(header, "SeriesNumber", 2), setattr(header, "SeriesDescription", "CT")))
    uids = sorted({str(pydicom.dcmread(path).SeriesInstanceUID) for path in slices_of(both)})
    (found,), _ = find(both, wanted="2")
    with pytest.raises(InputError, match=r"holds 2 axial CT series matching --series '2'") as error:
        found.read()
    assert all(f"2 'CT' (UID {uid})" in str(error.value) for uid in uids)
    (found,), _ = find(both, wanted=uids[1])
    assert found.facts["series_uid"] == uids[1]
    found, _ = find(both, wanted="all")
    assert [each.name for each in found] == ["head_series2", "head_series2_2"]


def test_a_series_without_number_and_description_is_listed_as_one(root: Path) -> None:
    for path in slices_of(root / "head"):
        changed(path, lambda header: [header.__delitem__(name) for name in ("SeriesNumber", "SeriesDescription")])
    (found,), _ = find(root / "head", wanted="2")
    with pytest.raises(InputError, match="it holds a series without a number: 32 images of 5 mm"):
        found.read()


def test_without_series_uids_the_number_tells_series_of_one_folder_apart(both: Path) -> None:
    for path in slices_of(both):
        bone = pydicom.dcmread(path).SeriesNumber == 3
        changed(path, lambda header, up=20.0 * bone: (header.__delitem__("SeriesInstanceUID"), moved(header, 0, 0, up)))
    (found,), _ = find(both)
    with pytest.raises(InputError, match=r"holds 2 axial CT series \(2 'Head 5mm': 32 images .*3 'Bone': 32 images"):
        found.read()
    (found,), _ = find(both, wanted="3")
    assert (len(found.files), found.read().voxels.shape[2]) == (32, 32)


def test_all_takes_each(both: Path) -> None:
    found, notes = find(both, wanted="all")
    assert [each.name for each in found] == ["head_series2", "head_series3"]
    assert [each.facts["series_number"] for each in found] == ["2", "3"]
    assert all("not the one asked for" not in note for each in found for note in each.read().notes)
    assert notes == []


def test_all_of_one_keeps_the_name_of_the_folder(root: Path) -> None:
    assert [each.name for each in find(root / "head", wanted="all")[0]] == ["head"]


def test_one_series_in_two_folders_is_one_scan(root: Path) -> None:
    expected = find(root / "head")[0][0].read()
    (root / "more").mkdir()
    for path in slices_of(root / "head")[20:]:
        path.rename(root / "more" / path.name)
    ((found,), notes) = find(root / "head", root / "more")
    scan = found.read()
    np.testing.assert_array_equal(scan.voxels, expected.voxels)
    assert (found.folder, found.name, len(found.files), notes) == (root / "head", "head", 32, [])
    message = f"series 2 'Head 5mm' was gathered from 2 folders: {root / 'head'}, {root / 'more'}"
    assert [note for note in scan.notes if "gathered" in note] == [message]


def test_a_folder_named_twice_is_one_scan(root: Path) -> None:
    ((found,), _) = find(root / "bone", root / "bone")
    assert found.read().notes == ()


def test_a_folder_and_its_copy_are_one_scan_of_copies(root: Path) -> None:
    shutil.copytree(root / "bone", root / "copy")
    ((found,), _) = find(root / "bone", root / "copy")
    scan = found.read()
    assert scan.voxels.shape[2] == 32
    assert any("left out 32 copies of slices" in note for note in scan.notes)


def test_each_folder_is_chosen_for_itself(root: Path) -> None:
    """A number may be in each folder; a UID is in one, and the others are not what was asked for."""
    found, notes = find(root / "bone", root / "head", wanted="2")
    assert [each.facts["series_number"] for each in found] == ["", "2"]
    with pytest.raises(InputError, match=r"bone: no axial CT series has .* '2'; it holds 3 'Bone'"):
        found[0].read()
    assert notes == []
    ((found,), notes) = find(root / "bone", root / "head", wanted=uid_of(root / "head", 2))
    assert found.facts["series_number"] == "2"
    assert notes == [f"{root / 'bone'}: left out series 3 'Bone': not the series that --series names"]


def write_other(path: Path, modality: str, uid: str = SegmentationStorage) -> None:
    """A DICOM file without pixels."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID, header.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, uid
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = uid, generate_uid(), modality
    path.parent.mkdir(exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def test_folders_without_a_ct_are_a_note_each(root: Path) -> None:
    write_other(root / "seg" / "a.dcm", "SEG")
    write_other(root / "mixed" / "a.dcm", "SR")
    write_other(root / "mixed" / "b.dcm", "MR")
    write_other(root / "mixed" / "c.dcm", "MR")
    write_other(root / "disc" / "DICOMDIR", "", MediaStorageDirectoryStorage)
    (root / "scout").mkdir()
    (root / "head" / "IM00000.dcm").rename(root / "scout" / "IM00000.dcm")
    found, notes = find(*(root / name for name in ("bone", "disc", "head", "mixed", "scout", "seg")))
    assert [each.name for each in found] == ["bone", "head"]
    assert notes == [
        f"{root / 'disc'}: left out 1 file: index of a disc (DICOMDIR)",
        f"{root / 'mixed'}: left out 1 of 3 files: modality SR, expected CT; left out 2 of 3 files: modality MR, "
        "expected CT",
        f"{root / 'scout'}: left out 1 file: scout (LOCALIZER)",
        f"{root / 'seg'}: left out 1 file: modality SEG, expected CT",
    ]


def test_what_is_no_dicom_is_counted_and_named(root: Path) -> None:
    for name in ("a.txt", "b.txt", "c.png", "d.zip"):
        (root / "head" / name).write_bytes(b"\x89PNG no DICOM" * 20)
    os.mkfifo(root / "head" / "pipe")
    (root / "head" / "broken").symlink_to("nothing")
    ((_,), (note,)) = find(root / "head")
    head = root / "head"
    assert note == f"6 files are not DICOM: {head / 'a.txt'}, {head / 'b.txt'}, {head / 'broken'} and 3 more"


def test_files_that_only_seem_to_be_dicom(root: Path) -> None:
    (root / "head" / "odd").write_bytes(b"\x08\0\x05\0" + b"nothing that could be read" * 9)
    ((found,), (note,)) = find(root / "head")
    assert note == f"1 file is not DICOM: {root / 'head' / 'odd'}"
    assert found.read().voxels.shape[2] == 32


def bare(path: Path, implicit: bool = False, little: bool = True) -> None:
    """The data set alone: no preamble, no prefix, no group 2."""
    header = pydicom.dcmread(path)
    if not little:
        header.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
    del header.file_meta
    header.preamble = None
    plain = Dataset(header)
    pydicom.dcmwrite(path, plain, implicit_vr=implicit, little_endian=little, enforce_file_format=False)


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_files_without_the_prefix_are_read(root: Path, implicit: bool, little: bool) -> None:
    expected = find(root / "head")[0][0].read()
    for path in (root / "head").iterdir():
        bare(path, implicit, little)
        assert path.read_bytes()[128:132] != b"DICM"
    ((found,), notes) = find(root / "head")
    scan = found.read()
    np.testing.assert_array_equal(scan.voxels, expected.voxels)
    assert (scan.notes, notes) == (expected.notes, [])


@pytest.mark.parametrize("implicit", [True, False])
def test_a_missing_transfer_syntax_is_read_from_the_file(root: Path, implicit: bool) -> None:
    expected = find(root / "bone")[0][0].read()
    for path in (root / "bone").iterdir():
        header = pydicom.dcmread(path)
        del header.file_meta.TransferSyntaxUID
        header.save_as(path, implicit_vr=implicit, little_endian=True)
        assert "TransferSyntaxUID" not in pydicom.dcmread(path).file_meta
    np.testing.assert_array_equal(find(root / "bone")[0][0].read().voxels, expected.voxels)


def test_compressed_pixels_without_a_transfer_syntax_are_refused_in_words(tmp_path: Path) -> None:
    write_series(tmp_path / "head", phantom(), syntax=pydicom.uid.JPEG2000Lossless, scout=False)
    for path in slices_of(tmp_path / "head"):
        changed(path, lambda header: header.file_meta.pop("TransferSyntaxUID"))
    ((found,), _) = find(tmp_path / "head")
    with pytest.raises(InputError, match=r"IM\d+\.dcm: .*has no TransferSyntaxUID, so it is unknown how"):
        found.read()


def test_a_damaged_file_refuses_its_folder_alone(root: Path) -> None:
    path = slices_of(root / "bone")[5]
    path.write_bytes(path.read_bytes()[:140])
    (bone, head), _ = find(root / "bone", root / "head")
    with pytest.raises(InputError, match=rf"{path.name}: cannot be read as DICOM"):
        bone.read()
    assert head.read().voxels.shape[2] == 32


def without_place(header: pydicom.Dataset) -> None:
    del header.ImagePositionPatient


def without_hu(header: pydicom.Dataset) -> None:
    del header.RescaleSlope


@pytest.mark.parametrize("change", [without_place, without_hu])
def test_slices_that_lack_something_may_make_the_volume_too_small(
    root: Path, change: Callable[[pydicom.Dataset], None]
) -> None:  # fmt: skip
    for path in slices_of(root / "bone")[-2:]:
        changed(path, change)
    ((found,), _) = find(root / "bone")
    notes = found.read().notes
    assert notes[0].startswith("left out 2 of 32 files: no ")
    assert notes[1] == "2 files that were left out belong to series 3 'Bone', so the volume may be too small"


def test_images_at_one_place_are_no_scan(root: Path) -> None:
    """The watch on a vessel while contrast arrives: many images of one slice."""
    for number in range(20):
        shutil.copy(slices_of(root / "bone")[3], root / "head" / f"watch{number}.dcm")
    ((found,), _) = find(root / "head")
    assert "series 3 'Bone' left out: its 20 images lie at 1 place" in found.read().notes


def test_facts_and_notes_hold_no_name(both: Path) -> None:
    found, notes = find(both, wanted="all")
    assert NAME not in str([each.facts for each in found]) + str(notes) + str([each.read().notes for each in found])


def test_control_characters_of_a_description_do_not_reach_the_terminal(root: Path) -> None:
    for path in slices_of(root / "bone"):
        path.write_bytes(path.read_bytes().replace(b"Bone", b"a\x1b[1"))
    ((found,), _) = find(root / "bone")
    assert found.facts["series_description"] == "a?[1"
