"""DICOM files as scans: the axial CT series that they make up, and what is left out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from ich.base.errors import InputError
from ich.scans import dicom_scan
from ich.scans.dicom_choice import Group, Survey, choose, first_few, gathered, grouped, reasons, survey
from ich.scans.dicom_image import LeftOut
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
    whole = [group for group in groups if not group.why_not]
    by_folder = grouped(whole, lambda group: group.folders[0])
    covered = {folder for group in whole for folder in group.folders}
    is_uid = bool(wanted) and any(wanted == group.names[2] for group in whole)
    left_out = _left_out(found, groups)
    series, notes = [], []
    for folder in dict.fromkeys(path.parent for path in files):
        here = by_folder.get(folder, [])
        if here and is_uid and not any(wanted in group.names for group in here):
            labels = ", ".join(f"series {group.label}" for group in here)
            notes.append(f"{folder}: left out {labels}: not the series that --series names")
        elif here or (folder not in covered and any(path.parent == folder for path in found.damaged)):
            series += _in_folder(folder, here, found, wanted, left_out)
        elif folder in left_out and folder not in covered:
            notes.append(f"{folder}: {'; '.join(left_out[folder])}")
    return series, notes + _foreign(found.foreign)


def _left_out(found: Survey, groups: Sequence[Group]) -> dict[Path, list[str]]:
    """For each folder what is no slice of a whole series, by reason."""
    total = Counter(file.path.parent for files in (found.images, found.left_out) for file in files)
    by_folder = grouped(found.left_out, lambda file: file.path.parent)
    notes = {folder: reasons(files, total[folder]) for folder, files in by_folder.items()}
    for group in groups:
        if group.why_not:
            notes.setdefault(group.folders[0], []).append(f"series {group.label} left out: {group.why_not}")
    return notes


def _foreign(paths: Sequence[Path]) -> list[str]:
    text = "1 file is not DICOM" if len(paths) == 1 else f"{len(paths)} files are not DICOM"
    return [f"{text}: {first_few(paths)}"] * bool(paths)


def _in_folder(
    folder: Path, whole: Sequence[Group], found: Survey, wanted: str, left_out: dict[Path, list[str]]
) -> list[Series]:
    """The series of one folder, or its refusal, also for damaged files beside their slices."""
    near = dict.fromkeys([folder, *(path for group in whole for path in group.folders)])
    damaged = {path: error for path, error in found.damaged.items() if path.parent in near}
    notes = [note for path in near for note in left_out.get(path, [])]
    try:
        if damaged:
            more = f" (and {len(damaged) - 1} more such files)" * (len(damaged) > 1)
            raise InputError(f"{next(iter(damaged.values()))}{more}")
        chosen = choose(folder, whole, wanted, notes)
    except InputError as error:
        files = tuple(image.path for group in whole for image in group.images) + tuple(damaged)
        facts = dict.fromkeys(FACTS, "")
        return [Series(folder, files, folder.resolve().name, facts, partial(_refuse, str(error)))]
    if len(chosen) == 1:
        others = (group for group in whole if group is not chosen[0])
        notes += [f"series {group.label} left out: not the one asked for" for group in others]
    names = _names(folder.resolve().name, chosen)
    return [_series(group, name, [*notes, *_lost(group, found.left_out)])
            for group, name in zip(chosen, names, strict=True)]  # fmt: skip


def _lost(group: Group, left_out: Sequence[LeftOut]) -> list[str]:
    """A note on files of a series that should be slices of it."""
    lost = [file for file in left_out if file.is_slice and file.series == group.names[2]
            and (file.series or file.path.parent in group.folders)]  # fmt: skip
    belong = "file that was left out belongs" if len(lost) == 1 else "files that were left out belong"
    return [f"{len(lost)} {belong} to series {group.label}, so the volume may be too small"] * bool(lost)


def _refuse(reason: str) -> NoReturn:
    raise InputError(reason)


def _names(folder: str, groups: Sequence[Group]) -> list[str]:
    """That of the folder; of several series `head_series2`, and those of one number counted: `head_series2_2`."""
    if len(groups) == 1:
        return [folder]
    names: list[str] = []
    used: Counter[str] = Counter()
    for number in (group.names[0] for group in groups):
        used[number] += 1
        names.append(f"{folder}_series{number}" + f"_{used[number]}" * (used[number] > 1))
    return names


def _series(group: Group, name: str, notes: Sequence[str]) -> Series:
    number, description, uid = group.names
    facts = dict(zip(FACTS, (group.images[0].study, uid, number, description), strict=True))
    files = tuple(image.path for image in group.images)
    return Series(group.folders[0], files, name, facts, partial(dicom_scan.read, group, tuple(notes)))
