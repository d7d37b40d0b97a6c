"""How fast a scan is predicted: 32 slices of 512 px, dunet with 32 filters at 256 px, from file to written results.

    python benchmarks/predict.py --network FILE.keras --threshold 0.3

Each engine runs in a process of its own, so that memory is its own too. `first_s` is the first scan, in which engines
lay out the network; `scan_s` the best of the later ones, `start_s` the time until the networks are loaded. Reading,
checks, mask, overlay and run.json are counted in. `cpu_s` is the time of all cores together: on a computer that does
other work too it is the fairer one. `speed_up` is against Keras' model.predict; Dice is of the mask against that of
Keras (float32). `gflops` counts the network's arithmetic only; `matmul_gflops` is what NumPy reaches in float32 on the
same cores, about the most that any float32 engine can. Without --network the weights are random: times hold, Dice
means nothing, and 8-bit integers are left out where their masks differ too much.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import nibabel as nib
import numpy as np

import config as settings
from benchmarks import common
from ich.base import backend, paths
from ich.phantom import ct_ich
from ich.phantom.head import blood_kinds, make_patient, make_scene
from ich.predict import engines, inputs, job
from ich.predict.method import Method
from ich.scans.window import Window
from ich.score import metrics
from ich.score.operating import Point

SIZE, IMAGE_SIZE, SLICES, FILTERS = 512, 256, 32, 32
GFLOP_A_SLICE = 24.06  # of that dunet: two a multiplication of its convolutions
FACTS = {
    "run": "dunet", "protocol": "patient", "folds": ["fold_01"], "weights": "last", "model": "dunet",
    "n_filters": FILTERS, "recipe": "fast", "epochs": 0, "data": "benchmark", "training_slices": 0,
    "threshold_is": "given",
}  # fmt: skip
ENGINES = {"keras": ("keras", ""), "onnx": ("onnx", ""), "openvino f32": ("openvino", "float32"),
           "openvino bf16": ("openvino", "bfloat16"), "openvino int8": ("openvino", "int8")}  # fmt: skip
MATMUL = 3072  # side of the matrices


def main() -> None:
    flags = common.arguments(__doc__, network="", threshold=0.5, rounds=6)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(flags, work)
        part = {"work": folder, "threshold": flags.threshold, "rounds": flags.rounds}
        rows = {name: common.once(measure, {**part, "engine": name}) for name in ENGINES if usable(work, name)}
        expected = mask(work, "keras")
        for name, row in rows.items():
            row |= {"slices_per_s": SLICES / row["scan_s"], "speed_up": rows["keras"]["scan_s"] / row["scan_s"]}
            counts = metrics.counts(expected, mask(work, name))
            row |= {"gflops": GFLOP_A_SLICE * row["slices_per_s"], "dice": float(metrics.dice(*counts[:3]))}
    result = {"engines": rows, "voxels_of_blood": int(expected.sum()), "matmul_gflops": matmul_gflops()}
    common.write(flags, result, summary(result, trained=bool(flags.network)))


def usable(work: Path, engine: str) -> bool:
    """Whether the network was exported for it: integers that give other masks are not kept."""
    name, precision = ENGINES[engine]
    there = name == "keras" or (work / "exported" / engines.files(precision)[0]).exists()
    if not there:
        print(f"{engine}: left out, its masks differ too much; give a trained --network")
    return there


def summary(result: dict, trained: bool) -> list[dict]:
    """The rows of the table; Dice of a network without training means nothing."""
    rows = [common.row("NumPy matrix product, float32", result["matmul_gflops"], "GFLOP/s")]
    fastest = min(result["engines"], key=lambda name: result["engines"][name]["scan_s"])
    for name, row in result["engines"].items():
        time_target, ratio_target = ("<= 1.5", ">= 2.5") if name == fastest else ("", "")
        rows.append(common.row(f"a scan of 32 slices, {name}", row["scan_s"], "s", time_target))
        if name != "keras":
            what = f"against model.predict, {name}"
            rows.append(common.row(what, row["speed_up"], "times as fast", ratio_target))
            rows.append(common.row(f"peak memory, {name}", row["peak_GiB"], "GiB", "< 1"))
        rows.append(common.row(f"arithmetic of the network, {name}", row["gflops"], "GFLOP/s"))
        if trained and name != "keras":
            rows.append(common.row(f"Dice with Keras' mask, {name}", row["dice"]))
    return rows


def prepare(flags: argparse.Namespace, work: Path) -> None:
    """The scan as a NIfTI file, and the network for all engines."""
    number = next(n for n in range(100) if make_scene(0, n).head.slices == SLICES and blood_kinds(0, n))
    patient = make_patient(0, number, SIZE)
    ct_ich.write_nifti(work / "scan.nii.gz", patient.hu, patient.affine)
    with backend.starting():
        import keras

        import models
        from ich.predict import export
    training = paths.Training(work / "fold_01")
    training.folder.mkdir()
    keras.utils.set_random_seed(0)
    network = keras.models.load_model(flags.network, compile=False) if flags.network else None
    (network or models.build("dunet", IMAGE_SIZE, 1, FILTERS)).save(training.last)
    export.write(work / "exported", method(flags.threshold), [training], {}, other_heads(number))


def other_heads(number: int) -> np.ndarray:
    """Slices of phantoms that are not predicted, upright HU (n, 256, 256), for the ranges of 8-bit integers."""
    heads = [make_patient(0, number + k, IMAGE_SIZE).hu[:, :, 4:-4:3] for k in range(1, 9)]
    return np.concatenate([np.ascontiguousarray(head.transpose(2, 1, 0), np.float32) for head in heads])


def method(threshold: float) -> Method:
    return Method(IMAGE_SIZE, (Window(40, 120),), Point(threshold), FACTS)


def measure(part: dict) -> dict[str, float]:
    """Seconds and memory of one engine, within its own process."""
    folder, engine, threshold = Path(part["work"]), part["engine"], part["threshold"]
    started = time.perf_counter()
    compute = make_engine(folder, engine, threshold)
    ready = time.perf_counter()
    (scan,) = inputs.look([folder / "scan.nii.gz"]).scans
    seconds, cpu_seconds = [], []
    for number in range(part["rounds"] + 1):
        out = folder / engine / str(number)
        setup = job.Job(settings.Predict(out=out), method(threshold), Point(threshold), compute, {"engine": engine})
        begun, cpu_begun = time.perf_counter(), time.process_time()
        job.predict(setup, scan, out)
        seconds.append(time.perf_counter() - begun)
        cpu_seconds.append(time.process_time() - cpu_begun)
    return {"start_s": ready - started, "first_s": seconds[0], "scan_s": min(seconds[1:]),
            "cpu_s": min(cpu_seconds[1:]), "peak_GiB": peak_gib()}  # fmt: skip


def peak_gib() -> float:
    """The most memory that this process held; getrusage would give the parent's after a fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 2**20


def make_engine(folder: Path, engine: str, threshold: float) -> engines.Engine:
    name, precision = ENGINES[engine]
    if name == "keras":
        return engines.keras([paths.Training(folder / "fold_01")], "last", method(threshold))
    exported = folder / "exported"
    return engines.onnx(exported) if name == "onnx" else engines.openvino(exported, precision)


def matmul_gflops() -> float:
    """Float32 arithmetic per second of NumPy's matrix product, the best of ten."""
    matrix = np.random.default_rng(0).random((MATMUL, MATMUL), np.float32)
    return 2 * MATMUL**3 / min(common.seconds(lambda: matrix @ matrix) for _ in range(10)) / 1e9


def mask(work: Path, engine: str) -> np.ndarray:
    return nib.load(work / engine / "0" / "mask.nii.gz").get_fdata() > 0


if __name__ == "__main__":
    main()
