"""What is finished, one line a file, so that a run over hundreds of thousands of files can be killed and resumed."""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from ich.base.files import as_json, write_text

FLUSH_SECONDS = 10.0  # the most work that a kill can cost


class Note(NamedTuple):
    """The result for one DICOM file. Kept as tuples: there may be 752,803 of them."""

    id: str
    source: str  # path relative to the raw folder
    size: int  # bytes of the file
    changed: int  # its modification time, ns
    patient: str = ""
    rows: int = 0
    columns: int = 0
    no_contour: bool = False  # nothing brighter than the window's lower end: region of interest = whole slice
    repaired: bool = False  # 12-bit values wrapped back
    crc32: int = 0  # of the windowed pixels
    reason: str = ""  # why it was rejected; empty: it was not


class Journal:
    """Append-only JSON lines. The first says how the PNGs were made; a journal of other settings is started again."""

    def __init__(self, path: Path, how: dict) -> None:
        self.path = path
        self._waiting: list[Note] = []
        self._flushed = time.monotonic()
        self.notes = self._read(json.dumps(as_json(how)))

    def add(self, note: Note) -> None:
        """Keep a note; it reaches the disk within FLUSH_SECONDS."""
        self.notes[note.id] = note
        self._waiting.append(note)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting; the PNGs it lists are forced to disk first."""
        if self._waiting:
            os.sync()
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(note) + "\n" for note in self._waiting)
        self._waiting, self._flushed = [], time.monotonic()

    def _read(self, how: str) -> dict[str, Note]:
        notes = {}
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                if next(file, "").strip() == how:
                    for line in file:
                        with contextlib.suppress(ValueError, TypeError):  # the last line, if a kill cut it off
                            note = Note(*json.loads(line))
                            notes[note.id] = note
        write_text(self.path, how + "\n" + "".join(json.dumps(note) + "\n" for note in notes.values()))
        return notes
