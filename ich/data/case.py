"""One scan of a data set with its mask, and the names that its files may have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

IMAGES = ("image", "images", "img", "imgs")
LABELS = ("label", "labels", "mask", "masks", "segmentation", "segmentations")
CT_ICH_SCANS, CT_ICH_MASKS = "ct_scans", "masks"
NNUNET_SCANS, NNUNET_MASKS, NNUNET_TEST = "imagesTr", "labelsTr", "imagesTs"
SCANS = (*IMAGES, "ct", "cts", "scan", "scans")  # folders of NIfTI files, in capitals or not
_SUFFIX = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_CHANNEL = re.compile(r"(?P<scan>.+)_(?P<channel>\d{4})")  # as nnU-Net names the files of a scan


@dataclass(frozen=True)
class Case:
    """A scan: whose it is, its two volumes, and checksums (empty where unknown).

    `flags` has a row for each slice, from a table. Without a table they are made of the mask, whose labels have the
    `types` (empty: blood of unknown type; None: whatever is in the mask is blood).
    """

    scan: str
    patient: str
    ct: Path
    mask: Path
    flags: pd.DataFrame | None = None
    ct_sha256: str = ""
    mask_sha256: str = ""
    types: Mapping[int, frozenset[str]] | None = None


def volumes(folder: Path) -> list[Path]:
    """The NIfTI files of a folder, in capitals or not; a leading dot: unfinished or the file system's own."""
    return sorted(path for path in folder.glob("[!.]*") if _SUFFIX.search(path.name))


def stem(path: Path) -> str:
    """The name of a NIfTI file without `.nii` or `.nii.gz`."""
    return _SUFFIX.sub("", path.name)


def scan_and_channel(name: str) -> tuple[str, str]:
    """`("case", "0000")` of `case_0000`, as nnU-Net names channels; `(name, "")` of other names."""
    parts = _CHANNEL.fullmatch(name)
    return (parts["scan"], parts["channel"]) if parts else (name, "")


def is_source(path: Path, scan: str) -> bool:
    """Whether a path names the volume of `scan` in a folder as step 1 reads them."""
    known = {CT_ICH_SCANS, NNUNET_SCANS.lower(), *SCANS}
    is_named = _SUFFIX.search(path.name) and scan in (name := stem(path), scan_and_channel(name)[0])
    return bool(is_named) and path.parent.name.lower() in known
