"""Masks or probabilities that another method, or another reader, gives for the scans of a split."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ich.base import record
from ich.base.errors import InputError
from ich.data import case, labels
from ich.data.table import scan_name
from ich.scans import nifti, nifti_file, resample
from ich.scans.png_file import read_png
from ich.scans.window import square

ENDING = "_mask"  # of the files of tests.py: 049_mask.nii.gz
MASKS, PROBABILITIES = "masks", "probabilities"
EXPECTED = "a mask (0 and labels above) or probabilities from 0 to 1"


class Given(NamedTuple):
    """Probabilities float32 (n, size, size), in the order of the rows; masks as 0 and 1.

    `kind`: masks or probabilities; `notes` are printed; `fingerprint`: of all files that were read.
    """

    prob: np.ndarray
    kind: str
    notes: list[str]
    fingerprint: str


def find(folders: Sequence[Path]) -> dict[str, Path]:
    """The files by the scan (NIfTI: `SCAN.nii.gz`, `SCAN_mask.nii.gz`) or slice (PNG: `SCAN_SSS.png`) that they name.

    Raises InputError for a folder without any, for both kinds together, and for a name that is there twice.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"--masks {folder}: no such folder")
        pngs = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() == ".png")
        files = case.volumes(folder) or pngs
        if not files:
            raise InputError(f"--masks {folder}: holds no masks, expected SCAN.nii.gz for each scan, or SCAN_SSS.png "
                             "for each slice")  # fmt: skip
        for path in files:
            name = path.stem if path in pngs else case.stem(path).removesuffix(ENDING)
            if (other := found.setdefault(name, path)) != path:
                raise InputError(f"{path}: is a second one of {name}, beside {other}; leave one out")
    if len({_are_pngs({name: path}) for name, path in found.items()}) > 1:
        raise InputError("--masks: holds NIfTI files and PNGs; give one kind")
    return found


def check_complete(found: dict[str, Path], wanted: pd.Series, tested: pd.Series) -> list[str]:
    """Problems: slices or scans of the folds (`wanted`: ids of slices) without a file, and files of no slice or scan.

    Files of the test part (`tested`) are known, but not wanted.
    """
    is_png = _are_pngs(found)
    names, others = (list(dict.fromkeys(ids if is_png else ids.map(scan_name))) for ids in (wanted, tested))
    what = "slice" if is_png else "scan"
    missing = [f"{what} {name}: has no mask in --masks, expected one for each {what} of the folds" for name in names
               if name not in found]  # fmt: skip
    strange = sorted(set(found) - set(names) - set(others))
    return missing + [f"{found[name]}: is of no {what} of this split; remove it" for name in strange]


def read(found: dict[str, Path], table: pd.DataFrame, data: Path, size: int, orientation: str) -> Given:
    """What the files say of the slices of `table` (rows of slices.csv), on the grid of the PNGs.

    Volumes that are not on the grid of their scan are resampled to it, masks by the nearest voxel, with a note.
    Raises InputError for files that are neither masks nor probabilities, or lie beside their scan.
    """
    moved: list[Path] = []
    if _are_pngs(found):
        files = [found[name] for name in table["id"]]
        prob, kind = _of_pngs(found, table, size)
    else:
        files = [found[name] for name in dict.fromkeys(table["id"].map(scan_name))]
        prob, kind, moved = _of_volumes(found, table, data, orientation, size)
    notes = []
    if moved:
        several = f"{len(moved)} of {len(files)} volumes are not on the grid of their scan"
        notes = [f"note: {several} ({moved[0].name}), and were resampled to it"]
    prints = [(path.name, record.fingerprint(path)) for path in files]
    return Given(prob, kind, notes, record.fingerprint(repr(sorted(prints))))


def _are_pngs(found: dict[str, Path]) -> bool:
    return next(iter(found.values())).suffix.lower() == ".png"


def _of_pngs(found: dict[str, Path], table: pd.DataFrame, size: int) -> tuple[np.ndarray, str]:
    """Grey levels of one value are masks; of several, 255 times the probability."""
    grey, values = np.zeros((len(table), size, size), np.float32), set()
    for row, path in enumerate(found[name] for name in table["id"]):
        pixels = read_png(path)
        if pixels.ndim != 2 or pixels.dtype != np.uint8:
            raise InputError(f"{path}: expected 8-bit grey: 0 and one other value, or 255 times the probability")
        values |= set(np.unique(pixels).tolist()) - {0}
        grey[row] = square(pixels.astype(np.float32), size)
    if len(values) <= 1:
        return (grey >= max(values, default=1) / 2).astype(np.float32), MASKS
    if max(values) <= labels.MOST_LABELS:
        raise InputError(f"{path.parent}: its PNGs have the values {sorted(values)[:5]}, expected 0 and one other, or "
                         "255 times the probability; merge classes to 0 and 255")  # fmt: skip
    return grey / np.float32(255), PROBABILITIES


def _of_volumes(
    found: dict[str, Path], table: pd.DataFrame, data: Path, orientation: str, size: int
) -> tuple[np.ndarray, str, list[Path]]:
    """Also the files that were resampled."""
    if table["source"].isna().any():
        raise InputError(f"--masks: NIfTI, but {data} was made from own PNGs, without scans; give PNGs: SCAN_SSS.png")
    prob = np.zeros((len(table), size, size), np.float32)
    kinds: set[str] = set()
    moved: list[Path] = []
    for source, rows in table.groupby("source", sort=False):
        path = found[scan_name(rows["id"].iloc[0])]
        scan, image = nifti.read_nifti(data / str(source)), nifti.read_nifti(path)
        if len(rows) != scan.shape[2]:
            found_now = f"has {scan.shape[2]} slices, {len(rows)} were cut from it"
            raise InputError(f"{data / str(source)}: {found_now}; run step 1 again")
        voxels, kind = _checked(nifti_file.read_voxels(image, EXPECTED), str(path))
        kinds.add(kind)
        on_scan = resample.on_grid_of(voxels, image, scan)
        moved += [path] if on_scan is not voxels else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # step 1 has warned about the header
            where = nifti.grid(scan, orientation)
        for row, number in zip(rows.index, rows["slice"], strict=True):
            prob[row] = square(where.upright(on_scan[:, :, number - 1]).astype(np.float32), size)
    if PROBABILITIES in kinds:
        return prob, PROBABILITIES, moved
    return (prob >= 0.5).astype(np.float32), MASKS, moved


def _checked(voxels: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """Masks as bool, probabilities as float32; and which it is. Raises InputError for anything else."""
    if voxels.dtype.kind == "f" and (voxels % 1 != 0).any():
        if voxels.min() < 0 or voxels.max() > 1:
            raise InputError(f"{name}: values run from {voxels.min():g} to {voxels.max():g}, expected {EXPECTED}")
        return voxels.astype(np.float32), PROBABILITIES
    return labels.check(voxels, name, None) > 0, MASKS
