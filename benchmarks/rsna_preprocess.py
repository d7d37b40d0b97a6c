"""How fast step R1 is: DICOM slices of 512 px to one variant and to all seven, beside a bare loop over the same files.

    python benchmarks/rsna_preprocess.py       (writes benchmarks/results/rsna_preprocess.json)

The bare loop is the least that the first variant can do: pydicom reads, slope and intercept, window, cv2.imwrite; no
header checks, no repair, no atomic files, no table. All run in one process, alternating, so that a busy machine slows
all alike. `reading_and_steps` makes the seven variants and writes nothing.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).parent.parent))

from ich import phantom_dicom, runs
from ich.ct import Window
from ich.nifti import Grid
from ich.phantom import make_patient
from ich.rsna import dicom, preprocessing, variants

SIZE, WINDOW = 512, Window(40, 120)
RESULT = Path(__file__).parent / "results" / "rsna_preprocess.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = write_phantoms(folder / "raw", given.files)
        every = tuple(variants.VARIANTS)
        works = {"bare": bare, "one_variant": ours(every[:1]), "seven_variants": ours(every)}
        works["reading_and_steps"] = steps
        best = dict.fromkeys(works, np.inf)
        for number in range(given.rounds):  # each into a new folder: replacing files costs the file system more
            for name, work in works.items():
                began = time.perf_counter()
                for each in names:
                    work(each, folder / "raw", folder / f"{name}{number}")
                best[name] = min(best[name], time.perf_counter() - began)
        png_bytes = sum(path.stat().st_size for path in (folder / "seven_variants0").rglob("*.png"))
    told = {"files": len(names)} | {f"{name}_files_per_s": len(names) / seconds for name, seconds in best.items()}
    told["one_variant_share_of_bare"] = best["bare"] / best["one_variant"]
    told["seven_variants_mb_per_file"] = png_bytes / 1e6 / len(names)
    runs.write_json(RESULT, runs.manifest(given, time.time(), result=told))
    print("\n".join(f"{name:32s} {value:10.2f}" for name, value in told.items()))


def write_phantoms(raw: Path, files: int) -> list[str]:
    """Uncompressed slices from the middle of one phantom head; return their names."""
    raw.mkdir()
    patient = make_patient(seed=0, patient=0, size=SIZE)
    where, slices = Grid(patient.hu.shape, patient.affine), patient.hu.shape[2]
    for number in range(files):
        hu = where.upright(patient.hu[:, :, slices // 4 + number % (slices // 2)])
        content = phantom_dicom.dicom_bytes(hu, phantom_dicom.FORMS[1], "001", number, ("40", "80"))
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
    variants.apply(WINDOW(dicom.read_slice(raw / f"{each}.dcm").hu), list(variants.VARIANTS))


if __name__ == "__main__":
    main()
