"""What results say of the machine they come from, and what they don't."""

import contextlib
import functools
import os
import platform
import re
import subprocess
from pathlib import Path


def command(argv: list[str]) -> str:
    """The command without this machine's folders."""
    return " ".join(["python", f"benchmarks/{Path(argv[0]).name}", *map(without_folders, argv[1:])])


def without_folders(facts: object) -> object:
    """A JSON value in which absolute paths are file names only."""
    if isinstance(facts, dict):
        return {name: without_folders(value) for name, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [without_folders(value) for value in facts]
    is_path = isinstance(facts, Path) or (isinstance(facts, str) and facts.startswith("/"))
    return Path(facts).name if is_path else facts


def facts() -> dict[str, object]:
    """Processor, cores, memory and GPU, as a reader of the figures needs them."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu.group(1) if cpu else platform.machine(), "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30), "gpu": gpu(),
    }  # fmt: skip


@functools.cache
def gpu() -> str | None:
    """The first NVIDIA GPU, without asking any framework; None without one."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError, IndexError):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    return None
