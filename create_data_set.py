"""Step 2. Decide who is trained on, validated on and tested on.

    python create_data_set.py                      (cuts the volumes first when data/slices.csv is missing)
    python create_data_set.py --protocol slice     (the published, leaking split by slice)
    python create_data_set.py --export-nnunet nnUNet_raw/Dataset001_ICH     (the same scans and folds: docs/nnunet.md)

reads   <data>/slices.csv, or own PNGs: <data>/image + label, img + mask, or train/, valid/, test/ with such folders
writes  <data>/<protocol>/holdout.csv  kfold.csv  summary.csv  preview.png  run.json
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
import split_raw_data
from ich.base import flags, lock, paths, record, script, steps
from ich.base.errors import InputError, refuse
from ich.base.files import read_json, write_csv, write_json
from ich.data import audit, deal, nnunet_export, origin, own_pngs, raw
from ich.data.table import TYPES, read_parts, read_slices
from ich.draw import pictures, plots

ROW = ["id", "patient", "slice", "lesion_pixels", *TYPES, "in_training"]


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.CreateDataSet, __doc__, argv)
    if config.check:
        _check(config)
        return
    _check_export(config)
    with lock.writing(config.data):
        _write(config)
        if config.export_nnunet:
            print(_export(config, config.export_nnunet))
    steps.tell_next("main_kfold.py", config, "data", "protocol", "seed")


def _write(config: settings.CreateDataSet) -> None:
    started = time.time()
    slices = _slices(config)
    table = _split(config, slices)
    folder = config.data / config.protocol
    summary = audit.summary(table, slices)
    made = read_json(config.data / paths.RUN)
    (folder / paths.RUN).unlink(missing_ok=True)  # written last: until then the files may be of two splits
    for kind, column in paths.PART_COLUMN.items():
        write_csv(paths.split_csv(config.data, config.protocol, kind), table[[*ROW, column]])
    write_csv(folder / "summary.csv", summary)
    plots.label_all(origin.banner(origin.read(config.data)))
    pictures.preview(folder / "preview.png", config.data, slices, table)
    leaks = audit.leaks(table)
    whose = audit.whose(made)
    facts = {
        "leak_audit": leaks, **whose,
        "data_fingerprint": made["data_fingerprint"],
        "split_fingerprints": {kind: record.fingerprint(paths.split_csv(config.data, config.protocol, kind))
                               for kind in paths.PART_COLUMN},
    }  # fmt: skip
    write_json(folder / paths.RUN, record.manifest(config, started, **facts))
    print(*(f"{line}\n" for line in audit.copies(slices)), end="", sep="")
    _tell(config, summary, audit.sentence(leaks, whose))


def _check_export(config: settings.CreateDataSet) -> None:
    """Raise InputError for an export that can't be, before any work."""
    if not config.export_nnunet:
        return
    nnunet_export.check_folder(config.export_nnunet)
    if config.protocol != "patient":
        raise InputError("--export-nnunet: nnU-Net takes whole scans, a split by slice has none: --protocol patient")
    if _is_own(config):
        raise InputError(f"--export-nnunet: {config.data} holds own PNGs, nnU-Net needs NIfTI; start from volumes")


def _export(config: settings.CreateDataSet, folder: Path) -> str:
    """Write the split for nnU-Net; see `nnunet_export.export`."""
    found = raw.survey(config.raw, None)
    if found.problems:
        refuse(found.problems)
    split = read_json(config.data / config.protocol / paths.RUN, ("data_fingerprint", "split_fingerprints"))
    facts = {name: split[name] for name in ("data_fingerprint", "split_fingerprints")}
    parts = nnunet_export.parts_of(read_parts(config.data, config.protocol, "kfold"))
    return nnunet_export.export(folder, parts, found.cases, facts)


def _slices(config: settings.CreateDataSet) -> pd.DataFrame:
    """The table of slices: as it is, or made now from own PNGs or from the volumes."""
    if _is_own(config):
        return _import_own(config)
    if not (config.data / paths.SLICES).exists():
        split_raw_data.split(config)
    elif (size := read_json(config.data / paths.RUN).get("image_size")) != config.image_size:
        print(f"note: the slices here have {size} px; split_raw_data.py would cut them to {config.image_size}")
    return read_slices(config.data)


def _is_own(config: settings.CreateDataSet) -> bool:
    run = config.data / paths.RUN
    return bool(read_json(run).get("own_data") if run.exists() else own_pngs.find(config.data))


def _check(config: settings.CreateDataSet) -> None:
    """--check: read own PNGs or the volumes, write nothing."""
    if not _is_own(config):
        split_raw_data.split(config)
        return
    own = own_pngs.read(config.data, config.image_size, config.patients_csv)
    print(*own.notes, f"{len(own.table)} own PNG pairs read and found good", sep="\n")


def _import_own(config: settings.CreateDataSet) -> pd.DataFrame:
    started = time.time()
    table, notes, patients_known = own_pngs.read(config.data, config.image_size, config.patients_csv)
    print(*(f"{note}\n" for note in notes), end="", sep="")
    facts = {
        "own_data": True, "image_size": config.image_size, "channels": 1, "windows": [],  # unknown
        "origin": origin.OWN_PNGS, "patients_known": patients_known,
        "data_fingerprint": own_pngs.fingerprint(config.data, table),
    }  # fmt: skip
    (config.data / paths.SLICES).unlink(missing_ok=True)  # written last: its presence says that all is whole
    write_json(config.data / paths.RUN, record.manifest(config, started, **facts))
    write_csv(config.data / paths.SLICES, table)
    print(f"{len(table)} own PNG pairs of {table['patient'].nunique()} patients -> {config.data / paths.SLICES}")
    return table


def _split(config: settings.CreateDataSet, slices: pd.DataFrame) -> pd.DataFrame:
    slices = deal.balanced(slices, config.negatives_per_positive, config.seed)
    if "split" in slices:
        return deal.from_folders(slices, config.folds, config.seed, config.protocol)
    by = {"patient": deal.by_patient, "slice": deal.by_slice}[config.protocol]
    return by(slices, config.folds, config.test_share, config.seed)


def _tell(config: settings.CreateDataSet, summary: pd.DataFrame, leak_audit: str) -> None:
    shown = summary[summary["kind"] != audit.DISAGREEMENT]
    if not config.quiet:
        columns = ["kind", "part", "patients", "patients_with_blood", "slices", "lesion_slices", "training_slices"]
        print(shown[columns].to_string(index=False))
    print(f"protocol {config.protocol}, leak audit: {leak_audit}")
    if disagree := len(summary) - len(shown):
        print(f"warning: mask and table disagree about blood in {disagree} slices; they are listed in summary.csv")
    print(f"-> {config.data / config.protocol}: holdout.csv kfold.csv summary.csv preview.png")


if __name__ == "__main__":
    script.run(main)
