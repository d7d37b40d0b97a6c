"""How fast this project trains: in each backend beside the same network in plain PyTorch, and by pixels and filters.

    python benchmarks/train_step.py           (writes benchmarks/results/train_step.json)

A training step of unet and dunet on a batch in memory, by `--cases` (filters x pixels of a side x images): this
project's own Network with its loss, optimizer and metrics, through Keras' fit. The plain network (plain_torch.py) has
the same layers and number of parameters, the same loss, Adam, channels-last memory, and no metrics. Each network lives
in a process of its own; it and the plain one, in float32 and in bfloat16 where the device multiplies it, take turns,
best of some rounds, so the ratio holds on a busy machine. `share_of_flops` and `share_of_bandwidth` are of the
device's peak FLOP/s (counted from the layers; a step is three forward passes) and of its memory's (the least that
convolutions read and write; what is not fused comes on top).

On a GPU also with XLA on and off, and two trainings side by side in the fastest way.

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
        __doc__, backends=common.installed(), networks=["unet", "dunet"],
        cases=["32x256x16", "32x256x32"] if on_gpu else ["32x256x8", "16x128x16"],
        steps=50 if on_gpu else 1, rounds=3 if on_gpu else 2, side_by_side=on_gpu, scaling_sizes=[64, 128, 256],
        scaling_filters=[8, 16, 32], scaling_batch=4,
    )  # fmt: skip
    rows = []
    for network, case in itertools.product(flags.networks, flags.cases):
        filters, size, batch = map(int, case.split("x"))
        shared = {"network": network, "size": size, "filters": filters, "batch": batch, "steps": flags.steps}
        rows += compare(flags, shared)
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
    """A row for every precision and backend, and for the plain network, if PyTorch is installed."""
    plain_part = {**shared, "backend": PLAIN, "jit": "off"}
    with contextlib.ExitStack() as stack:
        plain, rows = {}, []
        for precision in common.precisions() if "torch" in common.installed() else ():
            plain[precision] = stack.enter_context(common.Worker(prepare, {**plain_part, "precision": precision}))
        for name in flags.backends:
            for jit in common.jits(name):
                rows += measured({**shared, "backend": name, "jit": jit}, flags.rounds, plain)
    for precision, worker in plain.items():
        times = [row["plain_seconds"] for row in rows if row["precision"] == precision and row.get("plain_seconds")]
        if times:
            rows.append(rated({**plain_part, "precision": precision, **worker.facts}, min(times)))
    return rows


def measured(part: dict, rounds: int, plain: dict[str, common.Worker]) -> list[dict]:
    """The rated row of one network in each precision; it takes turns with `plain`, which has a network for each.

    What does not run here is reported, not raised.
    """
    parts = {precision: {**part, "precision": precision} for precision in common.precisions()}
    own, rows = {}, []
    with contextlib.ExitStack() as stack:
        for precision, each in parts.items():
            try:
                own[precision] = stack.enter_context(common.Worker(prepare, each, part["backend"]))
            except common.Failed as error:
                rows.append({**each, "failed": str(error)})
        beside = {f"{PLAIN} {precision}": plain[precision] for precision in own if precision in plain}
        best = common.best_of({**own, **beside}, rounds)
        for precision, worker in own.items():
            facts = {**parts[precision], **worker.facts}
            rows.append(rated(facts, best[precision], best.get(f"{PLAIN} {precision}")))
    return rows


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
    with common.Worker(prepare, part, part["backend"]) as own:
        row = rated({**part, **own.facts}, common.best_of({"own": own}, flags.rounds)["own"])
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

        facts, train = plain_torch.training(part["network"], part["filters"], part["precision"] == "mixed_bfloat16")
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
