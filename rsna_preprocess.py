"""Step R1. Make the seven preprocessing variants of DICOM head-CT slices, and split them by patient.

    python rsna_preprocess.py --raw rsna                  (all seven variants from one reading of each file)
    python rsna_preprocess.py --raw rsna --variants 0_dicom2png 2_roi_clahe        (beside those that are there)
    python rsna_preprocess.py --raw rsna --engine ray --address auto       (on a Ray cluster: docs/cluster.md)

reads   <raw>/<class>/*.dcm: healthy epidural intraparenchymal intraventricular subarachnoid subdural, and test
        or the competition's <raw>/stage_2_train.csv and stage_2_train/ID_*.dcm (detected automatically)
writes  <data>/rsna/<variant>/<id>.png  slices.csv  series.csv  rejected.csv  preview.png  run.json
If interrupted, rerun the same command to resume.
"""

import functools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
from ich.base import cluster, flags, lock, parallel, paths, record, script, steps
from ich.base.errors import InputError
from ich.base.files import write_csv, write_json
from ich.data import audit, origin
from ich.draw.plots import label_all
from ich.rsna import layouts, plots, preprocessing, split, variants
from ich.rsna.journal import Journal
from ich.scans.window import Window

MEASURED = 200  # files after which the time for the rest is estimated
WORTH_TELLING_S = 600


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.RsnaPreprocess, __doc__, argv)
    cluster.check(config)
    if config.valid_share + config.test_share >= 1:
        raise InputError("--valid-share and --test-share: leave nothing to train on; give shares such as 0.1 and 0.1")
    with lock.writing(paths.Rsna(config.data).folder):
        made = _write(config)
    one = "" if len(made) == len(variants.VARIANTS) else f" --variant {made[0]}"
    steps.tell_next(f"rsna_train.py{one}", config, "data", "engine", "address", "seed")


def _write(config: settings.RsnaPreprocess) -> list[str]:
    """Make what is missing and renew the tables; return the variants that are whole."""
    started = time.time()
    files = paths.Rsna(config.data)
    window = None if config.window == "tag" else Window.parse(config.window, "--window")
    how = preprocessing.How(config.raw, files.folder, window, tuple(variants.chosen(config.variants)))
    found = layouts.find(config.raw)
    print(found.summary)
    for note in found.notes:
        print(f"note: {note}")
    journal = Journal(files.journal, how.key())
    preprocessing.check_same(found.table, journal, how)
    _process(config, found.table, journal, how)
    table, rejected = preprocessing.tables(found.table, journal)
    rejected = pd.concat([found.rejected, rejected])
    write_csv(files.rejected, rejected)
    write_csv(files.series, preprocessing.series_table(table["id"], journal))
    table["class"] = layouts.class_of(table)
    table["split"] = split.by_patient(table, config.valid_share, config.test_share, config.seed)
    source = origin.PHANTOMS if origin.is_phantom(config.raw) else ""
    label_all(origin.banner(source))
    made = preprocessing.made(table["id"], files.folder)
    plots.preview(files, table, made)
    leaks = split.leaks(table)
    facts = {"leak_audit": leaks, "variants": {name: variants.VARIANTS[name] for name in made},
             "rejected": len(rejected), "origin": source}  # fmt: skip
    files.slices.unlink(missing_ok=True)  # written last: its presence says that all of it is whole
    write_json(files.run, record.manifest(config, started, **facts))
    write_csv(files.slices, table)
    _tell(config, table, rejected, leaks)
    return made


def _process(config: settings.RsnaPreprocess, files: pd.DataFrame, journal: Journal, how: preprocessing.How) -> None:
    """Do what is missing; as long as files are not as slices.csv says, there is none."""
    todo = preprocessing.missing(files, journal, how)
    if len(todo) < len(files):
        print(f"{len(files) - len(todo)} of {len(files)} files were done before")
    if not todo:
        return
    if more := sorted({name for task in todo for name in task.names} - {*how.names}):
        print(f"note: files that changed are also renewed under {', '.join(more)}")
    if any(task.is_new for task in todo):
        paths.Rsna(config.data).slices.unlink(missing_ok=True)
    work = functools.partial(preprocessing.process, how=how)
    if config.engine == "ray":
        notes = cluster.stream(work, todo, config, "slices read")
    else:
        notes = parallel.stream(work, todo, config.workers, "slices read", config.quiet)
    names_of = {task.id: task.names for task in todo}
    began = time.monotonic()
    try:
        for number, note in enumerate(notes, 1):
            written = () if note.reason else [how.png(variant, note.id) for variant in names_of[note.id]]
            journal.add(note, written)
            if number == MEASURED:
                _tell_duration((time.monotonic() - began) / MEASURED * (len(todo) - MEASURED))
    finally:
        journal.flush()


def _tell_duration(seconds: float) -> None:
    if seconds > WORTH_TELLING_S:
        print(f"estimated time: {seconds / 3600:.1f} h; it can be stopped and run again", flush=True)


def _tell(config: settings.RsnaPreprocess, table: pd.DataFrame, rejected: pd.DataFrame, leaks: dict[str, int]) -> None:
    files = paths.Rsna(config.data)
    if not config.quiet:
        print(split.summary(table).to_string(index=False))
    for column, meaning in (("no_contour", "are black: no region of interest, left as they are"),
                            ("repaired", "had wrapped 12-bit values, repaired")):  # fmt: skip
        if number := int(table[column].sum()):
            print(f"{number} slices {meaning}")
    print(*(f"{line}\n" for line in split.contradictions(table)), end="", sep="")
    if absent := split.lacking(table, "multiclass"):
        print(f"note: {split.lacking_line(absent)}; slices of rare classes are dealt by patient, each as its rarest")
    print(f"split by patient, leak audit: {audit.sentence(leaks)}")
    if len(rejected):
        print(f"warning: {len(rejected)} files were rejected; see {files.rejected} for the reasons")
    print(f"{len(table)} slices of {table['patient'].nunique()} patients -> {files.folder}")


if __name__ == "__main__":
    script.run(main)
