"""predict.py from the command line: what it writes, skips, refuses, and never tells."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path

import keras
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from predict_files import THRESHOLD, bright_is_blood, phantom, write_nifti, write_run

import predict
from ich.base.errors import InputError
from ich.phantom.series import NAME, write_series, write_unseen
from ich.predict import engines, view
from ich.scans import native

FILES = ["mask.nii.gz", "overlay.png", "run.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds that differ: bone alone, and everything brighter than brain."""
    return write_run(tmp_path_factory.mktemp("trained") / "runs", [bright_is_blood(254.9), bright_is_blood(150)])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = phantom()
    return write_nifti(tmp_path_factory.mktemp("head") / "head.nii.gz", made.hu, made.affine)


def call(trained: Path, out: Path, *given: object) -> None:
    predict.main([*map(str, given), "--runs", str(trained), "--out", str(out), "--engine", "keras", "--quiet"])


def mask(out: Path, name: str = "head") -> np.ndarray:
    return nib.load(out / name / "mask.nii.gz").get_fdata() > 0


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_mean_of_the_folds_at_the_threshold_of_the_report(trained: Path, head: Path, tmp_path: Path) -> None:
    """At 32 px nothing is resampled: the mask follows from the grey levels."""
    call(trained, tmp_path, head)
    grey = np.clip(np.rint((nib.load(head).get_fdata() + 20) * 2.125), 0, 255)
    prob = (sigmoid(grey - 254.9) + sigmoid(grey - 150)) / 2
    np.testing.assert_array_equal(mask(tmp_path), prob >= THRESHOLD)
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == FILES
    told = json.loads((tmp_path / "head" / "run.json").read_text())
    assert told["threshold"] == THRESHOLD
    assert told["inputs"]["method"]["folds"] == ["fold_01", "fold_02"]


def test_one_fold_and_a_given_threshold(trained: Path, head: Path, tmp_path: Path) -> None:
    call(trained, tmp_path, head, "--fold", 2, "--threshold", 0.9)
    grey = np.clip(np.rint((nib.load(head).get_fdata() + 20) * 2.125), 0, 255)
    np.testing.assert_array_equal(mask(tmp_path), sigmoid(grey - 150) >= 0.9)


def test_row_of_volumes_csv_agrees_with_the_mask(trained: Path, head: Path, tmp_path: Path) -> None:
    call(trained, tmp_path, head)
    row = pd.read_csv(tmp_path / "volumes.csv").loc[0]
    voxel_ml = abs(np.linalg.det(nib.load(head).affine)) / 1000
    assert row["scan"] == "head"
    assert row["volume_ml"] == pytest.approx(mask(tmp_path).sum() * voxel_ml, rel=1e-4)
    lesions = [float(each) for each in row["lesion_ml"].split()]
    assert len(lesions) == row["lesions"]
    assert sum(lesions) == pytest.approx(row["volume_ml"], rel=0.01)


def test_nifti_and_dicom_of_one_head_give_one_mask(trained: Path, tmp_path: Path) -> None:
    write_unseen(tmp_path / "unseen", 0, 32, 0)
    call(trained, tmp_path / "out", tmp_path / "unseen")
    images = [nib.as_closest_canonical(nib.load(tmp_path / "out" / name / "mask.nii.gz")) for name in ("scan", "dicom")]
    np.testing.assert_array_equal(images[0].get_fdata(), images[1].get_fdata())
    np.testing.assert_allclose(images[0].affine, images[1].affine, atol=1e-3)
    assert images[0].get_fdata().any()
    assert list(pd.read_csv(tmp_path / "out" / "volumes.csv")["scan"]) == ["dicom", "scan"]


def test_patient_name_reaches_no_output(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_series(tmp_path / "series", phantom())
    call(trained, tmp_path / "out", tmp_path / "series", "--view", "--probabilities")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) >= 6
    for path in written:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        assert NAME.encode() not in content, path
    assert NAME not in capsys.readouterr().out


def test_second_call_skips_and_another_threshold_does_not(
    trained: Path, head: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    call(trained, tmp_path, head, "--view")
    capsys.readouterr()
    call(trained, tmp_path, head, "--view")
    assert "head: already predicted" in capsys.readouterr().out
    call(trained, tmp_path, head, "--threshold", 0.9)
    assert "already predicted" not in capsys.readouterr().out
    assert not (tmp_path / "head" / "view.html").exists()  # of the earlier mask


def test_probabilities_cut_at_the_threshold_of_the_table_are_the_mask(
    trained: Path, head: Path, tmp_path: Path
) -> None:  # fmt: skip
    """All digits of k/256 stand there: at six, voxels that lie at the threshold itself would be lost."""
    for threshold in (38 / 256, 255 / 256):
        call(trained, tmp_path, head, "--threshold", threshold)
        assert pd.read_csv(tmp_path / "volumes.csv")["threshold"][0] == threshold


def test_one_refused_scan_does_not_stop_the_others(
    trained: Path, head: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(head, scans / "good.nii.gz")
    image = nib.load(head)
    write_nifti(scans / "mr.nii.gz", np.abs(image.get_fdata()).astype(np.int16), image.affine)
    write_nifti(scans / "time.nii.gz", np.stack([image.get_fdata()] * 2, -1).astype(np.int16), image.affine)
    with pytest.raises(InputError, match="2 of 3 scans were refused"):
        call(trained, tmp_path / "out", scans)
    told = capsys.readouterr().out
    assert re.search(r"refused: .*mr\.nii\.gz: values run from 0", told)
    assert re.search(r"refused: .*time\.nii\.gz: has shape .* expected three dimensions", told)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["good", "volumes.csv"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda root: root / "absent.nii", "absent.nii: not found"),
        (lambda root: root, "holds no NIfTI file and no axial CT series"),
        (lambda root: shutil.copy(__file__, root / "a.txt"), "is not a NIfTI file"),
    ],
)
def test_what_is_no_scan_is_refused(trained: Path, tmp_path: Path, make: object, reason: str) -> None:
    (tmp_path / "given").mkdir()
    with pytest.raises(InputError, match=reason):
        call(trained, tmp_path / "out", make(tmp_path / "given"))
    assert not (tmp_path / "out").exists()


def test_no_scan_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no scan named.*predict\.py SCAN"):
        call(trained, tmp_path)


def test_equal_names_get_folders_of_their_own(trained: Path, head: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(head, tmp_path / folder)
    call(trained, tmp_path / "out", tmp_path / "a", tmp_path / "b")
    assert list(pd.read_csv(tmp_path / "out" / "volumes.csv")["scan"]) == ["a_head", "b_head"]


def test_flip_averages_with_the_mirror_image(tmp_path: Path, head: Path) -> None:
    """A network that looks one pixel to the left: averaged, it looks to both sides."""
    inputs = keras.Input((32, 32, 1))
    left = keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(inputs))
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 0] = 1
    left.set_weights([kernel, np.full(1, -150.0)])
    folder = write_run(tmp_path / "runs", [left])
    call(folder, tmp_path / "plain", head, "--probabilities")
    call(folder, tmp_path / "flip", head, "--probabilities", "--flip")
    plain, flip = (nib.load(tmp_path / n / "head" / "probabilities.nii.gz").get_fdata() for n in ("plain", "flip"))
    grey = np.clip(np.rint((nib.load(head).get_fdata() + 20) * 2.125), 0, 255)
    moved = [sigmoid(np.pad(grey, ((1, 1), (0, 0), (0, 0)))[at : at + 32] - 150) for at in (0, 2)]
    step = native.PROBABILITY_STEP + 1e-5
    assert min(np.abs(plain - each).max() for each in moved) < step
    np.testing.assert_allclose(flip, (moved[0] + moved[1]) / 2, atol=step)


def test_specks_are_removed_on_request(trained: Path, head: Path, tmp_path: Path) -> None:
    call(trained, tmp_path / "all", head)
    call(trained, tmp_path / "large", head, "--min-lesion-mm3", 5000)
    rows = [pd.read_csv(tmp_path / name / "volumes.csv", dtype={"lesion_ml": str}).loc[0] for name in ("all", "large")]
    assert [float(each) >= 5 for each in rows[1]["lesion_ml"].split()] == [True] * rows[1]["lesions"]
    assert 0 < rows[1]["lesions"] < rows[0]["lesions"]


def test_view_holds_scan_and_mask_and_loads_nothing(trained: Path, head: Path, tmp_path: Path) -> None:
    call(trained, tmp_path, head, "--view")
    page = (tmp_path / "head" / "view.html").read_text()
    own = re.sub(r"<script>\(function.*?</script>", "", page, flags=re.DOTALL)  # NiiVue itself
    assert not re.findall(r"(?:src|href)=|https?:", own)
    volumes = [gzip.decompress(base64.b64decode(text)) for text in re.findall(r'load\("([^"]+)"', own)]
    scan, found = (np.asanyarray(nib.Nifti1Image.from_bytes(content).dataobj) for content in volumes)
    hu = np.clip(nib.load(head).get_fdata(), view.LOWEST_HU, view.LOWEST_HU + 255 * view.HU_STEP)
    assert np.abs(scan - hu).max() <= view.HU_STEP / 2
    np.testing.assert_array_equal(found > 0, mask(tmp_path))
    assert "shown: HU from -100 to 282.5 in steps of 1.5" in own


def test_of_two_runs_the_better_one_predicts(
    trained: Path, head: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    both = Path(shutil.copytree(trained, tmp_path / "runs"))
    write_run(both, [bright_is_blood(10)], "unet")
    for path in (both / "patient" / "unet").rglob("valid_patients.csv"):
        path.write_text(path.read_text().replace("0.9,", "0.5,"))
    call(both, tmp_path / "out", head)
    assert "dunet, the mean of 2 networks" in capsys.readouterr().out
    call(both, tmp_path / "named", head, "--run", "unet")
    assert "unet, fold_01" in capsys.readouterr().out


def test_chosen_lesion_size_is_used_by_runs_and_exports_unless_another_is_given(head: Path, tmp_path: Path) -> None:
    """5000 mm3 was chosen out of fold, for the chosen threshold only; card, table and header of the mask name it."""
    folder = write_run(tmp_path / "runs", [bright_is_blood(150)], min_lesion_mm3=5000)
    call(folder, tmp_path / "chosen", head)
    call(folder, tmp_path / "asked", head, "--min-lesion-mm3", 5000)
    call(folder, tmp_path / "all", head, "--min-lesion-mm3", 0)
    call(folder, tmp_path / "other", head, "--threshold", 0.3)
    rows = {name: pd.read_csv(tmp_path / name / "volumes.csv", dtype={"lesion_ml": str}).loc[0]
            for name in ("chosen", "asked", "all", "other")}  # fmt: skip
    assert {name: row["min_lesion_mm3"] for name, row in rows.items()} == {
        "chosen": 5000, "asked": 5000, "all": 0, "other": 0,
    }  # fmt: skip
    np.testing.assert_array_equal(mask(tmp_path / "chosen"), mask(tmp_path / "asked"))
    assert 0 < rows["chosen"]["lesions"] < rows["all"]["lesions"]
    header = nib.load(tmp_path / "chosen" / "head" / "mask.nii.gz").header
    assert header["descrip"] == b"threshold 0.25, components below 5000 mm3 removed"


@pytest.mark.skipif(bool(engines.lacks_for_export()), reason="what exports networks is not installed")
def test_each_engine_and_an_export_remove_what_keras_removes(head: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", [bright_is_blood(150)], min_lesion_mm3=5000)
    call(folder, tmp_path / "keras", head, "--engine", "keras")
    names = [name for name in ("openvino", "onnx") if engines.installed(name)]
    for name in names:
        call(folder, tmp_path / name, head, "--engine", name)
    predict.main(["--runs", str(folder), "--export", str(tmp_path / "exported"), "--quiet"])
    predict.main([str(head), "--model", str(tmp_path / "exported"), "--out", str(tmp_path / "export"), "--quiet"])
    for name in [*names, "export"]:
        table = pd.read_csv(tmp_path / name / "volumes.csv", dtype={"lesion_ml": str}).loc[0]
        assert table["min_lesion_mm3"] == 5000
        assert (mask(tmp_path / name) != mask(tmp_path / "keras")).mean() < 1e-3
    assert json.loads((tmp_path / "exported" / "model.json").read_text())["min_lesion_mm3"] == 5000
    card = (tmp_path / "exported" / "MODEL_CARD.md").read_text()
    assert (
        "Operating point: threshold 0.25, components below 5000 mm3 removed: chosen out of fold on 6 patients" in card
    )
    assert "the network itself does not" in card
