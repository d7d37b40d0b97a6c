"""What is finished, one line a file, so that a run over hundreds of thousands of files can be killed and go on."""

import json
import os
import time
from pathlib import Path

from ich import runs

FLUSH_SECONDS = 10.0  # the most work that a kill can cost


class Journal:
    """Append-only JSON lines. The first says how the files were made; a journal of another way is begun anew."""

    def __init__(self, path: Path, how: dict) -> None:
        self.path = path
        self._waiting: list[dict] = []
        self._flushed = time.monotonic()
        self.rows = self._read(how)

    def add(self, row: dict) -> None:
        """Note a finished file; `row` holds its `id`. It reaches the disk within FLUSH_SECONDS of work."""
        self.rows[row["id"]] = row
        self._waiting.append(row)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting; what it speaks of is forced to disk first."""
        if self._waiting:
            os.sync()
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in self._waiting)
        self._waiting, self._flushed = [], time.monotonic()

    def _read(self, how: dict) -> dict[str, dict]:
        wanted, rows = runs.as_json(how), {}
        if self.path.exists():
            first, *lines = self.path.read_text(encoding="utf-8").split("\n")
            if first == json.dumps(wanted):
                for line in lines[:-1]:  # what follows the last line break was cut off by a kill
                    row = json.loads(line)
                    rows[row["id"]] = row
        # Written anew each time: a torn line goes, and of a file that was done twice the first note.
        runs.write_text(self.path, "\n".join(map(json.dumps, [wanted, *rows.values()])) + "\n")
        return rows
