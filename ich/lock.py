"""One process at a time writes a folder: a file `.lock` says which; one that a killed process left is taken over."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ich import runs
from ich.errors import InputError

NAME = ".lock"
TASK = "ICH_TASK"  # environment: what this process works on for a cluster, the same when that is begun again elsewhere
READ_ONLY = (errno.EROFS, errno.EACCES)
PROC = Path("/proc")
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
ENDED = "ZX"  # states in /proc of a process that is dead, though its parent has not asked for its status


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within it this process alone writes `folder`, which is made where it is missing.

    Raises InputError when another process writes it, or may do so on another host. The lock of a dead process is taken
    over, and the unfinished files are removed. A folder that is read only is not locked: its first write tells.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    mine = _this_process()
    locked = _acquire(folder, mine)
    try:
        yield
    finally:
        if locked:
            _release(folder / NAME, mine)
        for each in missing:
            with contextlib.suppress(OSError):  # no longer empty
                each.rmdir()


def _acquire(folder: Path, mine: dict) -> bool:
    """Whether the folder is locked now; not if it is read only."""
    path = folder / NAME
    temporary = runs.unfinished(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(temporary, mine, os.O_TRUNC)
    except OSError as error:
        if error.errno in READ_ONLY:
            return False
        raise
    try:
        while not (_is_new(temporary, path, mine) or _taken_over(temporary, path)):
            continue  # its owner ended, or another process took it over, between the two
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _is_new(temporary: Path, path: Path, mine: dict) -> bool:
    """Try to make the lock file, whole from its first moment; False when there is one."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return temporary.stat().st_nlink > 1  # NFS repeats a call whose answer was lost
    except OSError as error:
        if error.errno not in NO_LINKS:  # FAT and some network drives have none
            raise
        try:
            _write(path, mine, os.O_EXCL)
        except FileExistsError:
            return False
    return True


def _taken_over(temporary: Path, path: Path) -> bool:
    """Put our lock in the place of a dead process's one; False when it changed hands meanwhile. Raises InputError."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:
        with contextlib.suppress(OSError):  # some network drives can't
            fcntl.flock(file, fcntl.LOCK_EX)  # of several that find a dead process's lock one takes it
        if not _is_same_file(file.fileno(), path):
            return False
        owner = _read(path, file.read())
        if not _is_dead(owner):
            raise InputError(
                f"{path.parent}: is being written by process {owner['pid']} on host {owner['host']} since "
                f"{owner['since']}; wait for it, or delete {path} if it no longer runs"
            )
        temporary.replace(path)
    print(f"{path.parent}: process {owner['pid']}, which wrote it since {owner['since']}, was killed; taken over")
    _sweep(path.parent)
    return True


def _read(path: Path, content: bytes) -> dict:
    try:
        owner = json.loads(content)
        if {*_this_process()} <= {*owner} and isinstance(owner["pid"], int):
            return owner
    except (ValueError, TypeError):
        pass
    raise InputError(f"{path}: is no lock that can be read; delete it if no process writes {path.parent}")


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_dead(owner: dict) -> bool:
    """Whether the owner surely runs no more. What can't be asked (another host or container) counts as alive."""
    here = _this_process()
    if owner["task"] and owner["task"] == here["task"]:
        return True  # the cluster begins a task again only after it has lost the process before
    if owner["host"] != here["host"]:
        return False
    if owner["boot"] != here["boot"]:
        return True  # the host was started anew
    return owner["container"] == here["container"] and _started(owner["pid"]) != owner["started"]


def _this_process() -> dict:
    """What tells this process from every other, one of the same number too."""
    pid = os.getpid()
    return {
        "pid": pid, "host": socket.gethostname(), "started": _started(pid), "boot": _boot(), "container": _container(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"), "command": " ".join(sys.argv), "task": os.environ.get(TASK, ""),
    }  # fmt: skip


def _started(pid: int) -> str | None:
    """When a process was started, in clock ticks since the boot; None when it is dead, "" where there is no /proc."""
    if PROC.exists():
        try:
            state, *rest = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if state in ENDED else rest[18]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's
    return ""


def _boot() -> str:
    path = PROC / "sys/kernel/random/boot_id"
    return path.read_text().strip() if path.exists() else ""


def _container() -> str:
    """Containers of one host may share its name, but number their processes on their own."""
    path = PROC / "self/ns/pid"
    return str(path.readlink()) if path.is_symlink() else ""


def _write(path: Path, owner: dict, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o644)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(owner, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def _release(path: Path, mine: dict) -> None:
    with contextlib.suppress(OSError, ValueError):  # deleted, or another's by now
        if json.loads(path.read_text(encoding="utf-8")) == mine:
            path.unlink()


def _sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished, but not in folders inside that another process has locked."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, NAME).exists()]
        for name in filter(runs.is_unfinished, files):
            if not name.endswith(NAME):  # another process is about to ask for this lock
                Path(place, name).unlink(missing_ok=True)
        for name in filter(runs.is_unfinished, [*folders]):
            shutil.rmtree(Path(place, name), ignore_errors=True)
            folders.remove(name)
