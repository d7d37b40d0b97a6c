"""Networks in 8-bit integers: measured on the run's own data, judged against float32, left out when they differ."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import Project
from predict_files import bright_is_blood, phantom, write_nifti, write_run

import create_data_set
import predict
from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_json, write_json
from ich.predict import engines, quantize

if not quantize.installed() or engines.lacks_for_export():
    pytest.skip("nncf, OpenVINO or tf2onnx is not installed", allow_module_level=True)


@pytest.fixture
def trained(project: Project, tmp_path: Path) -> Path:
    """A run that was trained on the data of `project`."""
    folder = write_run(tmp_path / "runs", [bright_is_blood(160)])
    for path in folder.rglob(paths.RUN):
        told = read_json(path)
        told["identity"]["data_fingerprint"] = read_json(project.data / paths.RUN)["data_fingerprint"]
        write_json(path, told)
    return folder


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    made = phantom()
    return write_nifti(tmp_path / "head.nii.gz", made.hu, made.affine)


def mask(scan: Path, out: Path, *flags: str) -> np.ndarray:
    predict.main([str(scan), "--out", str(out), "--engine", "openvino", "--quiet", *flags])
    return nib.load(out / "head" / "mask.nii.gz").get_fdata() > 0


def test_masks_are_those_of_float32(
    project: Project, trained: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = ["--runs", str(trained), "--data", str(project.data)]
    expected = mask(scan, tmp_path / "exact", *given)
    found = mask(scan, tmp_path / "small", *given, "--precision", "int8")
    assert expected.any()
    assert (found != expected).mean() < 0.01
    assert "int8: its masks have Dice" in capsys.readouterr().out
    folder = trained / "patient" / "dunet" / "exported"
    assert read_json(folder / "model.json")["int8_dice_with_float32"] > 0.95
    assert "with those of float32" in (folder / "MODEL_CARD.md").read_text()
    mask(scan, tmp_path / "again", *given, "--precision", "int8")
    assert "exporting" not in capsys.readouterr().out


def test_exported_folder_brings_its_integers(project: Project, trained: Path, scan: Path, tmp_path: Path) -> None:
    given = ["--runs", str(trained), "--data", str(project.data)]
    predict.main([*given, "--export", str(tmp_path / "exported"), "--precision", "int8", "--quiet"])
    model = ["--model", str(tmp_path / "exported")]
    small = mask(scan, tmp_path / "small", *model, "--precision", "int8")
    assert (small != mask(scan, tmp_path / "exact", *model)).mean() < 0.01


def test_integers_are_of_the_networks_that_are_there(
    project: Project, trained: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Integers, a retraining, then float32: integers asked for again are those of the new network."""
    given = ["--runs", str(trained), "--data", str(project.data)]
    mask(scan, tmp_path / "first", *given, "--precision", "int8")
    bright_is_blood(60).save(next(trained.rglob("last.keras")))
    exact = mask(scan, tmp_path / "exact", *given)
    assert not (trained / "patient" / "dunet" / "exported" / engines.INT8).exists()
    capsys.readouterr()
    found = mask(scan, tmp_path / "small", *given, "--precision", "int8")
    assert "exporting" in capsys.readouterr().out
    assert (found != exact).mean() < 0.01


def test_later_export_leaves_no_integers_of_an_earlier_one(project: Project, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    given = ["--runs", str(trained), "--data", str(project.data), "--export", str(folder), "--quiet"]
    for precision, expected in (("int8", True), ("float32", False)):
        predict.main([*given, "--precision", precision])
        assert (folder / engines.INT8).exists() is expected
        assert (engines.INT8 in read_json(folder / "model.json")["files"]) is expected


def test_own_pngs_with_given_windows(project: Project, trained: Path, scan: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("image", "label"):
        shutil.copytree(project.data / name, own / name)
    create_data_set.main(["--data", str(own), "--image-size", "32", "--folds", "2", "--quiet"])
    for path in trained.rglob(paths.RUN):
        told = read_json(path)
        told["identity"] |= {"windows": [], "data_fingerprint": read_json(own / paths.RUN)["data_fingerprint"]}
        write_json(path, told)
    given = ["--runs", str(trained), "--data", str(own), "--windows", "40/120"]
    exact = mask(scan, tmp_path / "exact", *given)
    small = mask(scan, tmp_path / "small", *given, "--precision", "int8")
    assert exact.any()
    assert (small != exact).mean() < 0.01


def test_ranges_come_from_the_data_of_the_run(project: Project, trained: Path, scan: Path, tmp_path: Path) -> None:
    for path in trained.rglob(paths.RUN):
        told = read_json(path)
        told["identity"]["data_fingerprint"] = "another"
        write_json(path, told)
    with pytest.raises(InputError, match=r"holds data set .*, expected another, on which the run was trained"):
        mask(scan, tmp_path, "--runs", str(trained), "--data", str(project.data), "--precision", "int8")


def test_integers_that_disagree_are_left_out(
    project: Project, trained: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "LEAST_AGREEMENT", 1.01)
    given = ["--runs", str(trained), "--data", str(project.data)]
    with pytest.raises(InputError, match=r"masks have Dice .* expected at least 1.01; use bfloat16 or float32"):
        mask(scan, tmp_path / "small", *given, "--precision", "int8")
    assert not (trained / "patient" / "dunet" / "exported" / engines.INT8).exists()
    assert mask(scan, tmp_path / "exact", *given).any()


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_other_engines_compute_in_float32_only(precision: str, trained: Path, scan: Path) -> None:
    with pytest.raises(InputError, match=f"--precision {precision}: only OpenVINO computes in it.*engine is onnx"):
        predict.main([str(scan), "--runs", str(trained), "--engine", "onnx", "--precision", precision])


def test_grey_levels_go_back_to_hu() -> None:
    """Level 40, width 120: grey 0 is -20 HU, 255 is 100 HU, 102 is 28 HU."""
    images = np.array([[[[0], [255], [102]]]], np.uint8)
    np.testing.assert_allclose(quantize._as_hu(images, (quantize.Window(40, 120),)), [[[-20, 100, 28]]])
