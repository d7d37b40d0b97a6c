"""Many files on all cores, with progress; an interruption leaves no worker behind."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

import cv2

from ich.base import streams
from ich.base.errors import InputError, MachineError
from ich.base.progress import progress
from ich.base.script import STOPPED

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


def apart(work: Callable[[Item], None], items: Mapping[str, Item], at_once: int) -> None:
    """Work on each named item in a process of its own, `at_once` at the same time.

    After a failure no other is begun; those that run are finished before it is raised. Raises MachineError when a
    process was killed.
    """
    waiting, running = collections.deque(items), dict[Connection, BaseProcess]()
    failure: Exception | None = None
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.popleft()
                answer, process = _begin(work, items[name], name)
                running[answer] = process
            ended = multiprocessing.connection.wait([*running])
            for answer in [each for each in running if each in ended]:
                if error := _outcome(answer, running.pop(answer)):
                    failure = failure or error
                    waiting.clear()
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()
    if failure:
        raise failure


def _begin(work: Callable[[Item], None], item: Item, name: str) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    answer, its_end = context.Pipe(duplex=False)
    process = context.Process(target=_alone, args=(work, item, its_end), name=name)
    multiprocessing.resource_tracker.ensure_running()  # begun by the first process otherwise, it would unblock Ctrl-C
    with _deaf_to_interrupts():
        process.start()
    its_end.close()  # so that its death is an end of file here
    return answer, process


def _outcome(answer: Connection, process: BaseProcess) -> Exception | None:
    """What a process has sent before it ended: nothing, or the error of its work."""
    try:
        error = answer.recv()
    except EOFError:
        error = None
    process.join()
    if process.exitcode == 1:
        return RuntimeError(f"{process.name} failed; its traceback is above")
    if process.exitcode:
        return MachineError(f"{process.name}: its process was killed (out of memory?); rerun with --at-once 1")
    return error


def _alone(work: Callable[[Item], None], item: Item, answer: Connection) -> None:
    """In a process of its own: work, and send what a user can correct."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    streams.outlive_readers()
    _start_worker()
    try:
        work(item)
        answer.send(None)
    except (InputError, MachineError, OSError) as error:
        answer.send(error)
    except KeyboardInterrupt:
        os._exit(STOPPED)  # by now all locks are released


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
