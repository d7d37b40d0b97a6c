"""What is finished, one line a file, so that a run over hundreds of thousands of files can be killed and resumed."""

import contextlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ich.base.files import all_to_disk, as_json, atomic

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
    series: str | None = None  # fingerprint of its series; empty: unknown; None: noted by a version that did not ask
    position_mm: float | None = None  # along the normal of the slice; None: unknown


class Journal:
    """Append-only JSON lines. The first says how the PNGs were made; a journal of other settings is started again."""

    def __init__(self, path: Path, how: dict) -> None:
        self.path = path
        self._waiting: list[Note] = []
        self._written: list[Path] = []
        self._flushed = time.monotonic()
        self.notes = self._read(as_json(how))

    def add(self, note: Note, written: Iterable[Path] = ()) -> None:
        """Keep a note of the files `written`; all of it reaches the disk within FLUSH_SECONDS."""
        self.notes[note.id] = note
        self._waiting.append(note)
        self._written += written
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting; the PNGs it lists are forced to disk first."""
        if self._waiting:
            all_to_disk(self._written)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(note) + "\n" for note in self._waiting)
        self._waiting, self._written, self._flushed = [], [], time.monotonic()

    def _read(self, how: dict) -> dict[str, Note]:
        notes = {}
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                if _holds_for(next(file, ""), how):
                    for line in file:
                        with contextlib.suppress(ValueError, TypeError):  # the last line, if a kill cut it off
                            note = Note(*json.loads(line))
                            notes[note.id] = note
        with atomic(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(how) + "\n")
            file.writelines(json.dumps(note) + "\n" for note in notes.values())
        return notes


def _holds_for(first_line: str, how: dict) -> bool:
    """Whether PNGs of a journal with this first line are what would be made now. Earlier ones name some variants."""
    try:
        then = json.loads(first_line)
        return then["window"] == how["window"] and then["steps"].items() <= how["steps"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
