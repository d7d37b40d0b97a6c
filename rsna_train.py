"""Step R2. Train an EfficientNet on one preprocessing variant, or on all of them.

    python rsna_train.py --variant 2_roi_clahe
    python rsna_train.py --variant 2_roi_clahe --neighbours 1      (the slices below and above as colours)
    python rsna_train.py --network MobileNetV3Small --image-size 224 --at-once 2    (small, two at a time)
    python rsna_train.py --repeats 3 --weights none        (all seven variants, three seeds each)
    python rsna_train.py --engine ray --address auto       (all of them on a Ray cluster: docs/cluster.md)

reads   <data>/rsna/slices.csv and <variant>/<id>.png
writes  <runs>/rsna/<variant>/: config.json run.json history.csv train.log best.keras predictions.csv
        loss_accuracy.png  (repeats: <variant>/repeat_02/ ...; neighbours: <variant>_neighbours/;
        --task multilabel: <runs>/rsna_multilabel/)
Weights are chosen on the validation part (lowest loss) and scored on the test part.
If interrupted, rerun the same command to resume.
"""

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import config as settings
from ich.base import backend, cluster, flags, parallel, paths, script, steps
from ich.rsna import layouts, split, variants


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.RsnaTrain, __doc__, argv)
    cluster.check(config)
    names = variants.chosen([config.variant])
    table = split.read(paths.Rsna(config.data))
    with backend.starting():
        from ich.rsna import training
    slices = layouts.predicted(table, config.task)
    if left_out := len(table) - len(layouts.usable(table, config.task)):
        print(f"{left_out} slices of several types are left out: {config.task} allows one class per slice; those of "
              "the test part count in whole scans only")  # fmt: skip
    if absent := split.lacking(slices, config.task):
        print(f"note: {split.lacking_line(absent)}")
    if config.engine == "local" and config.at_once == 1:
        training.run_all(config, names, slices)
    else:
        todo = training.unfinished(config, names, slices)
        trainings = {job.name: (job.variant, job.files.repeat) for job in todo}
        with training.shown(todo):
            _run_apart(trainings, config)
    steps.tell_next("rsna_compare.py", config, "data", "runs", "task", "seed")


def _run_apart(trainings: Mapping[str, tuple[str, int]], config: settings.RsnaTrain) -> None:
    """In processes of their own; on this computer each takes every so many of them, and compiles its network once."""
    work = functools.partial(train, config=config)
    if config.engine == "ray":
        cluster.train(work, {name: [which] for name, which in trainings.items()}, config)
    else:
        backend.share_gpu()
        backend.share_cores(config.at_once)
        names, every = [*trainings], config.at_once
        shares = {names[k]: [trainings[name] for name in names[k::every]] for k in range(min(every, len(names)))}
        parallel.apart(work, shares, every)


def train(which: Sequence[tuple[str, int]], config: settings.RsnaTrain) -> None:
    """Trainings (variant, repeat), on whatever machine this is called."""
    with backend.starting():
        from ich.rsna import training
    slices = layouts.predicted(split.read(paths.Rsna(config.data)), config.task)
    training.run_apart(config, which, slices)


if __name__ == "__main__":
    script.run(main)
