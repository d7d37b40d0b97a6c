"""Step 3b. Stratified k-fold cross-validation of all networks of the configuration.

    python main_kfold.py                          (every fold of every network that is not finished)
    python main_kfold.py --model dunet --fold 3   (one fold, so that a job array can run all at once)
    python main_kfold.py --repeats 3              (every fold with three seeds: fold_01/, fold_01/repeat_02/ ...)
    python main_kfold.py --engine ray --address auto          (all of them on a Ray cluster: docs/cluster.md)

reads   <data>/<protocol>/kfold.csv and the PNGs
writes  <runs>/<protocol>/<run>/fold_01/ ...: the same files as main.py
If interrupted, rerun the same command to resume.
"""

import functools
from collections.abc import Sequence

import config as settings
from ich.base import backend, cluster, flags, script
from ich.data.split import Split, read_split
from ich.train import jobs


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.MainKfold, __doc__, argv)
    cluster.check(config)
    split = read_split(config, "kfold")
    folds = jobs.check_folds(split, config.fold)
    if jobs.all_finished(config, split, folds):
        return  # without starting Keras
    with backend.starting():
        import models
        from ich.train import runner
    trainings = jobs.trainings(config, split, folds, models.find)
    if config.engine == "ray":
        todo = {each.name: each for each in jobs.unfinished(trainings)}
        cluster.train(functools.partial(train, split=split), todo, config)
    else:
        runner.run_all(trainings, split, models.build)


def train(job: jobs.Job, split: Split) -> str:
    """One fold of one network, on whatever machine this is called; return its scores in one line."""
    with backend.starting():
        import models
        from ich.train import runner
    return runner.run_one(job, split, models.build)


if __name__ == "__main__":
    script.run(main)
