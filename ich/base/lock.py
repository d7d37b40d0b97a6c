"""One process at a time writes a folder. The kernel keeps the lock, so it ends with its process; `.lock` says whose."""

import contextlib
import errno
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from ich.base.errors import InputError
from ich.base.files import is_unfinished

NAME = ".lock"
WITHOUT_FLOCK = ".lock.held"  # beside it where a file system has no kernel locks: there its existence is the lock
TASK = "ICH_TASK"  # environment: what this process works on for a cluster, the same when that is begun again elsewhere
READ_ONLY = (errno.EROFS, errno.EACCES)
NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
POLL_S, GRACE_S = 0.1, 0.5  # a killed process needs a moment to end, and its memory to be given back
MOST_VANISHED = 1000  # times in a row
BOOT = Path("/proc/sys/kernel/random/boot_id")
LONGEST_RECORD = 65536  # bytes


class _Busy(Exception):
    """Another process holds the lock.

    `owner`: its record, None when it has not written any yet. `proven`: whether this kernel knows that it runs.
    """

    def __init__(self, owner: dict | None, proven: bool) -> None:
        super().__init__()
        self.owner, self.proven = owner, proven


@contextlib.contextmanager
def writing(folder: Path, wait_s: float = 0) -> Iterator[None]:
    """Within it this process alone writes `folder`, which is created where it is missing.

    Another process that writes it is waited for `wait_s` seconds; then InputError names it. So is one on another host
    that may still run. What a killed process left is taken over, and its unfinished files are removed. A folder that is
    read only is not locked: the first write to it will fail anyway.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    release = _acquire(folder, wait_s)
    try:
        yield
    finally:
        release()
        for each in missing:
            with contextlib.suppress(OSError):  # no longer empty
                each.rmdir()


def _acquire(folder: Path, wait_s: float) -> Callable[[], None]:
    """Lock the folder; return what releases it."""
    path, announced, vanished = folder / NAME, not wait_s, 0
    until = time.monotonic() + max(wait_s, GRACE_S)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _try(path)
        except _Busy as busy:
            if time.monotonic() >= until:
                raise InputError(f"{folder}: is being written by {_advice(busy, path)}") from None
            if not announced:
                print(f"{folder}: waiting for {_name(busy.owner)}, which is writing it", flush=True)
            announced = True
            time.sleep(POLL_S)
        except FileNotFoundError:  # its owner ended between two of our steps, and took file or folder away
            vanished += 1
            if vanished > MOST_VANISHED:
                raise
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            return lambda: None


def _try(path: Path) -> Callable[[], None]:
    """Take the lock and put our record into it; return what releases it.

    Raises _Busy, and FileNotFoundError when the lock's file vanished meanwhile.
    """
    mine, taken = _this_process(), []

    def record(descriptor: int) -> None:
        """Write our record into the file that was locked."""
        # A network drive keeps a removed file for those who have it open; then path is gone, or another's file.
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(path)
        taken.append(os.fstat(descriptor))
        _hand_over(path, descriptor, mine)

    try:
        lock = _lock(path, record)
    except filelock.Timeout:
        owner = _read(path)
        if not _is_same_task(owner, mine):
            raise _Busy(owner, not owner or not _is_elsewhere(owner, mine)) from None
        for name in (NAME, WITHOUT_FLOCK):
            path.with_name(name).unlink(missing_ok=True)
        raise FileNotFoundError(path) from None
    except PermissionError:
        if not path.exists() or not os.access(path.parent, os.W_OK):
            raise  # the folder is read only
        raise _Busy(_read(path), False) from None  # another user's, about which we can't ask the kernel

    def release() -> None:
        """Remove the file, then unlock it."""
        # Removed while held: whoever has opened it by now finds it without a name, and tries again.
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), taken[-1]):
                path.unlink()
        lock.release()

    return release


def _lock(path: Path, record: Callable[[int], None]) -> filelock.BaseFileLock:
    """Acquire the kernel's lock, or the next best, and call `record` with a descriptor of `path`."""
    soft = filelock.SoftFileLock(path.with_name(WITHOUT_FLOCK))
    if not Path(soft.lock_file).exists():
        lock = filelock.FileLock(path, on_acquired=record, fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
            return lock
        except OSError as error:
            if isinstance(error, filelock.Timeout) or error.errno not in NO_FLOCK:
                raise
    soft.acquire(timeout=0)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            record(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        soft.release()
        raise
    return soft


def _hand_over(path: Path, descriptor: int, mine: dict) -> None:
    """Replace what a killed process left in the lock by our record. Raises _Busy when it may run on another host."""
    left = os.pread(descriptor, LONGEST_RECORD, 0)
    owner = _parse(left)
    # On this kernel, having got the lock proves that its process is dead. Not every network drive passes locks on.
    if owner and _is_elsewhere(owner, mine) and not _is_same_task(owner, mine):
        raise _Busy(owner, False)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(mine).encode(), 0)
        os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise
    if left:
        print(f"{path.parent}: {_name(owner)}, which was writing it, was killed; taken over")
        _sweep(path.parent)


def _read(path: Path) -> dict | None:
    try:
        with path.open("rb") as file:
            return _parse(file.read(LONGEST_RECORD))
    except PermissionError:
        return None


def _parse(content: bytes) -> dict | None:
    """A record; None for what is none, or not yet whole."""
    try:
        owner = json.loads(content)
        texts = [owner[key] for key in ("host", "since", "boot", "task")]
        fine = isinstance(owner["pid"], int) and all(isinstance(text, str) and text.isprintable() for text in texts)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return owner if fine else None


def _is_same_task(owner: dict | None, mine: dict) -> bool:
    """The cluster begins a task again only after it has lost the process before."""
    return bool(owner and owner["task"] and owner["task"] == mine["task"])


def _is_elsewhere(owner: dict, mine: dict) -> bool:
    """Whether the owner ran on another kernel: containers share their host's boot, a reboot keeps the host's name."""
    return owner["host"] != mine["host"] and (not owner["boot"] or owner["boot"] != mine["boot"])


def _name(owner: dict | None) -> str:
    return f"process {owner['pid']} on host {owner['host']} since {owner['since']}" if owner else "another process"


def _advice(busy: _Busy, path: Path) -> str:
    """Who writes, and what to do: only a lock whose process this kernel does not know may be deleted by hand."""
    if not busy.owner:
        return f"another process, which has only just begun ({path} does not name it yet); wait for it"
    return f"{_name(busy.owner)}; wait for it, or {'end it' if busy.proven else f'delete {path} if it no longer runs'}"


def _this_process() -> dict:
    return {
        "pid": os.getpid(), "host": socket.gethostname(), "boot": BOOT.read_text().strip() if BOOT.exists() else "",
        "since": time.strftime("%Y-%m-%d %H:%M:%S"), "command": " ".join(sys.argv), "task": os.environ.get(TASK, ""),
    }  # fmt: skip


def _sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished, but not in folders inside that another process has locked."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, NAME).exists()]
        for name in filter(is_unfinished, files):
            Path(place, name).unlink(missing_ok=True)
        for name in filter(is_unfinished, [*folders]):
            shutil.rmtree(Path(place, name), ignore_errors=True)
            folders.remove(name)
