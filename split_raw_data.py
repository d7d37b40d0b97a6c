"""Step 1. Cut the volumes of a data set into windowed 8-bit PNG slices.

    python split_raw_data.py --raw ct-ich

reads   CT-ICH: <raw>/ct_scans/NNN.nii[.gz]  <raw>/masks/NNN.nii[.gz]  <raw>/hemorrhage_diagnosis_raw_ct.csv
        nnU-Net, Decathlon: <raw>/imagesTr/CASE[_0000].nii[.gz]  <raw>/labelsTr/CASE.nii[.gz]  <raw>/dataset.json
        other pairs: <raw>/images/CASE.nii[.gz]  <raw>/masks/CASE.nii[.gz]
writes  <data>/image/NNN_SSS.png  <data>/label/NNN_SSS.png  <data>/slices.csv  <data>/run.json
--check reads everything, writes nothing and prints every problem.
"""

import dataclasses
import functools
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
from ich.base import flags, guard, lock, parallel, paths, record, script, steps
from ich.base.errors import InputError, refuse
from ich.base.files import read_csv, read_json, write_csv, write_json
from ich.data import origin, own_pngs, raw
from ich.data.case import Case
from ich.data.slicing import Outcome, Slicing, slice_scan
from ich.data.table import COLUMNS, CRC
from ich.scans.window import Window

SHARED = ("raw", "data", "image_size", "windows", "orientation", "patients_csv", "seed")  # step 2 reads them too


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.SplitRawData, __doc__, argv)
    if config.check:
        split(config)
        steps.tell_next("split_raw_data.py", config, *SHARED)
        return
    with lock.writing(config.data):
        split(config)
    steps.tell_next("create_data_set.py", config, *SHARED)


def split(config: settings.SplitRawData) -> None:
    """Write the PNG pairs of all scans, then slices.csv, whose presence says that all of it is whole."""
    started = time.time()
    how = _slicing(config)
    found = raw.survey(config.raw, config.patients_csv)
    if not config.quiet:
        print(found.layout, *found.notes, sep="\n")
    source = _source_fingerprint(found, config)
    if not config.check and _is_done(config, source):
        print(f"{config.data / paths.SLICES} is up to date; nothing to do")
        return
    if found.problems:
        how = dataclasses.replace(how, write=False)  # the rest is read too, so that all problems are shown at once
    elif not config.check:
        _begin(config)
    unit = _unit(found.cases)
    outcomes = parallel.spread(
        functools.partial(slice_scan, how=how), found.cases, config.workers, f"{unit} read", config.quiet
    )
    problems = found.problems + [outcome.problem for outcome in outcomes if outcome.problem]
    for warning, number in Counter(text for outcome in outcomes for text in outcome.warnings).items():
        print(f"warning: {warning} ({number} of {len(found.cases)} {unit})")
    if problems:
        refuse(problems)
    table = pd.DataFrame([row for outcome in outcomes for row in outcome.rows], columns=[*COLUMNS, CRC])
    if not config.check:
        _finish(config, table, outcomes, source, started, found.patients_assumed)
    print(_told(config, table, time.time() - started))


def _unit(cases: list[Case]) -> str:
    return "patients" if all(each.scan == each.patient for each in cases) else "scans"


def _slicing(config: settings.SplitRawData) -> Slicing:
    windows = tuple(Window.parse(text) for text in config.windows)
    if len(windows) > 3:
        raise InputError(f"--windows: {len(windows)} windows given, expected one to three")
    if config.image_size % 16:
        raise InputError(f"--image-size {config.image_size}: expected a multiple of 16 (networks halve it four times)")
    return Slicing(config.data, config.image_size, windows, config.orientation, write=not config.check)


def _source_fingerprint(found: raw.Survey, config: settings.SplitRawData) -> str:
    """What the PNGs depend on: settings, tables, and name, size and time of each volume."""
    volumes = [path for case in found.cases for path in (case.ct, case.mask)]
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in volumes]
    how = (config.image_size, config.windows, config.orientation, os.path.relpath(config.raw, config.data))
    return record.fingerprint(repr((files, how)), *(path for path in found.tables if path.is_file()))


def _is_done(config: settings.SplitRawData, source: str) -> bool:
    run, table = config.data / paths.RUN, config.data / paths.SLICES
    if not (table.exists() and run.exists()) or read_json(run).get("source") != source:
        return False
    pairs = read_csv(table, ("image", "label"), "split_raw_data.py")[["image", "label"]]
    return all((config.data / name).exists() for name in pairs.to_numpy().ravel())


def _begin(config: settings.SplitRawData) -> None:
    """Until the new slices are whole, there are none. A user's own PNGs are never written over."""
    run = config.data / paths.RUN
    if read_json(run).get("own_data") if run.exists() else own_pngs.holds_png(config.data):
        raise InputError(f"{config.data}: holds PNGs not made by this script; choose another --data folder")
    for name in (own_pngs.IMAGES[0], own_pngs.LABELS[0]):
        guard.check_inside(config.data, config.data / name)
    write_json(run, {"unfinished": True})
    (config.data / paths.SLICES).unlink(missing_ok=True)


def _finish(
    config: settings.SplitRawData, table: pd.DataFrame, outcomes: list[Outcome], source: str, started: float,
    patients_assumed: bool,
) -> None:  # fmt: skip
    os.sync()  # the PNGs first, so that slices.csv never lists files that a power cut destroyed
    facts = {
        "image_size": config.image_size, "channels": len(config.windows), "windows": config.windows, "source": source,
        "origin": origin.of_volumes(config.raw, table),
        **({"patients_assumed": True} if patients_assumed else {}),
        "data_fingerprint": record.fingerprint(table.drop(columns="source").to_csv(), *(o.pixels for o in outcomes)),
    }  # fmt: skip
    write_json(config.data / paths.RUN, record.manifest(config, started, **facts))
    write_csv(config.data / paths.SLICES, table)


def _told(config: settings.SplitRawData, table: pd.DataFrame, seconds: float) -> str:
    lesions = int((table["lesion_pixels"] > 0).sum())
    patients = table.groupby("patient")["lesion_pixels"].sum()
    text = f"{len(patients)} patients, {(patients > 0).sum()} with blood; {len(table)} slices, {lesions} with blood"
    if (scans := table["source"].nunique()) != len(patients):
        text = f"{scans} scans of {text}"
    done = "read and found good" if config.check else f"-> {config.data / paths.SLICES}, {config.image_size} px"
    return f"{text}\n{done}, {seconds:.1f} s"


if __name__ == "__main__":
    script.run(main)
