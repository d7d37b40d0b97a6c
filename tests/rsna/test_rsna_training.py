"""All three scripts on tiny DICOM phantoms: both layouts, both tasks; networks, weights, restarts, refusals."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import Project, undocumented
from keras import layers

import rsna_compare
import rsna_preprocess
import rsna_train
from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_csv
from ich.rsna import batches, classifier, layouts, scores, variants
from ich.rsna.batches import Batches, Change
from ich.train import loop

SIZE = 32
SMALL = ["--network", "EfficientNetB0", "--image-size", str(SIZE), "--weights", "none", "--batch-size", "8",
         "--learning-rates", "1e-3", "1e-4", "--workers", "1", "--checkpoint-seconds", "0", "--quiet"]  # fmt: skip
published_backbone = classifier.backbone_of
FILES = {"config.json", "run.json", "history.csv", "train.log", "best.keras", "predictions.csv", "loss_accuracy.png"}


def tiny_backbone(name: str, image_size: int) -> keras.Model:
    """In place of an EfficientNet, to be compiled in a second: dropout's random states are what matters here."""
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "backbone_of", tiny_backbone)
        yield


class Work:
    """Folders of one layout and task, preprocessed."""

    def __init__(self, root: Path, raw: Path, task: str) -> None:
        self.root, self.task = root, task
        self.data = paths.Rsna(root / "data")
        shares = ["--valid-share", "0.2", "--test-share", "0.2", "--workers", "1", "--quiet"]
        rsna_preprocess.main(["--raw", str(raw), "--data", str(root / "data"), *shares])

    def train(self, *flags: str, runs_folder: str = "runs") -> Callable[[str], paths.Classification]:
        places = ["--data", str(self.root / "data"), "--runs", str(self.root / runs_folder), "--task", self.task]
        rsna_train.main([*places, *SMALL, *flags])
        return lambda variant, repeat=1: paths.Classification(self.root / runs_folder, self.task, variant, repeat)

    def compare(self, runs_folder: str = "runs") -> Path:
        places = ["--runs", str(self.root / runs_folder), "--reports", str(self.root / "reports"), "--quiet"]
        rsna_compare.main([*places, "--task", self.task])
        return paths.rsna_folder(self.root / "reports", self.task)


@pytest.fixture(scope="module", params=[("classes", "multiclass"), ("kaggle", "multilabel")], ids="-".join)
def work(
    request: pytest.FixtureRequest, project: Project, tmp_path_factory: pytest.TempPathFactory, tiny: None
) -> Work:
    """Both layouts, both tasks: all variants trained for two epochs."""
    layout, task = request.param
    made = Work(tmp_path_factory.mktemp("work"), project.root / "rsna" / layout, task)
    made.train("--epochs", "2")
    return made


def test_each_variant_has_its_files_and_the_same_test_slices(work: Work) -> None:
    table = layouts.predicted(read_csv(work.data.slices, (), ""), work.task)
    wanted = set(table.loc[table["split"].isin(["test", "predict"]), "id"])
    for name in variants.VARIANTS:
        files = paths.Classification(work.root / "runs", work.task, name)
        assert {path.name for path in files.folder.iterdir()} == FILES
        predicted = read_csv(files.predictions, (), "")
        assert set(predicted["id"]) == wanted
        prob = predicted[[f"prob_{label}" for label in layouts.names_of(work.task)]].to_numpy()
        assert ((prob >= 0) & (prob <= 1)).all()
        if work.task == "multiclass":
            assert np.allclose(prob.sum(1), 1, atol=1e-4)
        assert len(pd.read_csv(files.history)) == 2


def test_the_comparison_has_a_row_a_variant(work: Work) -> None:
    folder = work.compare()
    table = pd.read_csv(folder / "comparison.csv")
    assert table["variant"].tolist() == list(variants.VARIANTS)
    for name in scores.MEASURES:
        known = table[[f"{name}_low", name, f"{name}_high"]].dropna()
        assert (known[f"{name}_low"] <= known[f"{name}_high"]).all()
    differences = pd.read_csv(folder / "differences.csv")
    assert differences["variant"].tolist() == list(variants.VARIANTS)[1:]
    assert len(pd.read_csv(folder / "per_class.csv")) == 7 * 6
    scans = pd.read_csv(folder / "per_scan.csv")
    assert len(scans) == 7 * 6 * 2
    assert scans["scans"].min() >= 1
    for picture in ("answer.png", "confusion.png", "per_scan.png"):
        assert (folder / picture).stat().st_size > 10_000


def test_every_column_is_explained(work: Work) -> None:
    work.compare()
    classes = {f"prob_{name}" for name in layouts.names_of(work.task)} | set(layouts.names_of(work.task))
    tables = [*work.root.rglob("*.csv"), *work.data.slices.parent.glob("*.csv")]
    assert {table.name for table in tables} >= {
        "slices.csv",
        "predictions.csv",
        "differences.csv",
        "per_class.csv",
        "per_scan.csv",
    }
    assert {each for each in undocumented(tables) if each.partition(": ")[2] not in classes} == set()


def test_all_variants_begin_with_the_same_weights_and_end_with_others(work: Work) -> None:
    networks = {name: keras.models.load_model(
        paths.Classification(work.root / "runs", work.task, name).best, compile=False
    ) for name in ("0_dicom2png", "4_roi_noblank")}  # fmt: skip
    first, second = (network.get_weights() for network in networks.values())
    assert any(not np.allclose(a, b) for a, b in zip(first, second, strict=True))


def test_the_weights_of_the_lowest_validation_loss_are_scored(work: Work) -> None:
    files = paths.Classification(work.root / "runs", work.task, "1_roi")
    network = keras.models.load_model(files.best, compile=False)
    table = layouts.usable(read_csv(work.data.slices, (), ""), work.task)
    valid = table[table["split"] == "valid"]
    plain = Batches(valid, work.data, "1_roi", work.task, SIZE, 8)
    prob = np.asarray(network.predict(plain, verbose=0), float)[: len(valid)]
    loss = scores.log_losses(plain.targets, prob, work.task == "multilabel").mean()
    assert pd.read_csv(files.history)["val_loss"].min() == pytest.approx(loss, rel=1e-3)


@pytest.fixture(scope="module")
def one(project: Project, tmp_path_factory: pytest.TempPathFactory, tiny: None) -> Work:
    return Work(tmp_path_factory.mktemp("one"), project.root / "rsna" / "classes", "multiclass")


def test_repeats_have_seeds_of_their_own(one: Work, capsys: pytest.CaptureFixture[str]) -> None:
    trained = one.train("--variant", "1_roi", "--epochs", "1", "--repeats", "2", runs_folder="repeats")
    found = [trained("1_roi", repeat) for repeat in (1, 2)]
    assert found[1].folder == found[0].folder / "repeat_02"
    assert [json.loads(each.run.read_text())["seed_used"] for each in found] == [0, 1]
    prob = [pd.read_csv(each.predictions)["prob_healthy"] for each in found]
    assert not np.allclose(*prob)
    for copy in ("repeat_02.bak", "repeat_01", "../1_roi old"):
        shutil.copytree(found[1].folder, found[0].folder / copy)
    table = pd.read_csv(one.compare("repeats") / "comparison.csv")
    assert table["repeats"].tolist() == [2]
    notes = [line for line in capsys.readouterr().out.splitlines() if "left out" in line and line.startswith("note: ")]
    one.compare("repeats")  # without the baseline
    folder = paths.rsna_folder(one.root / "reports", one.task)
    assert pd.read_csv(folder / "differences.csv").empty
    assert not (folder / "answer.png").exists()
    assert "answer.png" not in capsys.readouterr().out
    assert len(notes) == 3
    assert "1_roi old: left out, since its name is none of the variants" in notes[0]
    for note, name in zip(notes[1:], ("repeat_01", "repeat_02.bak"), strict=True):
        assert f"{name}: left out, since its name is none of repeat_02, repeat_03, ..." in note
    assert table["log_loss_sd_seeds"].gt(0).all()


def test_alone_or_among_all_a_variant_comes_out_the_same(one: Work) -> None:
    alone = one.train("--variant", "2_roi_clahe", "--epochs", "1", runs_folder="alone")("2_roi_clahe")
    one.train("--variant", "1_roi", "--epochs", "1", "--repeats", "2", runs_folder="both")
    both = one.train("--variant", "all", "--epochs", "1", runs_folder="both")("2_roi_clahe")
    a, b = (pd.read_csv(each.predictions) for each in (alone, both))
    assert np.allclose(a.filter(like="prob_"), b.filter(like="prob_"), atol=1e-4)


def test_stopped_and_run_again_it_goes_on(
    one: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = one.train("--variant", "0_dicom2png", "--epochs", "4", runs_folder="whole")("0_dicom2png")
    begin = Batches.begin

    def stopped(self: Batches, epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch)

    flags = ["--variant", "0_dicom2png", "--epochs", "4"]
    monkeypatch.setattr(Batches, "begin", stopped)
    with pytest.raises(KeyboardInterrupt):
        one.train(*flags, runs_folder="stopped")
    monkeypatch.setattr(Batches, "begin", begin)
    again = one.train(*flags, runs_folder="stopped")("0_dicom2png")
    assert "resuming after epoch 2" in capsys.readouterr().out
    histories = [pd.read_csv(each.history).drop(columns="seconds") for each in (whole, again)]
    assert np.allclose(*histories, rtol=1e-4, equal_nan=True)
    assert histories[0]["learning_rate"].tolist() == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    a, b = (pd.read_csv(each.predictions).filter(like="prob_") for each in (whole, again))
    assert np.allclose(a, b, atol=1e-4)
    one.train(*flags, runs_folder="stopped")
    assert "0_dicom2png: already finished" in capsys.readouterr().out


def test_another_configuration_or_missing_variant_is_refused(one: Work, tmp_path: Path) -> None:
    one.train("--variant", "1_roi", "--epochs", "1", runs_folder="refused")
    with pytest.raises(InputError, match="begun with epochs 1, now 2"):
        one.train("--variant", "1_roi", "--epochs", "2", runs_folder="refused")
    with pytest.raises(InputError, match="'roi' is not a variant"):
        one.train("--variant", "roi")
    with pytest.raises(InputError, match=r"none\.h5: not found; --weights is imagenet, none or a file"):
        one.train("--weights", "none.h5")
    with pytest.raises(InputError, match="run `python rsna_preprocess"):
        rsna_train.main(["--data", str(tmp_path), *SMALL])


def test_the_command_for_missing_variants_is_the_one_that_made_the_others(project: Project, tmp_path: Path) -> None:
    raw, data = project.root / "rsna" / "classes", tmp_path / "data"
    shares = ["--valid-share", "0.2", "--test-share", "0.25"]
    rsna_preprocess.main(["--raw", str(raw), "--data", str(data), *shares, "--variants", "1_roi", "--quiet"])
    before = paths.Rsna(data).slices.read_bytes()
    with pytest.raises(InputError, match="0_dicom2png: not made yet") as refused:
        rsna_train.main(["--data", str(data), "--variant", "0_dicom2png", *SMALL])
    _, _, command = str(refused.value).partition("python rsna_preprocess.py ")
    rsna_preprocess.main([*shlex.split(command.removesuffix("`")), "--quiet"])
    assert paths.Rsna(data).slices.read_bytes() == before
    assert list(json.loads(paths.Rsna(data).run.read_text())["variants"]) == ["0_dicom2png", "1_roi"]


def test_runs_on_other_test_slices_are_refused(one: Work) -> None:
    trained = one.train("--variant", "1_roi", "--epochs", "1", runs_folder="mixed")
    shutil.copytree(trained("1_roi").folder, trained("0_dicom2png").folder)
    changed = pd.read_csv(trained("1_roi").predictions)
    changed[1:].to_csv(trained("1_roi").predictions, index=False)
    with pytest.raises(InputError, match="not the same as"):
        one.compare("mixed")


def test_nothing_to_compare_is_refused(one: Work) -> None:
    with pytest.raises(InputError, match="no finished training"):
        one.compare("nowhere")


def test_batches_follow_from_seed_epoch_and_row(one: Work) -> None:
    table = layouts.usable(read_csv(one.data.slices, (), ""), "multiclass")
    train = table[table["split"] == "train"]
    how = {"table": train, "files": one.data, "variant": "0_dicom2png", "task": "multiclass", "size": SIZE,
           "batch_size": 8, "change": Change(20, 2 / SIZE)}  # fmt: skip
    first, again, other = Batches(**how), Batches(**how), Batches(**how, seed=1)
    for each in (first, again, other):
        each.begin(3)
    images, targets = first[1]
    assert (images.shape, images.dtype, targets.shape) == ((8, SIZE, SIZE, 1), np.uint8, (8, 6))
    assert np.array_equal(images, again[1][0])
    assert not np.array_equal(images, other[1][0])
    assert len(first[len(first) - 1][0]) == 8  # the last batch is filled up
    assert sorted(first._order(3)) == list(range(len(train)))


def test_plain_batches_are_in_order_and_filled_up(one: Work) -> None:
    table = read_csv(one.data.slices, (), "")
    plain = Batches(table[:11], one.data, "0_dicom2png", "multilabel", SIZE, 8)
    assert (len(plain), plain.n, len(plain[1][0])) == (2, 11, 8)
    assert np.array_equal(plain[1][0][3:], plain[0][0][:5])
    assert np.array_equal(plain[1][1][:3], plain.targets[8:])


def test_augmentation_brings_in_zeros_and_mirrors_both_ways() -> None:
    image = np.full((SIZE, SIZE, 1), 200, np.uint8)
    image[2, 20] = 255
    changed = [batches.augment(image, Change(20, 2 / SIZE), np.random.default_rng(seed)) for seed in range(40)]
    assert all(each.shape == image.shape and each.dtype == np.uint8 for each in changed)
    assert min(each.min() for each in changed) == 0
    still = [batches.augment(image, Change(0, 0), np.random.default_rng(seed))[:, :, 0] for seed in range(40)]
    corners = {tuple(int(place) for place in np.argwhere(each == 255)[0]) for each in still}
    assert corners == {(2, 20), (29, 20), (2, 11), (29, 11)}
    sides = Change(0, 0, upside_down=False)
    still = [batches.augment(image, sides, np.random.default_rng(seed))[:, :, 0] for seed in range(40)]
    assert {tuple(int(place) for place in np.argwhere(each == 255)[0]) for each in still} == {(2, 20), (2, 11)}


def test_a_validation_loss_that_is_no_number_is_not_called_the_training_loss() -> None:
    validated = {"val_loss": float("nan"), "val_accuracy": 0.5}
    job = SimpleNamespace(name="1_roi", files=None)
    plan = loop.Plan(job, None, None, 3, lambda epoch: validated, None, ("loss",), "--learning-rates")
    with pytest.raises(InputError, match="1_roi: the validation loss is nan in epoch 2; lower --learning-rates"):
        loop.Keeper(plan, []).on_epoch_end(1, {"loss": 0.3, "accuracy": 0.5})


@pytest.mark.slow
def test_two_at_once_come_out_as_one_after_the_other(work: Work) -> None:
    """Three trainings, so that one process has two; networks of their own, since a patch does not reach processes."""
    flags = ["--variant", "1_roi", "--repeats", "3", "--epochs", "1", "--network", "MobileNetV3Small", "--balance", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "backbone_of", published_backbone)
        alone = work.train(*flags, runs_folder="alone")
    apart = work.train(*flags, "--at-once", "2", runs_folder="apart")
    for repeat in (1, 2, 3):
        one, two = (pd.read_csv(each("1_roi", repeat).predictions).filter(like="prob_") for each in (alone, apart))
        assert np.allclose(one, two, atol=1e-4)
    with pytest.raises(InputError, match=r"^--at-once 2: is for --engine local; "):
        work.train(*flags, "--at-once", "2", "--engine", "ray")
