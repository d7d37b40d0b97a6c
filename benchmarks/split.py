"""How fast step 1 is: volumes of 512 px to PNG pairs of 256 px, beside a bare loop over the same files.

    python benchmarks/split.py                (writes benchmarks/results/split.json)

The bare loop is the least that such a step can do: nibabel reads, cv2.resize shrinks, cv2.imwrite writes; no window, no
orientation, no checks, no table. Both run in one process, alternating, so that a busy machine slows both.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import cv2
import nibabel as nib
import numpy as np

from benchmarks import common
from ich.data import ct_ich
from ich.data.slicing import Slicing, slice_scan
from ich.phantom.ct_ich import write_ct_ich
from ich.scans.window import Window

IMAGE_SIZE = 256


def main() -> None:
    flags = common.arguments(__doc__, patients=6, size=512, rounds=3)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "ct-ich"
        write_ct_ich(raw, flags.patients, flags.size, seed=0, quiet=True)
        cases, _ = ct_ich.survey(raw)
        slices = sum(len(case.flags) for case in cases)
        works = {work.__name__: common.into_new_folders(work, cases, Path(folder) / work.__name__)
                 for work in (ours, bare)}  # fmt: skip
        best = common.best_of(works, flags.rounds)
    rate = {name: slices / value for name, value in best.items()}
    share = rate["ours"] / rate["bare"]
    result = {
        "volumes": len(cases), "slices": slices, "ours_slices_per_s": rate["ours"], "bare_slices_per_s": rate["bare"],
        "share_of_bare": share,
    }  # fmt: skip
    common.write(flags, result, [
        common.row("step 1, one process", rate["ours"], "slices/s"),
        common.row("step 1 against a bare loop", share, "of its rate"),
    ])  # fmt: skip


def ours(case: ct_ich.Case, folder: Path) -> None:
    slice_scan(case, Slicing(folder, IMAGE_SIZE, (Window(40, 120),)))


def bare(case: ct_ich.Case, folder: Path) -> None:
    volumes = {name: np.asanyarray(nib.load(path).dataobj) for name, path in (("ct", case.ct), ("mask", case.mask))}
    for name, volume in volumes.items():
        for index in range(volume.shape[2]):
            plane = np.ascontiguousarray(volume[:, :, index].T)
            small = cv2.resize(plane, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{name}_{case.patient}_{index}.png"), small.astype(np.uint8))


if __name__ == "__main__":
    main()
