"""DICOM phantoms: slices of phantom heads, in both layouts, as different scanners write them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from conftest import Project

from ich.base import record
from ich.base.errors import InputError
from ich.phantom import rsna
from ich.phantom.rsna import FORMS, WINDOWS
from ich.rsna import layouts
from ich.scans import dicom_slice, nifti


@pytest.fixture(scope="module")
def classes(project: Project) -> Path:
    return project.root / "rsna" / "classes"


@pytest.mark.parametrize("form", FORMS)
def test_what_a_scanner_writes_is_read_back_as_the_same_hu(form: rsna.Form, tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 3000, (64, 48)).astype(np.int16)
    (tmp_path / "a.dcm").write_bytes(rsna.dicom_bytes(hu, form, "049", 7, WINDOWS[1]))
    found = dicom_slice.read_slice(tmp_path / "a.dcm")
    rows, columns = np.meshgrid(np.arange(64) - 31.5, np.arange(48) - 23.5, indexing="ij")
    outside = (np.hypot(rows, columns) > 32) & form.padded
    assert np.array_equal(found.hu, np.where(outside, dicom_slice.AIR_HU, hu))
    assert (found.patient, found.repaired, found.window.level) == ("049", form.wrapped, 36)


def test_slices_are_those_of_the_heads_upright(project: Project, classes: Path) -> None:
    image = nifti.read_nifti(project.raw / "ct_scans" / "049.nii")  # the same head at the same size
    path = sorted(classes.glob("*/049_*.dcm"))[0]
    place = int(path.stem[-3:]) - 1
    upright = nifti.grid(image).upright(nifti.read_hu(image)[:, :, place])
    assert np.array_equal(dicom_slice.read_slice(path).hu, upright)


def test_every_form_every_class_and_the_flaws_are_there(classes: Path) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in classes.rglob("0*.dcm")]
    assert {header.file_meta.TransferSyntaxUID for header in headers} == {form.syntax for form in FORMS}
    assert {header.PixelRepresentation for header in headers} == {0, 1}
    assert any(header.Rows != header.Columns for header in headers)
    assert any(isinstance(header.WindowCenter, pydicom.multival.MultiValue) for header in headers)
    assert {path.name for path in classes.iterdir()} <= {*layouts.CLASSES, layouts.TEST_FOLDER}
    flaws = {path.stem for path in (classes / "healthy").iterdir()}
    assert {"ID_6431af929", "scout", "black"} <= flaws


def test_labels_of_the_competitions_table_are_the_folders(project: Project, classes: Path) -> None:
    rows = pd.read_csv(project.root / "rsna" / "kaggle" / "stage_2_train.csv")
    assert rows["ID"].duplicated().sum() == 6
    found = layouts.find(project.root / "rsna" / "kaggle")
    own = layouts.find(classes).table
    own = own[own["any"].notna() & own["id"].str.match(r"\d+_")]
    names = "ID_" + own["id"].map(lambda each: record.fingerprint(f"{each[:3]} {int(each[-3:])}")[:9])
    kaggle = found.table.set_index("id")[list(layouts.LABELS)].drop("ID_6431af929")
    assert kaggle.loc[names].to_numpy().tolist() == own[list(layouts.LABELS)].to_numpy().tolist()
    assert len(names) == len(kaggle)


def test_a_second_call_leaves_all_as_it_is_and_other_folders_alone(project: Project, tmp_path: Path) -> None:
    path = next((project.root / "rsna").rglob("*.dcm"))
    before = path.stat().st_mtime_ns
    rsna.write_rsna(project.root / "rsna", 12, 64, 0, workers=1, quiet=True)
    assert path.stat().st_mtime_ns == before
    (tmp_path / "own.dcm").write_text("a user's file")
    with pytest.raises(InputError, match="holds other files"):
        rsna.write_rsna(tmp_path, 12, 64, 0, workers=1, quiet=True)
    with pytest.raises(InputError, match="2 phantom patients for RSNA slices: expected 3 or more"):
        rsna.write_rsna(tmp_path / "few", 2, 64, 0, workers=1, quiet=True)
