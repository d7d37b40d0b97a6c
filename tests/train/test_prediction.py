"""Probabilities of one network and of several, and the tables made from them: rows stay with their slices."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from ich.base.errors import InputError
from ich.base.paths import Training
from ich.data.pixels import Slices
from ich.score import evaluation
from ich.score.operating import Point
from ich.train import prediction

SIZE = 4


def network(slope: float, path: Path | None = None) -> keras.Model:
    """Says sigmoid(slope * grey) of each pixel."""
    inputs = keras.Input((SIZE, SIZE, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid", name="only")(inputs))
    model.set_weights([np.full((1, 1, 1, 1), slope), np.zeros(1)])
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return model


@pytest.fixture(scope="module")
def slices() -> Slices:
    """Two patients of 10 slices, sorted by patient; every slice has a grey and a lesion of its own."""
    number = 20
    table = pd.DataFrame({"patient": ["049"] * 10 + ["050"] * 10, "slice": list(range(1, 11)) * 2})
    table["id"] = table["patient"] + "_" + table["slice"].astype(str).str.zfill(3)
    table = table.assign(spacing_slice_mm=5.0, spacing_row_mm=1.0, spacing_column_mm=2.0)
    masks = np.zeros((number, SIZE * SIZE), np.uint8)
    for place in range(number):
        masks[place, : place % 7] = 1
    images = np.broadcast_to(np.arange(number, dtype=np.uint8)[:, None, None, None], (number, SIZE, SIZE, 1))
    return Slices(table, images.copy(), masks.reshape(number, SIZE, SIZE))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Training]:
    folder = tmp_path_factory.mktemp("run")
    trainings = [Training(folder / name) for name in ("fold_01", "fold_02", "fold_03")]
    for training, slope in zip(trainings, (0.1, -0.2, 0.6), strict=True):
        network(slope, training.last)
    network(-1.0, trainings[0].best)
    return trainings


def test_probabilities_keep_the_order_of_the_rows(slices: Slices) -> None:
    prob = prediction.predict(network(0.1), slices, batch_size=3)
    assert (prob.dtype, prob.shape) == (np.float32, (20, SIZE, SIZE))
    np.testing.assert_allclose(prob[:, 0, 0], sigmoid(0.1 * np.arange(20)), rtol=1e-5)


def test_mean_of_the_folds_probabilities(slices: Slices, folds: list[Training]) -> None:
    prob = prediction.predict_mean(folds, "last", slices)
    greys = np.arange(20)
    expected = (sigmoid(0.1 * greys) + sigmoid(-0.2 * greys) + sigmoid(0.6 * greys)) / 3
    np.testing.assert_allclose(prob, np.broadcast_to(expected[:, None, None], prob.shape), rtol=1e-5)


def test_one_network_and_its_best_weights(slices: Slices, folds: list[Training]) -> None:
    prob = prediction.predict_mean(folds[:1], "best", slices)
    np.testing.assert_allclose(prob[:, 0, 0], sigmoid(-1.0 * np.arange(20)), rtol=1e-5)


@pytest.mark.parametrize(
    ("place", "damage"), [(0, "missing"), (0, "cut"), (1, "missing"), (1, "cut"), (1, "other network")]
)
def test_network_that_cannot_be_loaded_is_told_in_one_line(
    slices: Slices, tmp_path: Path, place: int, damage: str
) -> None:
    trainings = [Training(tmp_path / name) for name in ("fold_01", "fold_02")]
    for training in trainings:
        network(0.1, training.last)
    path = trainings[place].last
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        keras.Sequential([keras.Input((SIZE, SIZE, 1)), keras.layers.Conv2D(3, 3, name="only")]).save(path)
    with pytest.raises(InputError, match=rf"fold_0{place + 1}/last\.keras: cannot be loaded .*run main_kfold\.py"):
        prediction.predict_mean(trainings, "last", slices)


def shuffled(slices: Slices) -> tuple[Slices, np.ndarray]:
    order = np.random.default_rng(0).permutation(len(slices.table))
    return Slices(slices.table.iloc[order].reset_index(drop=True), slices.images[order], slices.masks[order]), order


def test_tables_do_not_depend_on_the_order_of_rows(slices: Slices) -> None:
    prob = np.random.default_rng(1).random(slices.masks.shape, np.float32)
    mixed, order = shuffled(slices)
    for table in (evaluation.patient_scores, evaluation.threshold_counts, evaluation.operating_counts):
        pd.testing.assert_frame_equal(table(slices, prob), table(mixed, prob[order]))
    by_id = evaluation.slice_scores(mixed, prob[order]).set_index("id").loc[slices.table["id"]].reset_index()
    columns = ["id", "tp", "dice"]
    pd.testing.assert_frame_equal(by_id[columns], evaluation.slice_scores(slices, prob)[columns])


def test_patients_are_summed_over_their_slices(slices: Slices) -> None:
    """All is predicted: every true pixel is hit. Patient 049: slices 0..9 have 0..6, 0, 1, 2 pixels, 24 in all."""
    table = evaluation.patient_scores(slices, np.ones(slices.masks.shape, np.float32)).set_index("patient")
    assert table.loc["049", "tp"] == 24
    assert table.loc["049", "fp"] == 10 * 16 - 24
    assert table.loc["049", "volume_true_ml"] == pytest.approx(24 * 5 * 1 * 2 / 1000)
    assert table.loc["050", "tp"] == int(slices.masks[10:].sum())


def test_unknown_spacing_leaves_millimetres_and_millilitres_empty(slices: Slices) -> None:
    without = Slices(slices.table.assign(spacing_row_mm=np.nan), slices.images, slices.masks)
    prob = slices.masks.astype(np.float32)
    known, unknown = evaluation.patient_scores(slices, prob), evaluation.patient_scores(without, prob)
    assert unknown[list(evaluation.IN_MM)].isna().all().all()
    assert known[list(evaluation.IN_MM)].notna().all().all()
    pd.testing.assert_frame_equal(unknown[["patient", "dice", "tp"]], known[["patient", "dice", "tp"]])


def test_counts_at_every_threshold_are_those_of_the_tables(slices: Slices) -> None:
    prob = np.random.default_rng(1).random(slices.masks.shape, np.float32)
    counts = evaluation.threshold_counts(slices, prob).set_index(["patient", "threshold"])
    for threshold in (0.25, 0.5, 255 / 256):
        table = evaluation.patient_scores(slices, prob, Point(threshold)).set_index("patient")
        for patient in ("049", "050"):
            names = ["tp", "fp", "fn", "tn"]
            assert list(counts.loc[(patient, threshold), names]) == list(table.loc[patient, names])
