"""What the benchmarks share: flags, a process a measurement, rounds that alternate, and how results are written."""

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmarks import machine
from ich.base import record
from ich.base.files import write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
BACKENDS = ("tensorflow", "jax", "torch")
ANSWER = "answer: "  # before a line of JSON that a process gives to the one that asked; the rest of its output is noise
# Two processes share a GPU only if neither takes all of its memory at the start.
SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def parser(doc: str) -> argparse.ArgumentParser:
    """The flags of all benchmarks: `--results`, and `--part`, with which the process of a measurement is started."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    made.add_argument("--part", type=json.loads, help=argparse.SUPPRESS)
    return made


def installed(names: Iterable[str] = BACKENDS) -> list[str]:
    """Which backends of Keras are installed; none of them is imported."""
    return [name for name in names if importlib.util.find_spec(name)]


def precisions() -> tuple[str, ...]:
    """What is worth comparing here: on a CPU bfloat16 is slower."""
    return ("float32", "mixed_bfloat16") if machine.gpu() else ("float32",)


def jits(backend: str) -> tuple[str, ...]:
    """XLA on and off where there is a choice: JAX always compiles, PyTorch never, and on a CPU the project does not."""
    return ("off", "on") if machine.gpu() and backend == "tensorflow" else ("auto",)


class Failed(Exception):
    """A process ended without an answer: too little memory perhaps. The message ends with its own words."""


class Worker:
    """A process that waits to be asked for a measurement, so that several can take turns.

    `facts` is what it says when it is ready. Raises Failed when it does not get that far.
    """

    def __init__(self, script: str, part: dict, backend: str = "") -> None:
        self.name = f"{Path(script).stem} {backend} {part}"
        environment = {**os.environ, **SHARED_GPU, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
        if backend:
            environment["KERAS_BACKEND"] = backend
        # Start-up notes of the backends, or why it failed; closed with the worker.
        self.said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, script, "--part", json.dumps(part)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said,
        )  # fmt: skip
        try:
            self.facts = self.finish()
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.said.close()

    def start(self) -> None:
        """Ask for one measurement."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self) -> dict:
        """The answer. Raises Failed when there is none."""
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        status = self.process.wait()
        self.said.seek(0)
        raise Failed(f"{self.name}: ended with status {status}; it said last:\n{self.said.read()[-2000:]}")

    def __call__(self) -> float:
        """Seconds of one measurement."""
        self.start()
        return self.finish()["seconds"]


def once(script: str, part: dict, backend: str = "") -> dict:
    """The facts of one measurement in its own process. Raises Failed."""
    with Worker(script, part, backend) as worker:
        return worker.facts


def serve(facts: dict, measure: Callable[[], float] | None = None) -> None:
    """In the process of a measurement: say `facts`, then measure as often as asked."""
    print(ANSWER + json.dumps(facts), flush=True)
    for _ in sys.stdin if measure else ():
        print(ANSWER + json.dumps({"seconds": measure()}), flush=True)


def noise(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images and masks (batch, size, size, 1); nothing that is measured depends on what they show."""
    rng, shape = np.random.default_rng(0), (batch, size, size, 1)
    return rng.integers(0, 256, shape, np.uint8), (rng.random(shape) < 0.02).astype(np.uint8)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best_of(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The least seconds of each, taking turns: what else runs on the machine slows all alike."""
    taken = [{name: work() for name, work in works.items()} for _ in range(rounds)]
    return {name: min(each[name] for each in taken) for name in works}


def peak_gib() -> float:
    """The most memory that this process held; getrusage would give the parent's after a fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024**2


def row(what: str, value: float | None, unit: str = "", target: str = "", met: bool | None = None) -> dict:
    """One figure as the table shows it; `met` says whether it reaches its target, None where there is none."""
    return {"what": what, "value": value, "unit": unit, "target": target, "met": met}


def write(given: argparse.Namespace, began: float, result: dict, summary: list[dict]) -> None:
    """Write `<results>/<script>.json` and print the summary as a table."""
    settings = {name: value for name, value in vars(given).items() if name not in ("results", "part")}
    facts = record.manifest(argparse.Namespace(**settings), began, result=result, summary=summary)
    facts |= {"command": machine.command(sys.argv), "machine": machine.facts()}
    facts["platform"] = f"{platform.system()} {platform.machine()}"  # without the kernel's build
    script = Path(sys.argv[0]).stem
    write_json(given.results / f"{script}.json", machine.without_folders(facts))
    print(table([{"benchmark": script, **each} for each in summary]))


def table(rows: list[dict]) -> str:
    """The rows of summaries as a Markdown table, readable on a terminal too."""
    head = ("benchmark", "what", "measured", "target", "met")
    lines = [head, ("-",) * len(head)]
    for each in rows:
        met = {True: "yes", False: "**no**", None: ""}[each["met"]]
        lines.append((each["benchmark"], each["what"], measured(each), each["target"], met))
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    lines[1] = tuple("-" * width for width in widths)
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def measured(each: dict) -> str:
    """`12.3 images/s`; a measurement that failed or was not made is a dash."""
    if each["value"] is None:
        return "-"
    value = each["value"]
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{shown} {each['unit']}".strip()
