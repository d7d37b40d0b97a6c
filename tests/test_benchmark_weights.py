"""The benchmark of the shipped network: what it counts, and the card that is made of it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from benchmarks import weights
from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import write_json
from ich.predict import shipped_card

ML = np.diag([10.0, 10.0, 10.0, 1.0])  # voxels of 1 ml


def save(path: Path, voxels: int, start: int = 0) -> None:
    """A file with `voxels` marked from `start` on."""
    values = np.zeros(40, np.uint8)
    values[start : start + voxels] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.reshape(4, 5, 2), ML), path)


@pytest.fixture
def heads(tmp_path: Path) -> pd.DataFrame:
    """Half found, missed, clean, and clean with 3 ml of false positives."""
    for name, (true, found, start) in {
        "049": (8, 8, 4), "050": (2, 0, 0), "051": (0, 0, 0), "052": (0, 3, 0)}.items():  # fmt: skip
        save(tmp_path / "masks" / f"{name}.nii", true)
        save(tmp_path / "out" / name / "mask.nii.gz", found, start)
    return weights.compared(tmp_path, tmp_path / "out")


def test_heads_are_compared(heads: pd.DataFrame):
    assert heads["true_ml"].tolist() == [8, 2, 0, 0]
    assert heads["predicted_ml"].tolist() == [8, 0, 0, 3]
    assert heads["dice"][:2].tolist() == [0.5, 0]
    assert heads["found"].tolist() == [True, False, False, False]


def test_summary(heads: pd.DataFrame):
    found = weights.summary(heads)
    assert (found["heads_with_blood"], found["clean_heads"], found["large"]) == (2, 2, 1)
    assert found["dice_mean"] == 0.25
    assert found["large_found"] == 1
    assert (found["clean_false_ml_mean"], found["clean_false_ml_largest"]) == (1.5, 3)
    assert found["clean_without_any"] == 0.5


def test_the_card_shows_what_was_measured_of_this_network(heads: pd.DataFrame, tmp_path: Path):
    training = paths.Training(tmp_path / "patient" / paths.SHIPPED_RUN / "fold_01")
    training.folder.mkdir(parents=True)
    training.last.write_bytes(b"network")
    identity = {"model": "dunet", "n_filters": 16, "windows": ["40/120"], "image_size": 256, "recipe_name": "phantoms",
                "recipe": {"epochs": 30}}  # fmt: skip
    write_json(training.run, {
        "identity": identity, "parameters": 1234567, "phantoms": {"patients": 800, "seed": 16, "style": "calibrated"},
        "training_slices": 6000, "valid_slices": 2500, "training_seconds": 600, "precision": "mixed_bfloat16",
        "command": "bash train_weights.sh", "git_commit": "0123456789", "packages": {"keras": "3.15"},
        "rounding_changes_probabilities_by": 2e-4,
    })  # fmt: skip
    rows = [{"style": style, **weights.summary(heads)} for style in weights.STYLES]
    measured = {"config": {"seed": 99}, "result": {"network": "other", "threshold": 0.5, "rows": rows}}
    write_json(tmp_path / shipped_card.MEASURED, measured)
    with pytest.raises(InputError, match="is of another network"):
        shipped_card.write(tmp_path)
    measured["result"]["network"] = record.fingerprint(training.last)
    write_json(tmp_path / shipped_card.MEASURED, measured)
    shipped_card.write(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| plain | 2 | 0.25 (0.00 to 0.50) | 0.25 | 100% of 1 | 1.50 ml (3.0 ml) | 50% of 2 |" in card
    assert "800 phantom heads of style `calibrated`, seed 16, 256 px" in card
    assert "never seen a patient" in card
