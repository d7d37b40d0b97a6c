"""Work spread over the machines of a Ray cluster (docs/cluster.md). The only place that imports Ray."""

import collections
import contextlib
import functools
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ich.base.errors import InputError, MachineError
from ich.base.paths import ROOT
from ich.base.progress import progress
from ich.base.share import Ask, Place, plan, share_out, work_through

if TYPE_CHECKING:
    import config as settings

Item = TypeVar("Item")
Result = TypeVar("Result")
RETRIES = 3  # of a task whose process was killed or whose machine was lost
SHARD = 32  # files a task: some seconds of work
ANSWER_S = 10  # for a cluster to take a connection
LOOK_S = 1  # between two looks whether to stop
STOP_S = 10  # for workers to remove their unfinished files after Ctrl-C
STORE_BYTES = 80 * 2**20  # shared memory of a Ray started here, about the least it takes; results are files
PASSED_ON = ("KERAS_", "TF_", "XLA_", "JAX_")  # environment that workers share with the script
# No report of use to Ray's makers, every line of each worker (similar ones count as one otherwise), no colours.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_COLOR_PREFIX": "0"}


def check(config: "settings.Engine") -> None:
    """Raise InputError when the flags of the engine do not fit together, or Ray is not installed."""
    if config.engine == "ray":
        if (at_once := getattr(config, "at_once", 1)) > 1:
            raise InputError(
                f"--at-once {at_once}: is for --engine local; Ray runs as many as the cluster has room for"
            )
        _ray(config)
    elif config.address:
        raise InputError(f"--address {config.address}: is for --engine ray; give both or neither")


def train(work: Callable[[Item], None], todo: Mapping[str, Item], config: "settings.Engine") -> None:
    """Do each named training on some machine, in a process of its own.

    A training takes one GPU where the cluster has any, otherwise a share of the cores. A lost one is begun again up to
    RETRIES times. After a failure no other is begun; those that run are finished before it is raised.
    """
    if todo:
        collections.deque(_results(work, todo, config, trains=True), maxlen=0)


def stream(
    work: Callable[[Item], Result], items: Sequence[Item], config: "settings.Engine", title: str
) -> Iterator[Result]:
    """As `parallel.stream`, on all cores of the cluster; results come as they are ready, not in order."""
    shards = {f"{title} from {k + 1}": items[k : k + SHARD] for k in range(0, len(items), SHARD)}
    done = _results(functools.partial(work_through, work), shards, config, trains=False)
    return progress((result for _, results in done for result in results), len(items), title, config.quiet)


def _results(
    work: Callable[[Item], Result], items: Mapping[str, Item], config: "settings.Engine", trains: bool
) -> Iterator[tuple[str, Result]]:
    """Name and result of each item, as it is ready."""
    ray = _ray(config)
    with _connected(ray, config) as stop_asked:
        machines = _machines(ray)
        wanted = share_out(machines, len(items), trains)
        if not config.quiet:
            print(plan(machines, wanted), flush=True)
        # A process for each training: TensorFlow releases GPU memory only when its process ends.
        task = ray.remote(num_cpus=wanted.cpus, num_gpus=wanted.gpus, max_retries=RETRIES, max_calls=int(trains))
        begin, shared = task(_on_worker), ray.put((work, Place(Path.cwd(), sys.argv, wanted)))

        def start(name: str) -> object:
            return begin.options(name=name).remote(shared, items[name])

        yield from _as_ready(ray, start, items, wanted, stop_asked)


def _on_worker(shared: tuple[Callable[[Item], Result], Place], item: Item) -> Result:
    import ray

    work, place = shared
    place.enter(ray.get_runtime_context().get_task_id())
    return work(item)


def _as_ready(
    ray: types.ModuleType,
    begin: Callable[[str], object],
    names: Mapping[str, object],
    wanted: Ask,
    stop_asked: threading.Event,
) -> Iterator[tuple[str, Any]]:
    """Hand out no more than run at once, so that after a failure none waits in Ray's queue."""
    waiting, failure = collections.deque(names), None
    running: dict[object, str] = {}
    try:
        while waiting or running:
            at_once = max(1, sum(map(wanted.fit, _machines(ray))))  # machines come and go
            while waiting and len(running) < at_once:
                name = waiting.popleft()
                running[begin(name)] = name
            ended: list[object] = []
            while not ended:
                if stop_asked.is_set():
                    raise KeyboardInterrupt
                ended, _ = ray.wait(list(running), timeout=LOOK_S)
            name = running.pop(ended[0])
            try:
                result = ray.get(ended[0])
            except ray.exceptions.RayError as error:
                failure = failure or _plain(ray, error, name)
                waiting.clear()
                if running:
                    print(f"problem: {name} failed; waiting for {len(running)} that run", flush=True)
                continue
            yield name, result
    finally:
        for reference in running:
            ray.cancel(reference)  # KeyboardInterrupt within the worker
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=STOP_S)
    if failure:
        raise failure


@contextlib.contextmanager
def _connected(ray: types.ModuleType, config: "settings.Engine") -> Iterator[threading.Event]:
    """Connect to the cluster at `config.address`, or start one on this computer for the time being.

    The event is set by Ctrl-C and SIGTERM: what Python raises may get lost in Ray's code.
    """
    stop_asked = threading.Event()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: types.FrameType | None) -> None:
        stop_asked.set()
        raise KeyboardInterrupt

    try:
        _connect(ray, config)
        for number in handlers:
            signal.signal(number, stop)  # after Ray has put its own, which ends with another status
        yield stop_asked
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ray.shutdown()


def _plain(ray: types.ModuleType, error: Exception, name: str) -> Exception:
    """What went wrong on a worker, as if it had happened here."""
    if not isinstance(error, ray.exceptions.RayTaskError):
        line = f"{name}: its process was lost {RETRIES + 1} times; out of memory? ({type(error).__name__})"
        return MachineError(f"{line}; start Ray with fewer cores (ray start --num-cpus), then fewer run at once")
    if isinstance(error.cause, ImportError | ray.exceptions.RaySystemError):  # the latter before the work begins
        first = str(error.cause).splitlines()[0]
        return InputError(f"{name}: {first} on a worker; all machines need the same packages, and {ROOT}")
    return error.cause if isinstance(error.cause, InputError | MachineError | OSError) else error


def _machines(ray: types.ModuleType) -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _ray(config: "settings.Engine") -> types.ModuleType:
    # A Ray of our own takes orders from this process alone: its ports are open to the network.
    secret = {} if config.address else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in (ENVIRONMENT | secret).items():
        os.environ.setdefault(name, value)  # read while it is imported
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray: Ray is not installed; pip install -r requirements-cluster.txt") from None
    return ray


def _connect(ray: types.ModuleType, config: "settings.Engine") -> None:
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    options = {"log_to_driver": not config.quiet, "logging_level": logging.ERROR,
               "runtime_env": {"env_vars": {"PYTHONPATH": python_path, **passed_on}}}  # fmt: skip
    if not config.address:
        ray.init(address="local", include_dashboard=False, object_store_memory=STORE_BYTES, **options)
        return
    _refuse_silence(config.address)
    try:
        ray.init(address=config.address, **options)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".")
        helps = "if the cluster asks for a token, `export RAY_AUTH_MODE=token` (docs/cluster.md)"
        raise InputError(f"--address {config.address}: {first}; {helps}") from error


def _refuse_silence(address: str) -> None:
    """Raise InputError at once where nothing answers; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return  # `auto`, or for Ray to refuse
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: no answer ({error}); is `ray start --head` running there?") from None
