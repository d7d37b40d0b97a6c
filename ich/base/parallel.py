"""Many files on all cores, with progress; an interruption leaves no worker behind."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import cv2

from ich.base.errors import InputError
from ich.base.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 16  # items a process may be ahead of the slowest one


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str, quiet: bool = False
) -> list[Result]:
    """Apply `work` to each item, in `workers` processes (0: one per core); results keep the order of the items."""
    return list(stream(work, items, workers, title, quiet))


def stream(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str, quiet: bool = False
) -> Iterator[Result]:
    """As `spread`, one result at a time: memory stays the same however many items there are."""
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers <= 1:
        yield from progress(map(work, items), len(items), title, quiet)
        return
    # Spawned, not forked: a fork of a process that runs threads (TensorFlow's, OpenCV's) may hang.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield from progress(_ahead(pool, work, items, AHEAD * workers), len(items), title, quiet)
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError(f"{title}: a worker process was killed (out of memory?); try --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(
    pool: concurrent.futures.Executor, work: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """Results in the order of the items; at most `most` items are handed out and not yet yielded."""
    handed_out: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    for item in items:
        with _deaf_to_interrupts():  # it may start a process
            handed_out.append(pool.submit(work, item))
        if len(handed_out) == most:
            yield handed_out.popleft().result()
    while handed_out:
        yield handed_out.popleft().result()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that never hear Ctrl-C: their parent does, and stops the pool."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # one process per core already


def _end_with_parent() -> None:
    """A killed parent can't stop its pool; a worker that went on would write beside the next run."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
