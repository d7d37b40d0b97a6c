"""NIfTI data sets of others: scans and masks of equal names in two folders, as nnU-Net's or a user's own."""

from collections.abc import Sequence
from pathlib import Path

from ich.base import guard, paths
from ich.base.errors import InputError
from ich.data import case, labels
from ich.data.case import Case, scan_and_channel


def survey(images: Path, masks: Path) -> tuple[list[Case], list[str]]:
    """Find all scans with their masks, by names alone, and every problem: one without the other, names that are double.

    Masks have the types that `labels.read` finds in a dataset.json beside the folders. Raises InputError where a folder
    holds no NIfTI file, dataset.json is damaged, or scans have several channels.
    """
    dataset = images.parent / labels.DATASET
    types = labels.types_of(labels.read(dataset)) if dataset.exists() else None
    (cts, problems), (marked, doubled) = _by_name(images), _by_name(masks)
    _refuse_channels(cts, set(marked))
    problems += doubled
    cases: dict[str, Case] = {}
    for name, path in cts.items():
        scan = _scan(name, set(marked))
        if scan not in marked:
            problems.append(f"{path}: its mask {masks / scan}.nii[.gz] is not there; add it, or remove the scan")
        elif scan in cases:
            problems.append(f"{path}: is scan {scan}, and so is {cases[scan].ct.name}; remove one")
        elif problem := _wrong(path, marked[scan]):
            problems.append(problem)
        else:
            cases[scan] = Case(scan, scan, path, marked[scan], types=types)
    alone = sorted(set(marked) - {_scan(name, set(marked)) for name in cts})
    problems += [f"{marked[scan]}: has no scan of this name in {images}; add it, or remove the mask" for scan in alone]
    return list(cases.values()), problems


def _by_name(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Files by their stem, and a problem for each that is there as `.nii` and as `.nii.gz`."""
    found: dict[str, Path] = {}
    problems = []
    for path in case.volumes(folder):
        if (other := found.setdefault(case.stem(path), path)) != path:
            problems.append(f"{path}: is there twice, as {other.name} and {path.name}; remove one")
    if not found:
        others = sorted({path.suffix for path in folder.glob("[!.]*") if path.is_file()})
        beside = f" but {', '.join(others)}" if others else ""
        raise InputError(f"{folder}: holds no NIfTI file (.nii, .nii.gz){beside}, expected one for each scan")
    return found, problems


def _scan(name: str, masks: set[str]) -> str:
    """The scan that an image is of: its name, or `case` for nnU-Net's `case_0000`."""
    scan = scan_and_channel(name)[0]
    return scan if name not in masks and (scan in masks or name.endswith("_0000")) else name


def _refuse_channels(cts: dict[str, Path], masks: set[str]) -> None:
    """Raise InputError for scans of several channels; a name that has a mask of its own is no channel."""
    more = [
        path for name, path in cts.items()
        if name not in masks and (parts := scan_and_channel(name))[1] not in ("", "0000")
        and (parts[0] in masks or f"{parts[0]}_0000" in cts)
    ]  # fmt: skip
    if more:
        raise InputError(f"{more[0]}: is a further channel of its scan ({len(more)} such files), expected one, the CT "
                         "(_0000); remove the others")  # fmt: skip


def _wrong(*files: Path) -> str:
    """What is wrong with the files of a scan as such; empty where nothing is."""
    try:
        for path in files:
            guard.check_file(path)
            if not paths.is_file_name(path.name):
                raise InputError(f"{path}: its name has characters that can't be printed, or is too long; rename it")
    except InputError as error:
        return str(error)
    return ""


def told(images: Path, masks: Path, cases: Sequence[Case]) -> str:
    """In words: the folders, the number of scans, and which labels are taken as blood."""
    dataset = images.parent / labels.DATASET
    text = f"{images.name}/ {masks.name}/"
    blood = "whatever the masks mark is blood"
    if dataset.exists():
        names = labels.read(dataset)
        text += f" {labels.DATASET}"
        blood = "blood: " + ", ".join(f"{label} {' '.join(names[label])}" for label in sorted(names))
        blood += "" if any(labels.types_of(names).values()) else " (types unknown)"
    return f"{text}, {len(cases)} scans with masks; {blood}"
