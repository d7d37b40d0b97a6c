"""Each training writes what it does to its `train.log`; what is shown of all that run is read from there.

So a training in this process, in another one or on another machine is shown alike.
"""

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TextIO

from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile

from ich.base import paths
from ich.base.files import read_csv
from ich.base.progress import duration
from ich.train.jobs import AnyJob

LOOK_S = 0.2  # between two looks into the logs of other processes
EVERY = 10  # epochs between two lines where there is no terminal; the first epoch has one too
BAR = "{desc} epoch {n_fmt}/{total_fmt} |{bar:12}| {unit}"  # of tqdm; its postfix would begin with a comma

_news = threading.Event()  # this process has logged a line


class Expected(NamedTuple):
    """A training that is to be shown."""

    name: str
    files: paths.Training
    epochs: int
    cost: float = 1.0  # of an epoch, compared with the other trainings


def log(files: paths.Training, line: str) -> None:
    """Append a line to train.log. One that a kill cut off stays, on a line of its own."""
    with files.log.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())
    _news.set()


def log_begin(job: AnyJob, epoch: int, epochs: int, precision: str) -> None:
    """Log that a training begins, or goes on after `epoch`, and in which precision: `auto` may choose another later."""
    what = f"resuming after epoch {epoch} of {epochs}" if epoch else f"begins, epoch 0 of {epochs}"
    log(job.files, f"{job.name}: {what} in {precision}; {time.strftime('%Y-%m-%d %H:%M:%S')}")


def log_end(job: AnyJob, scores: str) -> None:
    """Log that a training is finished: epochs, time, and its `scores`."""
    seconds = read_csv(job.files.history, ("seconds",), "the training")["seconds"]
    epochs = f"{len(seconds)} epoch{'s' * (len(seconds) > 1)}"
    log(job.files, f"{job.name}: {epochs} in {duration(seconds.sum())}, {scores}")


@contextlib.contextmanager
def shown(trainings: Sequence[Expected], quiet: bool) -> Iterator[None]:
    """Show what these trainings log meanwhile: on a terminal a live line each, elsewhere every tenth epoch.

    Both leave a line for each training that ends; `quiet` shows these only. Raises OSError when they can't be printed.
    """
    out = sys.stdout
    is_live = out.isatty() and os.environ.get("TERM") != "dumb" and not quiet
    watch, ended = _Watch(trainings, quiet, out if is_live else None), threading.Event()
    failed: list[OSError] = []

    def look() -> None:
        try:
            watch.look()
        except OSError as error:  # no reason to stop a training
            failed.append(error)

    def look_on() -> None:
        while not ended.is_set():
            _news.wait(LOOK_S)
            _news.clear()
            look()

    thread = threading.Thread(target=look_on, daemon=True)
    # Other prints go above the live lines.
    with contextlib.redirect_stdout(DummyTqdmFile(out)) if is_live else contextlib.nullcontext():
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            look()
            watch.close()
    if failed:
        raise failed[0]


class _Line:
    """What is known of one training: how far its log was read, its epoch, and its live line."""

    def __init__(self, expected: Expected) -> None:
        self.expected, self.epoch = expected, 0
        self._read_to = expected.files.log.stat().st_size if expected.files.log.exists() else 0
        self.bar: tqdm | None = None

    def news(self) -> list[str]:
        """The whole lines that were added since the last look."""
        try:
            with self.expected.files.log.open("rb") as file:
                file.seek(self._read_to)
                added = file.read()
        except OSError:  # not there yet, or a network drive that is away for a moment
            return []
        end = added.rfind(b"\n") + 1
        self._read_to += end
        return [line for line in added[:end].decode(errors="replace").splitlines() if line]

    def draw(self, text: str, out: TextIO) -> None:
        """Show the epoch and `text` in the live line; the first time below all others."""
        if self.bar is None:
            self.bar = tqdm(total=self.expected.epochs, desc=self.expected.name, bar_format=BAR, leave=False,
                            unit="", dynamic_ncols=True, file=out)  # fmt: skip
        self.bar.n, self.bar.unit = self.epoch, text
        self.bar.refresh()

    def close(self) -> None:
        """Remove the live line."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None


class _Watch:
    """Reads the logs of all trainings of a call and shows them; the time left is that of the whole call.

    `terminal` has the live lines; None: there are none.
    """

    def __init__(self, trainings: Sequence[Expected], quiet: bool, terminal: TextIO | None) -> None:
        self._lines = [_Line(each) for each in trainings]
        self._quiet, self._terminal, self._ended = quiet, terminal, 0
        self._since, self._done = 0.0, 0.0  # since the first epoch, which compiles, had ended

    def look(self) -> None:
        """Show what is new."""
        for line in self._lines:
            for text in line.news():
                self._show(line, text)

    def close(self) -> None:
        """Remove all live lines."""
        for line in self._lines:
            line.close()

    def _show(self, line: _Line, text: str) -> None:
        rest = text.removeprefix(line.expected.name)
        if re.match(r": \d+ epochs? in ", rest):
            self._end(line, text)
        at = re.match(r"(: begins,|: resuming after)? epoch (\d+)(?:/| of )\d+", rest)
        if not at:
            return  # what a kill has left of a line
        if not at[1]:
            self._count(line.expected.cost)
        line.epoch = int(at[2])
        if at[1] and line.epoch:
            self._write(text.partition(";")[0])
        if self._terminal:
            first = next((each for each in self._lines if each.bar), line)
            line.draw("" if at[1] else _in_short(text) + self._left() * (line is first), self._terminal)
        elif not (self._quiet or at[1]) and (line.epoch == 1 or line.epoch % EVERY == 0):
            self._write(text + self._left())

    def _end(self, line: _Line, text: str) -> None:
        line.close()
        line.epoch = line.expected.epochs
        self._ended += 1
        self._write(f"{self._ended} of {len(self._lines)}: {text}" if len(self._lines) > 1 else text)

    def _count(self, cost: float) -> None:
        if self._since:
            self._done += cost
        self._since = self._since or time.monotonic()

    def _left(self) -> str:
        """Time left, by the epochs so far; nothing before the second."""
        costs = [(line.expected.epochs - line.epoch) * line.expected.cost for line in self._lines]
        if not self._done:
            return ""
        return f", {duration(sum(costs) * (time.monotonic() - self._since) / self._done)} left in all"

    def _write(self, text: str) -> None:
        if self._terminal:
            tqdm.write(text, file=self._terminal)
        else:
            print(text, flush=True)


def _in_short(text: str) -> str:
    """What a live line has room for: the validation's values where there are any, without the loss."""
    measures = text.partition("  ")[2].partition("  ")[0].rpartition("| ")[2]
    return re.sub(r"loss \S+ ", "", measures)
