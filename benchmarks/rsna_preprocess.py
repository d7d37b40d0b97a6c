"""How fast step R1 is: DICOM slices of 512 px to one variant and to all seven, beside a bare loop over the same files.

    python benchmarks/rsna_preprocess.py       (writes benchmarks/results/rsna_preprocess.json)

The bare loop is the least that the first variant can do: pydicom reads, slope and intercept, window, cv2.imwrite; no
header checks, no repair, no atomic files, no table. All run in one process, alternating, so that a busy machine slows
all alike. `reading_and_steps` makes the seven variants and writes nothing; `whole_slices` has the bilateral filter go
over all pixels, also where nothing is to be smoothed.
"""

import functools
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import cv2
import numpy as np
import pydicom

from benchmarks import common, phantoms
from ich.phantom import rsna
from ich.rsna import preprocessing, variants
from ich.scans import dicom_slice
from ich.scans.window import Window

WINDOW = Window(40, 120)


def main() -> None:
    flags = common.arguments(__doc__, files=30, size=512, rounds=3)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_phantoms(folder / "raw", flags.files, flags.size)
        every = tuple(variants.VARIANTS)
        works = {"bare": bare, "one_variant": functools.partial(ours, names=every[:1]),
                 "seven_variants": functools.partial(ours, names=every), "reading_and_steps": steps,
                 "whole_slices": functools.partial(filtering_whole_slices, names=every)}  # fmt: skip
        timed = {name: common.into_new_folders(work, files, folder / name) for name, work in works.items()}
        best = common.best_of(timed, flags.rounds)
        png_bytes = sum(path.stat().st_size for path in (folder / "seven_variants" / "0").rglob("*.png"))
    result = {"files": len(files)} | {f"{name}_files_per_s": len(files) / value for name, value in best.items()}
    result["one_variant_share_of_bare"] = best["bare"] / best["one_variant"]
    result["seven_variants_times_whole_slices"] = best["whole_slices"] / best["seven_variants"]
    result["seven_variants_mb_per_file"] = png_bytes / 1e6 / len(files)
    common.write(flags, result, [
        common.row("step R1, one variant, one process", result["one_variant_files_per_s"], "files/s"),
        common.row("step R1, one variant against a bare loop", result["one_variant_share_of_bare"], "of its rate"),
        common.row("step R1, seven variants, one process", result["seven_variants_files_per_s"], "files/s"),
        common.row("step R1, seven variants against filtering whole slices",
                   result["seven_variants_times_whole_slices"], "times as fast"),
        common.row("step R1, seven variants on disk", result["seven_variants_mb_per_file"], "MB a slice"),
    ])  # fmt: skip


def write_phantoms(raw: Path, number: int, size: int) -> list[Path]:
    """Uncompressed slices from the middle of one phantom head; return their paths."""
    raw.mkdir()
    paths = [raw / f"{index}.dcm" for index in range(number)]
    for index, (path, hu) in enumerate(zip(paths, phantoms.middle_slices(number, size), strict=True)):
        path.write_bytes(rsna.dicom_bytes(hu, rsna.FORMS[1], "001", index, ("40", "80")))
    return paths


def ours(path: Path, out: Path, names: tuple[str, ...]) -> None:
    """Step R1 for the variants `names`, in this process."""
    task = preprocessing.Task(path.stem, path.name, names)
    preprocessing.process(task, preprocessing.How(path.parent, out, WINDOW, names))


def filtering_whole_slices(path: Path, out: Path, names: tuple[str, ...]) -> None:
    """As `ours`, with OpenCV's filter as it is."""
    kept = variants.STEPS["bilateral"]
    variants.STEPS["bilateral"] = lambda grey: cv2.bilateralFilter(grey, d=20, sigmaColor=50, sigmaSpace=50)
    try:
        ours(path, out, names)
    finally:
        variants.STEPS["bilateral"] = kept


def bare(path: Path, out: Path) -> None:
    header = pydicom.dcmread(path)
    hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    grey = np.clip((hu + 20) * (255 / 120), 0, 255).astype(np.uint8)
    cv2.imwrite(str(out / f"{path.stem}.png"), grey)


def steps(path: Path, out: Path) -> None:
    variants.apply(WINDOW(dicom_slice.read_slice(path).hu), list(variants.VARIANTS))


if __name__ == "__main__":
    main()
