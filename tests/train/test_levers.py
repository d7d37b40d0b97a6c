"""Levers of a recipe: patches, neighbouring slices, averaged weights, the weight of clean slices, their number."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import config as settings
from ich.base.errors import InputError
from ich.base.files import write_json
from ich.data import identity
from ich.data.pixels import Slices, near_rows
from ich.data.split import Split, epoch_slices
from ich.train import jobs, loop, losses, network, prediction, runner, training
from ich.train.batches import PlainBatches, TrainingBatches

SIZE = 32
FAST = replace(settings.RECIPES["fast"], epochs=2, batch_size=4)
PRINTS = {"image_size": SIZE, "channels": 1, "windows": ["40/120"], "data_fingerprint": "d", "split_fingerprint": "s"}


@pytest.fixture
def split() -> Split:
    """Four patients of three slices; the image of row n is of the grey 10 n, lesions lie in the first of each three."""
    number = 12
    patient = np.repeat(list("abcd"), 3)
    lesion = np.where(np.arange(number) % 3 == 0, 16, 0)
    table = pd.DataFrame({
        "id": [f"{name}_{row % 3 + 1}" for row, name in enumerate(patient)], "patient": patient,
        "slice": np.tile([1, 2, 3], 4), "lesion_pixels": lesion, "in_training": np.arange(number) % 3 < 2,
        "part": np.where(np.arange(number) < 6, "1", "2"),
        "spacing_slice_mm": 5.0, "spacing_row_mm": 1.0, "spacing_column_mm": 1.0,
    })  # fmt: skip
    images = np.broadcast_to(10 * np.arange(number, dtype=np.uint8)[:, None, None, None], (number, SIZE, SIZE, 1))
    masks = np.zeros((number, SIZE, SIZE), np.uint8)
    masks[::3, 8:12, 8:12] = 1
    found = Split(Path(), table, PRINTS, {"split_audit": {}, "origin": ""}, whole_scans=True)
    found.__dict__["slices"] = Slices(table, images.copy(), masks)  # as if read
    return found


def dunet(size: int, channels: int = 1) -> keras.Model:
    inputs = keras.Input((size, size, channels))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3, padding="same")(inputs))
    return keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x))


def job(split: Split, folder: Path, **levers: object) -> jobs.Job:
    config = settings.MainKfold(runs=folder, quiet=True)
    config.resolved_recipe = lambda: replace(FAST, **levers)
    return jobs.job(config, split, "dunet", 2, "1")


@pytest.mark.parametrize("recipe", ["fast", "paper"])
def test_levers_are_off_in_the_published_recipes(recipe: str) -> None:
    assert {"patch", "neighbours", "ema", "elastic"} < set(settings.LEVERS)
    assert not any(getattr(settings.RECIPES[recipe], name) for name in settings.LEVERS)


def test_runs_of_earlier_versions_lack_what_is_off() -> None:
    now = {"recipe": {"epochs": 60, "patch": 0, "ema": 0}}
    assert not identity.differences({"recipe": {"epochs": 60}}, now)
    assert not identity.differences(now, {"recipe": {"epochs": 60}})
    now["recipe"]["patch"] = 128
    assert identity.differences({"recipe": {"epochs": 60}}, now) == [("recipe.patch", None, 128)]
    assert identity.differences({"recipe": {"patch": 0}}, {"recipe": {"patch": 16}}) == [("recipe.patch", 0, 16)]


def test_neighbours_are_the_slices_before_and_after_of_the_same_patient() -> None:
    table = pd.DataFrame({"patient": list("aaabba"), "slice": [3, 1, 2, 1, 3, 5]})
    # a: slices 1, 2, 3 and 5 in rows 1, 2, 0, 5; b: 1 and 3, with 2 missing, in rows 3, 4
    assert near_rows(table).tolist() == [[2, 0, 0], [1, 1, 2], [1, 2, 0], [3, 3, 3], [4, 4, 4], [5, 5, 5]]


def test_training_and_validation_show_the_same_neighbours(split: Split) -> None:
    still = replace(FAST, neighbours=1, rotation_deg=0, shift=0, scale=0, flip=False, brightness=0, contrast=0, noise=0)
    batches = TrainingBatches(split.training("1"), still, 4, 1, 0, True, 0, 0)  # rows 6 to 11: greys 60 to 110
    expected = {60: {60, 70}, 70: {60, 80}, 80: {70, 80}, 90: {90, 100}, 100: {90, 110}, 110: {100, 110}}
    for epoch in range(8):
        batches.begin(epoch)
        for low, own, high in batches[0][0][:, 0, 0].tolist():
            assert {low, high} == expected[own]
    valid = split.validation("1")
    shown = PlainBatches(valid.images, 6, valid.near)[0][:, 0, 0].tolist()
    assert shown == [[0, 0, 10], [0, 10, 20], [10, 20, 20], [30, 30, 40], [30, 40, 50], [40, 50, 50]]


def test_a_network_of_three_slices_predicts_with_the_neighbours(split: Split) -> None:
    """It adds the grey of the slice below to ten times that of the slice above."""
    inputs = keras.Input((SIZE, SIZE, 3))
    layer = keras.layers.Conv2D(1, 1, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([1, 0, 10], np.float32).reshape(1, 1, 3, 1)])
    prob = prediction.predict(model, split.validation("1"))
    assert prob[:, 0, 0].tolist() == [100, 200, 210, 430, 530, 540]


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0, 6), (1, 6), (0.5, 5), (1.9, 9), (100, 10)], ids=lambda value: f"{value}"
)
def test_slices_of_an_epoch(ratio: float, expected: int) -> None:
    """Three with a lesion, seven without, of which three were chosen when the split was made."""
    lesion, chosen = np.arange(10) < 3, np.arange(10) < 6
    assert epoch_slices(lesion, chosen, ratio) == expected
    table = pd.DataFrame({"lesion_pixels": lesion * 5, "in_training": chosen})
    slices = Slices(table, np.zeros((10, SIZE, SIZE, 1), np.uint8), np.zeros((10, SIZE, SIZE), np.uint8))
    batches = TrainingBatches(slices, replace(FAST, negatives_per_positive=ratio), 1, expected, 0, True, 0, 0)
    rows = batches._order(0)
    assert len(rows) == len(set(rows)) == expected
    assert {0, 1, 2} <= set(rows)


def test_more_clean_slices_make_an_epoch_longer(split: Split, tmp_path: Path) -> None:
    assert job(split, tmp_path).steps == 1  # two with a lesion, two without
    assert job(split, tmp_path, negatives_per_positive=2).steps == 2  # and four: six in all


def test_each_slice_counts_in_the_loss_the_clean_ones_less() -> None:
    truth = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], np.uint8)[..., None]
    prob = np.array([[[0.8, 0.4], [0.6, 0.0]], [[0.2, 0.0], [0.0, 0.0]]], np.float32)[..., None]
    lesion = 1 - (2 * 1.2 + 1) / (2 + 1.8 + 1)  # smooth 1: both 1.2, true 2, found 1.8
    clean = 1 - 1 / (0.2 + 1)
    entropy = float(losses.DiceCrossEntropy()(truth, prob)) - (1 - (2 * 1.2 + 1) / (2 + 2.0 + 1))
    expected = (lesion + 0.2 * clean) / 1.2
    assert float(losses.DiceLoss(1, clean_weight=0.2)(truth, prob)) == pytest.approx(expected, abs=1e-6)
    found = float(losses.DiceCrossEntropy(clean_weight=0.2)(truth, prob))
    assert found == pytest.approx(expected + entropy, abs=1e-6)


def compiled(split: Split, folder: Path, **levers: object) -> network.Network:
    each = job(split, folder, **levers)
    return network.Network(dunet, SIZE, each.config, each.recipe, each.steps)


def test_what_is_kept_are_the_averaged_weights(split: Split, tmp_path: Path) -> None:
    net = compiled(split, tmp_path, ema=0.75)
    images, masks = split.slices.images[:4], split.slices.masks[:4, ..., None]
    average = None
    for _ in range(3):
        net.model.train_on_batch(images, masks)
        now = [keras.ops.convert_to_numpy(variable) for variable in net.model.trainable_variables]
        average = now if average is None else [0.75 * a + 0.25 * b for a, b in zip(average, now, strict=True)]
    net.exact.save(tmp_path / "kept.keras")
    kept = keras.models.load_model(tmp_path / "kept.keras", compile=False)
    for found, expected, raw in zip(kept.trainable_variables, average, now, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
        assert not np.array_equal(found, raw)
    moving = [keras.ops.convert_to_numpy(variable) for variable in net.bare.non_trainable_variables]
    for found, expected in zip(kept.non_trainable_variables, moving, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(net.exact.predictor.predict(images, verbose=0), kept.predict(images, verbose=0))


@pytest.mark.parametrize("flip", [False, True])
def test_tables_are_of_the_mean_with_the_mirror_images(split: Split, tmp_path: Path, flip: bool) -> None:
    net, each = compiled(split, tmp_path), job(split, tmp_path, test_time_flip=flip)
    each.files.folder.mkdir(parents=True)
    training.score(each, net, split.slices, whole_scans=True)
    images = split.slices.images
    plain, mirrored = (net.bare.predict(x, verbose=0)[..., 0] for x in (images, np.flip(images, 2)))
    expected = (plain + np.flip(mirrored, 2)) / 2 if flip else plain
    assert not np.allclose(plain, np.flip(mirrored, 2), atol=1e-3)
    found = pd.read_csv(each.files.slices)["score"]
    np.testing.assert_allclose(found, expected.max((1, 2)), atol=1e-5)


class Stop(Exception):
    """A power cut, as far as the program can see."""


def test_a_stopped_training_with_all_levers_ends_as_an_undisturbed_one(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levers = {
        "neighbours": 1, "patch": 16, "ema": 0.9, "clean_weight": 0.2, "negatives_per_positive": 2, "elastic": 0.5,
        "gamma": 0.5, "blur": 0.5, "low_resolution": 0.5, "epochs": 3, "validate_every": 1,
    }  # fmt: skip

    def build(name: str, side: int, channels: int, n_filters: int) -> keras.Model:
        return dunet(side, channels)

    whole, stopped = (job(split, tmp_path / name, **levers) for name in ("whole", "stopped"))
    stopped.config.checkpoint_seconds = 0
    runner.run_all([whole], split, build)
    end = loop.Keeper.on_epoch_end

    def end_and_stop(self: loop.Keeper, number: int, logs: dict | None = None) -> None:
        end(self, number, logs)
        if number == 0:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(loop.Keeper, "on_epoch_end", end_and_stop)
        runner.run_all([stopped], split, build)
    runner.run_all([stopped], split, build)
    for name in ("last", "best"):
        ours, theirs = (
            keras.models.load_model(getattr(each.files, name), compile=False).get_weights() for each in (whole, stopped)
        )
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert whole.files.slices.read_bytes() == stopped.files.slices.read_bytes()


def test_a_network_of_patches_is_kept_for_whole_slices(split: Split, tmp_path: Path) -> None:
    net = compiled(split, tmp_path, patch=16)
    assert net.model.input_shape == (None, 16, 16, 1)
    net.exact.save(tmp_path / "kept.keras")
    kept = keras.models.load_model(tmp_path / "kept.keras", compile=False)
    assert kept.input_shape == (None, SIZE, SIZE, 1)
    for found, expected in zip(kept.get_weights(), net.bare.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert set(net.validate(split.slices, 4)) == {"val_dice", "val_iou", "val_loss"}
    assert training.estimate_seconds(job(split, tmp_path, patch=16), net, split.slices, split.slices) > 0


def unnumbered(table: pd.DataFrame) -> list[str]:
    return [f"slice{chr(97 + row % 26)}{row}x" for row in range(len(table))]


def alternating(table: pd.DataFrame) -> list[str]:
    return [str(1 + row % 2) for row in range(len(table))]


@pytest.mark.parametrize(
    ("levers", "facts", "told"),
    [
        ({"patch": 64}, {}, "patches of 64 pixels, the slices have 32; expected a multiple of 16"),
        ({"patch": 24}, {}, "patches of 24 pixels"),
        ({"neighbours": 1}, {"whole_scans": False}, "a split by slice puts them into other parts"),
        ({"neighbours": 1}, {"about": {"patients_known": False}}, "patients are unknown"),
        ({"neighbours": 1}, {"table": {"slice": 1, "id": unnumbered, "source": np.nan}}, "no slice has another of its"),
        ({"neighbours": 1}, {"table": {"part": alternating}}, "patients are in two parts"),
        ({"neighbours": 1, "patch": 16}, {}, ""),
        ({}, {"whole_scans": False}, ""),
    ],
)
def test_recipes_that_a_split_does_not_allow(
    split: Split, tmp_path: Path, levers: dict, facts: dict, told: str
) -> None:
    config = settings.MainKfold(runs=tmp_path, models={"dunet": 2})
    config.resolved_recipe = lambda: replace(FAST, **levers)
    if "table" in facts:
        facts = {"table": split.table.assign(**facts["table"])}
    if not told:
        assert jobs.trainings(config, replace(split, **facts), ["1"])
        return
    with pytest.raises(InputError, match=told):
        jobs.trainings(config, replace(split, **facts), ["1"])


@pytest.mark.parametrize(("given", "filters"), [({}, 16), ({"models": {"dunet": 4}}, 4)])
def test_a_recipe_may_name_the_filters_unless_models_do(
    split: Split, tmp_path: Path, given: dict, filters: int
) -> None:
    config = settings.MainKfold(runs=tmp_path, model="dunet", recipe="laptop", **given)
    config.resolved_recipe = lambda: replace(settings.RECIPES["laptop"], patch=16)
    (each,) = jobs.trainings(config, split, ["1"])
    assert each.identity["n_filters"] == filters


@pytest.mark.parametrize(
    ("made", "is_refused"),
    [({}, False), ({"part": "2"}, True), ({"part": "valid"}, True), ({"split_fingerprint": "another"}, True),
     ({"part": "2", "data_fingerprint": "other data"}, False)],
)  # fmt: skip
def test_weights_that_have_seen_the_patients_of_a_fold_are_no_start(
    split: Split, tmp_path: Path, made: dict, is_refused: bool
) -> None:
    config = settings.MainKfold(runs=tmp_path, model="dunet", models={"dunet": 2})
    (plain,) = jobs.trainings(config, split, ["1"])
    start = tmp_path / "other" / "last.keras"
    start.parent.mkdir()
    start.write_bytes(b"weights")
    config.init_weights = start
    assert jobs.trainings(config, split, ["1"])  # whose they are is not known
    write_json(start.parent / "run.json", {"identity": plain.identity | made})
    if not is_refused:
        assert jobs.trainings(config, split, ["1"])
        return
    with pytest.raises(InputError, match="was trained on patients that dunet/fold_01 is scored on"):
        jobs.trainings(config, split, ["1"])


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({}, 1e-3), ({"init_weights": Path("start.keras")}, 5e-4),
        ({"init_weights": Path("start.keras"), "learning_rate": 2e-3}, 2e-3),
    ],
)  # fmt: skip
def test_learning_rate_from_weights_is_its_own(given: dict, rate: float) -> None:
    assert settings.MainKfold(recipe="best", **given).resolved_recipe().learning_rate == rate
    assert settings.MainKfold(recipe="fast").resolved_recipe().learning_rate == 1e-3
