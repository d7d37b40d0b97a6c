"""How the machines of a cluster are shared out among tasks, and what a task does before and after its work."""

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2

from ich.base import lock
from ich.base.errors import InputError

Machine = Mapping[str, float]  # resources as Ray gives them: CPU, GPU
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")  # NPROC is XLA's; OMP_NUM_THREADS Ray sets


class Ask(NamedTuple):
    """What a task takes of a machine."""

    cpus: int
    gpus: int = 0

    def fit(self, machine: Machine) -> int:
        """How many such tasks a machine, given as Ray's resources, does at once."""
        most = int(machine.get("CPU", 0)) // self.cpus
        return min(most, int(machine.get("GPU", 0)) // self.gpus) if self.gpus else most


def share_out(machines: Sequence[Machine], tasks: int, gpu: bool) -> Ask:
    """What each of `tasks` asks for; `gpu`: one GPU and a core, if there are any GPUs.

    Otherwise the most cores with which all tasks run at once and the smallest machine takes part. Raises InputError
    when no machine has a core.
    """
    cores = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
    if gpu and any(machine.get("GPU", 0) >= 1 for machine in machines):
        wanted = Ask(1, 1)
    else:
        shares = range(min(cores, default=1), 0, -1)
        wanted = Ask(next((share for share in shares if sum(each // share for each in cores) >= tasks), 1))
    if not any(map(wanted.fit, machines)):
        raise InputError(f"--engine ray: no machine of the cluster has {_shown(wanted)}; found {_inventory(machines)}")
    return wanted


def _inventory(machines: Sequence[Machine]) -> str:
    """As printed: `2 machines, 16 cores, 2 GPUs`."""
    cores, gpus = (int(sum(machine.get(name, 0) for machine in machines)) for name in ("CPU", "GPU"))
    numbers = ((len(machines), "machine"), (cores, "core"), (gpus, "GPU"))
    return ", ".join(_counted(number, unit) for number, unit in numbers if number)


def plan(machines: Sequence[Machine], wanted: Ask) -> str:
    """As printed: what there is, how many tasks run at once and what each takes."""
    at_once = _counted(sum(map(wanted.fit, machines)), "task")
    return f"Ray: {_inventory(machines)}; {at_once} at once, {_shown(wanted)} each"


def _shown(wanted: Ask) -> str:
    return _counted(wanted.cpus, "core") + (" and a GPU" if wanted.gpus else "")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("s" if number != 1 else "")


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


def work_through(work: Callable, items: Sequence) -> list:
    """Work on many items in one task; what it wrote is on disk before the script hears of it."""
    results = [work(item) for item in items]
    os.sync()
    return results
