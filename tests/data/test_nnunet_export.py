"""Scans, masks and folds for nnU-Net: the same ones, whole or not at all."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from broken import AFFINE, save
from conftest import Project

import create_data_set
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.data import nnunet_export, origin
from ich.data.case import Case
from ich.data.table import read_parts, read_slices


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Project:
    """The project with its data and scans in a folder of its own."""
    for name in ("ct-ich", "data"):
        shutil.copytree(project.root / name, tmp_path / name)
    return Project(tmp_path)


def export(made: Project, *flags: str, to: str = "nnUNet_raw/Dataset001_ICH") -> Path:
    folder = made.root / to
    split = ["--image-size", "32", "--folds", "2", "--test-share", "0.2", "--quiet"]
    create_data_set.main([*made.slice_flags, *split, "--export-nnunet", str(folder), *flags])
    return folder


def names(folder: Path, ending: str) -> list[str]:
    return sorted(path.name.removesuffix(ending) for path in folder.iterdir())


def test_scans_masks_and_folds_are_ours(copied: Project) -> None:
    folder = export(copied)
    part = read_parts(copied.data, "patient", "kfold").groupby("patient")["part"].first()
    assert names(folder / "imagesTs", "_0000.nii.gz") == sorted(part.index[part == "test"])
    assert names(folder / "imagesTr", "_0000.nii.gz") == sorted(part.index[part != "test"])
    for images, masks in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
        assert names(folder / masks, ".nii.gz") == names(folder / images, "_0000.nii.gz")
    splits = json.loads((folder / "splits_final.json").read_text())
    assert [fold["val"] for fold in splits] == [sorted(part.index[part == fold]) for fold in ("1", "2")]
    assert [fold["train"] for fold in splits] == [sorted(part.index[part == fold]) for fold in ("2", "1")]
    assert read_json(folder / "dataset.json") == {
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": int((part != "test").sum()), "file_ending": ".nii.gz",
    }  # fmt: skip


def test_voxels_and_grids_are_those_of_the_scans(copied: Project) -> None:
    folder = export(copied)
    for patient in names(folder / "imagesTr", "_0000.nii.gz"):
        scan, mask = (nib.load(copied.raw / name / f"{patient}.nii") for name in ("ct_scans", "masks"))
        out = nib.load(folder / "imagesTr" / f"{patient}_0000.nii.gz")
        marked = nib.load(folder / "labelsTr" / f"{patient}.nii.gz")
        np.testing.assert_array_equal(out.get_fdata(), scan.get_fdata())
        np.testing.assert_array_equal(np.asanyarray(marked.dataobj), np.asanyarray(mask.dataobj) // 255)
        for each in (out, marked):
            np.testing.assert_array_equal(each.affine, scan.affine)
            assert each.header["sform_code"] == scan.header["sform_code"]


def test_compressed_scans_are_hard_links_and_others_are_packed_the_same_each_time(copied: Project) -> None:
    plain = sorted((copied.raw / "ct_scans").iterdir())[0]
    packed = plain.with_suffix(".nii.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    shutil.rmtree(copied.data)
    one, two = export(copied), export(copied, to="again/Dataset002_Same")
    scan = next(one.glob(f"images*/{packed.name.split('.')[0]}_0000.nii.gz"))
    assert scan.samefile(packed)
    for path in (path for path in one.rglob("*") if path.is_file()):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes(), path


def test_the_export_reads_as_a_data_set_of_phantoms(copied: Project) -> None:
    folder = export(copied)
    again = copied.root / "again"
    flags = ["--image-size", "32", "--folds", "2", "--test-share", "0", "--quiet"]
    create_data_set.main(["--raw", str(folder), "--data", str(again), *flags])
    table, first = read_slices(again), read_slices(copied.data).set_index("id")
    assert table["crc32"].tolist() == first.loc[table["id"], "crc32"].tolist()
    assert origin.read(again) == origin.PHANTOMS


def test_the_same_export_is_recognized_another_is_refused(copied: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = export(copied)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    export(copied)
    assert f"{folder}: exported before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(InputError, match="is not empty and holds something else than these scans and folds; remove it"):
        export(copied, "--seed", "1")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_nothing_is_left_where_it_stops_in_the_middle(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ich.data.nnunet_export._write_mask", full)
    with pytest.raises(OSError, match="No space"):
        export(copied)
    assert not (copied.root / "nnUNet_raw").exists()


@pytest.mark.parametrize(
    ("flags", "to", "message"),
    [
        ((), "nnUNet_raw/ICH", "expected a folder such as nnUNet_raw/Dataset001_ICH"),
        ((), "nnUNet_raw/Dataset1_ICH", "expected a folder such as"),
        (("--protocol", "slice"), "Dataset001_ICH", "nnU-Net takes whole scans, a split by slice has none"),
    ],
)
def test_refused_before_any_work(
    flags: tuple[str, ...], to: str, message: str, project: Project, tmp_path: Path
) -> None:
    made = Project(tmp_path)
    with pytest.raises(InputError, match=message):
        create_data_set.main([*made.slice_flags, *flags, "--export-nnunet", str(tmp_path / to)])
    assert list(tmp_path.iterdir()) == []


def test_own_pngs_have_no_volumes_to_export(tmp_path: Path) -> None:
    for name in ("image", "label"):
        (tmp_path / "data" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="holds own PNGs, nnU-Net needs NIfTI"):
        create_data_set.main(["--data", str(tmp_path / "data"), "--export-nnunet", str(tmp_path / "Dataset001_A")])


def test_scans_of_another_raw_folder_are_refused(tmp_path: Path) -> None:
    case = Case("b", "b", tmp_path / "b.nii", tmp_path / "b.nii")
    with pytest.raises(InputError, match=r"scan a: is in the split, not in --raw \(2 such scans\)"):
        nnunet_export.export(tmp_path / "Dataset001_A", {"a": "1"}, [case], {})


def test_a_trailing_axis_is_dropped(tmp_path: Path) -> None:
    hu = np.full((6, 6, 3), -1000, np.int16)
    hu[2:4, 2:4] = 1000
    save(tmp_path / "images" / "a.nii.gz", hu[..., None])
    save(tmp_path / "masks" / "a.nii.gz", np.uint8(hu > 0)[..., None])
    case = Case("a", "a", tmp_path / "images" / "a.nii.gz", tmp_path / "masks" / "a.nii.gz")
    folder = tmp_path / "Dataset001_A"
    nnunet_export.export(folder, {"a": "1"}, [case], {})
    for path, expected in ((folder / "imagesTr/a_0000.nii.gz", hu), (folder / "labelsTr/a.nii.gz", hu > 0)):
        np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), expected)
        np.testing.assert_allclose(nib.load(path).affine, AFFINE)
