"""How the cost of training grows with pixels and filters.

    python benchmarks/scaling.py              (writes benchmarks/results/scaling.json)

Seconds of a training step of dunet by side of the image and filters of the first level, beside the multiplications
that its layers count; `rate` says how many of them the device does a second: where it falls, something else than
arithmetic costs. All networks live in one process and take turns, best of some rounds.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import common
from ich.base import script


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--backends", nargs="+", default=common.installed()[:1], choices=common.BACKENDS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--filters", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    given, began = parser.parse_args(), time.time()
    if given.part:
        serve(given.part)
        return
    rows = [row for backend in given.backends for row in measured(given, backend)]
    figures = [common.row(f"step of dunet n={row['filters']}, {row['size']} px, batch {row['batch']}, {row['backend']}",
                          row["step_s"], "s") for row in rows]  # fmt: skip
    common.write(given, began, {"rows": rows}, figures)


def measured(given: argparse.Namespace, backend: str) -> list[dict]:
    part = {name: getattr(given, name) for name in ("sizes", "filters", "batch", "rounds")}
    found = common.once(__file__, part, backend)["rows"]
    return [{"backend": backend, "batch": given.batch, **row, "macs_per_s": rate(given.batch, row)} for row in found]


def rate(batch: int, row: dict) -> float:
    """Multiplications with additions a second; a step is three forward passes."""
    return 3 * batch * row["forward_macs"] / row["step_s"]


def serve(part: dict) -> None:
    """In its own process: all sizes and filters in one backend."""
    with script.starting_backend():
        from benchmarks import flops, nets
    works, rows = {}, []
    for filters in part["filters"]:
        for size in part["sizes"]:
            network = nets.segmenter({"network": "dunet", "size": size, "filters": filters, "precision": "auto",
                                      "jit": "auto"})  # fmt: skip
            same = nets.SameBatch(*common.noise(part["batch"], size), steps=1)
            works[f"{filters} {size}"] = functools.partial(nets.fit, network.model, same)
            rows.append({"filters": filters, "size": size, "forward_macs": flops.forward_macs(network.bare)})
    best = nets.in_turns(works, part["rounds"]).values()
    common.serve({"rows": [{**row, "step_s": seconds} for row, seconds in zip(rows, best, strict=True)]})


if __name__ == "__main__":
    main()
