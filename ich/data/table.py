"""slices.csv and the split tables: their columns, and strict reading."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import guard, paths
from ich.base.errors import InputError
from ich.base.files import read_csv
from ich.data import case

TYPES = ("intraventricular", "intraparenchymal", "subarachnoid", "epidural", "subdural")
FLAGS = ("no_hemorrhage", *TYPES, "fracture")
COLUMNS = (
    "id", "patient", "slice", "image", "label", "lesion_pixels", *FLAGS,
    "spacing_row_mm", "spacing_column_mm", "spacing_slice_mm", "source",
)  # fmt: skip
NUMBERED = re.compile(r"^(?P<scan>.+)_(?P<slice>\d+)$")  # the name of a slice: 049_012
CRC = "crc32"  # of image and label as read; not needed, so that older tables stay readable


def read_slices(data: Path) -> pd.DataFrame:
    """Read slices.csv. Raises InputError when it is missing, lacks a column or was edited into nonsense."""
    path = data / paths.SLICES
    table = read_csv(path, COLUMNS, "split_raw_data.py")
    wrong = {
        "its id is not a file name, or appears twice": ~table["id"].map(paths.is_file_name) | table["id"].duplicated(),
        "its patient is not a file name": ~table["patient"].map(paths.is_file_name),
        "slice and lesion_pixels must be numbers": ~table[["slice", "lesion_pixels"]].map(_is_number).all(axis=1),
        "image and label must lie in the data folder": ~table[["image", "label"]].map(_is_inside).all(axis=1),
        "source must be the scan's volume (.nii, .nii.gz) in a folder as step 1 reads them": ~_has_source(table),
    }
    for what, rows in wrong.items():
        if rows.any():
            place = int(rows.to_numpy().argmax())
            raise InputError(f"{path}: row {place + 2} (id '{table['id'].iloc[place]}'): {what}; run step 1 or 2 again")
    _refuse_links(data, table)
    return table


def read_parts(data: Path, protocol: str, kind: str) -> pd.DataFrame:
    """The rows of holdout.csv or kfold.csv (`kind`), with the columns of slices.csv and `part`: split or fold.

    Raises InputError when a file is missing, or when the split lists slices that no longer exist.
    """
    column, script = paths.PART_COLUMN[kind], f"create_data_set.py --protocol {protocol}"
    path = paths.split_csv(data, protocol, kind)
    split = read_csv(path, ("id", "in_training", column), script)
    if split["in_training"].dtype != bool or split["id"].duplicated().any() or split[column].isna().any():
        raise InputError(f"{path}: in_training must be True or False, {column} filled, ids unique; run {script} again")
    table = split[["id", "in_training", column]].merge(read_slices(data).drop(columns=column, errors="ignore"), on="id")
    if len(table) != len(split):
        lost = len(split) - len(table)
        raise InputError(f"{path}: {lost} of its slices are not in slices.csv; run create_data_set.py again")
    return table.rename(columns={column: "part"}).astype({"part": str})


def _is_inside(path: object) -> bool:
    if not isinstance(path, str) or not path.isprintable():
        return False
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def scan_of(table: pd.DataFrame) -> pd.Series:
    """Which scan a slice is of: its volume, or of own PNGs the patient and the name before the slice's number.

    A PNG whose name has no number is a scan of its own: nobody knows what lies above and below.
    """
    if "source" not in table:
        return table["patient"]
    name = table["id"].astype(object).str.extract(NUMBERED)["scan"].fillna(table["id"])
    of_pngs = table["patient"].astype(object) + "/" + name
    return table["source"].astype(object).where(table["source"].notna(), of_pngs)


def scans_line(table: pd.DataFrame, text: str) -> str:
    """`text` with the number of scans, where patients have several; "" where it is as many, or unknown."""
    scans = scan_of(table).nunique()
    return text.format(scans) if scans not in (table["patient"].nunique(), len(table)) else ""


def scan_name(slice_id: str) -> str:
    """The name of the scan that a slice was cut from: `049` of `049_012`."""
    return slice_id.rpartition("_")[0]


def _has_source(table: pd.DataFrame) -> pd.Series:
    """Whether `source` is empty (own PNGs), or the volume of this scan in a folder as step 1 reads them."""
    return pd.Series([_is_volume(*pair) for pair in zip(table["source"], table["id"], strict=True)], table.index)


def _is_volume(source: object, slice_id: str) -> bool:
    if not isinstance(source, str):
        return bool(pd.isna(source))
    path = Path(source)
    return source.isprintable() and not path.is_absolute() and case.is_source(path, scan_name(slice_id))


def _refuse_links(data: Path, table: pd.DataFrame) -> None:
    """Raise InputError for a slice that a link leads out of the data folder."""
    names = table[["image", "label"]].to_numpy().ravel()
    for folder in {str(Path(name).parent) for name in names}:
        guard.check_inside(data, data / folder)
    for name in names:
        if (data / name).is_symlink():
            guard.check_inside(data, data / name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and bool(np.isfinite(value))
