"""The benchmarks run, on tiny sizes, and what they count is right; how fast anything is, is not tested."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import models
from benchmarks import common, experiment, flops, machine, memory, run, train_step
from ich.phantom import head

ROOT = Path(__file__).parent.parent
with_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def results_of(name: str, folder: Path, *flags: str) -> dict:
    """Run a benchmark; its JSON, which must say what the table needs and name no folder of this machine."""
    command = [sys.executable, f"benchmarks/{name}.py", "--results", str(folder), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    text = (folder / f"{name}.json").read_text(encoding="utf-8")
    assert not [path for path in (str(ROOT), str(folder), str(Path.home())) if f'"{path}' in text]
    facts = json.loads(text)
    assert facts["command"].startswith(f"python benchmarks/{name}.py --results ")
    assert set(facts["machine"]) == {"cpu", "cores", "memory_gib", "gpu"}
    assert facts["summary"]
    for row in facts["summary"]:
        assert set(row) == {"what", "value", "unit", "target", "met"}
        assert row["what"] in done.stdout
        assert np.isfinite(row["value"])
    return facts["result"]


def test_split(tmp_path: Path) -> None:
    result = results_of("split", tmp_path, "--patients", "1", "--size", "64", "--rounds", "1")
    assert result["volumes"] == 1
    assert 24 <= result["slices"] <= 40
    assert result["share_of_bare"] == pytest.approx(result["ours_slices_per_s"] / result["bare_slices_per_s"])


def test_rsna_preprocess(tmp_path: Path) -> None:
    result = results_of("rsna_preprocess", tmp_path, "--files", "2", "--size", "64", "--rounds", "1")
    rates = [result[f"{name}_files_per_s"] for name in ("bare", "one_variant", "seven_variants", "reading_and_steps")]
    assert min(rates) > 0
    assert result["one_variant_share_of_bare"] == pytest.approx(rates[1] / rates[0])


def test_rsna_size(tmp_path: Path) -> None:
    result = results_of("rsna_size", tmp_path, "--files", "50")
    assert {name: found["files"] for name, found in result.items()} == {"finding": 50, "journal": 50, "resuming": 50}


@pytest.mark.slow
def test_train_step(tmp_path: Path) -> None:
    tiny = ["--backends", "tensorflow", "--networks", "dunet", "--cases", "2x32x2", "--rounds", "1"]
    tiny += ["--scaling-sizes", "16", "32", "--scaling-filters", "2", "--scaling-batch", "1", "--side-by-side"]
    result = results_of("train_step", tmp_path, *tiny)
    rows, (small, large) = result["rows"], result["scaling"]
    assert {row["parameters"] for row in rows} == {models.build("dunet", 32, 1, 2).count_params()}
    if importlib.util.find_spec("torch"):
        assert [row["backend"] for row in rows[len(rows) // 2 :]] == [train_step.PLAIN] * (len(rows) // 2)
        assert rows[0]["share_of_plain"] == pytest.approx(rows[0]["plain_seconds"] / rows[0]["seconds"])
    own = [row for row in rows if row["backend"] == "tensorflow"]
    assert [row["precision"] for row in own] == list(common.precisions())
    assert 0 < own[0]["share_of_flops"] < 1
    assert own[0]["share_of_bandwidth"] > 0
    assert result["side_by_side"]["gain"] > 0
    assert large["forward_macs"] == 4 * small["forward_macs"]  # four times the pixels
    assert small["macs_per_s"] == pytest.approx(3 * small["forward_macs"] / small["step_s"])


@pytest.mark.slow
def test_loader(tmp_path: Path) -> None:
    tiny = ["--patients", "8", "--size", "32", "--filters", "2", "--rounds", "1", "--backends", "tensorflow"]
    tiny += ["--image-size", "32", "--png-size", "64", "--steps", "2", "--batch-size", "2", "--classifier-rounds", "1"]
    result = results_of("loader", tmp_path, *tiny)
    rows, (row,) = result["rows"], result["classifier"]
    assert [(row["recipe"], row["batch"]) for row in rows] == [("fast", 16), ("paper", 32)]
    assert all(r["epoch_ratio"] == pytest.approx(r["epochs"] / r["same_batch"]) for r in [*rows, row])
    assert row["images_per_s"] == pytest.approx(4 / row["same_batch"])
    names = {f"{n} workers" for n in (0, 1, 2, 4)}
    assert all(set(row["images_per_s"]) == names and min(row["images_per_s"].values()) > 0 for row in rows)


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    tiny = ["--volumes", "24", "--size", "64", "--image-size", "32", "--filters", "2"]
    result = results_of("memory", tmp_path, *tiny, "--batches", "4")
    peak, beyond = result["peak_gib"], result["beyond_keras_gib"]
    assert {"import keras", "split_raw_data.py", "trials.py", "tests.py", "predict.py, one scan"} < set(peak)
    assert 0.05 < min(peak.values()) < max(peak.values()) < 4
    name = "main_kfold.py, batch 4"
    assert beyond[name] == pytest.approx(peak[name] - peak["import keras"])


@pytest.mark.slow
def test_experiment(tmp_path: Path) -> None:
    rows = results_of("experiment", tmp_path, "--small", "--backends", "tensorflow")["rows"]
    assert [(row["recipe"], row["all_epochs"]) for row in rows] == [("paper", 20_000), ("fast", 1200)]
    for row in rows:  # two short trainings on a busy machine may differ by less than nothing
        assert row["overhead_ms"] == pytest.approx(1000 * (row["epoch_s"] - row["steps"] * row["step_s"]))
        assert 0 < row["step_s"] < 60


def test_projection_of_the_experiment() -> None:
    """Batch 32: 17 steps of 10 ms are 170 ms; an epoch of 300 ms in 20 steps has 100 ms beyond them."""
    row = {"recipe": "paper", "backend": "jax", "epoch_s": 0.3, "steps": 20, "step_s": 0.01, "batch": 32}
    found = experiment.projected(row)
    assert found["overhead_ms"] == pytest.approx(100)
    assert found["all_minutes"] == pytest.approx(20_000 * 0.27 / 60)
    assert [figure["met"] for figure in experiment.figures(found, small=False)] == [None, True]  # exactly 90 minutes
    assert [figure["met"] for figure in experiment.figures(found, small=True)] == [None, None]


def test_multiplications_of_dunet() -> None:
    """Level k has side 256 / 2^k and filters f = 32 * 2^k. A block of the way up: 9 (2f * f + f * f) a pixel."""
    side, width = [256, 128, 64, 32, 16], [32, 64, 128, 256, 512]
    down = sum(s * s * 9 * (c * f + f * f) for s, c, f in zip(side, [1, *width], width, strict=False))
    enlarged = sum(s * s * 4 * 2 * f * f for s, f in zip(side[1:], width, strict=False))
    up = sum(s * s * 9 * 3 * f * f for s, f in zip(side[:4], width, strict=False))
    network = models.build("dunet", 256, 1, 32)
    assert flops.forward_macs(network) == down + enlarged + up + 256 * 256 * 32 == 12_033_458_176


@pytest.mark.parametrize("name, size, n", [("dunet", 64, 3), ("unet", 32, 8), ("dunet", 128, 1)])
def test_multiplications_follow_the_formula_of_the_page(name: str, size: int, n: int) -> None:
    assert "s² (179 n² + 10 n)" in run.PAGE.read_text(encoding="utf-8")
    assert flops.forward_macs(models.build(name, size, 1, n)) == size**2 * (179 * n**2 + 10 * n)


def test_multiplications_and_values_of_a_network_within_a_network() -> None:
    """Conv 3x3 on 4x4x2 to 4x4x3: 16 * 54; transposed to 8x8x5: 16 * 2*2*3*5; depthwise: 64 * 9*5; dense 5 to 7."""
    inner = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 3, padding="same"), layers.ReLU()])
    x = inputs = keras.Input((4, 4, 2))
    x = layers.Conv2DTranspose(5, 2, strides=2)(inner(x))
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    network = keras.Model(inputs, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    assert flops.forward_macs(network) == 16 * 54 + 16 * 60 + 64 * 45 + 35
    assert flops.forward_values(network) == (32 + 48) + (48 + 320) + (320 + 320) + (5 + 7)


def test_peaks_of_known_devices() -> None:
    assert flops.peaks("NVIDIA H100 80GB HBM3", "mixed_bfloat16") == {
        "flop_per_s": 989e12, "bytes_per_s": 3.35e12, "of": "data sheet"}  # fmt: skip
    assert flops.peaks("NVIDIA H100 PCIe", "float32")["flop_per_s"] == 378e12
    assert flops.peaks("NVIDIA H200", "float32")["bytes_per_s"] == 4.8e12


def test_shares_of_the_device() -> None:
    """4 images in each of 2 steps of 2 s: 2 images/s, 3 * 2 * 5 FLOP and 3 * 4 * 7 bytes each."""
    facts = {"batch": 4, "steps": 2, "precision": "float32", "forward_macs": 5, "forward_values": 7}
    row = train_step.rated({**facts, "peaks": {"flop_per_s": 600, "bytes_per_s": 1680}}, 4.0, plain_seconds=3.0)
    assert row["images_per_s"] == 2
    assert row["share_of_plain"] == 0.75
    assert row["share_of_flops"] == pytest.approx(0.1)
    assert row["share_of_bandwidth"] == pytest.approx(0.1)


def test_heads_of_the_memory_benchmark() -> None:
    bleeding, clean = (head.make_patient(0, n, head.SMALLEST_SIZE) for n in (memory.BLEEDING_HEAD, memory.CLEAN_HEAD))
    assert (bleeding.mask.shape[2], bleeding.mask.any((0, 1)).sum()) == (36, 4)
    assert (clean.mask.shape[2], clean.mask.any()) == (38, False)


@with_torch
def test_plain_network_has_the_parameters_of_dunet() -> None:
    from benchmarks import plain_torch

    assert plain_torch.parameters(plain_torch.Plain("dunet", 32)) == (7_771_297, 7_765_409)
    assert plain_torch.parameters(plain_torch.Plain("dunet", 16)) == (1_946_705, 1_943_761)


@with_torch
@pytest.mark.parametrize("name", ["unet", "dunet"])
def test_plain_network_computes_what_keras_does(name: str) -> None:
    import torch

    from benchmarks import plain_torch
    from ich.train.losses import DiceCrossEntropy

    network, plain = models.build(name, 32, 1, 2), plain_torch.Plain(name, 2).eval()
    weights = iter(network.get_weights())
    with torch.no_grad():
        for module in plain.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.weight.copy_(torch.tensor(next(weights).transpose(3, 2, 0, 1)))  # Keras: height and width first
                module.bias.copy_(torch.tensor(next(weights)))
            elif isinstance(module, torch.nn.BatchNorm2d):
                for name in ("weight", "bias", "running_mean", "running_var"):
                    getattr(module, name).copy_(torch.tensor(next(weights)))
        images, masks = common.noise(2, 32)
        prob = plain(torch.from_numpy(images).permute(0, 3, 1, 2).float())
        loss = plain_torch.dice_bce(prob, torch.from_numpy(masks).permute(0, 3, 1, 2).float())
    assert next(weights, None) is None
    expected = keras.ops.convert_to_numpy(network(images, training=False))
    np.testing.assert_allclose(prob.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert float(loss) == pytest.approx(float(DiceCrossEntropy()(masks, expected)), abs=1e-5)


def test_measurements_take_turns_and_the_least_counts() -> None:
    calls, seconds = [], {"a": iter([3.0, 1.0]), "b": iter([2.0, 5.0])}
    works = {name: lambda name=name: (calls.append(name), next(seconds[name]))[1] for name in seconds}
    assert common.best_of(works, 2) == {"a": 1.0, "b": 2.0}
    assert calls == ["a", "b", "a", "b"]


def test_a_process_answers_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two_parts.py").write_text(
        "import os\n"
        "def quarter(): return 0.25\n"
        "def prepare(part): return {'twice': 2 * part['n'], 'backend': os.environ['KERAS_BACKEND']}, quarter\n"
        "def kill(part): os._exit(7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    two_parts = importlib.import_module("two_parts")
    with common.Worker(two_parts.prepare, {"n": 3}, "jax") as worker:
        assert worker.facts == {"twice": 6, "backend": "jax"}
        assert (worker(), worker()) == (0.25, 0.25)
    with pytest.raises(common.Failed, match=r"jax \{\}: KeyError\('n'\)"):
        common.Worker(two_parts.prepare, {}, "jax")
    with pytest.raises(common.Failed, match="BrokenProcessPool"):
        common.once(two_parts.kill, {})


def test_memory_of_a_process_holds_that_of_its_children(tmp_path: Path) -> None:
    child = "import time; held = bytearray(200 * 2**20); time.sleep(1)"
    alone = memory.peak_gib(["-c", child])
    assert 0.19 < alone < 0.3
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert alone <= memory.peak_gib(["-c", parent]) < alone + 0.1
    with pytest.raises(common.Failed, match=r"status 7"):
        memory.peak_gib(["-c", "import sys; sys.exit(7)"])


def test_results_name_no_folder() -> None:
    assert machine.command(["/home/x/ich/benchmarks/loader.py", "--results", "/home/x/out", "--size", "64"]) == (
        "python benchmarks/loader.py --results out --size 64"
    )
    facts = {"a": "/home/x/net.keras", "b": [Path("/home/x/scan.nii")], "c": {"d": 1.5, "e": "images/s"}}
    assert machine.without_folders(facts) == {"a": "net.keras", "b": ["scan.nii"], "c": {"d": 1.5, "e": "images/s"}}


def test_table_of_all_results_goes_into_the_page(tmp_path: Path) -> None:
    facts = {"machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 8, "gpu": None}, "python": "3.12.1",
             "packages": {"keras": "3.15.0", "pandas": "3.1.0"}, "finished": "2030-01-02T03:04:05+0000"}  # fmt: skip
    rate = common.row("rate", 1234.5, "slices/s", ">= 1000")
    summary = [rate, common.row("ratio", 1.078, "", "<= 1.05")]
    (tmp_path / "split.json").write_text(json.dumps({**facts, "summary": summary}))
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{run.BEGIN}\nold\n{run.END}\nAfter.\n")
    command = [sys.executable, "benchmarks/run.py", "--only", "--results", str(tmp_path), "--page", str(page)]
    for _ in range(2):  # a second time gives the same
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    text = (tmp_path / "table.md").read_text()
    assert page.read_text() == f"Before.\n{run.BEGIN}\n{text}{run.END}\nAfter.\n"
    assert text.startswith("Some CPU, 2 cores, 8 GiB, Python 3.12.1, keras 3.15.0 (2030-01-02)\n")
    assert "| split     | rate  | 1,234 slices/s | >= 1000 | yes    |" in text
    assert "| split     | ratio | 1.08           | <= 1.05 | **no** |" in text
    assert text in done.stdout


def test_page_has_the_marks() -> None:
    page = run.PAGE.read_text(encoding="utf-8")
    assert page.count(run.BEGIN) == page.count(run.END) == 1
    assert page.index(run.BEGIN) < page.index(run.END)
