"""How fast this project trains: in each backend beside the same network in plain PyTorch, and by pixels and filters.

    python benchmarks/train_step.py           (writes benchmarks/results/train_step.json)

A training step of dunet on a batch in memory: this project's own Network with its loss, optimizer and metrics, through
Keras' fit. The plain network (plain_torch.py) has the same layers and number of parameters, the same loss, Adam,
channels-last memory, and no metrics. Each network lives in a process of its own; it and the plain one take turns, best
of some rounds, so the ratio holds on a busy machine. `share_of_flops` and `share_of_bandwidth` are of the device's peak
FLOP/s (counted from the layers; a step is three forward passes) and of its memory's (the least that convolutions read
and write; what is not fused comes on top).

On a GPU also with mixed bfloat16, with XLA on and off, and two trainings side by side in the fastest way.

`scaling` has the seconds of a step by side of the image and filters of the first level, in the first backend, beside
the multiplications that the layers count: where `macs_per_s` falls, something else than arithmetic costs.
"""

import argparse
import contextlib
import functools
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

from benchmarks import common, machine

PLAIN = "plain PyTorch"
PASSES = 3  # a step costs about three times its forward pass
IMAGE_RATE_TARGET = ">= 3000"  # on a GPU


def main() -> None:
    on_gpu = machine.gpu() is not None
    flags = common.arguments(
        __doc__, backends=common.installed(), batches=[16, 32] if on_gpu else [8, 16], size=256, filters=32,
        steps=50 if on_gpu else 1, rounds=3 if on_gpu else 2, side_by_side=on_gpu, scaling_sizes=[64, 128, 256],
        scaling_filters=[8, 16, 32], scaling_batch=4,
    )  # fmt: skip
    shared = {"network": "dunet", "size": flags.size, "filters": flags.filters, "steps": flags.steps}
    rows = []
    for batch, precision in itertools.product(flags.batches, common.precisions()):
        rows += compare(flags, {**shared, "batch": batch, "precision": precision})
    grown = [scaled(flags, *pair) for pair in itertools.product(flags.scaling_filters, flags.scaling_sizes)]
    result, summary = {"rows": rows, "scaling": grown}, [figure for row in rows for figure in figures(row)]
    for row in grown:
        what = f"step of dunet n={row['filters']}, {row['size']} px, batch {row['batch']}, {row['backend']}"
        summary.append(common.row(what, row["step_s"], "s"))
    if flags.side_by_side:
        result["side_by_side"] = side_by_side(rows)
        gain = result["side_by_side"]["gain"]
        summary.append(common.row("two trainings at once against one after another", gain, "x"))
    common.write(flags, result, summary)


def compare(flags: argparse.Namespace, shared: dict) -> list[dict]:
    """A row for every backend, and one for the plain network, which takes turns with each, if PyTorch is installed.

    What does not run here is reported, not raised.
    """
    plain_part = {**shared, "backend": PLAIN, "jit": "off"}
    with contextlib.ExitStack() as stack:
        plain, rows = {}, []
        if "torch" in common.installed():
            plain[PLAIN] = stack.enter_context(common.Worker(prepare, plain_part))
        for part in ({**shared, "backend": name, "jit": jit} for name in flags.backends for jit in common.jits(name)):
            try:
                rows.append(measured(part, flags.rounds, plain))
            except common.Failed as error:
                rows.append({**part, "failed": str(error)})
        times = [row["plain_seconds"] for row in rows if row.get("plain_seconds")]
        return [rated({**plain_part, **plain[PLAIN].facts}, min(times)), *rows] if times else rows


def measured(part: dict, rounds: int, beside: dict[str, common.Worker] | None = None) -> dict:
    """The rated row of one network in its own process, taking turns with what is `beside`. Raises Failed."""
    with common.Worker(prepare, part, part["backend"]) as own:
        best = common.best_of({"own": own, **(beside or {})}, rounds)
        return rated({**part, **own.facts}, best["own"], best.get(PLAIN))


def rated(facts: dict, seconds: float, plain_seconds: float | None = None) -> dict:
    """Add images a second, and shares: of the plain network's rate in the same rounds, and of the device's peaks."""
    rate = facts["batch"] * facts["steps"] / seconds
    row = {**facts, "seconds": seconds, "images_per_s": rate, "plain_seconds": plain_seconds,
           "share_of_plain": plain_seconds / seconds if plain_seconds else None}  # fmt: skip
    if peaks := facts.get("peaks"):
        bytes_each = 2 if facts["precision"] == "mixed_bfloat16" else 4
        row["share_of_flops"] = rate * PASSES * 2 * facts["forward_macs"] / peaks["flop_per_s"]
        row["share_of_bandwidth"] = rate * PASSES * bytes_each * facts["forward_values"] / peaks["bytes_per_s"]
    return row


def scaled(flags: argparse.Namespace, filters: int, size: int) -> dict:
    """A step of one network in its own process, and its multiplications with additions a second."""
    part = {"network": "dunet", "size": size, "filters": filters, "steps": flags.steps, "batch": flags.scaling_batch,
            "backend": flags.backends[0], "precision": common.precisions()[-1], "jit": "auto"}  # fmt: skip
    row = measured(part, flags.rounds)
    rate = PASSES * row["forward_macs"] * row["images_per_s"]
    return {**row, "step_s": row["seconds"] / row["steps"], "macs_per_s": rate}


def side_by_side(rows: list[dict]) -> dict:
    """Two trainings at once against one after the other, in the fastest way."""
    fastest = max((row for row in rows if row["backend"] != PLAIN), key=lambda row: row.get("images_per_s", 0))
    start = functools.partial(common.Worker, prepare, fastest, fastest["backend"])
    with start() as one, start() as other:
        alone = common.best_of({"one": one, "other": other}, 2)
        both = min(common.seconds(functools.partial(at_once, one, other)) for _ in range(2))
    return {"one_after_another_s": sum(alone.values()), "at_once_s": both, "gain": sum(alone.values()) / both}


def at_once(*workers: common.Worker) -> None:
    for future in [worker.start() for worker in workers]:
        future.result()


def figures(row: dict) -> list[dict]:
    what = f"{row['network']} n={row['filters']}, {row['size']} px, batch {row['batch']}, {row['precision']}, "
    what += row["backend"] if row["backend"] == PLAIN else f"{row['backend']}, jit {row['jit']}"
    on_gpu = row.get("device", "CPU") != "CPU"
    target = IMAGE_RATE_TARGET if on_gpu and row["backend"] != PLAIN else ""
    rows = [common.row(what, row.get("images_per_s"), "images/s", target)]
    if row.get("share_of_plain"):
        rows.append(common.row(f"{what}, against plain PyTorch", row["share_of_plain"], "of its rate"))
    for name in ("flops", "bandwidth") if on_gpu and "peaks" in row else ():
        rows.append(common.row(f"share of peak {name}, {what}", row[f"share_of_{name}"]))
    return rows


def prepare(part: dict) -> tuple[dict, Callable[[], float]]:
    """In its own process: build, compile, and return the function that trains."""
    images, masks = common.noise(part["batch"], part["size"])
    if part["backend"] == PLAIN:
        from benchmarks import plain_torch

        facts, train = plain_torch.training(part["filters"], part["precision"] == "mixed_bfloat16")
        work = functools.partial(train, images, masks, part["steps"])
    else:
        from benchmarks import flops, nets

        network = nets.segmenter(part)
        facts = flops.facts(network.bare, nets.device_name(), part["precision"])
        work = functools.partial(nets.fit, network.model, nets.SameBatch(images, masks, part["steps"]))
    work()  # compiles
    return facts, functools.partial(common.seconds, work)


if __name__ == "__main__":
    main()
