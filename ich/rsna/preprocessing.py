"""From one DICOM file to the PNGs of its variants, and which files are still to be done."""

import functools
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from ich.base.errors import InputError
from ich.data import patients
from ich.rsna import variants
from ich.rsna.journal import Journal, Note
from ich.scans import dicom_slice
from ich.scans.png import write_png
from ich.scans.window import Window


@dataclass(frozen=True)
class How:
    """What a variant's PNG depends on besides its DICOM file, and where it goes."""

    raw: Path
    folder: Path  # data/rsna
    window: Window | None  # None: each file's own window tags
    names: tuple[str, ...]  # of the variants to write

    def key(self) -> dict:
        """A journal with another key is ignored."""
        steps = {name: variants.VARIANTS[name] for name in self.names}
        return {"raw": self.raw.resolve(), "window": asdict(self.window) if self.window else "tag", "steps": steps}


def process(file: tuple[str, str], how: How) -> Note:
    """Read one DICOM (id, source) and write all its variants; a rejection is returned, not raised."""
    name, source = file
    path = how.raw / source
    try:
        facts = path.stat()
    except OSError as error:
        return Note(name, source, 0, 0, reason=f"{error.strerror}; is it a broken link?")
    begun = Note(name, source, facts.st_size, facts.st_mtime_ns)
    try:
        found = dicom_slice.read_slice(path)
        window = how.window or _own_window(path, found)
    except InputError as error:
        return begun._replace(reason=str(error).removeprefix(f"{path}: "))
    grey = window(found.hu)
    for variant, pixels in variants.apply(grey, how.names).items():
        # Not forced to disk one by one: the journal does that for many at a time, before it notes them.
        write_png(how.folder / variant / f"{name}.png", pixels, sync=False)
    return begun._replace(
        patient=found.patient.strip(), rows=grey.shape[0], columns=grey.shape[1], no_contour=not grey.any(),
        repaired=found.repaired, crc32=zlib.crc32(grey.tobytes()),
    )  # fmt: skip


def _own_window(path: Path, found: dicom_slice.Slice) -> Window:
    if found.window is None:
        raise InputError(f"{path}: has no WindowCenter and WindowWidth that can be used; give --window 40/120")
    return _shared(found.window)


@functools.lru_cache(maxsize=64)
def _shared(window: Window) -> Window:
    """One object for equal windows, so that its look-up table is made once."""
    return window


def missing(files: pd.DataFrame, journal: Journal, how: How) -> list[tuple[str, str]]:
    """(id, source) of each file that was not done before, was rejected, has changed since, or lacks a PNG."""
    whole = set(files["id"])
    for name in how.names:
        folder = how.folder / name
        whole &= {entry.name.removesuffix(".png") for entry in os.scandir(folder)} if folder.exists() else set()
    todo = []
    for name, source in zip(files["id"], files["source"], strict=True):
        note = journal.notes.get(name)
        if name not in whole or note is None or note.reason or _has_changed(how.raw / source, note):
            todo.append((name, source))
    return todo


def _has_changed(path: Path, note: Note) -> bool:
    try:
        facts = path.stat()
    except OSError:
        return True
    return (facts.st_size, facts.st_mtime_ns) != (note.size, note.changed)


def tables(files: pd.DataFrame, journal: Journal) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files with what their notes say, and the rejected ones as id, source, reason.

    Raises InputError for PatientIDs that may be two spellings of one.
    """
    notes = pd.DataFrame([journal.notes[name] for name in files["id"]], columns=list(Note._fields))
    rejected = notes["reason"] != ""
    read = files.merge(notes.loc[~rejected].drop(columns=["source", "size", "changed", "reason"]), on="id")
    read["patient"] = read["patient"].map(patients.plain)
    patients.refuse_spellings(read["patient"], "PatientID of the DICOM files")
    return read, notes.loc[rejected, ["id", "source", "reason"]]
