"""What a process of a cluster does before and after its work."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2

from ich.base import lock
from ich.base.errors import InputError
from ich.base.share import Ask

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")  # NPROC is XLA's; OMP_NUM_THREADS Ray sets


class Place(NamedTuple):
    """Where a script was called, and what each of its tasks takes."""

    folder: Path
    command: list[str]
    ask: Ask

    def enter(self, task: str) -> None:
        """Make this process like the script's. `task` names the work, the same when it is begun again elsewhere.

        Raises InputError when the folder is not there.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            where = f"{self.folder}: {error.strerror} on {socket.gethostname()}"
            raise InputError(f"{where}; all machines must see project and data at the same paths") from None
        sys.argv = self.command  # goes into run.json
        os.environ[lock.TASK] = task
        cv2.setNumThreads(self.ask.cpus)
        if not self.ask.gpus:
            for name in THREADS:
                os.environ.setdefault(name, str(self.ask.cpus))


class Shard(NamedTuple):
    """Work on many items in one task."""

    work: Callable

    def __call__(self, items: Sequence) -> list:
        results = [self.work(item) for item in items]
        os.sync()  # what they wrote is on disk before it is told; the script can't do that for other machines
        return results
