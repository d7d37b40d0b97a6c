"""A user's own PNG pairs instead of CT-ICH: which files belong together, and whose they are."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import guard, paths, record
from ich.base.errors import InputError, refuse
from ich.base.files import read_csv
from ich.data.table import COLUMNS, CRC, FLAGS
from ich.scans.png import check_pair, pair_crc32, read_image, read_label

FOLDER_NAMES = (("image", "label"), ("img", "mask"))
PARTS = ("train", "valid", "test")
_NAME = re.compile(r"(?P<patient>.+)_(?P<slice>\d+)")


def find(data: Path) -> dict[str, tuple[Path, Path]]:
    """The (images, labels) folders under `data`: {"": pair}, or {"train": pair, "valid": ..., "test": ...}; or {}."""
    whole = _pair_of(data)
    if whole:
        return {"": whole}
    found = {part: pair for part in PARTS if (pair := _pair_of(data / part))}
    if found and set(found) != set(PARTS):
        missing = ", ".join(sorted(set(PARTS) - set(found)))
        raise InputError(f"{data}: folders {', '.join(found)} found, {missing} missing (each with image/ and label/)")
    return found


def holds_png(data: Path) -> bool:
    """Whether a PNG lies where step 1 writes its own."""
    return any(_pngs(data / name) for name in FOLDER_NAMES[0])


def _pair_of(folder: Path) -> tuple[Path, Path] | None:
    for images, labels in FOLDER_NAMES:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return folder / images, folder / labels
    return None


def read(data: Path, image_size: int, patients_csv: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows of slices.csv for own PNGs (column `split` added for ready folders), and warnings.

    Spacing and hemorrhage types are unknown and stay empty. Raises InputError for images without their label.
    """
    rows, problems, folders = [], [], find(data)
    if not folders:
        raise InputError(f"{data}: its folders of own PNGs are gone; bring them back or choose another --data folder")
    pairs = [(part, path, labels) for part, (images, labels) in folders.items() for path in _paired(images, labels)]
    for part, path, labels in pairs:
        try:
            rows.append(_row(data, part, path, labels / path.name, image_size))
        except InputError as error:
            problems.append(str(error))
    if problems:
        refuse(problems)
    table = pd.DataFrame(rows)
    if table["id"].duplicated().any():
        twice = table.loc[table["id"].duplicated(), "id"].iloc[0]
        raise InputError(f"{data}: '{twice}.png' is there in two folders; names must be unique")
    table, warnings = _with_patients(table, patients_csv)
    return table.reindex(columns=[*COLUMNS, CRC, *(["split"] if "split" in table else [])]), warnings


def fingerprint(data: Path, table: pd.DataFrame) -> str:
    """Of the table and of all pixels, as files."""
    return record.fingerprint(table.to_csv(), *(data / name for name in table[["image", "label"]].to_numpy().ravel()))


def _paired(images: Path, labels: Path) -> list[Path]:
    found, marked = _pngs(images), _pngs(labels)
    if not found:
        raise InputError(f"{images}: holds no PNG; expected images with labels of the same names in {labels}")
    if alone := sorted(found ^ marked):
        raise InputError(f"{alone[0]}: is in only one of {images} and {labels}, {len(alone)} in all; expected pairs")
    return [images / name for name in sorted(found)]


def _pngs(folder: Path) -> set[str]:
    """Names of the PNGs; those with a leading dot are unfinished or the file system's own."""
    return {path.name for path in folder.glob("[!.]*") if path.suffix.lower() == ".png"}


def _row(data: Path, part: str, image: Path, label: Path, image_size: int) -> dict:
    if not paths.is_file_name(image.stem):
        raise InputError(f"{image}: its name has characters that can't be printed, or is too long; rename it")
    for path in (image, label):
        guard.check_inside(data, path)
    check_pair(image, label)
    marked = read_label(label, image_size)
    lesion = int(marked.sum())
    row = {
        "id": image.stem, "image": image.relative_to(data).as_posix(), "label": label.relative_to(data).as_posix(),
        "lesion_pixels": lesion, FLAGS[0]: int(lesion == 0),
        CRC: pair_crc32(read_image(image, 1, image_size), marked),
    }  # fmt: skip
    return row | {"split": part} if part else row


def _with_patients(table: pd.DataFrame, patients_csv: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """Add `patient` and `slice`: from a CSV, or from names such as 049_012; else each image is its own patient."""
    named = [_NAME.fullmatch(name) for name in table["id"]]
    number = [int(match["slice"]) if match else place for place, match in enumerate(named, 1)]
    if patients_csv is not None:
        patient_of = _patient_of(patients_csv)
        if len(unknown := table.loc[~table["id"].isin(patient_of.index), "id"]):
            raise InputError(f"{patients_csv}: no row for {unknown.iloc[0]} ({len(unknown)} ids are missing)")
        return table.assign(patient=table["id"].map(patient_of), slice=number), []
    if all(named):
        return table.assign(patient=[match["patient"] for match in named if match], slice=number), []
    return table.assign(patient=table["id"], slice=np.ones(len(table), int)), [
        "patients are unknown: names are not PATIENT_SLICE.png and no --patients-csv was given. Each image counts as a "
        "patient of its own, so slices of one person may be in two parts and scores may be too high"
    ]


def _patient_of(path: Path) -> pd.Series:
    """Patients by id. Raises InputError for an id that appears twice and a patient that is not a file name."""
    if not path.is_file():
        raise InputError(f"--patients-csv {path}: not found; expected a CSV with the columns id,patient")
    rows = read_csv(path, ("id", "patient"), "create_data_set.py")
    nameless = ~rows["patient"].map(paths.is_file_name)
    for wrong, what in ((rows["id"].duplicated(), "appears twice"), (nameless, "has no patient, or one with '/'")):
        if wrong.any():
            raise InputError(f"{path}: id '{rows.loc[wrong, 'id'].iloc[0]}' {what}; correct the CSV")
    return rows.set_index("id")["patient"]
