"""Progress of long work, and durations in words."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, title: str, quiet: bool = False) -> Iterator[Item]:
    """Pass items on; show a bar on a terminal and about five plain lines elsewhere."""
    if quiet or sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=title, disable=quiet, leave=False)
        return
    step = max(1, -(-total // 5))
    for number, item in enumerate(items, 1):
        yield item
        if number % step == 0 or number == total:
            print(f"{title}: {number} of {total}", flush=True)


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for unit, size in (("days", 86_400), ("h", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
