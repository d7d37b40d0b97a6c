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

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import common, phantoms
from ich.data.table import TYPES
from ich.phantom import ct_ich
from ich.phantom.head import SMALLEST_SIZE, blood_kinds, make_patient

INTERVAL_S = 0.05
SPLIT_TARGET_GIB = 1.5
BEYOND_TARGET_GIB = {16: 4.0, 8: 2.5}  # of training, by batch size
BLEEDING = 12  # patients: one a fold and some to test
LOOKED_AT = 12  # phantoms among which that with the fewest slices of blood is found


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--volumes", type=int, default=75)
    parser.add_argument("--size", type=int, default=512, help="pixels per side of the volumes")
    parser.add_argument("--slices", type=int, default=38)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="of each training")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BEYOND_TARGET_GIB))
    given, began = parser.parse_args(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_volumes(root / "raw", given)
        all_peaks = {name: repeated(root, name, command, given) for name, command in steps(root, given).items()}
    peaks = {name: statistics.median(found) for name, found in all_peaks.items()}
    beyond = {name: gib - peaks["import keras"] for name, gib in peaks.items()}
    result = {"peak_gib": peaks, "all_peaks_gib": all_peaks, "beyond_keras_gib": beyond}
    common.write(given, began, result, figures(result, given))


def steps(root: Path, given: argparse.Namespace) -> dict[str, list[str]]:
    """The commands, in the order in which they need each other."""
    raw = [*phantoms.flags(root, "raw", "data"), "--image-size", str(given.image_size), "--quiet"]
    flags, reports = [*phantoms.flags(root, "data", "runs"), "--quiet"], phantoms.flags(root, "reports")
    made = {
        "import keras": ["-c", "import keras"],
        "split_raw_data.py": ["split_raw_data.py", *raw, "--workers", "2"],
        "create_data_set.py": ["create_data_set.py", *raw],
    }
    for batch in given.batches:
        made[f"main_kfold.py, batch {batch}"] = [
            "main_kfold.py", *flags, "--models", f"dunet={given.filters}", "--model", "dunet", "--fold", "1",
            "--epochs", "1", "--batch-size", str(batch), "--run", f"batch{batch}",
        ]  # fmt: skip
    run = ["--run", f"batch{given.batches[0]}"]
    out = ["--out", str(root / "predicted"), "--engine", "keras"]
    return {
        **made,
        "trials.py": ["trials.py", *flags, *reports],
        "tests.py": ["tests.py", *flags, *reports, *run],
        "predict.py, one scan": ["predict.py", str(first_scan(root)), *flags, *run, *out],
    }


def figures(result: dict, given: argparse.Namespace) -> list[dict]:
    found = []
    for name, gib in result["peak_gib"].items():
        limit = SPLIT_TARGET_GIB if name == "split_raw_data.py" else None
        found.append(common.row(name, gib, "GiB", f"< {limit}" if limit else "", gib < limit if limit else None))
    for batch in given.batches:
        name = f"main_kfold.py, batch {batch}"
        beyond, limit = result["beyond_keras_gib"][name], BEYOND_TARGET_GIB.get(batch)
        met = beyond < limit if limit else None
        found.append(common.row(f"{name}, beyond Keras' own", beyond, "GiB", f"< {limit}" if limit else "", met))
    return found


def repeated(root: Path, name: str, command: list[str], given: argparse.Namespace) -> list[float]:
    """Peaks of a step; of a training several."""
    if not name.startswith("main_kfold.py"):
        return [peak_gib(command)]
    peaks = []
    for _ in range(given.repeats):
        shutil.rmtree(root / "runs" / "patient" / command[-1], ignore_errors=True)
        peaks.append(peak_gib(command))
    return peaks


def peak_gib(command: list[str]) -> float:
    """The most memory that a command and its processes hold together. Raises Failed with its own words."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen([sys.executable, *command], cwd=common.ROOT, stdout=said, stderr=said)
        peak = 0
        while process.poll() is None:
            peak = max(peak, tree_bytes(process.pid))
            time.sleep(INTERVAL_S)
        if process.returncode:
            said.seek(0)
            raise common.Failed(f"{command[0]}: status {process.returncode}; it said last:\n{said.read()[-2000:]}")
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


def write_volumes(raw: Path, given: argparse.Namespace) -> None:
    """A CT-ICH folder in which all volumes are links to two: a head that bleeds in few slices, and a clean one."""
    bleeding = min((n for n in range(LOOKED_AT) if lesion_slices(n)), key=lesion_slices)
    clean = next(n for n in range(LOOKED_AT) if not blood_kinds(0, n))
    originals, rows = {}, [ct_ich.DIAGNOSIS_HEADER]
    for place in range(given.volumes):
        number, head = ct_ich.patient_number(place), bleeding if place < BLEEDING else clean
        if head not in originals:
            originals[head] = number, write_head(raw, number, head, given)
        else:
            for part in ("ct_scans", "masks"):
                os.link(raw / part / f"{originals[head][0]:03d}.nii", raw / part / f"{number:03d}.nii")
        rows += [(number, at, *flags) for at, flags in enumerate(originals[head][1], 1)]
    with (raw / ct_ich.DIAGNOSIS_CSV).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def write_head(raw: Path, number: int, head: int, given: argparse.Namespace) -> list[tuple[int, ...]]:
    """One phantom stretched to the wanted number of slices; the flags of each, in the table's order."""
    made = make_patient(0, head, given.size)
    places = np.linspace(0, made.hu.shape[2] - 1, given.slices).round().astype(int)
    for part, volume in (("ct_scans", made.hu), ("masks", made.mask)):
        ct_ich.write_nifti(raw / part / f"{number:03d}.nii", volume[:, :, places], made.affine)
    order = (*TYPES, "no_hemorrhage", "fracture")
    return [tuple(made.slices[place][name] for name in order) for place in places]


def lesion_slices(head: int) -> int:
    if not blood_kinds(0, head):
        return 0
    return int(make_patient(0, head, SMALLEST_SIZE).mask.any((0, 1)).sum())


def first_scan(root: Path) -> Path:
    return root / "raw" / "ct_scans" / f"{ct_ich.patient_number(0):03d}.nii"


if __name__ == "__main__":
    main()
