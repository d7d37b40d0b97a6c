"""The slices below and above as colours: found, read, trained with, and compared with training without them."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import Project
from rsna_runs import guesses, trained

import rsna_compare
import rsna_preprocess
import rsna_train
from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import read_csv, read_json
from ich.rsna import classifier, neighbours, variants
from ich.rsna.batches import Batches, Change
from ich.scans.png import read_image

SIZE = 32


def series(*rows: tuple[str, str | None, float | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["id", "series", "position_mm"])


def test_neighbours_by_hand() -> None:
    table = series(("c", "s1", 10.0), ("a", "s1", 0.0), ("b", "s1", 5.0), ("e", "s1", 25.0), ("d", "s1", 15.0),
                   ("x", "s2", 5.0), ("lost", None, None), ("unplaced", "s1", None))  # fmt: skip
    near = neighbours.near(table)
    assert near.index.tolist() == table["id"].tolist()
    assert near.loc["a"].tolist() == ["a", "b"]
    assert near.loc["b"].tolist() == ["a", "c"]
    assert near.loc["d"].tolist() == ["c", "d"]  # 10 mm up to the next one: a slice is missing
    assert near.loc["e"].tolist() == ["e", "e"]
    for alone in ("x", "lost", "unplaced"):
        assert near.loc[alone].tolist() == [alone, alone]


def test_slices_at_one_place_share_their_neighbours() -> None:
    near = neighbours.near(series(("a", "s", 0.0), ("b1", "s", 5.0), ("b2", "s", 5.0), ("c", "s", 10.0)))
    assert near.loc["b1"].tolist() == near.loc["b2"].tolist() == ["a", "c"]
    assert near.loc["a"].tolist() == ["a", "b1"]


def test_series_without_places_are_refused(tmp_path: Path) -> None:
    files = paths.Rsna(tmp_path)
    with pytest.raises(InputError, match=r"series\.csv: not found; run `python rsna_preprocess\.py`"):
        neighbours.read(files)
    files.folder.mkdir()
    series(("a", "s", None), ("b", "s", None)).to_csv(files.series, index=False)
    with pytest.raises(InputError, match=r"no slice has one below it; .* train with --neighbours 0"):
        neighbours.read(files)


@pytest.fixture(scope="module")
def data(project: Project, tmp_path_factory: pytest.TempPathFactory) -> paths.Rsna:
    folder = tmp_path_factory.mktemp("neighbours") / "data"
    rsna_preprocess.main([
        "--raw", str(project.root / "rsna" / "classes"), "--data", str(folder), "--valid-share", "0.2", "--test-share",
        "0.2", "--workers", "1", "--quiet", "--variants", "0_dicom2png", "1_roi",
    ])  # fmt: skip
    return paths.Rsna(folder)


def test_channels_are_the_slices_below_itself_and_above(data: paths.Rsna) -> None:
    near, table = neighbours.read(data), read_csv(data.slices, (), "")
    inner = near[(near["below"] != near.index) & (near["above"] != near.index)].index[:4]
    rows = table[table["id"].isin(inner)]
    images, _ = Batches(rows, data, "1_roi", "multilabel", SIZE, 4, near=near)[0]
    assert images.shape == (4, SIZE, SIZE, 3)
    for image, name in zip(images, rows["id"], strict=True):
        for channel, each in enumerate((near.loc[name, "below"], name, near.loc[name, "above"])):
            assert np.array_equal(image[:, :, channel], read_image(data.png("1_roi", each), 1, SIZE)[:, :, 0])
    batches = Batches(rows, data, "1_roi", "multilabel", SIZE, 4, Change(20, 2 / SIZE), near=near)
    batches.begin(0)
    assert batches[0][0].shape == (4, SIZE, SIZE, 3)


def tiny_backbone(name: str, image_size: int) -> keras.Model:
    inputs = keras.Input((image_size, image_size, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def test_trained_and_compared_with_the_same_without(
    data: paths.Rsna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "backbone_of", tiny_backbone)
    runs = tmp_path / "runs"
    flags = ["--data", str(data.folder.parent), "--runs", str(runs), "--image-size", str(SIZE), "--weights", "none",
             "--epochs", "1", "--workers", "1", "--quiet", "--variant", "1_roi"]  # fmt: skip
    for number in ("0", "1"):
        rsna_train.main([*flags, "--neighbours", number])
    without, with_them = (paths.Classification(runs, "multiclass", name) for name in ("1_roi", "1_roi_neighbours"))
    assert keras.models.load_model(with_them.best, compile=False).input_shape[-1] == 3
    assert "neighbours" not in read_json(without.run)["identity"]  # so that earlier trainings can be gone on with
    assert read_json(with_them.run)["identity"]["neighbours"] == 1
    assert not read_csv(with_them.predictions, (), "").equals(read_csv(without.predictions, (), ""))
    rsna_compare.main(["--runs", str(runs), "--reports", str(tmp_path / "reports"), "--quiet"])
    table = read_csv(tmp_path / "reports" / "rsna" / "differences.csv", (), "")
    assert table[["variant", "minus"]].to_numpy().tolist() == [["1_roi_neighbours", "1_roi"]]
    assert (tmp_path / "reports" / "rsna" / "answer.png").exists()
    shutil.copytree(with_them.folder, runs / "rsna" / "0_dicom2png")
    with pytest.raises(InputError, match="was trained as variant 1_roi_neighbours; is it a copy"):
        rsna_compare.main(["--runs", str(runs), "--reports", str(tmp_path / "reports")])


def test_each_run_is_compared_with_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k, name in enumerate(("0_dicom2png", "0_dicom2png_neighbours", "1_roi", "1_roi_neighbours")):
        trained(tmp_path, name, guesses(0.1 + 0.2 * k, seed=k))
    trained(tmp_path, "4_roi_noblank_neighbours", guesses(0.5))  # alone
    rsna_compare.main(["--runs", str(tmp_path), "--reports", str(tmp_path)])
    table = read_csv(tmp_path / "rsna" / "differences.csv", (), "")
    assert table.set_index("variant")["minus"].to_dict() == {
        "0_dicom2png_neighbours": "0_dicom2png", "1_roi": "0_dicom2png", "1_roi_neighbours": "1_roi",
    }  # fmt: skip
    assert len(read_csv(tmp_path / "rsna" / "comparison.csv", (), "")) == 5
    assert "1_roi_neighbours - 1_roi: balanced accuracy" in capsys.readouterr().out


def test_names_of_runs() -> None:
    assert variants.run_name("1_roi", 0) == "1_roi"
    assert variants.run_name("1_roi", 1) == "1_roi_neighbours"
    assert variants.compared_with("1_roi") == variants.BASELINE
    assert len(set(variants.RUN_NAMES)) == 14
