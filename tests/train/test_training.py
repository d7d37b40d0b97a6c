"""One training: learns, stops and goes on, refuses what does not belong to it, and leaves whole files."""

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

import config as settings
from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json
from ich.base.progress import duration
from ich.data.pixels import Slices
from ich.data.split import Split
from ich.train import checkpoint, device, jobs, loop, network, prediction, runner, training

SIZE, EPOCHS = 32, 4
RECIPE = replace(settings.RECIPES["fast"], epochs=EPOCHS, batch_size=4, learning_rate=0.02, validate_every=1)
PRINTS = {"image_size": SIZE, "channels": 1, "windows": ["40/120"], "data_fingerprint": "d", "split_fingerprint": "s"}


def bright_squares(patients: int = 12, each: int = 4) -> Slices:
    """Noise with, on every second slice, a bright square that is the lesion; two folds by patient."""
    rng = np.random.default_rng(0)
    number = patients * each
    masks = np.zeros((number, SIZE, SIZE), np.uint8)
    for place in range(0, number, 2):
        row, column = rng.integers(2, SIZE - 12, 2)
        masks[place, row : row + 10, column : column + 10] = 1
    images = rng.integers(0, 60, masks.shape, np.uint8) + masks * np.uint8(150)
    patient = np.repeat([f"{name:03d}" for name in range(patients)], each)
    table = pd.DataFrame({"patient": patient, "slice": np.tile(np.arange(1, each + 1), patients)})
    table["id"] = table["patient"] + "_" + table["slice"].astype(str).str.zfill(3)
    table["lesion_pixels"], table["in_training"] = masks.sum((1, 2)), True
    table["part"] = np.where(np.arange(number) % (2 * each) < each, "1", "2")
    spacings = {"spacing_slice_mm": 5.0, "spacing_row_mm": 1.0, "spacing_column_mm": 1.0}
    return Slices(table.assign(**spacings), images[..., None], masks)


@pytest.fixture(scope="module")
def split() -> Split:
    return split_of(bright_squares(), whole_scans=True)


def split_of(slices: Slices, whole_scans: bool) -> Split:
    split = Split(Path(), slices.table, PRINTS, {"split_audit": {"fold 1": 0}, "origin": ""}, whole_scans)
    split.__dict__["slices"] = slices  # as if read
    return split


def small(name: str, image_size: int, channels: int, n_filters: int) -> keras.Model:
    """Everything that training has to keep (normalisation, dropout, several layers), compiled in a second."""
    inputs = keras.Input((image_size, image_size, channels))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(n_filters, 3, padding="same")(x)
    x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x))


def job(
    folder: Path, split: Split, recipe: object = RECIPE, part: str = "1", repeat: int = 1, **given: object
) -> jobs.Job:
    config = settings.MainKfold(runs=folder, quiet=True, checkpoint_seconds=0, workers=0, **given)
    config.resolved_recipe = lambda: recipe
    return jobs.job(config, split, "dunet", 2, part, repeat)


def train(each: jobs.Job, split: Split) -> None:
    runner.run_all([each], split, small)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, split: Split) -> jobs.Job:
    """An undisturbed training of four epochs."""
    each = job(tmp_path_factory.mktemp("undisturbed"), split)
    train(each, split)
    return each


def history(each: jobs.Job) -> pd.DataFrame:
    return pd.read_csv(each.files.history).drop(columns="seconds")


def weights(path: Path) -> list[np.ndarray]:
    return keras.models.load_model(path, compile=False).get_weights()


def test_files_of_a_training(finished: jobs.Job) -> None:
    names = "config.json run.json history.csv train.log last.keras best.keras valid_slices.csv valid_patients.csv "
    names += "valid_thresholds.csv valid_operating.csv loss.png dice.png iou.png"
    found = {path.name for path in finished.files.folder.iterdir()}
    assert set(names.split()) <= found
    assert "checkpoint" not in found  # of use to an unfinished training only
    facts = read_json(finished.files.run)
    assert facts["identity"] == read_json(finished.files.config)
    assert (facts["training_slices"], facts["valid_slices"]) == (24, 24)


def test_it_learns_what_is_easy(finished: jobs.Job) -> None:
    shown = history(finished)
    assert list(shown["epoch"]) == [1, 2, 3, 4]
    assert shown["loss"].iloc[-1] < 0.85 * shown["loss"].iloc[0]
    assert shown["val_dice"].iloc[-1] > shown["val_dice"].iloc[0]
    assert shown["learning_rate"].iloc[-1] == pytest.approx(0, abs=1e-9)


def test_tables_are_of_the_last_weights_and_of_the_validation_part(finished: jobs.Job, split: Split) -> None:
    valid = split.validation("1")
    prob = prediction.predict(keras.models.load_model(finished.files.last, compile=False), valid)
    table = read_csv(finished.files.slices, ("score",), "")
    assert list(table["id"]) == list(valid.table["id"])
    np.testing.assert_allclose(table["score"], prob.max((1, 2)), atol=1e-5)
    found = prob >= 0.5
    np.testing.assert_array_equal(table["tp"], (found & (valid.masks == 1)).sum((1, 2)))
    patients = read_csv(finished.files.patients, ("tp",), "").set_index("patient")
    assert patients["tp"].to_dict() == table.groupby("patient")["tp"].sum().to_dict()
    # 1 x 1 x 5 mm voxels: 5 / 1000 ml each
    np.testing.assert_allclose(patients["volume_true_ml"], (patients["tp"] + patients["fn"]) * 0.005)


def test_best_is_the_epoch_with_the_highest_validation_dice(finished: jobs.Job, split: Split) -> None:
    valid = split.validation("1")
    best = keras.models.load_model(finished.files.best, compile=False)
    found, truth = prediction.predict(best, valid) >= 0.5, valid.masks == 1
    pooled = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert history(finished)["val_dice"].max() == pytest.approx(pooled, abs=2e-3)


class Stop(Exception):
    """A power cut, as far as the program can see."""


def stop_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    end = loop.Keeper.on_epoch_end

    def end_and_stop(self: loop.Keeper, number: int, logs: dict | None = None) -> None:
        end(self, number, logs)
        if number + 1 == epoch:
            raise Stop

    monkeypatch.setattr(loop.Keeper, "on_epoch_end", end_and_stop)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, split: Split) -> jobs.Job:
    """The same training, stopped after epoch 2. Copy it before it goes on."""
    each = job(tmp_path_factory.mktemp("stopped"), split)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        stop_after(2, patch)
        train(each, split)
    return each


def test_a_stopped_training_ends_as_an_undisturbed_one(
    stopped: jobs.Job, finished: jobs.Job, split: Split, capsys: pytest.CaptureFixture
) -> None:
    assert not stopped.files.finished
    assert len(history(stopped)) == 2
    train(stopped, split)
    assert "resuming after epoch 2" in capsys.readouterr().out
    pd.testing.assert_frame_equal(history(stopped), history(finished), rtol=1e-5)
    for own, other in zip(weights(stopped.files.last), weights(finished.files.last), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)
    assert stopped.files.slices.read_bytes() == finished.files.slices.read_bytes()


def test_a_finished_training_is_not_run_again(
    finished: jobs.Job, split: Split, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "run", lambda *_: pytest.fail("trained again"))
    before = {path: path.stat().st_mtime_ns for path in finished.files.folder.iterdir()}
    train(finished, split)
    assert "already finished" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in finished.files.folder.iterdir()}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"recipe": replace(RECIPE, epochs=9)}, r"recipe\.epochs 4, now 9"),
        ({"seed": 5}, "seed 0, now 5"),
        ({"recipe": replace(RECIPE, validate_every=2)}, r"recipe\.validate_every 1, now 2"),
        ({"part": "2", "seed": 5}, "fold_01.*seed 0, now 5"),  # another fold of the same run is the same method
    ],
)
def test_another_configuration_in_the_same_run_is_refused(
    finished: jobs.Job, split: Split, changed: dict, told: str
) -> None:
    other = job(finished.config.runs, split, **changed)
    with pytest.raises(InputError, match=told) as caught:
        jobs.begin(other)
    assert str(caught.value).count(", now ") == 1  # nothing else is named
    assert other.files.folder == finished.files.folder or not other.files.folder.exists()


@pytest.mark.parametrize("protocol", ["patient", "slice"])
def test_validation_gives_what_keras_gives(tmp_path: Path, split: Split, protocol: str) -> None:
    """The last batch is filled up for the network; 24 slices in batches of 5 leave 4."""
    each = job(tmp_path, split, protocol=protocol, precision="float32")
    network, valid = runner.compiled(each, split, small), split.validation("1")
    training.run(each, network, split.training("1"), valid, whole_scans=True)
    expected = network.model.evaluate(valid.images, valid.masks[..., None], batch_size=5, verbose=0, return_dict=True)
    found = network.validate(valid, 5)
    assert found.keys() == {f"val_{name}" for name in expected}
    assert found == pytest.approx({f"val_{name}": value for name, value in expected.items()}, abs=1e-5)


def test_several_steps_at_once_change_nothing(
    finished: jobs.Job, tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; 6 steps an epoch, 4 at once."""
    monkeypatch.setattr(device, "steps_an_execution", lambda steps: 4)
    each = job(tmp_path, split)
    train(each, split)
    pd.testing.assert_frame_equal(history(each), history(finished), rtol=1e-5)


def test_another_network_in_the_same_run_is_refused(finished: jobs.Job, split: Split) -> None:
    config = replace(finished.config, run="dunet")
    config.resolved_recipe = lambda: RECIPE
    with pytest.raises(InputError, match="model dunet, now unet"):
        jobs.begin(jobs.job(config, split, "unet", 2, "2"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no checkpoint at all"])
def test_damaged_checkpoint_is_told_in_one_line(finished: jobs.Job, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint"
    model = compiled(finished).model
    checkpoint.save(path, model, 3, [{"loss": 1.0}])
    whole = path.read_bytes()
    middle = len(whole) // 2
    content = {
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 64]) + whole[middle + 64 :],
        "empty": b"",
        "no checkpoint at all": b"hello" * 100,
    }[damage]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint: is damaged .*delete it"):
        checkpoint.restore(path, model)


def compiled(each: jobs.Job, n_filters: int = 2, **given: object) -> network.Network:
    config = replace(each.config, **given)
    return network.Network(lambda side: small("dunet", side, 1, n_filters), SIZE, config, each.recipe, each.steps)


def test_checkpoint_of_another_network_is_refused(finished: jobs.Job, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "checkpoint", compiled(finished).model, 3, [])
    with pytest.raises(InputError, match="state of another network"):
        checkpoint.restore(tmp_path / "checkpoint", compiled(finished, n_filters=3).model)


def test_random_state_of_dropout_and_optimizer_come_back(finished: jobs.Job, split: Split, tmp_path: Path) -> None:
    """The step after a restart is the step that would have come: same loss, which dropout and momentum decide."""
    images, masks = split.slices.images[:4], split.slices.masks[:4, ..., None]
    one = compiled(finished).model
    for _ in range(2):
        one.train_on_batch(images, masks)
    checkpoint.save(tmp_path / "checkpoint", one, 2, [])
    one.reset_metrics()
    expected = [float(one.train_on_batch(images, masks, return_dict=True)["loss"]) for _ in range(3)]

    other = compiled(finished, seed=9).model
    assert checkpoint.restore(tmp_path / "checkpoint", other) == (2, [])
    other.reset_metrics()
    one_more = [float(other.train_on_batch(images, masks, return_dict=True)["loss"]) for _ in range(3)]
    assert one_more == pytest.approx(expected, rel=1e-5)
    assert any("seed_generator" in variable.path for variable in other.variables)
    assert int(keras.ops.convert_to_numpy(other.optimizer.iterations)) == 5
    for own, wanted in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-6)


def test_reset_is_a_fresh_build(finished: jobs.Job, split: Split) -> None:
    used, fresh = compiled(finished), compiled(finished)
    used.model.train_on_batch(split.slices.images[:4], split.slices.masks[:4, ..., None])
    used.reset(used.config.seed)
    for own, wanted in zip(checkpoint.read_state(used.model), checkpoint.read_state(fresh.model), strict=True):
        np.testing.assert_array_equal(own, wanted)


def same(one: jobs.Job, other: jobs.Job) -> bool:
    """Whether two trainings gave the same, to the last bit."""
    pairs = zip(weights(one.files.last), weights(other.files.last), strict=True)
    return history(one).equals(history(other)) and all(np.array_equal(*pair) for pair in pairs)


def test_each_repeat_is_the_training_of_its_own_seed(finished: jobs.Job, tmp_path: Path, split: Split) -> None:
    """In one call with one network; the first is the training of a call without repeats."""
    first, second = (job(tmp_path / "repeats", split, repeat=repeat) for repeat in (1, 2))
    runner.run_all([first, second], split, small)
    alone = job(tmp_path / "alone", split, seed=1)
    train(alone, split)
    assert second.files.folder == first.files.folder / "repeat_02"
    assert same(first, finished)
    assert same(second, alone)
    assert not same(first, second)
    assert first.files.thresholds.read_bytes() == finished.files.thresholds.read_bytes()
    assert read_json(first.files.config) == read_json(finished.files.config)
    assert read_json(second.files.run)["identity"] == {**read_json(first.files.config), "repeat": 2}


def test_a_repeat_that_is_stopped_goes_on_in_its_own_folder(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    calm, stopped = ([job(tmp_path / name, split, repeat=repeat) for repeat in (1, 2)] for name in ("calm", "stopped"))
    runner.run_all(calm, split, small)
    runner.run_all(stopped[:1], split, small)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop_after(2, patch)
        runner.run_all(stopped, split, small)
    assert [each.files.finished for each in stopped] == [True, False]
    runner.run_all(stopped, split, small)
    told = capsys.readouterr().out
    assert "dunet/fold_01: already finished" in told
    assert "dunet/fold_01/repeat_02: resuming after epoch 2" in told
    assert not stopped[1].files.checkpoint.exists()
    pd.testing.assert_frame_equal(history(stopped[1]), history(calm[1]), rtol=1e-5)
    assert stopped[1].files.slices.read_bytes() == calm[1].files.slices.read_bytes()


def test_saved_network_predicts_what_the_trained_one_does(finished: jobs.Job, split: Split) -> None:
    """`bare` shares its layers with `model`: batch normalisation statistics travel too."""
    net = compiled(finished)
    net.model.train_on_batch(split.slices.images[:4], split.slices.masks[:4, ..., None])
    own, bare = (prediction.predict(each, split.slices) for each in (net.model, net.bare))
    np.testing.assert_allclose(own, bare, atol=1e-6)


def test_loss_that_is_no_number_ends_the_training(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = job(tmp_path, split, replace(RECIPE, epochs=1))
    monkeypatch.setattr(loop.keras.Model, "fit", lambda model, *_, **given: end_with_nan(given["callbacks"][0]))
    with pytest.raises(InputError, match=r"dunet/fold_01: the training loss is nan in epoch 1; lower --learning-rate"):
        train(each, split)
    assert not each.files.finished
    assert not each.files.checkpoint.exists()


def end_with_nan(keeper: loop.Keeper) -> None:
    keeper.on_epoch_begin(0)
    keeper.on_epoch_end(0, {"loss": float("nan")})


@pytest.mark.parametrize(("every", "epochs", "expected"), [(1, 3, {1, 2, 3}), (3, 7, {3, 6, 7}), (9, 4, {4})])
def test_the_last_epoch_is_always_validated(
    tmp_path: Path, split: Split, every: int, epochs: int, expected: set[int]
) -> None:
    each = job(tmp_path, split, replace(RECIPE, epochs=epochs, validate_every=every))
    assert training.validated_epochs(each) == expected


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory, split: Split) -> jobs.Job:
    """Five epochs of the paper's recipe, weights kept every two, validated every three, started from weights."""
    folder = tmp_path_factory.mktemp("paper")
    keras.utils.set_random_seed(77)
    small("dunet", SIZE, 1, 2).save(folder / "start.keras")
    recipe = replace(settings.RECIPES["paper"], epochs=5, batch_size=4, checkpoint_every=2, validate_every=3)
    given = {"protocol": "slice", "recipe": recipe, "init_weights": folder / "start.keras"}
    by_slice = split_of(split.slices, whole_scans=False)
    each = job(folder, by_slice, **given)
    train(each, by_slice)
    return each


def test_the_papers_recipe_keeps_weights(paper: jobs.Job) -> None:
    assert sorted(path.name for path in paper.files.folder.glob("checkpoint*")) == [
        "checkpoint_0002.keras", "checkpoint_0004.keras",
    ]  # fmt: skip
    assert not paper.files.patients.exists()  # no whole scans


def test_history_of_the_papers_recipe(paper: jobs.Job) -> None:
    shown = history(paper)
    assert list(shown.loc[shown["val_dice"].notna(), "epoch"]) == [3, 5]
    # lr / (1 + step * lr / epochs), 6 batches an epoch: after epoch 2 that is step 12
    assert shown["learning_rate"].iloc[1] == pytest.approx(1e-4 / (1 + 12 * 1e-4 / 5), rel=1e-6)


def test_published_metric_of_validation_is_pooled_over_32_slices(paper: jobs.Job, split: Split) -> None:
    """24 slices are one batch of the published metric, though training has batches of four."""
    from ich.score import metrics

    valid = split.validation("1")
    prob = prediction.predict(keras.models.load_model(paper.files.last, compile=False), valid)
    wanted = metrics.paper_scores(valid.masks == 1, prob)
    last = history(paper).iloc[-1]
    for name, value in wanted.items():
        assert last[f"val_{name}"] == pytest.approx(value, abs=1e-4)


def test_initial_weights_are_used_and_their_content_is_part_of_the_identity(paper: jobs.Job) -> None:
    started = compiled(paper, init_weights=paper.config.init_weights)
    for own, wanted in zip(started.bare.get_weights(), weights(paper.config.init_weights), strict=True):
        np.testing.assert_array_equal(own, wanted)
    assert paper.identity["init_weights"] == record.fingerprint(paper.config.init_weights)


@pytest.mark.parametrize("kind", ["missing", "damaged", "another network", "another ending"])
def test_initial_weights_that_do_not_fit_are_told_in_one_line(
    finished: jobs.Job, split: Split, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / ("start.txt" if kind == "another ending" else "start.keras")
    if kind == "another network":
        small("unet", SIZE, 1, 3).save(path)
    elif kind != "missing":
        path.write_bytes(b"no weights")
    with pytest.raises(InputError, match=path.name):
        compiled(job(tmp_path / "runs", split, init_weights=path), init_weights=path)


@pytest.mark.parametrize("at", [0, 7, 123, 4567])
def test_inverse_time_schedule(at: int) -> None:
    recipe = settings.RECIPES["paper"]  # lr 1e-4, 1000 epochs
    rate = network.schedule(recipe, steps=20)(at)
    assert float(rate) == pytest.approx(1e-4 / (1 + at * 1e-4 / 1000), rel=1e-5)


def test_cosine_schedule_peaks_after_the_warm_up_and_ends_at_zero() -> None:
    recipe = replace(settings.RECIPES["fast"], epochs=10)  # 200 steps, of them 10 to climb
    rates = np.array([float(network.schedule(recipe, steps=20)(step)) for step in range(201)])
    assert rates.argmax() == 10
    assert rates.max() == pytest.approx(1e-3)
    assert rates[105] == pytest.approx(0.5e-3)  # half-way between 10 and 200
    assert rates[200] == pytest.approx(0, abs=1e-9)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[0] > 0  # the first step is not wasted


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (720, "12 min"), (12_600, "3.5 h"), (181_440, "2.1 days")])
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_history_survives_json(tmp_path: Path, finished: jobs.Job) -> None:
    """A checkpoint keeps the history as it was, floats to the last digit."""
    model, past = compiled(finished).model, [{"epoch": 1, "loss": 0.1 + 0.2}]
    checkpoint.save(tmp_path / "c", model, 1, past)
    assert json.dumps(checkpoint.restore(tmp_path / "c", model)[1]) == json.dumps(past)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, split: Split) -> jobs.Job:
    """A training in mixed bfloat16, the default on a GPU."""
    each = job(tmp_path_factory.mktemp("mixed"), split, precision="mixed_bfloat16")
    train(each, split)
    keras.config.set_dtype_policy("float32")
    return each


@pytest.mark.parametrize("kept", ["last", "best"])
def test_network_trained_in_bfloat16_is_kept_in_float32(mixed: jobs.Job, kept: str) -> None:
    assert read_json(mixed.files.run)["precision"] == "mixed_bfloat16"
    assert " begins, epoch 0 of 4 in mixed_bfloat16; " in mixed.files.log.read_text()
    network = keras.models.load_model(getattr(mixed.files, kept), compile=False)
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}


def test_network_trained_in_bfloat16_is_scored_in_float32(mixed: jobs.Job, split: Split) -> None:
    """bfloat16 has three digits: its scores would differ in the third."""
    valid = split.validation("1")
    network = keras.models.load_model(mixed.files.last, compile=False)
    prob = prediction.predict(network, valid)
    table = read_csv(mixed.files.slices, ("score",), "")
    np.testing.assert_allclose(table["score"], prob.max((1, 2)), rtol=1e-5)
    pooled = 2 * (prob[valid.masks == 1] >= 0.5).sum() / ((prob >= 0.5).sum() + valid.masks.sum())
    assert history(mixed)["val_dice"].iloc[-1] == pytest.approx(pooled, abs=1e-5)


def test_network_saved_in_bfloat16_by_an_earlier_version_is_loaded_in_float32(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    inner = keras.Sequential([keras.Input((SIZE, SIZE, 2)), layers.Conv2D(1, 1)], name="inner")
    base = small("dunet", SIZE, 1, 2)
    nested = keras.Model(base.inputs, inner(layers.Concatenate()([base.outputs[0]] * 2)))  # a network within it
    keras.config.set_dtype_policy("float32")
    files = paths.Training(tmp_path)
    nested.save(files.last)
    loaded = prediction.load(files, "last")
    assert {layer.dtype_policy.name for layer in prediction.flat_layers(loaded)} == {"float32"}
    image = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE, 1)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(loaded(image)), np.asarray(nested(image)).astype(np.float32), atol=0.02)
    for own, wanted in zip(loaded.get_weights(), nested.get_weights(), strict=True):
        np.testing.assert_array_equal(own, wanted)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"loss": math.nan}, "fold_01: the training loss is nan in epoch 3; lower --learning-rate"),
        ({"loss": math.inf, "val_loss": math.nan}, "fold_01: the training loss is inf in epoch 3"),
        ({"loss": 0.3, "val_loss": math.nan}, "fold_01: the validation loss is nan in epoch 3"),
        ({"loss": 0.3, "val_loss": 0.4}, ""),
        ({"loss": 0.3}, ""),  # an epoch without validation
    ],
)
def test_the_loss_that_is_no_number_is_named(row: dict, line: str) -> None:
    with pytest.raises(InputError, match=line) if line else contextlib.nullcontext():
        loop.refuse_no_number("fold_01", {"epoch": 3, **row}, "--learning-rate")


def test_a_validation_loss_that_is_no_number_ends_the_training(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_epoch(*_: object, callbacks: list, **__: object) -> None:
        callbacks[0].on_epoch_begin(0)
        callbacks[0].on_epoch_end(0, {"loss": 0.3, "dice": 0.5, "iou": 0.4})

    each = job(tmp_path, split, replace(RECIPE, epochs=1))
    monkeypatch.setattr(loop.keras.Model, "fit", one_epoch)
    validated = {"val_loss": math.nan, "val_dice": 0.0, "val_iou": 0.0}
    monkeypatch.setattr(training.Network, "validate", lambda *_: validated)
    with pytest.raises(InputError, match=r"dunet/fold_01: the validation loss is nan in epoch 1"):
        train(each, split)
    assert not each.files.finished
