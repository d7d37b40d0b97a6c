"""What the benchmarks share: flags, a process per measurement, rounds that alternate, and how results are written."""

import argparse
import functools
import importlib.util
import itertools
import multiprocessing
import operator
import os
import platform
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from ich.base import backend as keras_backend
from ich.base import cpu, record
from ich.base.files import write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
BACKENDS = ("tensorflow", "jax", "torch")
# Two processes share a GPU only if neither takes all of its memory at the start.
SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
COMPARE = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}


def arguments(doc: str, choices: Mapping[str, Collection[str]] | None = None, **defaults: object) -> argparse.Namespace:
    """Parse `--results`, and a flag for each of `defaults`, of its type; a list takes several values."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(began=time.time())
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    choices = {"backends": BACKENDS, **(choices or {})}
    for name, default in defaults.items():
        options: dict[str, Any] = {"default": default, "help": "default: %(default)s"}
        if isinstance(default, bool):
            options["action"] = "store_true"
        else:
            is_list = isinstance(default, list)
            options |= {"type": type(default[0] if is_list else default), "choices": choices.get(name)}
            options["nargs"] = "+" if is_list else None
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    return parser.parse_args()


def installed() -> list[str]:
    """Which backends of Keras are installed; none of them is imported."""
    return [name for name in BACKENDS if importlib.util.find_spec(name)]


def precisions() -> tuple[str, ...]:
    """What is worth comparing here: without instructions for it bfloat16 is emulated."""
    return ("float32", "mixed_bfloat16") if machine.gpu() or cpu.has_flag(cpu.BFLOAT16) else ("float32",)


def jits(backend: str) -> tuple[str, ...]:
    """XLA on and off where there is a choice: JAX always compiles, PyTorch never, and on a CPU the project does not."""
    return ("off", "on") if machine.gpu() and backend == "tensorflow" else ("auto",)


class Failed(Exception):
    """A measurement ended without an answer; a process that just died was perhaps out of memory."""


class Worker:
    """A process that waits to be asked for a measurement, so that several can take turns.

    In it `prepare(part)` returns `facts`, and a function that measures seconds. Raises Failed when that does not work.
    """

    def __init__(self, prepare: Callable[[dict], tuple[dict, Callable | None]], part: dict, backend: str = "") -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            self.facts = self.pool.submit(_prepare, prepare, part, backend).result()
        except Exception as error:
            self.pool.shutdown()
            raise Failed(f"{backend} {part}: {error!r}") from error

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def start(self) -> Future:
        """Ask for one measurement; the result is its seconds."""
        return self.pool.submit(_measure)

    def __call__(self) -> float:
        """Seconds of one measurement."""
        return self.start().result()


def _prepare(prepare: Callable[[dict], tuple[dict, Callable | None]], part: dict, backend: str) -> dict:
    global _measure_seconds
    os.environ.update(SHARED_GPU)
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    with keras_backend.starting():
        facts, _measure_seconds = prepare(part)
    return facts


def _measure() -> float:
    return _measure_seconds()


def once(measure: Callable[[dict], dict], part: dict, backend: str = "") -> dict:
    """The facts that `measure(part)` returns in a process of its own. Raises Failed."""
    with Worker(functools.partial(_facts_only, measure), part, backend) as worker:
        return worker.facts


def _facts_only(measure: Callable[[dict], dict], part: dict) -> tuple[dict, None]:
    return measure(part), None


def noise(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images and masks (batch, size, size, 1); nothing that is measured depends on what they show."""
    rng, shape = np.random.default_rng(0), (batch, size, size, 1)
    return rng.integers(0, 256, shape, np.uint8), (rng.random(shape) < 0.02).astype(np.uint8)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def into_new_folders(work: Callable[[Any, Path], object], items: Sequence, root: Path) -> Callable[[], float]:
    """Seconds of `work(item, folder)` over all items; a new folder each time, since replacing files is slower."""
    numbers = itertools.count()

    def measure() -> float:
        folder = root / str(next(numbers))
        folder.mkdir(parents=True)
        return seconds(lambda: [work(item, folder) for item in items])

    return measure


def best_of(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The least seconds of each, taking turns: what else runs on the machine slows all alike."""
    taken = [{name: work() for name, work in works.items()} for _ in range(rounds)]
    return {name: min(times[name] for times in taken) for name in works}


def row(what: str, value: float | None, unit: str = "", target: str = "") -> dict:
    """One figure of the table; a `target` such as `<= 1.5` adds whether it was `met`, which is None otherwise."""
    sign, _, limit = target.partition(" ")
    met = COMPARE[sign](value, float(limit)) if target and value is not None else None
    return {"what": what, "value": value, "unit": unit, "target": target, "met": met}


def write(flags: argparse.Namespace, result: dict, summary: list[dict]) -> None:
    """Write `<results>/<script>.json` and print the summary as a table."""
    settings = {name: value for name, value in vars(flags).items() if name not in ("results", "began")}
    facts = record.manifest(argparse.Namespace(**settings), flags.began, result=result, summary=summary)
    facts |= {"command": machine.command(sys.argv), "machine": machine.facts()}
    facts["platform"] = f"{platform.system()} {platform.machine()}"  # without the kernel's build
    script = Path(sys.argv[0]).stem
    write_json(flags.results / f"{script}.json", machine.without_folders(facts))
    print(table([{"benchmark": script, **figure} for figure in summary]))


def table(rows: list[dict]) -> str:
    """The rows of summaries as a Markdown table, readable on a terminal too."""
    lines = [("benchmark", "what", "measured", "target", "met")]
    for figure in rows:
        met = {True: "yes", False: "**no**", None: ""}[figure["met"]]
        lines.append((figure["benchmark"], figure["what"], measured(figure), figure["target"], met))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def measured(figure: dict) -> str:
    """`12.3 images/s`; a measurement that failed or was not made is a dash."""
    if figure["value"] is None:
        return "-"
    value = figure["value"]
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{shown} {figure['unit']}".strip()
