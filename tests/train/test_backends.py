"""The same code under JAX and PyTorch: same loss from the same weights, and a training from the command line."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import Project

import models
from ich.train.losses import LOSSES

ROOT = Path(__file__).parents[2]
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is missing"))
    for name in ("jax", "torch")
]
LEVELS = 2  # of the network: JAX compiles the five of models.py for a minute
LOSS_ON_ONE_BATCH = f"""
import json, sys
import keras, numpy as np
import models
from ich.train.losses import LOSSES
models.LEVELS = {LEVELS}
saved = np.load(sys.argv[1])
model = models.build("dunet", 32, 1, 2)
model.set_weights([saved["w" + str(place)] for place in range(len(model.get_weights()))])
prob = keras.ops.convert_to_numpy(model(saved["images"], training=False))
losses = dict((name, float(loss()(saved["masks"], prob))) for name, loss in LOSSES.items())
print(json.dumps(dict(losses, backend=keras.backend.backend(), mean=float(prob.mean()))))
"""
TRAINING = f"""
import sys
import main, models
models.LEVELS = {LEVELS}
main.main(sys.argv[1:])
"""


def under(backend: str, *command: str) -> str:
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_loss_of_one_batch_is_that_of_the_own_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(models, "LEVELS", LEVELS)
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = models.build("dunet", 32, 1, 2)
    images = rng.integers(0, 256, (4, 32, 32, 1), np.uint8)
    masks = (rng.random((4, 32, 32, 1)) < 0.1).astype(np.uint8)
    values = {f"w{place}": value for place, value in enumerate(model.get_weights())}
    np.savez(tmp_path / "batch.npz", images=images, masks=masks, **values)
    told = json.loads(under(backend, "-c", LOSS_ON_ONE_BATCH, str(tmp_path / "batch.npz")).splitlines()[-1])

    prob = keras.ops.convert_to_numpy(model(images, training=False))
    assert told.pop("backend") == backend
    assert told.pop("mean") == pytest.approx(float(prob.mean()), abs=1e-4)
    assert told == pytest.approx({name: float(loss()(masks, prob)) for name, loss in LOSSES.items()}, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_epoch_from_the_command_line(project: Project, tmp_path: Path, backend: str) -> None:
    tiny = ["--models", "dunet=2", "--epochs", "1", "--quiet"]
    under(backend, "-c", TRAINING, *project.flags, "--runs", str(tmp_path), *tiny)
    folder = tmp_path / "patient" / "dunet" / "holdout"
    facts = json.loads((folder / "run.json").read_text())
    assert facts["backend"] == backend
    assert (folder / "valid_patients.csv").exists()
    loaded = keras.models.load_model(folder / "last.keras", compile=False)  # what one wrote, the other reads
    assert loaded.count_params() == facts["parameters"]
