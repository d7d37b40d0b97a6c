"""Which DICOM files are a scan: whole axial CT series, without scouts, reformats and other modalities."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.misc import is_dicom

from ich.base.errors import InputError
from ich.scans import dicom_file
from ich.scans.dicom_image import Image, LeftOut, read_image

LEAST_IMAGES = 3  # fewer are no scan, but scouts, screen shots or dose sheets
ALL = "all"  # asks for each series of a folder
NAMED = 3  # files or folders of a long list
ADVICE = f"choose with --series NUMBER, description, UID or {ALL}"


@dataclasses.dataclass(frozen=True)
class Survey:
    """All files that were found, by what they are."""

    images: list[Image]
    left_out: list[LeftOut]
    damaged: dict[Path, InputError]  # DICOM files that cannot be read
    foreign: list[Path]  # no DICOM files


@dataclasses.dataclass(frozen=True)
class Group:
    """The axial CT images of one series, in the order of their files, over all folders."""

    images: tuple[Image, ...]

    @functools.cached_property
    def folders(self) -> list[Path]:
        """Where its files are; it belongs to the first."""
        return list(dict.fromkeys(image.path.parent for image in self.images))

    @property
    def names(self) -> tuple[str, str, str]:
        """What `--series` may name: number, description, UID; each may be empty."""
        first = self.images[0]
        return first.number, first.description, first.series

    @property
    def label(self) -> str:
        """`2 'Head 5mm'`, as far as the header has it."""
        number, description, _ = self.names
        return " ".join(filter(None, (number, description and f"'{description}'"))) or "without a number"

    @functools.cached_property
    def why_not(self) -> str:
        """Why it is no whole scan; empty when it is one."""
        number, normal = images_text(len(self.images)), self.images[0].normal
        if len(self.images) < LEAST_IMAGES:
            return f"has only {number}"
        heights = {round(float(image.position @ normal), 2) for image in self.images}
        few = len(heights) < LEAST_IMAGES
        return f"its {number} lie at {len(heights)} place{'s' * (len(heights) > 1)}" if few else ""


def survey(files: Sequence[Path]) -> Survey:
    """Read the header of each file."""
    found = Survey([], [], {}, [])
    for path in dict.fromkeys(files):  # a folder may be named twice
        if not dicom_file.may_be_dicom(path):
            found.foreign.append(path)
            continue
        try:
            image = read_image(path)
            (found.images if isinstance(image, Image) else found.left_out).append(image)
        except InputError as error:
            if is_dicom(path):
                found.damaged[path] = error
            else:
                found.foreign.append(path)
    return found


def gathered(images: Iterable[Image]) -> list[Group]:
    """Images by SeriesInstanceUID over all folders; those without one by folder, number and description."""
    series = grouped(images, lambda image: image.series or (image.path.parent, image.number, image.description))
    return [Group(tuple(group)) for group in series.values()]


def grouped(items: Iterable, key: Callable) -> dict[Any, list]:
    """Items by their key, in their order."""
    groups: dict[Any, list] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def choose(folder: Path, whole: Sequence[Group], wanted: str, left_out: Sequence[str]) -> list[Group]:
    """The series of a folder that are predicted: the only one, those that `wanted` names, or all.

    `left_out` are notes on what else is there. Raises InputError, with a list of what is there, unless it is clear
    which one is meant.
    """
    if wanted == ALL:
        return list(whole)
    matching = [group for group in whole if not wanted or wanted in group.names]
    if len(matching) == 1:
        return matching
    if not matching:
        raise InputError(
            f"{folder}: no axial CT series has the number, description or UID '{wanted}'; it holds "
            f"{'; '.join([_listed(whole), *left_out, ADVICE])}"
        )
    match = f" matching --series '{wanted}'" if wanted else ""
    raise InputError(f"{folder}: holds {len(matching)} axial CT series{match} ({_listed(matching)}); {ADVICE}")


def _listed(groups: Sequence[Group]) -> str:
    """Number, description, images and thickness of each series, and the UID where labels are equal."""
    times = collections.Counter(group.label for group in groups)
    return ", ".join(
        f"{'a series ' * (not any(group.names[:2]))}{group.label}"
        f"{f' (UID {group.names[2]})' if times[group.label] > 1 else ''}: {images_text(len(group.images))}"
        f"{_thickness(group)}"
        for group in groups
    )


def _thickness(group: Group) -> str:
    known = [image.thickness for image in group.images if np.isfinite(image.thickness)]
    if not known:
        return ""
    thin, thick = min(known), max(known)
    return f" of {thin:g} mm" if thick - thin < 0.01 * thick else f" of {thin:g} to {thick:g} mm"


def reasons(left_out: Iterable[LeftOut], total: int) -> list[str]:
    """`left out 2 of 30 files: scout (LOCALIZER)`, a line a reason."""
    counts = collections.Counter(file.reason for file in left_out)
    files = "1 file" if total == 1 else f"{total} files"
    return [f"left out {f'{count} of ' * (count < total)}{files}: {reason}" for reason, count in counts.items()]


def images_text(number: int) -> str:
    """`1 image`, `2 images`."""
    return f"{number} image{'' if number == 1 else 's'}"


def first_few(items: Sequence[object]) -> str:
    """The first few of many."""
    return ", ".join(map(str, items[:NAMED])) + f" and {len(items) - NAMED} more" * (len(items) > NAMED)
