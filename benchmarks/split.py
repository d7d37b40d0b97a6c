"""How fast step 1 is: volumes of 512 px to PNG pairs of 256 px, beside a bare loop over the same files.

    python benchmarks/split.py                (writes benchmarks/results/split.json)

The bare loop is the least that such a step can do: nibabel reads, cv2.resize shrinks, cv2.imwrite writes; no window, no
orientation, no checks, no table. Both run in one process, alternating, so that a busy machine slows both.
"""

import functools
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import common
from ich.data import ct_ich
from ich.data.slicing import Slicing, slice_patient
from ich.phantom.ct_ich import write_ct_ich
from ich.scans.window import Window

IMAGE_SIZE = 256


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--size", type=int, default=512, help="pixels per side of the volumes")
    parser.add_argument("--rounds", type=int, default=3)
    given, began = parser.parse_args(), time.time()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "ct-ich"
        write_ct_ich(raw, given.patients, given.size, seed=0, quiet=True)
        cases, _ = ct_ich.survey(raw)
        slices = sum(len(case.flags) for case in cases)
        works = {}
        for name, work in (("ours", ours), ("bare", bare)):
            works[name] = functools.partial(seconds, work, cases, Path(folder), itertools.count())
        best = common.best_of(works, given.rounds)
    rate = {name: slices / value for name, value in best.items()}
    share = rate["ours"] / rate["bare"]
    result = {
        "volumes": len(cases), "slices": slices, "ours_slices_per_s": rate["ours"], "bare_slices_per_s": rate["bare"],
        "share_of_bare": share,
    }  # fmt: skip
    common.write(given, began, result, [
        common.row("step 1, one process", rate["ours"], "slices/s"),
        common.row("step 1 against a bare loop", share, "of its rate"),
    ])  # fmt: skip


def seconds(work: object, cases: list[ct_ich.Case], folder: Path, number: Iterator[int]) -> float:
    """Each time into a new folder: replacing files costs the file system more."""
    into = folder / f"{work.__name__}{next(number)}"
    return common.seconds(lambda: [work(case, into) for case in cases])


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
