"""How fast step 1 is: volumes of 512 px to PNG pairs of 256 px, beside a bare loop over the same files.

    python benchmarks/split.py                (writes benchmarks/results/split.json)

The bare loop is the least that such a step can do: nibabel reads, cv2.resize shrinks, cv2.imwrite writes; no window, no
orientation, no checks, no table. Both run in one process, alternating, so that a busy machine slows both.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from ich import ct_ich, phantom_files, runs
from ich.ct import Window
from ich.slices import Slicing, slice_patient

SIZE, IMAGE_SIZE = 512, 256
RESULT = Path(__file__).parent / "results" / "split.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "ct-ich"
        phantom_files.write_ct_ich(raw, given.patients, SIZE, seed=0)
        cases, _ = ct_ich.survey(raw)
        slices = sum(len(case.flags) for case in cases)
        best = {"ours": np.inf, "bare": np.inf}
        for number in range(given.rounds):  # each into a new folder: replacing files costs the file system more
            for name, work in (("ours", ours), ("bare", bare)):
                best[name] = min(best[name], seconds(work, cases, Path(folder) / f"{name}{number}"))
    rate = {name: slices / value for name, value in best.items()}
    told = {
        "volumes": len(cases), "slices": slices, "ours_slices_per_s": rate["ours"], "bare_slices_per_s": rate["bare"],
        "share_of_bare": rate["ours"] / rate["bare"],
    }  # fmt: skip
    runs.write_json(RESULT, runs.manifest(given, time.time(), result=told))
    print("\n".join(f"{name:20s} {value:10.2f}" for name, value in told.items()))


def seconds(work: object, cases: list[ct_ich.Case], folder: Path) -> float:
    started = time.perf_counter()
    for case in cases:
        work(case, folder)
    return time.perf_counter() - started


def ours(case: ct_ich.Case, folder: Path) -> None:
    slice_patient(case, Slicing(folder, IMAGE_SIZE, (Window(40, 120),)))


def bare(case: ct_ich.Case, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    volumes = {name: np.asanyarray(nib.load(path).dataobj) for name, path in (("ct", case.ct), ("mask", case.mask))}
    for name, volume in volumes.items():
        for index in range(volume.shape[2]):
            plane = np.ascontiguousarray(volume[:, :, index].T)
            small = cv2.resize(plane, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{name}_{case.patient}_{index}.png"), small.astype(np.uint8))


if __name__ == "__main__":
    main()
