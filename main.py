"""Step 3a. Train one network on the hold-out split.

    python main.py                       (the network named in config.py)
    python main.py --model unet --recipe paper

reads   <data>/<protocol>/holdout.csv and the PNGs
writes  <runs>/<protocol>/<run>/holdout/: config.json run.json history.csv train.log last.keras best.keras
        valid_slices.csv valid_patients.csv valid_thresholds.csv valid_operating.csv valid_calibration.csv loss.png
        dice.png iou.png
If interrupted, rerun the same command to resume.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import config as settings
from ich.base import backend, flags, script, steps
from ich.data.split import read_split
from ich.train import jobs


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.Main, __doc__, argv)
    split = read_split(config, "holdout")
    if not jobs.all_finished(config, split, ["valid"]):  # otherwise without starting Keras
        with backend.starting():
            import models
            from ich.train import runner
        runner.run_all(jobs.trainings(config, split, ["valid"], models.find), split, models.build)
    shared = (field.name for field in dataclasses.fields(settings.Train) if field.name != "run")
    steps.tell_next("main_kfold.py", config, *shared)


if __name__ == "__main__":
    script.run(main)
