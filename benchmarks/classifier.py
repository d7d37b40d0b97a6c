"""How fast an EfficientNet is trained in each backend, and whether its training waits for data.

    python benchmarks/classifier.py           (writes benchmarks/results/classifier.json)
    python benchmarks/classifier.py --network EfficientNetB7 --image-size 600

A training step on a batch in memory, as rsna_train.py compiles it, without ImageNet weights. `epoch_ratio` is an epoch
that reads, shrinks and changes 512 px PNGs (phantoms) over as many steps on its first batch: 1.05 means that data cost
5 %. Each backend runs in a process of its own; within it both alternate, best of some rounds.
"""

import functools
import sys
import tempfile
import time
import typing
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))

import config as settings
from benchmarks import common, machine
from ich.base import script
from ich.base.paths import Rsna
from ich.phantom.head import make_patient
from ich.rsna.layouts import CLASSES
from ich.scans.nifti import Grid
from ich.scans.png import write_png
from ich.scans.window import Window

VARIANT = "0_dicom2png"
TARGETS = {"cpu": 1.05, "gpu": 1.10}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--backends", nargs="+", default=common.installed(), choices=common.BACKENDS)
    parser.add_argument("--network", default="EfficientNetB0", choices=typing.get_args(settings.EfficientNet))
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=settings.RsnaTrain().batch_size)
    parser.add_argument("--size", type=int, default=512, help="pixels per side of the PNGs")
    parser.add_argument("--steps", type=int, default=50 if machine.gpu() else 12, help="an epoch")
    parser.add_argument("--rounds", type=int, default=2)
    given, began = parser.parse_args(), time.time()
    if given.part:
        serve(given.part)
        return
    shared = {name: getattr(given, name) for name in ("network", "image_size", "batch_size", "steps", "rounds")}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Rsna(Path(folder)), given.steps * given.batch_size, given.size)
        for backend in given.backends:
            part = {**shared, "folder": folder}
            rows.append({"backend": backend, **shared, **common.once(__file__, part, backend)})
    common.write(given, began, {"rows": rows}, [figure for row in rows for figure in figures(row)])


def write_phantoms(files: Rsna, number: int, size: int) -> None:
    """PNGs from the middle of one phantom head."""
    patient = make_patient(seed=0, patient=0, size=size)
    where, slices = Grid(patient.hu.shape, patient.affine), patient.hu.shape[2]
    for place in range(number):
        hu = where.upright(patient.hu[:, :, slices // 4 + place % (slices // 2)])
        write_png(files.png(VARIANT, str(place)), Window(40, 120)(hu), sync=False)


def figures(row: dict) -> list[dict]:
    what = f"{row['network']}, {row['image_size']} px, batch {row['batch_size']}, {row['backend']}"
    ratio, target = row["epoch_ratio"], TARGETS["cpu" if row["device"] == "CPU" else "gpu"]
    return [
        common.row(f"training, {what}", row["images_per_s"], "images/s"),
        common.row(f"epoch against one batch in memory, {what}", ratio, "", f"<= {target}", ratio <= target),
    ]


def serve(part: dict) -> None:
    """In its own process: one backend."""
    with script.starting_backend():
        from benchmarks import nets
        from ich.rsna.batches import Batches, Change
        from ich.rsna.classifier import Classifier
        from ich.train import device
    names = ("network", "image_size", "batch_size")
    config = settings.RsnaTrain(weights="none", **{name: part[name] for name in names})
    number = part["steps"] * config.batch_size
    table = pd.DataFrame({"id": np.arange(number).astype(str), "class": np.resize(CLASSES, number)})
    change = Change(config.rotation_deg, config.shift_px / config.image_size)
    make = functools.partial(
        Batches, table, Rsna(Path(part["folder"])), VARIANT, config.task, config.image_size, config.batch_size,
        change, workers=config.workers,
    )  # fmt: skip
    model = Classifier(config, part["steps"]).model
    best = nets.epochs_and_same_batch(model, make, 1, part["rounds"])
    common.serve({
        "device": device.gpu_name() or "CPU", "parameters": model.count_params(), **best,
        "epoch_ratio": best["epochs"] / best["same_batch"], "images_per_s": number / best["same_batch"],
    })  # fmt: skip


if __name__ == "__main__":
    main()
