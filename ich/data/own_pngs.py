"""A user's own PNG pairs instead of CT-ICH: which files belong together, and whose they are."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ich.base import guard, paths, record
from ich.base.errors import InputError, refuse
from ich.data import patients
from ich.data.case import IMAGES, LABELS
from ich.data.table import COLUMNS, CRC, FLAGS
from ich.scans.dicom_choice import first_few
from ich.scans.png import Pair, check_pair, pair_crc32, read_image, read_label

OTHER_FORMATS = (
    ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".dcm", ".nii", ".gz", ".npy", ".npz", ".mha", ".nrrd",
)  # fmt: skip
LARGE_SHARE = 0.1  # of all pixels; blood in the slices of CT-ICH that have any covers 0.4 %
DARK = 64  # grey level; bone is white in every usual window
BRIGHT = 200  # grey level; air is black in every window
MOST_ON_BLACK = 0.1  # share of marked pixels that are black in their image, where there is no blood
_COPY = re.compile(r"(?:copy of )?(.+?)(?: ?\(\d+\)|[ _-]+copy(?:[ _-]?\d+)?(?: ?\(\d+\))?)?", re.IGNORECASE)
PARTS = ("train", "valid", "test")


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
    return any(_pngs(data / name) for name in (IMAGES[0], LABELS[0]))


def _pair_of(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of labels; None without both. Raises InputError where several may be meant."""
    images, labels = ([folder / name for name in names if (folder / name).is_dir()] for names in (IMAGES, LABELS))
    if not (images and labels):
        return None
    for several in (images, labels):
        if len(several) > 1:
            raise InputError(f"{several[0]}: {several[1]} is there too; keep one folder of images and one of labels")
    return images[0], labels[0]


class OwnData(NamedTuple):
    """`table`: the rows of slices.csv. `notes` are printed. `patients_known`: by name or CSV, not one per image."""

    table: pd.DataFrame
    notes: list[str]
    patients_known: bool


def read(data: Path, image_size: int, patients_csv: Path | None) -> OwnData:
    """Read a user's own PNG pairs (column `split` added for ready folders).

    Spacing and hemorrhage types are unknown and stay empty. Raises InputError for images without their label, and for
    files that are not what they should be; all of them are printed.
    """
    folders = find(data)
    if not folders:
        raise InputError(f"{data}: its folders of own PNGs are gone; bring them back or choose another --data folder")
    pairs = [(part, path, labels) for part, (images, labels) in folders.items() for path in _paired(images, labels)]
    rows, checked, problems = [], [], []
    for part, path, labels in pairs:
        try:
            checked.append(_check(data, path, labels / path.name))
            rows.append(_row(data, part, path, labels / path.name, image_size))
        except InputError as error:
            problems.append(str(error))
    if problems:
        refuse(problems)
    table = pd.DataFrame(rows)
    _refuse_classes(table, data, [pair.value for pair in checked])
    if table["id"].duplicated().any():
        twice = table.loc[table["id"].duplicated(), "id"].iloc[0]
        raise InputError(f"{data}: '{twice}.png' is there in two folders; names must be unique")
    _refuse_copies(table["id"], data)
    table, notes, known = patients.assign(table, patients_csv)
    notes += [*_resized([pair.shape for pair in checked], image_size), *_bloody(table, image_size)]
    notes += [*_softened(table, checked), *_dark(checked), *_inverted(checked), *_misplaced(checked)]
    table = table.reindex(columns=[*COLUMNS, CRC, *(["split"] if "split" in table else [])])
    return OwnData(table, notes, known)


def _refuse_classes(table: pd.DataFrame, data: Path, values: Sequence[int]) -> None:
    """Raise InputError where one mask marks blood by 1 and another by 2, say: they would be classes."""
    first = {value: path for value, path in zip(reversed(values), reversed([*table["label"]]), strict=True) if value}
    if len(first) > 1:
        (one, path), (other, another) = sorted(first.items())[:2]
        raise InputError(f"{data / another}: marks blood by {other}, {data / path} by {one}, expected one value in all "
                         "masks; merge their classes to 0 and 255")  # fmt: skip


def _refuse_copies(ids: pd.Series, data: Path) -> None:
    """Raise InputError for `a_1 (1)` or `a_1_copy` beside `a_1`: a patient of its own, it would be in two parts."""
    known = set(ids)
    copies = [name for name in known if (found := _COPY.fullmatch(name)) and found[1] != name and found[1] in known]
    if copies:
        raise InputError(f"{data}: {first_few(sorted(copies))}: named as a copy of a PNG that is there too; remove "
                         "copies, or rename what is none")  # fmt: skip


def _resized(shapes: Sequence[tuple[int, int]], size: int) -> list[str]:
    """A note for each kind of size that is not that of the network."""
    numbers = Counter(shape for shape in shapes if shape != (size, size))
    return [
        f"note: {number} of {len(shapes)} PNGs have {rows} x {columns} pixels, and are "
        f"{'enlarged' if max(rows, columns) < size else 'made smaller' if max(rows, columns) > size else 'padded'} to "
        f"{size} x {size} (--image-size)"
        for (rows, columns), number in numbers.most_common(3)
    ]  # fmt: skip


def _softened(table: pd.DataFrame, pairs: Sequence[Pair]) -> list[str]:
    soft = [path for path, pair in zip(table["label"], pairs, strict=True) if pair.is_soft]
    return [f"note: {len(soft)} of {len(pairs)} masks have soft edges, cut at the middle: {first_few(soft)}; were "
            "their values classes, they must be merged to 0 and 255 first"] * bool(soft)  # fmt: skip


def _dark(pairs: Sequence[Pair]) -> list[str]:
    """A warning where grey levels were lost on saving: 0 to 1 as whole numbers, say."""
    brightest = max(pair.brightest for pair in pairs)
    return [f"warning: the brightest pixel of all images is {brightest} of 255; were they windowed to 0..255 "
            "before they were saved?"] * (brightest < DARK)  # fmt: skip


def _inverted(pairs: Sequence[Pair]) -> list[str]:
    """A warning where air is white."""
    bright = sum(pair.edge > BRIGHT for pair in pairs)
    return [f"warning: {bright} of {len(pairs)} images are bright along their edges, where air is black; are their "
            "grey levels inverted?"] * (2 * bright > len(pairs))  # fmt: skip


def _misplaced(pairs: Sequence[Pair]) -> list[str]:
    """A warning where masks are flipped, or moved against their images, so far that they leave the head."""
    marked, black = (sum(getattr(pair, name) for pair in pairs) for name in ("marked", "on_black"))
    if black <= MOST_ON_BLACK * marked:
        return []
    return [f"warning: {black / marked:.0%} of the marked pixels are black in their image, where no blood is; are "
            "masks flipped, or of another slice?"]  # fmt: skip


def _bloody(table: pd.DataFrame, size: int) -> list[str]:
    share = table["lesion_pixels"].sum() / (len(table) * size**2)
    if share <= LARGE_SHARE:
        return []
    return [f"warning: {share:.0%} of all pixels are marked as blood; are the masks those of the bleeds?"]


def fingerprint(data: Path, table: pd.DataFrame) -> str:
    """Of the table and of all pixels, as files."""
    return record.fingerprint(table.to_csv(), *(data / name for name in table[["image", "label"]].to_numpy().ravel()))


def _paired(images: Path, labels: Path) -> list[Path]:
    found, marked = _pngs(images), _pngs(labels)
    _refuse_other_formats(images, labels)
    if not found:
        raise InputError(f"{images}: holds no PNG; expected images with labels of the same names in {labels}")
    if alone := sorted(found ^ marked):
        raise InputError(f"{alone[0]}: is in only one of {images} and {labels}, {len(alone)} in all; expected pairs")
    return [images / name for name in sorted(found)]


def _refuse_other_formats(*folders: Path) -> None:
    """Raise InputError for pictures that would be passed over."""
    for folder in folders:
        others = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in OTHER_FORMATS)
        if others:
            raise InputError(f"{others[0]}: is not a PNG ({len(others)} such files there); convert or remove them")


def _pngs(folder: Path) -> set[str]:
    """Names of the PNGs; those with a leading dot are unfinished or the file system's own."""
    return {path.name for path in folder.glob("[!.]*") if path.suffix.lower() == ".png"}


def _check(data: Path, image: Path, label: Path) -> Pair:
    if not paths.is_file_name(image.stem):
        raise InputError(f"{image}: its name has characters that can't be printed, or is too long; rename it")
    for path in (image, label):
        guard.check_inside(data, path)
    return check_pair(image, label)


def _row(data: Path, part: str, image: Path, label: Path, image_size: int) -> dict:
    marked = read_label(label, image_size)
    lesion = int(marked.sum())
    row = {
        "id": image.stem, "image": image.relative_to(data).as_posix(), "label": label.relative_to(data).as_posix(),
        "lesion_pixels": lesion, FLAGS[0]: int(lesion == 0),
        CRC: pair_crc32(read_image(image, 1, image_size), marked),
    }  # fmt: skip
    return row | {"split": part} if part else row
