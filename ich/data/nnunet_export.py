"""The same scans, masks and folds for nnU-Net: a folder as it expects it in nnUNet_raw."""

import gzip
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import lock, paths
from ich.base.errors import InputError
from ich.base.files import read_json, unfinished, write_json
from ich.data import case, labels
from ich.data.case import Case
from ich.data.table import scan_name
from ich.scans import native, nifti
from ich.scans.nifti_file import open_nifti

ENDING = ".nii.gz"  # every reader of nnU-Net takes it
SPLITS = "splits_final.json"
FOLDERS = {
    False: (case.NNUNET_SCANS, case.NNUNET_MASKS),
    True: (case.NNUNET_TEST, "labelsTs"),
}  # by: is it for testing?
NAME = re.compile(r"Dataset\d{3}_\w+")


def check_folder(folder: Path) -> None:
    """Raise InputError for a name that nnU-Net would not find."""
    if not NAME.fullmatch(folder.resolve().name):
        raise InputError(f"--export-nnunet {folder}: expected a folder such as nnUNet_raw/Dataset001_ICH: Dataset, "
                         "three digits, _ and a name")  # fmt: skip


def export(folder: Path, parts: Mapping[str, str], cases: Sequence[Case], facts: Mapping[str, object]) -> str:
    """Write scans, masks (0 and 1), dataset.json and the folds, whole or not at all; return what was done in words.

    `parts`: scan -> number of its fold, or `test`; `facts` go into run.json, and say whether an export is this one.
    Raises InputError where the folder holds anything else, or where scans are not those of the split.
    """
    check_folder(folder)
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        if (run := folder / paths.RUN).exists() and read_json(run) == {**facts}:
            return f"{folder}: exported before"
        raise InputError(f"{folder}: is not empty and holds something else than these scans and folds; remove it, or "
                         "choose another --export-nnunet folder")  # fmt: skip
    _check(parts, cases)
    with lock.writing(folder.parent):
        temporary = unfinished(folder)
        try:
            _write(temporary, parts, cases)
            write_json(temporary / paths.RUN, facts)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    tested = sum(part == "test" for part in parts.values())
    folds = len(set(parts.values()) - {"test"})
    return (f"-> {folder}: {len(parts) - tested} scans to train on in {folds} folds, {tested} test scans; copy "
            f"{SPLITS} to nnUNet_preprocessed/{folder.name} once that folder is there (docs/nnunet.md)")  # fmt: skip


def parts_of(table: pd.DataFrame) -> dict[str, str]:
    """Scan -> its part, from rows of a split with `id` and `part`."""
    return dict(zip(table["id"].map(scan_name), table["part"], strict=True))


def _check(parts: Mapping[str, str], cases: Sequence[Case]) -> None:
    there = {each.scan for each in cases}
    if lost := sorted(set(parts) ^ there):
        where = "the split, not in --raw" if lost[0] in parts else "--raw, not in the split"
        raise InputError(f"scan {lost[0]}: is in {where} ({len(lost)} such scans); give the --raw that was cut, or cut "
                         "and split it again")  # fmt: skip


def _write(folder: Path, parts: Mapping[str, str], cases: Sequence[Case]) -> None:
    for each in cases:
        scans, masks = (folder / name for name in FOLDERS[parts[each.scan] == "test"])
        for place in (scans, masks):
            place.mkdir(parents=True, exist_ok=True)
        _write_scan(scans / f"{each.scan}_0000{ENDING}", each.ct)
        _write_mask(masks / f"{each.scan}{ENDING}", each)
    training = sum(part != "test" for part in parts.values())
    write_json(folder / SPLITS, splits(parts))
    write_json(folder / labels.DATASET, {
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "hemorrhage": 1}, "numTraining": training,
        "file_ending": ENDING,
    })  # fmt: skip
    marked = [path for at in (cases[0].ct.parents[:3]) if (path := at / paths.PHANTOM_MARKER).exists()]
    if marked:  # they stay phantoms where they are read again
        shutil.copyfile(marked[0], folder / paths.PHANTOM_MARKER)


def splits(parts: Mapping[str, str]) -> list[dict[str, list[str]]]:
    """nnU-Net's splits_final.json: for each fold, in order, the scans to train and to validate on."""
    inside = {scan: part for scan, part in sorted(parts.items()) if part != "test"}
    return [
        {"train": [scan for scan, part in inside.items() if part != fold],
         "val": [scan for scan, part in inside.items() if part == fold]}
        for fold in sorted(set(inside.values()), key=int)
    ]  # fmt: skip


def _write_scan(path: Path, ct: Path) -> None:
    """The file itself (a hard link, or a copy) where nnU-Net can read it, otherwise compressed, or with three axes."""
    if len(open_nifti(ct).shape) > 3:
        scan = nifti.read_nifti(ct)
        native.save_hu(path, nifti.read_hu(scan), scan)
    elif ct.name.lower().endswith(ENDING):
        try:
            os.link(ct.resolve(), path)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(ct, path)
    else:
        with ct.open("rb") as plain, path.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            shutil.copyfileobj(plain, packed)


def _write_mask(path: Path, each: Case) -> None:
    ct, mask = nifti.read_nifti(each.ct), nifti.read_nifti(each.mask)
    nifti.check_mask(ct, mask)
    blood = np.abs(nifti.read_voxels(mask, nifti.MASK_VALUES)) > nifti.ROUNDING
    native.save_like(path, blood.astype(np.uint8), ct)
