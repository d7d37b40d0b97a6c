"""From one scan's volumes to PNG pairs and rows of slices.csv."""

import functools
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from ich.base.errors import InputError
from ich.base.files import write_bytes
from ich.base.record import fingerprint
from ich.data import ct_ich, labels
from ich.data.case import Case
from ich.data.table import CRC
from ich.scans import nifti
from ich.scans.png import pair_crc32, png_bytes, write_png
from ich.scans.window import Window, covers_too_much, square, square_mask

TISSUE_HU = -200  # skin is above, air and hair below
MOST_MISPLACED = 0.2  # share of blood in air or bone; edges of a lesion at the skull have some


@dataclass(frozen=True)
class Slicing:
    """How volumes become PNGs."""

    data: Path
    image_size: int
    windows: tuple[Window, ...]
    orientation: str = ""
    write: bool = True


@dataclass
class Outcome:
    """The result of slicing one scan: rows of slices.csv, a fingerprint of its pixels, and what was wrong."""

    rows: list[dict] = field(default_factory=list)
    pixels: str = ""
    problem: str = ""
    warnings: list[str] = field(default_factory=list)


def slice_scan(case: Case, how: Slicing) -> Outcome:
    """Read a CT and its mask and write one PNG pair a slice. A problem is returned, not raised."""
    outcome = Outcome()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            _slice(case, how, outcome)
        except InputError as error:
            outcome.problem = f"patient {case.patient}: {error}"
    texts = (str(warning.message) for warning in caught if warning.category is UserWarning)
    outcome.warnings = [text.removeprefix(f"{case.ct}: ") for text in texts]
    return outcome


def _slice(case: Case, how: Slicing, outcome: Outcome) -> None:
    for path, expected in ((case.ct, case.ct_sha256), (case.mask, case.mask_sha256)):
        ct_ich.check_sum(path, expected)
    ct, mask = nifti.read_nifti(case.ct), nifti.read_nifti(case.mask)
    nifti.check_mask(ct, mask)
    where = nifti.grid(ct, how.orientation)
    hu = nifti.read_hu(ct)
    lesion, table = _marked(case, mask)
    _refuse_too_much(hu, lesion, case.mask)
    _warn_of_misplaced(hu, lesion, case.mask)
    fixed = _fixed_columns(case, how, where)
    prints = []
    for index, flags in enumerate(table.to_dict("records")):
        image, label = slice_pixels(hu[:, :, index], lesion[:, :, index], where, how)
        row = {**fixed, **flags, "lesion_pixels": int(label.sum()), "patient": case.patient}
        row |= _names(case.scan, flags["slice"])
        row[CRC] = pair_crc32(image[..., : len(how.windows)] if image.ndim == 3 else image, label)
        if how.write:
            marked = png_bytes(label.astype(np.uint8) * 255) if label.any() else _empty_label(how.image_size)
            # Not forced to disk one by one: slices.csv is written after all of them are there.
            prints.append(write_png(how.data / row["image"], image, sync=False))
            prints.append(write_bytes(how.data / row["label"], marked, sync=False))
        outcome.rows.append(row)
    outcome.pixels = fingerprint(*prints)


def _marked(case: Case, mask: nib.Nifti1Image) -> tuple[np.ndarray, pd.DataFrame]:
    """Where there is blood, bool, and the flags of each slice: from the data set's table, or from the mask's labels."""
    if case.flags is not None:
        return nifti.check_binary(nifti.read_voxels(mask, nifti.MASK_VALUES), str(case.mask)), case.flags
    found = labels.check(nifti.read_voxels(mask, labels.EXPECTED), str(case.mask), case.types)
    return found > 0, labels.flags(found, case.types)


def _refuse_too_much(hu: np.ndarray, lesion: np.ndarray, name: Path) -> None:
    """Raise InputError for a mask that cannot be a bleed: an inverted one, or one of the brain or the head."""
    for index in np.flatnonzero(lesion.any(axis=(0, 1))):
        if covers_too_much(lesion[:, :, index], hu[:, :, index] > TISSUE_HU):
            share = lesion[:, :, index].mean()
            raise InputError(f"{name}: mask covers {share:.0%} of slice {index + 1}, expected blood and 0 elsewhere; "
                             "is it inverted, or of another structure?")  # fmt: skip


def _warn_of_misplaced(hu: np.ndarray, lesion: np.ndarray, name: Path) -> None:
    """Warn of a mask that lies in air or bone, where no blood is: it may be flipped, or moved against its CT."""
    marked = hu[lesion]
    share = np.mean((marked < TISSUE_HU) | (marked > nifti.DENSE_HU)) if marked.size else 0.0
    if share > MOST_MISPLACED:
        warnings.warn(f"{name}: {share:.0%} of its blood lies in air or bone; is the mask flipped, or moved against "
                      "its CT?", stacklevel=2)  # fmt: skip


@functools.cache
def _empty_label(size: int) -> bytes:
    """The PNG of nine labels in ten, encoded once."""
    return png_bytes(np.zeros((size, size), np.uint8))


def slice_pixels(hu: np.ndarray, lesion: np.ndarray, where: nifti.Grid, how: Slicing) -> tuple[np.ndarray, np.ndarray]:
    """One slice of the file -> image uint8 (size, size[, 3]) and label bool (size, size), upright."""
    # Windowed before it is turned: a look-up runs along the file's memory, and grey levels are half the bytes.
    channels = [square(where.upright(window(hu.T).T), how.image_size) for window in how.windows]
    if len(channels) == 2:  # PNG knows one or three channels
        channels.append(np.zeros_like(channels[0]))
    image = channels[0] if len(channels) == 1 else np.dstack(channels)
    if not lesion.any():  # most slices: nothing to average
        return image, np.zeros((how.image_size, how.image_size), bool)
    return image, square_mask(where.upright(lesion), how.image_size)


def _names(scan: str, number: int) -> dict[str, str]:
    name = f"{scan}_{number:03d}"
    return {"id": name, "image": f"image/{name}.png", "label": f"label/{name}.png"}


def _fixed_columns(case: Case, how: Slicing, where: nifti.Grid) -> dict:
    """The columns that are the same for all slices of a scan; spacing is that of the PNG's pixels."""
    between, row, column = where.spacing_mm
    scale = max(where.shape[:2]) / how.image_size
    return {
        "source": Path(os.path.relpath(case.ct, how.data)).as_posix(),
        "spacing_row_mm": row * scale, "spacing_column_mm": column * scale, "spacing_slice_mm": between,
    }  # fmt: skip
