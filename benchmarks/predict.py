"""How fast a scan is predicted: 32 slices of 512 px, dunet with 32 filters at 256 px, from file to written results.

    python benchmarks/predict.py --network FILE.keras      (writes benchmarks/results/predict.json)

Each engine runs in a process of its own, so that memory is its own too. `first_s` is the first scan, in which engines
lay out the network; `scan_s` the best of the later ones, `start_s` the time until the networks are loaded. Reading,
checks, mask, overlay and run.json are counted in. `cpu_s` is the time of all cores together: on a computer that does
other work too it is the fairer one. `speed-up` is against Keras' model.predict; Dice is of the mask
against that of Keras (float32). Without --network the weights are random: times hold, Dice means nothing.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import config as settings
from ich import cli, paths, phantom, phantom_files, runs
from ich.ct import Window
from ich.predict import engines, inputs, job
from ich.predict.method import Method

SIZE, IMAGE_SIZE, SLICES, FILTERS = 512, 256, 32, 32
FACTS = {
    "run": "dunet", "protocol": "patient", "folds": ["fold_01"], "weights": "last", "model": "dunet",
    "n_filters": FILTERS, "recipe": "fast", "epochs": 0, "data": "benchmark", "training_slices": 0,
    "threshold_is": "given",
}  # fmt: skip
ENGINES = {"keras": ("keras", ""), "onnx": ("onnx", ""), "openvino f32": ("openvino", "float32"),
           "openvino bf16": ("openvino", "bfloat16")}  # fmt: skip
RESULT = Path(__file__).parent / "results" / "predict.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(measure(given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        given.work = Path(folder)
        prepare(given)
        rows = {name: in_own_process(given, name) for name in ENGINES}
        expected = mask(given, "keras")
        for name, row in rows.items():
            row |= {"slices_per_s": SLICES / row["scan_s"], "speed-up": rows["keras"]["scan_s"] / row["scan_s"]}
            row["dice"] = dice(mask(given, name), expected)
    runs.write_json(RESULT, runs.manifest(given, time.time(), result=rows, voxels_of_blood=int(expected.sum())))
    print("\n".join(f"{name:15s}" + "".join(f"  {key} {value:.3g}" for key, value in row.items())
                    for name, row in rows.items()))  # fmt: skip


def prepare(given: argparse.Namespace) -> None:
    """The scan as a NIfTI file, and the network for all engines."""
    number = next(n for n in range(100) if phantom.make_scene(0, n).head.slices == SLICES and phantom.blood_kinds(0, n))
    made = phantom.make_patient(0, number, SIZE)
    phantom_files.write_nifti(given.work / "scan.nii.gz", made.hu, made.affine)
    with cli.starting_backend():
        import keras

        import models
        from ich.predict import export
    training = paths.Training(given.work / "fold_01")
    training.folder.mkdir()
    keras.utils.set_random_seed(0)
    network = keras.models.load_model(given.network, compile=False) if given.network else None
    (network or models.build("dunet", IMAGE_SIZE, 1, FILTERS)).save(training.last)
    export.write(given.work / "exported", method(given), [training], {})


def method(given: argparse.Namespace) -> Method:
    return Method(IMAGE_SIZE, (Window(40, 120),), given.threshold, FACTS)


def in_own_process(given: argparse.Namespace, name: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", str(given.work), "--engine", name, "--rounds", str(given.rounds),
               "--threshold", str(given.threshold)]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Seconds and memory of one engine, within its own process."""
    started = time.perf_counter()
    engine = make_engine(given)
    ready = time.perf_counter()
    (scan,) = inputs.find([given.work / "scan.nii.gz"])
    seconds, cpu_seconds = [], []
    for number in range(given.rounds + 1):
        out = given.work / given.engine / str(number)
        begun, cpu_begun = time.perf_counter(), time.process_time()
        config = settings.Predict(out=out)
        job.predict(job.Job(config, method(given), given.threshold, engine, {"engine": given.engine}), scan, out)
        seconds.append(time.perf_counter() - begun)
        cpu_seconds.append(time.process_time() - cpu_begun)
    return {"start_s": ready - started, "first_s": seconds[0], "scan_s": min(seconds[1:]),
            "cpu_s": min(cpu_seconds[1:]), "peak_GiB": peak_gib()}  # fmt: skip


def peak_gib() -> float:
    """The most memory that this process held; getrusage would give the parent's after a fork."""
    told = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", told).group(1)) / 1024**2


def make_engine(given: argparse.Namespace) -> engines.Engine:
    name, precision = ENGINES[given.engine]
    if name == "keras":
        with cli.starting_backend():
            return engines.keras([paths.Training(given.work / "fold_01")], "last", method(given))
    folder = given.work / "exported"
    return engines.onnx(folder) if name == "onnx" else engines.openvino(folder, precision)


def mask(given: argparse.Namespace, name: str) -> np.ndarray:
    return nib.load(given.work / name / "0" / "mask.nii.gz").get_fdata() > 0


def dice(found: np.ndarray, expected: np.ndarray) -> float:
    return float(2 * (found & expected).sum() / max(1, found.sum() + expected.sum()))


if __name__ == "__main__":
    main()
