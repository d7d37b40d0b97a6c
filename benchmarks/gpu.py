"""How well a GPU is used by training: images a second in every way, as a share of what the device can do.

    python benchmarks/gpu.py                  (writes benchmarks/results/gpu.json)

For each installed backend, with and without bfloat16 and XLA, each in its own process: images/s of training dunet with
32 filters at 256 px, as a share of the device's peak FLOP/s (counted from the layers; a step is three forward passes)
and of its memory's (the least that convolutions read and write; what is not fused comes on top). In the fastest way
also two trainings side by side on the device. Without a GPU, or with --small, everything is small: it shows that the
script runs, and its figures mean nothing.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import common, machine
from ich.base import script

PASSES = 3  # a step costs about three times its forward pass
IMAGE_RATE_TARGET = 3000
FULL = {"size": 256, "filters": 32, "steps": 50}, (16, 32)  # and batches
SMALL = {"size": 32, "filters": 2, "steps": 2}, (4,)
PART = ("network", "size", "filters", "steps", "backend", "precision", "jit", "batch")  # the settings of one process


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--backends", nargs="+", default=common.installed(), choices=common.BACKENDS)
    parser.add_argument("--small", action="store_true", default=machine.gpu() is None)
    parser.add_argument("--rounds", type=int, default=3)
    given, began = parser.parse_args(), time.time()
    if given.part:
        serve(given.part)
        return
    rows = [measured(part, given.rounds) for part in every_way(given)]
    result = {"steps": rows, "side_by_side": side_by_side(max(rows, key=lambda row: row.get("images_per_s", 0)))}
    common.write(given, began, result, figures(result, given.small))


def every_way(given: argparse.Namespace) -> list[dict]:
    scale, batches = SMALL if given.small else FULL
    return [
        {"network": "dunet", **scale, "backend": backend, "precision": precision, "jit": jit, "batch": batch}
        for backend in given.backends for precision in common.precisions() for jit in common.jits(backend)
        for batch in batches
    ]  # fmt: skip


def measured(part: dict, rounds: int) -> dict:
    """Images a second, and shares of the device's peaks; what does not run here is reported, not raised."""
    try:
        with common.Worker(__file__, part, part["backend"]) as worker:
            seconds = common.best_of({"step": worker}, rounds)["step"] / part["steps"]
            facts = worker.facts
    except common.Failed as error:
        return {**part, "failed": str(error).splitlines()[-1]}
    rate = part["batch"] / seconds
    bytes_each = 2 if part["precision"] == "mixed_bfloat16" else 4
    return {
        **part, **facts, "step_s": seconds, "images_per_s": rate,
        "share_of_flops": rate * PASSES * 2 * facts["forward_macs"] / facts["peaks"]["flop_per_s"],
        "share_of_bandwidth": rate * PASSES * bytes_each * facts["forward_values"] / facts["peaks"]["bytes_per_s"],
    }  # fmt: skip


def side_by_side(fastest: dict) -> dict:
    """Two trainings at once against one after the other, in the fastest way."""
    start = functools.partial(common.Worker, __file__, {name: fastest[name] for name in PART}, fastest["backend"])
    with start() as one, start() as other:
        alone = common.best_of({"one": one, "other": other}, 2)
        both = min(common.seconds(functools.partial(at_once, one, other)) for _ in range(2))
    return {"one_after_another_s": sum(alone.values()), "at_once_s": both, "gain": sum(alone.values()) / both}


def at_once(*workers: common.Worker) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.finish()


def figures(result: dict, small: bool) -> list[dict]:
    found = []
    for row in result["steps"]:
        what = f"{row['backend']}, {row['precision']}, XLA {row['jit']}, batch {row['batch']}"
        rate = row.get("images_per_s")
        met = None if small or rate is None else rate >= IMAGE_RATE_TARGET
        found.append(common.row(f"training, {what}", rate, "images/s", f">= {IMAGE_RATE_TARGET}", met))
        for name in ("flops", "bandwidth") if rate else ():
            found.append(common.row(f"share of peak {name}, {what}", row[f"share_of_{name}"]))
    return [*found, common.row("two trainings at once against one after another", result["side_by_side"]["gain"], "x")]


def serve(part: dict) -> None:
    """In its own process: steps on a batch in memory."""
    with script.starting_backend():
        from benchmarks import flops, nets
        from ich.train import device
    network = nets.segmenter(part)
    same = nets.SameBatch(*common.noise(part["batch"], part["size"]), part["steps"])
    work = functools.partial(nets.fit, network.model, same)
    work()  # compiles
    name = device.gpu_name() or "CPU"
    counted = {"forward_macs": flops.forward_macs(network.bare), "forward_values": flops.forward_values(network.bare)}
    peaks = flops.peaks(name, part["precision"])
    common.serve({"device": name, "peaks": peaks, **counted}, lambda: common.seconds(work))


if __name__ == "__main__":
    main()
