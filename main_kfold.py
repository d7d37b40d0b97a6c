"""Step 3b. Stratified k-fold cross-validation of all networks of the configuration.

    python main_kfold.py                          (every fold of every network that is not finished)
    python main_kfold.py --model dunet --fold 3   (one fold, so that a job array can run all at once)

reads   <data>/<protocol>/kfold.csv and the PNGs
writes  <runs>/<protocol>/<run>/fold_01/ ...: the same files as main.py
Interrupted, the same command goes on where it stopped.
"""

from collections.abc import Sequence

import config as settings
from ich import cli, stack
from ich.errors import InputError


def main(argv: Sequence[str] | None = None) -> None:
    config = cli.parse(settings.MainKfold, __doc__, argv)
    with cli.starting_backend():
        import models
        from ich import jobs
    networks = {models.find(name): filters for name, filters in config.models.items()}
    if config.model:
        name = models.find(config.model)
        if name not in networks:
            raise InputError(f"--model {name}: not among the models of config.py ({', '.join(networks)}); add it there")
        networks = {name: networks[name]}
    jobs.unique_run(config, networks)
    split = stack.read_split(config, "kfold")
    folds = jobs.check_folds(split, config.fold)
    trainings = [
        jobs.job(config, split, name, filters, fold)
        for name, filters in networks.items()
        for fold in folds
    ]
    jobs.run_all(trainings, split, models.build)


if __name__ == "__main__":
    cli.run(main)
