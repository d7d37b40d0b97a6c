"""NIfTI files as bytes: opened, checked against what they declare, and read to their end."""

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Extensions

from ich.base import guard
from ich.base.errors import InputError, printable

nib.imageglobals.logger.setLevel(logging.CRITICAL)  # its notes on headers do not name the file
READ_ERRORS = (
    OSError, EOFError, ValueError, OverflowError, zlib.error,
    nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError,
)  # fmt: skip


class _NoExtensions(Nifti1Extensions):
    """Nothing here needs a header's extensions, and the lengths that they declare are not to be trusted."""

    @classmethod
    def from_fileobj(cls, fileobj: object, size: int, byteswap: bool) -> "_NoExtensions":
        return cls()


class _Header1(nib.Nifti1Header):
    exts_klass = _NoExtensions


class _Header2(nib.Nifti2Header):
    exts_klass = _NoExtensions


class _Image1(nib.Nifti1Image):
    header_class = _Header1


class _Image2(nib.Nifti2Image):
    header_class = _Header2


def open_nifti(path: Path) -> nib.Nifti1Image:
    """The header of a NIfTI file. Raises InputError when the file is missing or something else."""
    guard.check_file(path)
    try:
        return _kind(path).from_filename(path)
    except READ_ERRORS as error:
        raise InputError(f"{path}: is not a readable NIfTI file ({printable(str(error))}); copy it again") from None


def without_trailing_axes(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The opened file as a volume where all its axes behind the third have length one, as some converters write."""
    shape = image.shape[:3]
    if len(image.shape) <= 3 or any(extent != 1 for extent in image.shape[3:]):
        return image
    return type(image)(_in_file(image).reshape(shape), image.affine, image.header, file_map=image.file_map)


def check_declared(path: Path, image: nib.Nifti1Image) -> None:
    """Raise InputError for a file that is too short for what its header declares, or declares too much."""
    guard.check_voxels(path, image.shape)
    if _in_file(image).offset > guard.MOST_HEADER_BYTES:
        raise InputError(
            f"{path}: damaged: its voxels are said to begin at byte {_in_file(image).offset}; copy it again"
        )
    end, found = _end(image), path.stat().st_size
    if found * (guard.INFLATION if _is_packed(path) else 1) < end:
        raise InputError(f"{path}: cut off or damaged: has {found} bytes, its header declares {end}; copy it again")


def _kind(path: Path) -> type[nib.Nifti1Image]:
    """NIfTI-1 or NIfTI-2. Nothing else that nibabel reads, whatever the file calls itself."""
    with nib.openers.ImageOpener(path) as file:
        start = file.read(_Header2.template_dtype.itemsize)
    for kind in (_Image1, _Image2):
        if kind.header_class.may_contain_header(start):
            return kind
    raise InputError(f"{path}: is not a readable NIfTI file (it begins with {start[:4]!r}); copy or convert it again")


def _in_file(image: nib.Nifti1Image) -> ArrayProxy:
    """The voxels of an opened file, not yet read."""
    return cast(ArrayProxy, image.dataobj)


def _end(image: nib.Nifti1Image) -> int:
    """Where the voxels end in the file, in bytes, once it is unpacked."""
    return int(_in_file(image).offset) + math.prod(image.shape) * image.get_data_dtype().itemsize


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def read_voxels(image: nib.Nifti1Image, expected: str = "HU") -> np.ndarray:
    """The voxels of an opened file, int16 where it is stored so. Raises InputError when they can't be read whole.

    `expected` says in words what they should be.
    """
    path = Path(image.get_filename())
    try:
        voxels = np.asanyarray(_unpacked(path, image).dataobj if _is_packed(path) else image.dataobj)
    except READ_ERRORS as error:
        raise InputError(
            f"{path}: cut off or damaged, voxels cannot be read ({printable(str(error))}); copy it again"
        ) from None
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise InputError(f"{path}: has voxels that are NaN or infinite, expected {expected}; fix or export it again")
    return voxels.reshape(image.shape)  # a gzip file is unpacked with all its axes


def _unpacked(path: Path, image: nib.Nifti1Image) -> nib.Nifti1Image:
    """A gzip file in memory. It is read to its end, where the checksum is; more than it declares is refused."""
    with gzip.open(path) as file:
        content = file.read(_end(image))
        if len(file.read(guard.SPARE_BYTES)) == guard.SPARE_BYTES:
            raise InputError(f"{path}: holds far more than its header declares; compress the file again")
    return type(image).from_bytes(content)
