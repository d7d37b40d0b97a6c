"""DICOM files as scans: the axial CT series that they make up, and what is left out."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from ich.base.errors import InputError
from ich.scans import dicom_scan
from ich.scans.dicom_choice import Group, Survey, choose, first_few, gathered, reasons, survey
from ich.scans.dicom_image import Image, LeftOut
from ich.scans.scan import Scan

FACTS = ("study_uid", "series_uid", "series_number", "series_description")


@dataclass(frozen=True)
class Series:
    """One axial CT series that can be read as one scan, or a folder that is refused: `read` says why.

    `folder`: the first that holds files of it; `files`: its images over all folders. `name`: that of the folder, and
    the series' number where several of one folder are predicted. `facts`: FACTS, printable, may be empty.
    """

    folder: Path
    files: tuple[Path, ...]
    name: str
    facts: dict[str, str]
    read: Callable[[], Scan]  # raises InputError


def find(files: Sequence[Path], wanted: str = "") -> tuple[list[Series], list[str]]:
    """All series that `files` make up, over all their folders, and notes on files that belong to none.

    `wanted` is the number, description or UID of the series to take where a folder holds several, or `all`.
    """
    found = survey(files)
    groups = gathered(found.images)
    whole = _by_home(group for group in groups if not group.why_not)
    covered = {folder for some in whole.values() for group in some for folder in group.folders}
    uids = {group.names[2] for some in whole.values() for group in some} - {""}
    left_out = _left_out(found, groups)
    series, notes = [], []
    for folder in dict.fromkeys(path.parent for path in files):
        here = whole.get(folder, [])
        if here and wanted in uids and not any(wanted in group.names for group in here):
            notes.append(f"{folder}: left out {_labels(here)}: not the series that --series names")
        elif here or (folder not in covered and any(path.parent == folder for path in found.damaged)):
            series += _of_folder(folder, here, found, wanted, left_out)
        elif folder in left_out and folder not in covered:
            notes.append(f"{folder}: {'; '.join(left_out[folder])}")
    return series, notes + _foreign(found.foreign)


def _by_home(groups: Iterable[Group]) -> dict[Path, list[Group]]:
    """Series by the first folder that holds files of them."""
    homes: dict[Path, list[Group]] = {}
    for group in groups:
        homes.setdefault(group.folders[0], []).append(group)
    return homes


def _left_out(found: Survey, groups: Sequence[Group]) -> dict[Path, list[str]]:
    """For each folder what is no slice of a whole series, by reason."""
    others: dict[Path, list[LeftOut]] = {}
    for each in found.left_out:
        others.setdefault(each.path.parent, []).append(each)
    read: list[Image | LeftOut] = [*found.images, *found.left_out]
    total = Counter(each.path.parent for each in read)
    notes = {folder: reasons(some, total[folder]) for folder, some in others.items()}
    for group in groups:
        if group.why_not:
            notes.setdefault(group.folders[0], []).append(f"series {group.label} left out: {group.why_not}")
    return notes


def _foreign(paths: Sequence[Path]) -> list[str]:
    number = len(paths)
    text = "1 file is not DICOM" if number == 1 else f"{number} files are not DICOM"
    return [f"{text}: {first_few(paths)}"] if number else []


def _of_folder(
    folder: Path, whole: Sequence[Group], found: Survey, wanted: str, left_out: dict[Path, list[str]]
) -> list[Series]:  # fmt: skip
    """The series of one folder, or its refusal, also for damaged files beside their slices."""
    name = folder.resolve().name
    near = dict.fromkeys([folder, *(each for group in whole for each in group.folders)])
    damaged = {path: error for path, error in found.damaged.items() if path.parent in near}
    others = [note for each in near for note in left_out.get(each, [])]
    try:
        _refuse_damaged(damaged)
        chosen = choose(folder, whole, wanted, others)
    except InputError as error:
        files = tuple(image.path for group in whole for image in group.images) + tuple(damaged)
        return [Series(folder, files, name, dict.fromkeys(FACTS, ""), partial(_refuse, str(error)))]
    names = _names(name, chosen) if len(chosen) > 1 else [name]
    rest = [] if len(chosen) > 1 else [group for group in whole if group is not chosen[0]]
    notes = [*others, *(f"series {group.label} left out: not the one asked for" for group in rest)]
    return [_series(group, called, [*notes, *_lost(group, found.left_out)])
            for group, called in zip(chosen, names, strict=True)]  # fmt: skip


def _lost(group: Group, left_out: Sequence[LeftOut]) -> list[str]:
    """A note on files of a series that should be slices of it."""
    lost = [each for each in left_out if each.is_slice and each.series == group.names[2]
            and (each.series or each.path.parent in group.folders)]  # fmt: skip
    belong = "file that was left out belongs" if len(lost) == 1 else "files that were left out belong"
    return [f"{len(lost)} {belong} to series {group.label}, so the volume may be too small"] if lost else []


def _refuse_damaged(damaged: dict[Path, InputError]) -> None:
    if damaged:
        more = f" (and {len(damaged) - 1} more such files)" if len(damaged) > 1 else ""
        raise InputError(f"{next(iter(damaged.values()))}{more}")


def _refuse(reason: str) -> NoReturn:
    raise InputError(reason)


def _names(folder: str, groups: Sequence[Group]) -> list[str]:
    """`dicom_series2`; series of one number are counted: `dicom_series2_2`."""
    names: list[str] = []
    for group in groups:
        first = f"{folder}_series{group.names[0]}"
        names.append(next(name for name in itertools.chain([first], (f"{first}_{n}" for n in itertools.count(2)))
                          if name not in names))  # fmt: skip
    return names


def _labels(groups: Sequence[Group]) -> str:
    return ", ".join(f"series {group.label}" for group in groups)


def _series(group: Group, name: str, notes: Sequence[str]) -> Series:
    number, description, uid = group.names
    facts = dict(zip(FACTS, (group.images[0].study, uid, number, description), strict=True))
    files = tuple(image.path for image in group.images)
    return Series(group.folders[0], files, name, facts, partial(dicom_scan.read, group, tuple(notes)))
