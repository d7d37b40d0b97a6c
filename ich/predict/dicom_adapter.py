"""Temporary: what `dicom_series.find` gives, made of `dicom_series.read` of one folder."""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.misc import is_dicom

from ich.errors import InputError, printable
from ich.predict import dicom_series
from ich.predict.dicom_choice import Image, choose, read_header
from ich.predict.scan import Scan

TAGS = {"study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID", "series_number": "SeriesNumber",
        "series_description": "SeriesDescription"}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """A series not read yet. `facts`: study_uid, series_uid, series_number, series_description."""

    folder: Path
    files: tuple[Path, ...]
    name: str
    facts: dict[str, str]
    read: Callable[[], Scan]


def find(files: Sequence[Path], wanted: str = "") -> tuple[list[Series], list[str]]:
    """The series that `files` make up, one a folder, and notes on what was left out."""
    notes, found = [], []
    by_folder: dict[Path, list[Path]] = {}
    others: Counter[str] = Counter()
    for path in files:
        if is_dicom(path):
            by_folder.setdefault(path.parent, []).append(path)
        else:
            others[path.suffix] += 1
    if others:
        kinds = ", ".join(f"{number} {suffix or 'without suffix'}" for suffix, number in others.items())
        notes.append(f"{others.total()} files left out: neither NIfTI nor DICOM ({kinds})")
    for folder, paths in by_folder.items():
        read = functools.partial(dicom_series.read, folder, tuple(paths), wanted)
        name, images = folder.resolve().name, []
        for path in paths:
            with contextlib.suppress(InputError):  # `read` says which
                images.append(read_header(path))
        try:
            images, _ = choose(images, folder, wanted)
        except InputError as error:
            if len(images) == len(paths) and "holds no axial CT series" in str(error):
                notes.append(str(error))
                continue
        found.append(Series(folder, tuple(image.path for image in images) or tuple(paths), name, _facts(images), read))
    return found, notes


def _facts(images: list[Image]) -> dict[str, str]:
    header = images[0].header if images else {}
    return {name: printable(str(header.get(tag, "")))[:64] for name, tag in TAGS.items()}
