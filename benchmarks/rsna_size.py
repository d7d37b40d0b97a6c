"""What step R1 takes for the competition's 752,803 slices before and beside its images: time and memory.

    python benchmarks/rsna_size.py                  (writes benchmarks/results/rsna_size.json)
    python benchmarks/rsna_size.py --files 20000    (sooner done)

Empty files in the competition's layout, its table of six rows a slice, and a journal that notes each file as read, as
it is found when step R1 is run again. `finding` reads the table and lists the files, `journal` reads the notes,
`resuming` does both and finds what is still to be done. Each in a process of its own; memory is the largest resident
set beyond that of the imports.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import numpy as np

from benchmarks import common
from ich.base import script
from ich.rsna import layouts, preprocessing, variants
from ich.rsna.journal import Journal, Note
from ich.scans.window import Window

FOLDER = "stage_2_train"
SLICES_EACH = 35  # of a scan, about as in the competition


def main() -> None:
    flags = common.arguments(__doc__, files=752_803, seed=0)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write(root, flags.files, flags.seed)
        found = {work.__name__: measured(work, root) for work in (finding, journal, resuming)}
    common.write(flags, found, [
        common.row(f"step R1 with {flags.files} files, {name}", figures[what], unit)
        for name, figures in found.items() for what, unit in (("seconds", "s"), ("gib", "GiB"))
    ])  # fmt: skip


def write(root: Path, number: int, seed: int) -> None:
    """Table, empty files, and a journal in which all of them were read; no variant has its PNGs."""
    rng = np.random.default_rng(seed)
    names = [f"ID_{value:09x}" for value in rng.choice(16**9, number, replace=False)]
    (root / FOLDER).mkdir()
    notes = opened(root)
    with (root / f"{FOLDER}.csv").open("w") as table:
        table.write("ID,Label\n")
        for row, name in enumerate(names):
            path = root / FOLDER / f"{name}.dcm"
            path.touch()
            table.writelines(f"{name}_{label},0\n" for label in layouts.LABELS)
            notes.add(note(path, root, row))
    notes.flush()


def note(path: Path, root: Path, row: int) -> Note:
    """As of a slice that was read."""
    scan = row // SLICES_EACH
    return Note(
        path.stem, path.relative_to(root).as_posix(), 0, path.stat().st_mtime_ns, f"ID_{scan:08x}", 512, 512, False,
        False, row, "", f"s{scan:016x}", 5.0 * (row % SLICES_EACH),
    )  # fmt: skip


def how_of(root: Path) -> preprocessing.How:
    return preprocessing.How(root, root / "made", Window(40, 120), tuple(variants.VARIANTS))


def opened(root: Path) -> Journal:
    return Journal(root / "journal.jsonl", how_of(root).key())


def finding(root: Path) -> int:
    return len(layouts.find(root).table)


def journal(root: Path) -> int:
    return len(opened(root).notes)


def resuming(root: Path) -> int:
    return len(preprocessing.missing(layouts.find(root).table, opened(root), how_of(root)))


def measured(work: Callable[[Path], int], root: Path) -> dict[str, float]:
    """Seconds, and GiB beyond the imports."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, work, root).result()


def _measured(work: Callable[[Path], int], root: Path) -> dict[str, float]:
    before, started = _peak_gib(), time.perf_counter()
    number = work(root)
    return {"files": number, "seconds": time.perf_counter() - started, "gib": _peak_gib() - before}


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    script.run(main)
