"""Step 3b. Stratified k-fold cross-validation of all networks of the configuration.

    python main_kfold.py                          (every fold of every network that is not finished)
    python main_kfold.py --model dunet --fold 3   (one fold, so that a job array can run all at once)
    python main_kfold.py --repeats 3              (every fold with three seeds: fold_01/, fold_01/repeat_02/ ...)
    python main_kfold.py --at-once 2              (two networks at the same time; small ones leave cores idle)
    python main_kfold.py --engine ray --address auto          (all of them on a Ray cluster: docs/cluster.md)

reads   <data>/<protocol>/kfold.csv and the PNGs
writes  <runs>/<protocol>/<run>/fold_01/ ...: the same files as main.py
If interrupted, rerun the same command to resume.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import config as settings
from ich.base import backend, cluster, flags, parallel, script, steps
from ich.data.split import Split, read_split
from ich.train import jobs


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.MainKfold, __doc__, argv)
    cluster.check(config)
    split = read_split(config, "kfold")
    folds = jobs.check_folds(split, config.fold)
    if not jobs.all_finished(config, split, folds):  # otherwise without starting Keras
        _run(config, split, folds)
    steps.tell_next("trials.py", config, "data", "runs", "protocol", "seed")


def _run(config: settings.MainKfold, split: Split, folds: list[str]) -> None:
    with backend.starting():
        import models
        from ich.train import runner
    trainings = jobs.trainings(config, split, folds, models.find)
    if config.engine == "local" and config.at_once == 1:
        runner.run_all(trainings, split, models.build)
        return
    todo, work = jobs.unfinished(trainings), functools.partial(train, split=split)
    with runner.shown(todo, split):
        if config.engine == "ray":
            cluster.train(work, {each.name: [each] for each in todo}, config)
        else:
            backend.share_gpu()
            parallel.apart(work, runner.by_network(todo), config.at_once)


def train(same: list[jobs.Job], split: Split) -> None:
    """Folds of one network, in whatever process and on whatever machine this is called."""
    with backend.starting():
        import models
        from ich.train import runner
    runner.run_apart(same, split, models.build)


if __name__ == "__main__":
    script.run(main)
