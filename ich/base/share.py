"""How the machines of a cluster are shared out among tasks. A machine is what Ray says of it: cores, GPUs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ich.base.errors import InputError

Machine = Mapping[str, float]


class Ask(NamedTuple):
    """What a task takes of a machine."""

    cpus: int
    gpus: int = 0

    def fit(self, machine: Machine) -> int:
        """How many such tasks a machine, given as Ray's resources, does at once."""
        most = int(machine.get("CPU", 0)) // self.cpus
        return min(most, int(machine.get("GPU", 0)) // self.gpus) if self.gpus else most


def share_out(machines: Sequence[Machine], tasks: int, gpu: bool, cpus: int = 0) -> Ask:
    """What each of `tasks` asks for; `gpu`: one GPU, if there are any.

    Otherwise the most cores with which all tasks run at once and the smallest machine takes part; `cpus` overrides.
    Raises InputError when no machine has what is asked for.
    """
    cores = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
    if gpu and any(machine.get("GPU", 0) >= 1 for machine in machines):
        wanted = Ask(cpus or 1, 1)
    else:
        shares = range(min(cores, default=1), 0, -1)
        wanted = Ask(cpus or next((share for share in shares if sum(each // share for each in cores) >= tasks), 1))
    if not any(map(wanted.fit, machines)):
        raise InputError(f"--task-cpus {cpus}: no machine of the cluster has {_shown(wanted)}; found {told(machines)}")
    return wanted


def told(machines: Sequence[Machine]) -> str:
    """As printed: `2 machines, 16 cores, 2 GPUs`."""
    found = [(len(machines), "machine"), *((int(sum(machine.get(name, 0) for machine in machines)), unit)
                                           for name, unit in (("CPU", "core"), ("GPU", "GPU")))]  # fmt: skip
    return ", ".join(_counted(*each) for each in found if each[0])


def plan(machines: Sequence[Machine], wanted: Ask) -> str:
    """As printed: what there is, how many tasks run at once and what each takes."""
    at_once = _counted(sum(map(wanted.fit, machines)), "task")
    return f"Ray: {told(machines)}; {at_once} at once, {_shown(wanted)} each"


def _shown(wanted: Ask) -> str:
    return _counted(wanted.cpus, "core") + (" and a GPU" if wanted.gpus else "")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("s" if number != 1 else "")
