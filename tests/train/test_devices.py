"""One training on two devices, which here are halves of the CPU."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import Project

ROOT = Path(__file__).parents[2]
TRAINING = """
import os, sys
if os.environ["KERAS_BACKEND"] == "tensorflow" and os.environ["DEVICES"] == "2":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import main, models
models.LEVELS = 1
main.main(sys.argv[1:])
"""


def history(project: Project, folder: Path, backend: str, devices: int, *flags: str) -> pd.DataFrame:
    """Of a D-Unet of one level, in a process of its own."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT),
                   "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                   "DEVICES": str(devices)}  # fmt: skip
    given = ["--runs", str(folder), "--models", "dunet=2", "--epochs", "2", "--batch-size", "8", *flags, "--quiet"]
    command = [sys.executable, "-c", TRAINING, *project.flags, *given]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    run = folder / "patient" / "dunet" / "holdout"
    assert json.loads((run / "run.json").read_text())["devices"] == devices
    return pd.read_csv(run / "history.csv")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_two_devices_of_jax_compute_as_one(project: Project, tmp_path: Path) -> None:
    one, two = (history(project, tmp_path / str(number), "jax", number) for number in (1, 2))
    pd.testing.assert_frame_equal(two.drop(columns="seconds"), one.drop(columns="seconds"), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_two_devices_of_tensorflow_learn(project: Project, tmp_path: Path) -> None:
    """Each sees half of a batch, so the loss is near that of one device, and no more."""
    one, two = (history(project, tmp_path / str(number), "tensorflow", number) for number in (1, 2))
    assert two["loss"].iloc[-1] < two["loss"].iloc[0]
    assert two["val_loss"].iloc[-1] == pytest.approx(one["val_loss"].iloc[-1], rel=0.1)
