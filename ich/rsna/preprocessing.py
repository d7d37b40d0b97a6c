"""From one DICOM file to the PNGs of its variants, and which files are still to be done."""

import contextlib
import functools
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ich.base import record
from ich.base.errors import InputError
from ich.data import patients
from ich.rsna import variants
from ich.rsna.journal import Journal, Note
from ich.scans import dicom_slice
from ich.scans.png import write_png
from ich.scans.window import Window

NOT_IN_TABLE = ["source", "size", "changed", "reason", "series", "position_mm"]
CHECKED = 5  # files read again to see that they are those of before


@dataclass(frozen=True)
class How:
    """What a variant's PNG depends on besides its DICOM file, and where it goes."""

    raw: Path
    folder: Path  # data/rsna
    window: Window | None  # None: each file's own window tags
    names: tuple[str, ...]  # of the variants to write
    is_new: bool = True  # it was not read before, or has changed since

    def key(self) -> dict:
        """What every PNG depends on; a journal with another key is ignored."""
        return {"window": asdict(self.window) if self.window else "tag", "steps": variants.VARIANTS}

    def png(self, variant: str, name: str) -> Path:
        """Where a slice goes under a variant."""
        return self.folder / variant / f"{name}.png"


class Task(NamedTuple):
    """What is to be done with one file."""

    id: str
    source: str  # path relative to the raw folder
    names: tuple[str, ...]  # of the variants to write
    is_new: bool = True  # it was not read before, or has changed since


def process(task: Task, how: How) -> Note:
    """Read one DICOM file and write the variants asked for; a rejection is returned, not raised."""
    name, source = task.id, task.source
    path = how.raw / source
    try:
        facts = path.stat()
        path.open("rb").close()  # what may not be read is tried again next time, so it is not noted with size and time
    except OSError as error:
        return Note(name, source, 0, 0, reason=f"{error.strerror}; is it a broken link?")
    begun = Note(name, source, facts.st_size, facts.st_mtime_ns)
    try:
        found, grey = _read(path, how)
    except InputError as error:
        return begun._replace(reason=str(error).removeprefix(f"{path}: "))
    for variant, pixels in variants.apply(grey, task.names).items():
        # Not forced to disk one by one: the journal does that for many at a time, before it notes them.
        write_png(how.png(variant, name), pixels, sync=False)
    return begun._replace(
        patient=found.patient.strip(), rows=grey.shape[0], columns=grey.shape[1], no_contour=not grey.any(),
        repaired=found.repaired, crc32=zlib.crc32(grey.tobytes()),
        series=found.series and f"s{record.fingerprint(found.patient, found.series)}", position_mm=found.position_mm,
    )  # fmt: skip


def _read(path: Path, how: How) -> tuple[dicom_slice.Slice, np.ndarray]:
    """A slice and its windowed pixels, uint8 (rows, columns). Raises InputError."""
    found = dicom_slice.read_slice(path)
    window = how.window or _own_window(path, found)
    return found, window(found.hu)


def _own_window(path: Path, found: dicom_slice.Slice) -> Window:
    if found.window is None:
        raise InputError(f"{path}: has no WindowCenter and WindowWidth that can be used; give --window 40/120")
    return _shared(found.window)


@functools.lru_cache(maxsize=64)
def _shared(window: Window) -> Window:
    """One object for equal windows, so that its look-up table is made once."""
    return window


def check_same(files: pd.DataFrame, journal: Journal, how: How) -> None:
    """Raise InputError unless some of the files that were read before still hold the same pixels.

    Another data set may have files of the same names, sizes and times: archives are unpacked with constant times.
    """
    for row in np.unique(np.linspace(0, len(files) - 1, CHECKED).astype(int)) if len(files) else ():
        name, source = files["id"].iloc[row], files["source"].iloc[row]
        note, path = journal.notes.get(name), how.raw / source
        if note is None or note.reason or _has_changed(path, note):
            continue
        if zlib.crc32(_read(path, how)[1].tobytes()) != note.crc32:
            raise InputError(f"{path}: holds other pixels than the file of this name, size and time that {how.folder} "
                             "was made from; give another --data")  # fmt: skip


def missing(files: pd.DataFrame, journal: Journal, how: How) -> list[Task]:
    """The files that were not read before or have changed since, and those that lack a PNG of `how.names`.

    A file that is read again gets all the PNGs that it had, so that none is of its former content. What was rejected is
    not read again until it changes.
    """
    there = pngs_there(files["id"], how.folder)
    todo = []
    for row, (name, source) in enumerate(zip(files["id"], files["source"], strict=True)):
        note = journal.notes.get(name)
        has = {variant for variant, rows in there.items() if rows[row]}
        if note is None or _has_changed(how.raw / source, note):
            names = tuple(variant for variant in variants.VARIANTS if variant in has or variant in how.names)
            todo.append(Task(name, source, names))
        elif not note.reason:
            lacking = tuple(variant for variant in how.names if variant not in has)
            if lacking or note.series is None:
                todo.append(Task(name, source, lacking, is_new=False))
    return todo


def pngs_there(ids: pd.Series, folder: Path) -> dict[str, np.ndarray]:
    """For each variant whether each slice has its PNG, bool (n,)."""
    row_of = {name: row for row, name in enumerate(ids)}
    there = {}
    for variant in variants.VARIANTS:
        found = np.zeros(len(ids), bool)
        with contextlib.suppress(FileNotFoundError), os.scandir(folder / variant) as entries:
            rows = [row_of.get(entry.name.removesuffix(".png")) for entry in entries]
            found[[row for row in rows if row is not None]] = True
        there[variant] = found
    return there


def made(ids: pd.Series, folder: Path) -> list[str]:
    """The variants that every slice has; a line is printed for those that only some have."""
    there = pngs_there(ids, folder)
    if partly := [variant for variant, rows in there.items() if rows.any() and not rows.all()]:
        print(f"note: {folder}: not every slice is there under {', '.join(partly)}; "
              f"complete with --variants {' '.join(partly)}")  # fmt: skip
    return [variant for variant, rows in there.items() if rows.all()]


def _has_changed(path: Path, note: Note) -> bool:
    try:
        facts = path.stat()
    except OSError:
        return True
    return (facts.st_size, facts.st_mtime_ns) != (note.size, note.changed)


def series_table(ids: pd.Series, journal: Journal) -> pd.DataFrame:
    """Series and position of each slice. Apart from slices.csv, whose fingerprint tells trainings their data."""
    notes = [journal.notes[name] for name in ids]
    return pd.DataFrame({"id": ids, "series": [note.series for note in notes],
                         "position_mm": [note.position_mm for note in notes]})  # fmt: skip


def tables(files: pd.DataFrame, journal: Journal) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files with what their notes say, and the rejected ones as id, source, reason.

    Raises InputError for PatientIDs that may be two spellings of one.
    """
    notes = pd.DataFrame([journal.notes[name] for name in files["id"]], columns=list(Note._fields))
    rejected = notes["reason"] != ""
    read = files.merge(notes.loc[~rejected].drop(columns=NOT_IN_TABLE), on="id")
    read["patient"] = read["patient"].map(patients.plain)
    patients.refuse_spellings(read["patient"], "PatientID of the DICOM files")
    return read, notes.loc[rejected, ["id", "source", "reason"]]
