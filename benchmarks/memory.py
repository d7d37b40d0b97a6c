"""How much memory each step takes at the size of CT-ICH: 75 volumes of 512 x 512 x 38.

    python benchmarks/memory.py               (writes benchmarks/results/memory.json)
    python benchmarks/memory.py --volumes 20 --filters 8         (sooner done)

Every step is the user's own command, its memory that of all its processes together (proportional set size, so that
shared pages count once), read 20 times a second. Trainings are repeated and count with their median, since TensorFlow's
two threads meet differently each time. `beyond` is what a step holds on top of a process that has imported Keras and
built nothing. The volumes are two phantom heads under many names, with few slices of blood, so that an epoch has few
steps.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

from benchmarks import common, phantoms
from ich.data.table import TYPES
from ich.phantom import ct_ich

INTERVAL_S = 0.05
SPLIT_TARGET = "< 1.5"  # GiB
BEYOND_TARGETS = {16: "< 4.0", 8: "< 2.5"}  # GiB, of training, by batch size
BLEEDING = 12  # patients: one a fold and some to test
BLEEDING_HEAD, CLEAN_HEAD = 39, 44  # phantoms of 36 slices, 4 of them with blood, and of 38 without
FLAGS = (*TYPES, "no_hemorrhage", "fracture")  # of a slice, in the order of the table


def main() -> None:
    flags = common.arguments(
        __doc__, volumes=75, size=512, image_size=256, filters=32, repeats=3, batches=list(BEYOND_TARGETS)
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_volumes(root / "raw", flags.volumes, flags.size)
        all_peaks = {name: repeated(root, name, command, flags.repeats) for name, command in steps(root, flags).items()}
    peaks = {name: statistics.median(values) for name, values in all_peaks.items()}
    beyond = {name: gib - peaks["import keras"] for name, gib in peaks.items()}
    result = {"peak_gib": peaks, "all_peaks_gib": all_peaks, "beyond_keras_gib": beyond}
    common.write(flags, result, figures(result, flags.batches))


def steps(root: Path, flags: argparse.Namespace) -> dict[str, list[str]]:
    """The commands, in the order in which they need each other."""
    raw = [*phantoms.flags(root, "raw", "data"), "--image-size", str(flags.image_size), "--quiet"]
    folders, reports = [*phantoms.flags(root, "data", "runs"), "--quiet"], phantoms.flags(root, "reports")
    network = ["--models", f"dunet={flags.filters}", "--model", "dunet", "--fold", "1", "--epochs", "1"]
    trainings = {f"main_kfold.py, batch {batch}": ["main_kfold.py", *folders, *network, "--batch-size", str(batch),
                                                   "--run", f"batch{batch}"] for batch in flags.batches}  # fmt: skip
    run, out = ["--run", f"batch{flags.batches[0]}"], ["--out", str(root / "predicted"), "--engine", "keras"]
    scan = str(root / "raw" / "ct_scans" / f"{ct_ich.patient_number(0):03d}.nii")
    return {
        "import keras": ["-c", "import keras"],
        "split_raw_data.py": ["split_raw_data.py", *raw, "--workers", "2"],
        "create_data_set.py": ["create_data_set.py", *raw],
        **trainings,
        "trials.py": ["trials.py", *folders, *reports],
        "tests.py": ["tests.py", *folders, *reports, *run],
        "predict.py, one scan": ["predict.py", scan, *folders, *run, *out],
    }


def figures(result: dict, batches: list[int]) -> list[dict]:
    targets, beyond = {"split_raw_data.py": SPLIT_TARGET}, result["beyond_keras_gib"]
    rows = [common.row(name, gib, "GiB", targets.get(name, "")) for name, gib in result["peak_gib"].items()]
    for batch in batches:
        name = f"main_kfold.py, batch {batch}"
        rows.append(common.row(f"{name}, beyond Keras' own", beyond[name], "GiB", BEYOND_TARGETS.get(batch, "")))
    return rows


def repeated(root: Path, name: str, command: list[str], repeats: int) -> list[float]:
    """Peaks of a step; of a training several."""
    if not name.startswith("main_kfold.py"):
        return [peak_gib(command)]
    peaks = []
    for _ in range(repeats):
        shutil.rmtree(root / "runs" / "patient" / command[-1], ignore_errors=True)
        peaks.append(peak_gib(command))
    return peaks


def peak_gib(command: list[str]) -> float:
    """The most memory that a command and its processes hold together. Raises Failed with its own words."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen([sys.executable, *command], cwd=common.ROOT, stdout=output, stderr=output)
        peak = 0
        while process.poll() is None:
            peak = max(peak, tree_bytes(process.pid))
            time.sleep(INTERVAL_S)
        if process.returncode:
            output.seek(0)
            raise common.Failed(f"{command[0]}: status {process.returncode}; last output:\n{output.read()[-2000:]}")
    return peak / 2**30


def tree_bytes(pid: int) -> int:
    """Proportional set size of a process and all below it; one that has just ended counts nothing."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        children = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0) * 1024
    return own + sum(tree_bytes(int(child)) for child in " ".join(children).split())


def write_volumes(raw: Path, volumes: int, size: int) -> None:
    """A CT-ICH folder in which all volumes are links to two: a head that bleeds in few slices, and a clean one."""
    heads = raw.with_name("heads")
    records = [ct_ich.write_patient(heads, 0, size, "plain", head) for head in (BLEEDING_HEAD, CLEAN_HEAD)]
    rows = [ct_ich.DIAGNOSIS_HEADER]
    for part in ("ct_scans", "masks"):
        (raw / part).mkdir(parents=True)
    for index in range(volumes):
        number, (original, _, _, slices) = ct_ich.patient_number(index), records[index >= BLEEDING]
        for part in ("ct_scans", "masks"):
            os.link(heads / part / f"{original:03d}.nii", raw / part / f"{number:03d}.nii")
        rows += [(number, at, *(flags[name] for name in FLAGS)) for at, flags in enumerate(slices, 1)]
    with (raw / ct_ich.DIAGNOSIS_CSV).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
