"""Step 3a. Train one network on the hold-out split.

    python main.py                       (the network named in config.py)
    python main.py --model unet --recipe paper

reads   <data>/<protocol>/holdout.csv and the PNGs
writes  <runs>/<protocol>/<run>/holdout/: config.json run.json history.csv last.keras best.keras
        valid_slices.csv valid_patients.csv valid_thresholds.csv valid_operating.csv loss.png dice.png iou.png
If interrupted, rerun the same command to resume.
"""

from collections.abc import Sequence

import config as settings
from ich.base import backend, flags, script
from ich.data.split import read_split
from ich.train import jobs


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.Main, __doc__, argv)
    split = read_split(config, "holdout")
    if jobs.all_finished(config, split, ["valid"]):
        return  # without starting Keras
    with backend.starting():
        import models
        from ich.train import runner
    runner.run_all(jobs.trainings(config, split, ["valid"], models.find), split, models.build)


if __name__ == "__main__":
    script.run(main)
