"""The shipped network: packed from a training, used where none is trained here, and a start for further training."""

import dataclasses
import shutil
import subprocess
import zipfile
from pathlib import Path

import keras
import nibabel as nib
import numpy as np
import pytest
from conftest import Done, Project
from predict_files import SIZE, bright_is_blood, phantom, write_nifti, write_run

import main_kfold
import models
import predict
from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import read_json, write_json
from ich.phantom.head import blood_kinds, make_patient
from ich.predict import engines, method, networks, quantize, shipped, shipped_card

FACTS = {
    "note": "", "backend": "tensorflow", "precision": "float32", "parameters": 2, "training_seconds": 1,
    "split_audit": {}, "patients_known": True, "origin": "phantoms", "valid_slices": 3, "packages": {}, "python": "3",
    "git_commit": "c", "finished": "2026",
}  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Runs with a finished training `phantoms`, as train_weights.sh leaves it."""
    runs = write_run(tmp_path / "runs", [bright_is_blood(150)], name=paths.SHIPPED_RUN)
    files = paths.of_folds(runs / "patient" / paths.SHIPPED_RUN)[0]
    for path in (files.config, files.history):
        path.write_text("{}\n", encoding="utf-8")
    write_json(tmp_path / "ct-ich" / paths.PHANTOM_MARKER, {"patients": 7, "size": 64, "seed": 1})
    about = {**FACTS, "config": {"data": str(tmp_path / "data")}, "command": f"main_kfold.py --data {tmp_path}"}
    write_json(files.run, {**read_json(files.run), **about})
    return runs


@pytest.fixture
def weights(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder of weights, with the packed run; the working folder has no run."""
    made = tmp_path / "weights"
    shipped.pack(trained, made)
    monkeypatch.setattr(paths, "SHIPPED", made)
    monkeypatch.chdir(tmp_path)
    trained.rename(tmp_path / "elsewhere")
    return made


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    made = phantom()
    return write_nifti(tmp_path / "head.nii.gz", made.hu, made.affine)


def test_rounding_keeps_fourteen_bits():
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    rounded = shipped.rounded(values)
    assert 2**-16 < np.abs(rounded / values - 1).max() <= 2**-15
    assert not (rounded.view(np.int32) & 511).any()
    assert np.array_equal(shipped.rounded(rounded), rounded)
    assert shipped.rounded(np.float32([0, -1, 1e-30, 70000])) == pytest.approx([0, -1, 1e-30, 70000], rel=1e-3)


def test_a_packed_network_is_smaller_and_predicts_the_same(tmp_path: Path):
    keras.utils.set_random_seed(1)
    network = models.build("dunet", SIZE, 1, 4)
    network.save(tmp_path / "whole.keras")
    difference = shipped.pack_network(tmp_path / "whole.keras", tmp_path / "packed.keras")
    assert 0 < difference <= shipped.MOST_DIFFERENCE
    whole, packed = ((tmp_path / f"{name}.keras").stat().st_size for name in ("whole", "packed"))
    assert packed < 0.85 * whole
    image = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 1)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "packed.keras", compile=False)
    assert np.abs(loaded.predict(image, verbose=0) - network.predict(image, verbose=0)).max() < 0.01
    with zipfile.ZipFile(tmp_path / "packed.keras") as archive:
        assert all(each.compress_type == zipfile.ZIP_DEFLATED for each in archive.infolist())


def test_the_packed_run_names_no_folder_of_this_machine(weights: Path, tmp_path: Path):
    files = paths.shipped()
    assert str(tmp_path) not in files.run.read_text(encoding="utf-8")
    facts = read_json(files.run)
    assert facts["phantoms"] == {"patients": 7, "size": 64, "seed": 1}
    assert facts["results"] == {path.name: record.fingerprint(path) for path in
                                (files.last, files.history, files.patients, files.operating)}  # fmt: skip


def test_it_predicts_where_no_network_is_trained(weights: Path, scan: Path, capsys: pytest.CaptureFixture):
    predict.main([str(scan), "--engine", "keras"])
    printed = capsys.readouterr().out
    assert "note: no fold of a network is trained in runs (main_kfold.py): using the shipped network" in printed
    assert "trained on 7 phantom heads, never on a patient's scan" in printed
    assert "note: phantom-trained network" in printed
    facts = read_json(Path("predicted/head/run.json"))
    assert facts["inputs"]["method"]["run"] == paths.SHIPPED_RUN
    assert facts["inputs"]["method"]["origin"] == "phantoms"


def test_a_network_trained_here_comes_first_and_the_shipped_one_has_a_name(
    weights: Path, scan: Path, capsys: pytest.CaptureFixture
):
    write_run(Path("runs"), [bright_is_blood(100)])
    predict.main([str(scan), "--engine", "keras", "--out", "own"])
    assert "shipped" not in capsys.readouterr().out
    predict.main([str(scan), "--engine", "keras", "--run", "phantoms"])
    assert "note: shipped network, trained on 7 phantom heads" in capsys.readouterr().out
    write_run(Path("runs"), [bright_is_blood(100)], name="phantoms")
    predict.main([str(scan), "--engine", "keras", "--run", "phantoms"])
    assert "shipped" not in capsys.readouterr().out


def test_masks_of_another_method_are_no_network_trained_here(weights: Path, scan: Path, capsys: pytest.CaptureFixture):
    (run,) = write_run(Path("runs"), [bright_is_blood(100)], name="nnunet").rglob("run.json")
    facts = read_json(run)
    write_json(run, {**facts, "identity": {**facts["identity"], "given": "masks"}})
    predict.main([str(scan), "--engine", "keras"])
    assert (
        "note: no fold of a network is trained in runs (main_kfold.py): using the shipped network"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "flags", [["--runs", "rusn"], ["--run", "dunet"], ["--protocol", "slice"], ["--fold", "2"], ["--weights", "best"]]
)
def test_what_asks_for_another_network_is_still_an_error(weights: Path, scan: Path, flags: list[str]):
    with pytest.raises(InputError, match="no finished fold"):
        predict.main([str(scan), *flags])


def test_a_missing_one_is_one_line(weights: Path, scan: Path):
    paths.shipped().run.unlink()
    with pytest.raises(InputError, match="the shipped network is missing; restore it with git checkout weights"):
        predict.main([str(scan)])


def test_training_starts_from_it_where_it_fits(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project: Project = done.project
    monkeypatch.setattr(models, "LEVELS", 2)
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "weights")
    source = paths.of_folds(done.run("patient", "dunet"))[0]
    target = paths.shipped()
    target.folder.mkdir(parents=True)
    target.last.write_bytes(source.last.read_bytes())
    target.run.write_bytes(source.run.read_bytes())
    flags = [*project.flags[:2], "--runs", str(tmp_path / "runs"), "--quiet", "--epochs", "1", "--fold", "1",
             "--learning-rate", "1e-9", "--init-weights", "phantoms"]  # fmt: skip
    main_kfold.main([*flags, "--models", "dunet=2", "--model", "dunet"])
    begun, start = (keras.models.load_model(path, compile=False) for path in (
        tmp_path / "runs/patient/dunet/fold_01/last.keras", source.last))  # fmt: skip
    for ours, theirs in zip(begun.trainable_variables, start.trainable_variables, strict=True):
        assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() < 1e-5
    with pytest.raises(InputError, match="the shipped network is dunet with 2 filters, neighbours 0, windows 40/120"):
        main_kfold.main([*flags, "--models", "dunet=3", "--model", "dunet", "--run", "other"])
    main_kfold.main([*flags, "--models", "UNet1=2", "--run", "published_name"])
    facts = read_json(target.run)
    write_json(target.run, facts | {"identity": facts["identity"] | {"windows": ["600/2800"]}})
    with pytest.raises(
        InputError, match="windows 600/2800, this one dunet with 2 filters, neighbours 0, windows 40/120"
    ):
        main_kfold.main([*flags, "--models", "dunet=2", "--model", "dunet", "--run", "another"])


def test_its_integers_are_measured_on_phantoms(weights: Path):
    used, _ = method.of_run(shipped.run(), 0, "last")
    hu = quantize.phantom_slices(used)
    assert hu.dtype == np.float32
    assert hu.shape[1:] == (1, SIZE, SIZE)
    assert quantize.EACH < len(hu) <= 2 * quantize.EACH
    near = quantize.phantom_slices(dataclasses.replace(used, neighbours=1))
    assert near.shape[1:] == (3, SIZE, SIZE)
    assert np.array_equal(near[:, 1], hu[:, 0])
    assert hu.min() < -900
    assert 20 < np.median(hu[(hu > 0) & (hu < 100)]) < 50


@pytest.mark.parametrize(
    ("given", "status", "line"),
    [
        (["--help"], 0, "Trains the shipped network on phantom heads alone"),
        (["--colour"], 2, "error: --colour: unknown flag; `bash train_weights.sh --help` says what there is"),
        (["a", "1", "2", "b"], 2, "error: a 1 2 b: expected three arguments at most"),
        (["a", "19"], 2, "error: HEADS: 19; expected 20 or more"),
        (["a", "many"], 2, "error: HEADS: many; expected 20 or more"),
    ],
)
def test_flags_of_train_weights(given: list[str], status: int, line: str, tmp_path: Path):
    script = paths.ROOT / "train_weights.sh"
    done = subprocess.run(["bash", script, *given], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status
    assert (done.stderr if status else done.stdout).startswith(line)
    assert not list(tmp_path.iterdir())


NEW_FILE_EACH_STEP = """#!/bin/bash
# Every step that names the folder of the new weights leaves a file there, but for one, which fails.
case "$*" in *"$FAILS"*) exit 2 ;; *trained/weights*) mkdir -p trained/weights; touch trained/weights/new ;; esac
"""


@pytest.mark.parametrize("fails", ["--export", "benchmarks/weights.py", "shipped_card", "nothing"])
def test_weights_are_replaced_as_a_whole_and_last(fails: str, tmp_path: Path):
    for name in ("train_weights.sh", "environment.sh", *(path.name for path in paths.ROOT.glob("requirements*.txt"))):
        shutil.copy(paths.ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(NEW_FILE_EACH_STEP, encoding="utf-8")
    no_gpu = tmp_path / "nvidia-smi"
    no_gpu.write_text("#!/bin/bash\nexit 1\n", encoding="utf-8")
    for command in (python, no_gpu):
        command.chmod(0o755)
    stamp = 'echo "requirements.txt requirements-predict.txt $(cat requirements*.txt | cksum)" > .venv/installed'
    subprocess.run(["bash", "-c", stamp], cwd=tmp_path, check=True)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "old").touch()
    command = ["bash", "train_weights.sh", "trained"]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin", "FAILS": fails}, check=False)
    replaced = fails == "nothing"
    assert done.returncode == (0 if replaced else 2)
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["new" if replaced else "old"]


def test_the_one_of_the_project_finds_blood_in_a_plain_head(tmp_path: Path, capsys: pytest.CaptureFixture):
    number = next(k for k in range(20) if blood_kinds(5, k) == ("epidural",))
    made = make_patient(5, number, 128)
    scan = write_nifti(tmp_path / "head.nii.gz", made.hu, made.affine)
    predict.main([str(scan), "--run", "phantoms", "--engine", "keras", "--out", str(tmp_path / "out")])
    found = nib.load(tmp_path / "out" / "head" / "mask.nii.gz").get_fdata() > 0
    both = found & (made.mask > 0)
    assert 2 * both.sum() / (found.sum() + (made.mask > 0).sum()) > 0.5
    assert (
        f"trained on {read_json(paths.shipped().run)['phantoms']['patients']} phantom heads" in capsys.readouterr().out
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_exported_files_of_the_project_are_of_its_network(precision: str):
    """Otherwise the first prediction exports it again, which needs Keras and TensorFlow."""
    used, _ = method.of_run(shipped.run(), 0, "last")
    exported = paths.SHIPPED / "patient" / paths.SHIPPED_RUN / networks.CACHE
    assert method.is_exported(exported, used, engines.files(precision))


def test_the_card_of_the_project_is_of_its_network():
    measured = read_json(paths.SHIPPED / shipped_card.MEASURED)["result"]
    assert measured["network"] == record.fingerprint(paths.shipped().last)
    card = (paths.SHIPPED / "README.md").read_text(encoding="utf-8")
    for row in measured["rows"]:
        assert f"| {row['style']} | {row['heads_with_blood']} | {row['dice_mean']:.2f} (" in card
    assert sum(path.stat().st_size for path in paths.shipped().folder.iterdir() if path.is_file()) < 8e6
