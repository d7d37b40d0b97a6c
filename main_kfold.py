"""Step 3b. Stratified k-fold cross-validation of all networks of the configuration.

    python main_kfold.py                          (every fold of every network that is not finished)
    python main_kfold.py --model dunet --fold 3   (one fold, so that a job array can run all at once)

reads   <data>/<protocol>/kfold.csv and the PNGs
writes  <runs>/<protocol>/<run>/fold_01/ ...: the same files as main.py
Interrupted, the same command goes on where it stopped.
"""

from collections.abc import Sequence

import config as settings
from ich import cli, jobs, stack


def main(argv: Sequence[str] | None = None) -> None:
    config = cli.parse(settings.MainKfold, __doc__, argv)
    split = stack.read_split(config, "kfold")
    folds = jobs.check_folds(split, config.fold)
    if jobs.all_finished(config, split, folds):
        return  # without starting Keras
    with cli.starting_backend():
        import models
        from ich import runner
    runner.run_all(jobs.trainings(config, split, folds, models.find), split, models.build)


if __name__ == "__main__":
    cli.run(main)
