"""Sanity checks before memory is allocated for a file: that it is a file, and that it declares no absurd size.

A few bytes can declare any size. The limits are far above real data; docs/security.md lists who asks for which.
"""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ich.base.errors import InputError

MOST_VOXELS = 2**29  # of a volume: 1024 x 1024 x 512
MOST_PIXELS = 2**24  # of a slice: 4096 x 4096
INFLATION = 1032  # bytes that deflate (gzip, zip, PNG) makes of one at most
MOST_HEADER_BYTES = 2**26  # of a volume, with all its extensions
MOST_GROWTH = 16  # of a .keras or checkpoint file when it is unpacked; the shipped network only doubles
SPARE_BYTES = 2**20  # that may follow what a header declares


def check_file(path: Path, advice: str = "") -> None:
    """Raise InputError unless `path` is a file: opening a pipe would wait for ever. `advice` is for a missing one."""
    if path.is_file():
        return
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: is a link to {path.readlink()}, which is not there; correct the link")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file; move it away")
    if path.exists():
        raise InputError(f"{path}: is not a regular file (a pipe or device), expected one; move it away")
    raise InputError(f"{path}: not found{advice}")


def check_voxels(name: object, shape: Sequence[int]) -> None:
    """Raise InputError for a volume of more than MOST_VOXELS."""
    _check_size(name, shape, MOST_VOXELS, "voxels; cut it to the head first")


def check_pixels(name: object, shape: Sequence[int]) -> None:
    """Raise InputError for a slice of more than MOST_PIXELS."""
    _check_size(name, shape, MOST_PIXELS, "pixels; make it smaller first")


def check_archive(path: Path) -> None:
    """Raise InputError for a .keras or checkpoint file whose compressed parts grow too much: a thousandfold they could.

    Keras and NumPy store them as they are, so that they take no more memory than the file has bytes.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        total = sum(part.file_size for part in archive.infolist())
    if total > MOST_GROWTH * path.stat().st_size:
        raise InputError(
            f"{path}: its parts declare {total:,} bytes, far more than it has; it was not written by Keras"
        )


def _check_size(name: object, shape: Sequence[int], most: int, what: str) -> None:
    if math.prod(map(int, shape)) > most:  # Python's whole numbers do not overflow
        raise InputError(f"{name}: declares {' x '.join(map(str, shape))}, expected at most {most:,} {what}")


def check_inside(folder: Path, path: Path) -> None:
    """Raise InputError when `path` leads out of `folder` through a link. `folder` itself may be one."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: leads to {path.resolve()}, outside {folder}; only {folder} itself may be a link")
