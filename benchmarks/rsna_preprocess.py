"""How fast step R1 is: DICOM slices of 512 px to one variant and to all seven, beside a bare loop over the same files.

    python benchmarks/rsna_preprocess.py       (writes benchmarks/results/rsna_preprocess.json)

The bare loop is the least that the first variant can do: pydicom reads, slope and intercept, window, cv2.imwrite; no
header checks, no repair, no atomic files, no table. All run in one process, alternating, so that a busy machine slows
all alike. `reading_and_steps` makes the seven variants and writes nothing.
"""

import functools
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import common
from ich.phantom import rsna
from ich.phantom.head import make_patient
from ich.rsna import preprocessing, variants
from ich.scans import dicom_slice
from ich.scans.nifti import Grid
from ich.scans.window import Window

WINDOW = Window(40, 120)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--size", type=int, default=512, help="pixels per side of the slices")
    parser.add_argument("--rounds", type=int, default=3)
    given, began = parser.parse_args(), time.time()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = write_phantoms(folder / "raw", given.files, given.size)
        every = tuple(variants.VARIANTS)
        works = {"bare": bare, "one_variant": ours(every[:1]), "seven_variants": ours(every)}
        works["reading_and_steps"] = steps
        timed = {name: functools.partial(seconds, work, names, folder, name, itertools.count())
                 for name, work in works.items()}  # fmt: skip
        best = common.best_of(timed, given.rounds)
        png_bytes = sum(path.stat().st_size for path in (folder / "seven_variants0").rglob("*.png"))
    result = {"files": len(names)} | {f"{name}_files_per_s": len(names) / value for name, value in best.items()}
    result["one_variant_share_of_bare"] = best["bare"] / best["one_variant"]
    result["seven_variants_mb_per_file"] = png_bytes / 1e6 / len(names)
    common.write(given, began, result, [
        common.row("step R1, one variant, one process", result["one_variant_files_per_s"], "files/s"),
        common.row("step R1, one variant against a bare loop", result["one_variant_share_of_bare"], "of its rate"),
        common.row("step R1, seven variants, one process", result["seven_variants_files_per_s"], "files/s"),
        common.row("step R1, seven variants on disk", result["seven_variants_mb_per_file"], "MB a slice"),
    ])  # fmt: skip


def seconds(
    work: Callable[[str, Path, Path], None], names: list[str], folder: Path, name: str, number: Iterator[int]
) -> float:
    """Each time into a new folder: replacing files costs the file system more."""
    into = folder / f"{name}{next(number)}"
    return common.seconds(lambda: [work(each, folder / "raw", into) for each in names])


def write_phantoms(raw: Path, files: int, size: int) -> list[str]:
    """Uncompressed slices from the middle of one phantom head; return their names."""
    raw.mkdir()
    patient = make_patient(seed=0, patient=0, size=size)
    where, slices = Grid(patient.hu.shape, patient.affine), patient.hu.shape[2]
    for number in range(files):
        hu = where.upright(patient.hu[:, :, slices // 4 + number % (slices // 2)])
        content = rsna.dicom_bytes(hu, rsna.FORMS[1], "001", number, ("40", "80"))
        (raw / f"{number}.dcm").write_bytes(content)
    return [str(number) for number in range(files)]


def ours(names: tuple[str, ...]) -> Callable[[str, Path, Path], None]:
    """Step R1 for some variants, in this process."""

    def work(each: str, raw: Path, out: Path) -> None:
        preprocessing.process((each, f"{each}.dcm"), preprocessing.How(raw, out, WINDOW, names))

    return work


def bare(each: str, raw: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    header = pydicom.dcmread(raw / f"{each}.dcm")
    hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    grey = np.clip((hu + 20) * (255 / 120), 0, 255).astype(np.uint8)
    cv2.imwrite(str(out / f"{each}.png"), grey)


def steps(each: str, raw: Path, out: Path) -> None:
    variants.apply(WINDOW(dicom_slice.read_slice(raw / f"{each}.dcm").hu), list(variants.VARIANTS))


if __name__ == "__main__":
    main()
