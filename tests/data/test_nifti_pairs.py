"""NIfTI data sets of others: which layout it is, what their labels mean, and whose scans they are."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from broken import AFFINE, SHAPE, save, write_pairs, write_raw
from conftest import FOLDS, Done, Project

import create_data_set
import main_kfold
import models
import split_raw_data
import tests as test_set
import trials
from ich.base.errors import InputError
from ich.base.files import read_json, write_json
from ich.data import audit, labels, raw
from ich.data.table import FLAGS, TYPES, read_slices, scan_of


def split(folder: Path, data: Path, *flags: object) -> pd.DataFrame:
    split_raw_data.main([
        "--raw", str(folder), "--data", str(data), "--image-size", "32", "--workers", "1", *map(str, flags)
    ])  # fmt: skip
    return read_slices(data) if (data / "slices.csv").exists() else pd.DataFrame()


@pytest.mark.parametrize(
    ("images", "masks", "ending", "layout"),
    [
        ("imagesTr", "labelsTr", "_0000.nii.gz", "nnU-Net or Decathlon: imagesTr/ labelsTr/ dataset.json, 2 scans"),
        ("imagesTr", "labelsTr", ".nii.gz", "nnU-Net or Decathlon: imagesTr/ labelsTr/"),
        ("images", "labels", ".nii.gz", "two folders of NIfTI files: images/ labels/"),
        ("ct", "masks", ".nii", "two folders of NIfTI files: ct/ masks/"),
        ("CT", "Segmentations", "_0000.nii.gz", "two folders of NIfTI files: CT/ Segmentations/"),
    ],
)
def test_layouts_are_found_out_and_give_the_same_slices(
    images: str, masks: str, ending: str, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = split(write_pairs(tmp_path / "raw", images, masks, ending), tmp_path / "data")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("layout: ")]
    assert len(said) == 1
    assert layout in said[0]
    assert said[0].endswith("blood: 1 intraventricular, 2 Epidural hematoma")
    assert table["id"].tolist() == [f"{scan}_00{number}" for scan in "ab" for number in (1, 2, 3)]
    assert table["patient"].tolist() == ["a"] * 3 + ["b"] * 3
    assert table["epidural"].tolist() == [0, 1, 0, 0, 0, 0]
    assert table["no_hemorrhage"].tolist() == [1, 0, 1, 1, 1, 1]
    # 24 rows become 32 pixels, 4 x 4 voxels of blood 6 x 6 pixels without their corners
    assert table["lesion_pixels"].tolist() == [0, 32, 0, 0, 0, 0]
    assert (tmp_path / "data" / table["source"][0]).samefile(tmp_path / "raw" / images / f"a{ending}")


def test_ct_ich_is_said_in_one_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split(write_raw(tmp_path / "raw"), tmp_path / "data")
    said = "layout: CT-ICH, 2 scans with masks, types from hemorrhage_diagnosis_raw_ct.csv"
    assert capsys.readouterr().out.splitlines()[1] == said


def test_the_same_scans_give_the_same_pixels_as_ct_ich(tmp_path: Path) -> None:
    ct_ich = split(write_raw(tmp_path / "ct-ich"), tmp_path / "one")
    for old, new in (("ct_scans", "images"), ("masks", "labels")):
        (tmp_path / "pairs").mkdir(exist_ok=True)
        shutil.copytree(tmp_path / "ct-ich" / old, tmp_path / "pairs" / new)
    pairs = split(tmp_path / "pairs", tmp_path / "two")
    same = ["id", "patient", "slice", "lesion_pixels", "no_hemorrhage", "crc32", "spacing_row_mm", "spacing_slice_mm"]
    pd.testing.assert_frame_equal(pairs[same], ct_ich[same])
    assert pairs[list(TYPES)].isna().all(axis=None)


@pytest.mark.parametrize("scan", [".nii.gz", "_0000.nii.gz"])
def test_a_trailing_axis_of_one_is_dropped(scan: str, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "raw", ending=scan)
    plain = split(folder, tmp_path / "plain")
    for path in (folder / "imagesTr" / f"a{scan}", folder / "labelsTr" / "a.nii.gz"):
        save(path, np.asanyarray(nib.load(path).dataobj)[..., None])
    pd.testing.assert_frame_equal(split(folder, tmp_path / "longer"), plain)


def test_test_scans_of_nnunet_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pairs(tmp_path / "raw")
    shutil.copytree(folder / "imagesTr", folder / "imagesTs")
    assert set(split(folder, tmp_path / "data")["patient"]) == {"a", "b"}
    assert f"note: 2 scans in {folder / 'imagesTs'} are left out" in capsys.readouterr().out
    (tmp_path / "p.csv").write_text("id,patient\na,1\nb,1\nb_0000,1\n")  # the table may know them
    assert set(split(folder, tmp_path / "data", "--patients-csv", tmp_path / "p.csv")["patient"]) == {"1"}


def test_check_names_all_problems_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pairs(tmp_path / "raw")
    for name in ("c", "d"):
        shutil.copy(folder / "imagesTr" / "a_0000.nii.gz", folder / "imagesTr" / f"{name}_0000.nii.gz")
    save(folder / "labelsTr" / "d.nii.gz", np.zeros((2, 2, 2)))
    shutil.copy(folder / "labelsTr" / "a.nii.gz", folder / "labelsTr" / "e.nii.gz")
    (tmp_path / "p.csv").write_text("id,patient\na,1\n")
    with pytest.raises(InputError, match="4 problems found; fix them all and rerun") as last:
        split(folder, tmp_path / "data", "--check", "--patients-csv", tmp_path / "p.csv")
    printed = capsys.readouterr().out + str(last.value)
    for part in ("c_0000.nii.gz: its mask", "e.nii.gz: has no scan", "p.csv: no row for b", "d.nii.gz: mask has shape"):
        assert part in printed
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"0": "background", "1": "Subdural"}, {1: ["Subdural"]}),  # Decathlon
        ({"background": 0, "blood": 1}, {1: ["blood"]}),  # nnU-Net, version 2
        ({"background": 0, "any": [1, 2], "epidural": [2]}, {1: ["any"], 2: ["any", "epidural"]}),  # regions
        ({"background": "0", "blood": "1"}, {1: ["blood"]}),
    ],
)
def test_both_orders_of_labels_are_read(written: dict, expected: dict, tmp_path: Path) -> None:
    write_json(tmp_path / "dataset.json", {"labels": written})
    assert labels.read(tmp_path / "dataset.json") == expected


def flags_of(names: dict[int, list[str]], *slices: Sequence[int]) -> pd.DataFrame:
    """Flags of slices that hold these labels."""
    volume = np.zeros((4, 1, len(slices)), np.uint8)
    for index, found in enumerate(slices):
        volume[: len(found), 0, index] = found
    return labels.flags(volume, labels.types_of(names))


def test_several_labels_in_a_slice_are_several_types() -> None:
    table = flags_of({1: ["Epidural"], 2: ["SUBDURAL hematoma"], 3: ["intraparenchymal_or_intraventricular"]},
                     [], [1], [1, 2], [3])  # fmt: skip
    assert table["slice"].tolist() == [1, 2, 3, 4]
    assert table["no_hemorrhage"].tolist() == [1, 0, 0, 0]
    assert table["epidural"].tolist() == [0, 1, 1, 0]
    assert table["subdural"].tolist() == [0, 0, 1, 0]
    assert table["intraparenchymal"].tolist() == table["intraventricular"].tolist() == [0, 0, 0, 1]
    assert table["subarachnoid"].tolist() == [0, 0, 0, 0]
    assert table["fracture"].isna().all()


def test_types_that_no_label_tells_are_unknown() -> None:
    unnamed = flags_of({1: ["hemorrhage"]}, [], [1])
    assert unnamed[list(TYPES)].isna().all(axis=None)
    assert set(unnamed.columns) == {"slice", *FLAGS}
    some = flags_of({1: ["epidural"], 2: ["other blood"]}, [], [1], [1, 2])
    assert some["epidural"].tolist()[:2] == [0, 1]
    assert np.isnan(some["epidural"][2])  # the other label may be of any type
    assert some["subdural"].isna().all()


def test_patients_of_scans_are_read_and_their_folds_are_dealt(project: Project, tmp_path: Path) -> None:
    """Phantoms as pairs, four scans of two patients: no patient in two parts, and every later step works."""
    done = Done(Project(tmp_path), tmp_path)
    for old, new in (("ct_scans", "images"), ("masks", "labels")):
        shutil.copytree(project.raw / old, done.project.raw / new)
    scans = sorted(path.name.split(".")[0] for path in (done.project.raw / "images").iterdir())
    whose = [f"{scan},{'A' if scan in scans[:2] else 'B' if scan in scans[2:4] else 'P' + scan}" for scan in scans]
    (tmp_path / "p.csv").write_text("\n".join(["id,patient", *whose]))
    flags = [*done.project.slice_flags, "--patients-csv", str(tmp_path / "p.csv"), "--image-size", "32", "--quiet"]
    create_data_set.main([*flags, "--folds", str(FOLDS), "--test-share", "0.2"])
    table = done.split("patient")
    assert table.groupby("patient")["part"].nunique().eq(1).all()
    assert scan_of(table)[table["patient"] == "A"].nunique() == 2
    assert table["patient"].nunique() == len(scans) - 2
    audited = read_json(done.project.data / "patient" / "run.json")
    assert audit.sentence(audited["leak_audit"], audit.whose(audited)) == "no patient is in two parts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "LEVELS", 2)
        main_kfold.main(done.training_flags("patient", "--models", "unet=2", "--epochs", "1"))
        trials.main(done.flags("patient"))
        test_set.main(done.flags("patient"))
    judged = pd.read_csv(done.report("patient") / "patients.csv", dtype={"patient": str})
    assert sorted([*judged["patient"], *set(table.loc[table["part"] == "test", "patient"])]) == sorted(
        set(table["patient"])
    )
    assert (
        f"The {len(scans) - 2} patients have {len(scans)} scans" in (done.report("patient") / "report.html").read_text()
    )
    tested = set(scan_of(table)[table["part"] == "test"])
    masks = {path.name for path in (done.report("patient") / "test_unet" / "nifti").iterdir()}
    assert masks == {f"{Path(scan).name.split('.')[0]}_mask.nii.gz" for scan in tested}


def test_without_a_table_each_scan_is_a_patient_and_the_audit_says_so(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for old, new in (("ct_scans", "images"), ("masks", "labels")):
        shutil.copytree(project.raw / old, tmp_path / "raw" / new)
    flags = ["--raw", tmp_path / "raw", "--data", tmp_path / "data", "--image-size", "16", "--folds", "2"]
    create_data_set.main([*map(str, flags), "--test-share", "0"])
    printed = capsys.readouterr().out
    assert raw.ASSUMED in printed
    assert "leak audit: no patient is in two parts, assuming that each scan is from a different patient" in printed


def test_another_table_of_patients_cuts_again(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "raw")
    assert split(folder, tmp_path / "data")["patient"].nunique() == 2
    (tmp_path / "p.csv").write_text("id,patient\na,1\nb,1\n")
    assert split(folder, tmp_path / "data", "--patients-csv", tmp_path / "p.csv")["patient"].unique().tolist() == ["1"]


def test_a_table_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "raw")
    split(folder, tmp_path / "data")
    path = tmp_path / "data" / "slices.csv"
    for old, new in (("a_0000.nii.gz", "b_0000.nii.gz"), ("imagesTr", "etc")):
        text = path.read_text()
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=r"row 2 .*source must be the scan's volume"):
            read_slices(tmp_path / "data")
        path.write_text(text)


def test_affines_that_differ_by_rounding_are_taken(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "raw")
    save(folder / "labelsTr" / "b.nii.gz", np.zeros(SHAPE, np.float32), AFFINE * (1 + 1e-5))
    assert len(split(folder, tmp_path / "data")) == 6
