"""What predict.py reads of the paths that it is given, and what it leaves out and says so."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from predict_place import HEAD, Place, damage, make, scan, series
from pydicom.fileset import FileSet
from pydicom.uid import generate_uid

from ich.base import lock
from ich.base.errors import InputError
from ich.predict import inputs

LEFT_OUT = "note: {root}/data/out: left out, since it is the output folder (--out)"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Place:
    return make(tmp_path, monkeypatch, capsys)


def dicom(path: Path, source: Path, **values: object) -> None:
    """A file of the series with other values in its header."""
    header = pydicom.dcmread(next(source.iterdir()))
    header.SOPInstanceUID, header.SeriesInstanceUID = generate_uid(), generate_uid()
    for name, value in values.items():
        setattr(header, name, value)
    path.parent.mkdir(exist_ok=True)
    header.save_as(path)


def study(root: Path) -> None:
    """A CT with what lies beside it on a CD: DICOMDIR, a scout, a segmentation, a text, a page."""
    series(root / "ct", 7)
    FileSet().write(root)  # DICOMDIR
    dicom(root / "scout/a.dcm", root / "ct", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    dicom(root / "seg/a.dcm", root / "ct", Modality="SEG")
    (root / "readme.txt").write_text("text")
    (root / "viewer").mkdir()
    (root / "viewer/index.html").write_text("page")


# Each case: what lies in `root`, what is named, the voxels of blood by name, what is printed, and the error if any.


def out_inside(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    series(place.root / "data/ct", 3)
    flags = ["--probabilities", "--view"]
    for _ in range(2):
        text = place.call("data", *flags, out="data/out")
    return text


def out_is_the_folder(place: Place) -> str:
    scan(place.root / "data/a/head.nii", 7)
    series(place.root / "data/ct", 3)
    for _ in range(3):
        text = place.call("data", "--probabilities", out="data")
    return text


def earlier_out_inside(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    place.call("data", "--probabilities", out="data/earlier")
    return place.call("data")


def linked_out(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    place.call("data")
    (place.root / "data/masks").symlink_to(place.root / "out")
    (place.root / "data/mask.nii.gz").symlink_to(place.root / "out/head/mask.nii.gz")
    return place.call("data")


def whole_study(place: Place) -> str:
    study(place.root / "data")
    return place.call("data")


def one_path_without_scans(place: Place) -> str:
    study(place.root / "data")
    return place.call("data/viewer", "data/ct")


def a_path_that_is_missing(place: Place) -> str:
    scan(place.root / "head.nii", 7)
    return place.call("absent.nii", "head.nii")


def only_a_path_without_scans(place: Place) -> str:
    study(place.root / "data")
    return place.call("data/scout")


def slices_by_name(place: Place) -> str:
    study(place.root / "data")
    return place.call(*sorted((place.root / "data/ct").iterdir()))


def a_text_beside_a_scan(place: Place) -> str:
    scan(place.root / "head.nii", 7)
    (place.root / "readme.txt").write_text("text")
    return place.call("head.nii", "readme.txt")


def links(place: Place) -> str:
    scan(place.root / "elsewhere/head.nii", 7)
    scan(place.root / "other.nii", 3)
    (place.root / "data").mkdir()
    (place.root / "data/folder").symlink_to(place.root / "elsewhere")
    (place.root / "data/link.nii").symlink_to(place.root / "other.nii")
    return place.call("data")


def rings_of_links(place: Place) -> str:
    scan(place.root / "data/a/head.nii", 7)
    (place.root / "data/a/up").symlink_to(place.root / "data")
    (place.root / "data/a/top").symlink_to(place.root)
    (place.root / "data/again.nii").symlink_to(place.root / "data/a/head.nii")
    return place.call("data")


def broken_links(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    (place.root / "data/gone.nii").symlink_to(place.root / "absent.nii")
    (place.root / "data/self").symlink_to(place.root / "data/self")
    return place.call("data")


def of_two_links_to_each_other(place: Place) -> str:
    scan(place.root / "x/head.nii", 7)
    (place.root / "x/y").symlink_to(place.root / "y")
    scan(place.root / "y/other.nii", 3)
    (place.root / "y/x").symlink_to(place.root / "x")
    return place.call("x")


def a_pipe(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    os.mkfifo(place.root / "data/pipe.nii")
    return place.call("data")


def named_twice(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    return place.call("data/head.nii", "data", "data/head.nii", "data")


def hidden(place: Place) -> str:
    scan(place.root / "data/head.nii", 7)
    scan(place.root / "data/._head.nii", 3)
    scan(place.root / "data/.trash/old.nii", 3)
    return place.call("data")


def four_dimensions(place: Place) -> str:
    for name, shape in (("one", (*HEAD.hu.shape, 1, 1)), ("two", (*HEAD.hu.shape, 2))):
        made = nib.load(scan(place.root / "head.nii", 7))
        more = np.broadcast_to(np.asanyarray(made.dataobj)[..., None, None], (*HEAD.hu.shape, 2, 1))
        cut = more[..., :1, :] if name == "one" else more[..., 0]
        (place.root / "data").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(cut.reshape(shape), made.affine, made.header), place.root / f"data/{name}.nii.gz")
    return place.call("data")


@pytest.mark.parametrize(
    ("case", "voxels", "says", "error"),
    [
        (out_inside, {"ct": 3, "head": 7}, LEFT_OUT, ""),
        (out_is_the_folder, {"head": 7, "data_ct": 3}, "files left out (written by predict.py): ", ""),
        (earlier_out_inside, {"head": 7}, "5 files left out (written by predict.py): {root}/data/earlier/", ""),
        (linked_out, {"head": 7}, "1 file left out (written by predict.py): {root}/data/mask.nii.gz", ""),
        (whole_study, {"ct": 7}, "scout (LOCALIZER)", ""),
        (one_path_without_scans, {"ct": 7}, "refused: {root}/data/viewer: holds no NIfTI file and no axial CT series",
         "1 of 2 scans were refused"),
        (a_path_that_is_missing, {"head": 7}, "refused: {root}/absent.nii: not found", "1 of 2 scans were refused"),
        (only_a_path_without_scans, {}, "", "data/scout: holds no NIfTI file and no axial CT series in DICOM ("),
        (slices_by_name, {"ct": 7}, "ct: ", ""),
        (a_text_beside_a_scan, {"head": 7}, "refused: {root}/readme.txt: is not a NIfTI file", "1 of 2"),
        (links, {"head": 7, "link": 3}, "", ""),
        (rings_of_links, {"head": 7}, "3 links left out (to what is read already): ", ""),
        (broken_links, {"head": 7}, "2 links left out (to what is not there): {root}/data/gone.nii, {root}", ""),
        (of_two_links_to_each_other, {"head": 7, "other": 3}, "1 link left out (to what is read already): {root}/", ""),
        (a_pipe, {"head": 7}, "1 path left out (pipe or device, expected a regular file): {root}/data/pipe.nii", ""),
        (named_twice, {"head": 7}, "", ""),
        (hidden, {"head": 7}, "", ""),
        (four_dimensions, {"one": 7}, "two.nii.gz: has shape (32, 32, 32, 2), expected three dimensions", "1 of 2"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_what_is_read_and_what_is_left_out(
    place: Place, case: Callable[[Place], str], voxels: dict[str, int], says: str, error: str
) -> None:
    text = case(place)
    out = {out_inside: "data/out", out_is_the_folder: "data"}.get(case, "out")
    assert says.replace("{root}", str(place.root)) in text
    assert text.count("error: ") == bool(error)
    assert error in text
    assert place.voxels(out) == voxels
    if case in (out_inside, out_is_the_folder):
        assert text.count("already predicted") == 2


def test_a_folder_that_cannot_be_read_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(place.root / "data/head.nii", 7)
    (place.root / "data/closed").mkdir()
    scandir = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", closed)
    text = place.call("data")
    assert f"1 folder left out (cannot be read; check its permissions): {place.root}/data/closed\n" in text
    assert place.voxels() == {"head": 7}


def test_a_file_that_cannot_be_read_is_refused_and_its_results_stay(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(place.root / "head.nii", 7)
    place.call("head.nii")

    def denied(*given: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", denied)
        assert "head.nii: cannot be read (Permission denied)" in place.call("head.nii")
    assert place.voxels() == {"head": 7}


def test_names_are_chosen_when_no_other_call_writes(place: Place) -> None:
    """While another process writes the folder, nothing is decided about it."""
    scan(place.root / "head.nii", 7)
    with lock.writing(place.root / "out"):
        assert "is being written by process" in place.call("head.nii")
        assert not list((place.root / "out").glob("[!.]*"))


def test_a_damaged_file_among_others_is_refused_alone(place: Place) -> None:
    for name, voxels in (("a", 7), ("b", 5), ("c", 3)):
        scan(place.root / f"data/{name}.nii", voxels)
    damage(place.root / "data/b.nii")
    text = place.call("data")
    assert place.voxels() == {"a": 7, "c": 3}
    assert text.endswith("error: 1 of 3 scans were refused; the lines above say why\n")


def test_input_order_does_not_matter_for_what_lies_in_another_path(tmp_path: Path) -> None:
    shutil.copytree(scan(tmp_path / "data/sub/head.nii", 7).parent, tmp_path / "copy")
    for given in (("data", "data/sub"), ("data/sub", "data"), ("data/sub/head.nii", "data")):
        found = inputs.look([tmp_path / path for path in given])
        assert [each.base for each in found.scans] == ["head"]
        assert (found.refused, found.notes) == ([], [])


def test_scans_come_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    given = [series(tmp_path / "z", 7), scan(tmp_path / "b.nii", 7), series(tmp_path / "c", 3, description="Other")]
    assert [each.base for each in inputs.look(given).scans] == ["z", "b", "c"]


def test_no_path_at_all() -> None:
    with pytest.raises(InputError, match="no scan named"):
        inputs.look([])


@pytest.mark.parametrize(
    ("kinds", "flags", "note"),
    [
        ("nifti", ["--series", "2"], "note: --series: not used; no DICOM series is among the scans"),
        ("nifti", ["--scan-nifti"], "note: --scan-nifti: not used; no DICOM series is among the scans"),
        ("dicom", ["--orientation", "LPS"], "note: --orientation: not used; DICOM headers have one"),
        ("both", ["--series", "2", "--scan-nifti", "--orientation", "LPS"], ""),
        ("nifti", [], ""),
    ],
)
def test_flags_without_use_are_named(place: Place, kinds: str, flags: list[str], note: str) -> None:
    if kinds != "dicom":
        scan(place.root / "data/head.nii", 7)
    if kinds != "nifti":
        series(place.root / "data/ct", 3)
    text = place.call("data", *flags)
    assert (note in text) if note else ("not used; " not in text)
