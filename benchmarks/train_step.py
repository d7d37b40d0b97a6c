"""How fast this project trains, in each backend, beside the same network written plainly in PyTorch.

    python benchmarks/train_step.py           (writes benchmarks/results/train_step.json)

A training step of dunet with 32 filters at 256 px, on a batch in memory: this project's own Network with its loss,
optimizer and metrics, through Keras' fit. The plain network (plain_torch.py) has the same layers and number of
parameters, the same loss, Adam, channels-last memory, and no metrics. Each network lives in a process of its own; it
and the plain one take turns, best of some rounds, so the ratio holds on a busy machine. On a GPU also with mixed
bfloat16 and with XLA on and off.
"""

import argparse
import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import common, machine
from ich.base import script

PLAIN = "plain PyTorch"


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--backends", nargs="+", default=common.installed(), choices=common.BACKENDS)
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50 if machine.gpu() else 1, help="in a measurement")
    parser.add_argument("--rounds", type=int, default=2)
    given, began = parser.parse_args(), time.time()
    if given.part:
        serve(given.part)
        return
    rows = []
    for batch in given.batches:
        for precision in common.precisions():
            shared = {"network": "dunet", "size": given.size, "filters": given.filters, "batch": batch,
                      "steps": given.steps, "precision": precision}  # fmt: skip
            rows += compare(given, shared)
    common.write(given, began, {"rows": rows}, [figure for each in rows for figure in figures(each)])


def compare(given: argparse.Namespace, shared: dict) -> list[dict]:
    """A row for every backend, and one for the plain network, which waits in between, where PyTorch is installed."""
    if not common.installed(["torch"]):
        return own_networks(given, shared, {})
    with common.Worker(__file__, {**shared, "backend": PLAIN, "jit": "off"}) as plain:
        rows = own_networks(given, shared, {PLAIN: plain})
        least = min(row["plain_seconds"] for row in rows)
        return [row_of({**shared, "backend": PLAIN, "jit": "off", **plain.facts}, least), *rows]


def own_networks(given: argparse.Namespace, shared: dict, beside: dict[str, common.Worker]) -> list[dict]:
    rows = []
    for backend in given.backends:
        for jit in common.jits(backend):
            part = {**shared, "backend": backend, "jit": jit}
            with common.Worker(__file__, part, backend) as own:
                best = common.best_of({"own": own, **beside}, given.rounds)
            rows.append(row_of({**part, **own.facts}, best["own"], best.get(PLAIN)))
    return rows


def row_of(facts: dict, seconds: float, plain_seconds: float | None = None) -> dict:
    """Add images a second, and the share of the plain network's in the same rounds."""
    rate = {"seconds": seconds, "images_per_s": facts["batch"] * facts["steps"] / seconds}
    share = plain_seconds / seconds if plain_seconds else None
    return {**facts, **rate, "plain_seconds": plain_seconds, "share_of_plain": share}


def figures(row: dict) -> list[dict]:
    what = f"{row['network']} n={row['filters']}, {row['size']} px, batch {row['batch']}, {row['precision']}, "
    what += row["backend"] if row["backend"] == PLAIN else f"{row['backend']}, jit {row['jit']}"
    found = [common.row(what, row["images_per_s"], "images/s")]
    if row["share_of_plain"]:
        found.append(common.row(f"{what}, against plain PyTorch", row["share_of_plain"], "of its rate"))
    return found


def serve(part: dict) -> None:
    """In its own process: build, compile, then train as often as asked."""
    images, masks = common.noise(part["batch"], part["size"])
    if part["backend"] == PLAIN:
        from benchmarks import plain_torch

        device, parameters, train = plain_torch.training(part["filters"], part["precision"] == "mixed_bfloat16")
        work = functools.partial(train, images, masks, part["steps"])
    else:
        with script.starting_backend():
            from benchmarks import nets
            from ich.train import device as devices
        network = nets.segmenter(part)
        device, parameters = devices.gpu_name() or "CPU", network.bare.count_params()
        work = functools.partial(nets.fit, network.model, nets.SameBatch(images, masks, part["steps"]))
    work()  # compiles
    common.serve({"parameters": parameters, "device": device}, lambda: common.seconds(work))


if __name__ == "__main__":
    main()
