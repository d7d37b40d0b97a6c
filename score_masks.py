"""Step 3c. Judge the masks of another method, or of another reader, as a run of this program is judged.

    python score_masks.py --run nnunet --masks nnUNet_results/.../fold_0/validation .../fold_1/validation
    python score_masks.py --run reader2 --masks masks_of_reader2
    python trials.py --compare dunet nnunet

reads   <data>/<protocol>/kfold.csv, the PNG masks, the scans, and in the folders of --masks a file for each scan of the
        folds: SCAN.nii.gz, SCAN_mask.nii.gz, or SCAN_SSS.png for each slice; masks, or probabilities from 0 to 1
writes  <runs>/<protocol>/<run>/fold_01/ ...: config.json valid_slices.csv valid_patients.csv run.json, and of
        probabilities valid_thresholds.csv valid_operating.csv valid_calibration.csv
Each scan must be predicted by a network that never saw it, as in nnU-Net's validation on our folds (docs/nnunet.md).
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import config as settings
from ich.base import flags, lock, paths, record, script, steps
from ich.base.errors import InputError, refuse
from ich.base.files import as_json, read_json, write_csv, write_json
from ich.data import given_masks, identity
from ich.data.given_masks import Given
from ich.data.split import Split, read_split
from ich.data.table import read_parts
from ich.report import folds
from ich.score import evaluation


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.ScoreMasks, __doc__, argv)
    if not config.run or not config.masks:
        raise InputError("--run and --masks are needed: a name for the run, and the folder of its masks")
    if config.protocol != "patient":
        raise InputError("--protocol slice: it has no whole scans to judge; use --protocol patient")
    split = read_split(config, "kfold")
    given = _read(config, split)
    parts = sorted(split.table["part"].unique(), key=int)
    with lock.writing(config.runs / config.protocol / config.run):
        _refuse_other(config, split, given, parts)
        for part in parts:
            _score(config, split, given, part)
    _tell(config, given)
    steps.tell_next("trials.py", config, "data", "runs", "protocol", "seed")


def _read(config: settings.ScoreMasks, split: Split) -> Given:
    """What the files say of all slices of the folds. Raises InputError: missing and unknown ones are all named."""
    found = given_masks.find(config.masks)
    everything = read_parts(config.data, config.protocol, "kfold")
    tested = everything.loc[everything["part"] == "test", "id"]
    if problems := given_masks.check_complete(found, split.table["id"], tested):
        refuse(problems)
    orientation = read_json(config.data / paths.RUN, ("config",))["config"].get("orientation", "")
    given = given_masks.read(found, split.table, config.data, split.prints["image_size"], orientation)
    print(*(f"{note}\n" for note in given.notes), end="", sep="")
    return given


def _training(config: settings.ScoreMasks, part: str) -> paths.Training:
    return paths.Training(config.runs / config.protocol / config.run / paths.fold_name(int(part)))


def _identity(config: settings.ScoreMasks, split: Split, given: Given, part: str) -> dict:
    return as_json(identity.of_given(config, given.kind, given.fingerprint, part, split.prints))


def _refuse_other(config: settings.ScoreMasks, split: Split, given: Given, parts: list[str]) -> None:
    """Raise InputError where the run's folder holds networks, other masks, or folds of another split."""
    for files in paths.of_folds(config.runs / config.protocol / config.run):
        if files.config.exists():
            wanted = _identity(config, split, given, parts[0])
            identity.refuse_difference(files.config, identity.read(files.config), wanted, "Give --run another name")


def _score(config: settings.ScoreMasks, split: Split, given: Given, part: str) -> None:
    """Write the tables of a fold; run.json, which says that they are whole, last."""
    started, files = time.time(), _training(config, part)
    if files.finished:
        return
    wanted = _identity(config, split, given, part)
    write_json(files.config, wanted)
    rows = (split.table["part"] == part).to_numpy()
    has_probabilities = given.kind == given_masks.PROBABILITIES
    tables = evaluation.tables(split.validation(part), given.prob[rows], split.whole_scans, has_probabilities)
    for name, table in tables.items():
        write_csv(getattr(files, name), table)
    facts = {"identity": wanted, "results": record.fingerprints(files.results), **split.about}
    write_json(files.run, record.manifest(config, started, **facts))


def _tell(config: settings.ScoreMasks, given: Given) -> None:
    (run,) = folds.gather(config.runs, config.protocol, (config.run,))
    patients = run.table("patients")
    blood = int((patients["tp"] + patients["fn"] > 0).sum())
    text = f"{config.run}: {given.kind} of {len(patients)} patients in {len(run.folds)} folds judged"
    score = f"Dice {folds.mean_dice(run):.3f} over {blood} with blood"
    print(f"{text}; {score} -> {config.runs / config.protocol / config.run}")


if __name__ == "__main__":
    script.run(main)
