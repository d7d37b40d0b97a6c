"""DICOM files as bytes: parsed and decoded without trusting the lengths and sizes that they declare."""

import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from ich.base import guard
from ich.base.errors import InputError, printable

START_BYTES = 132  # the preamble and the prefix DICM
_J2K_START = b"\xff\x4f\xff\x51"  # JPEG 2000: start of codestream, then the image's size
_JPEG_START = b"\xff\xd8"
_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}  # JPEG, JPEG-LS


class _Clamped(io.BufferedReader):
    """Gives no more than the file has left: an element may declare four gigabytes in a file of a few bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._length = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:  # pydicom takes all at once to inflate it, without a limit
            raise InputError("is deflated as a whole, which is not read; unpack it first (dcmconv, gdcmconv)")
        return super().read(min(size, self._length - self.tell()))


def has_prefix(path: Path) -> bool:
    """Whether the file begins as the standard asks: 128 bytes of anything, then DICM."""
    return _has_prefix(_start(path))


def may_be_dicom(path: Path) -> bool:
    """Whether a path is a file, not a pipe or a broken link, that begins with the prefix or with a DICOM data set."""
    return path.is_file() and (_has_prefix(start := _start(path)) or _is_bare(start))


def _has_prefix(start: bytes) -> bool:
    return start[128:] == b"DICM"


def _is_bare(start: bytes) -> bool:
    """Whether a file's first bytes are the first element of a DICOM data set, as old exports without the prefix do.

    That is group 2 or 8, low element numbers, little endian or big endian. Only such files are read without a prefix:
    anything else that happens to be in a folder could be of any size.
    """
    little = start[:2] in (b"\x02\0", b"\x08\0") and start[3:4] == b"\0"
    return not _has_prefix(start) and (little or start[:3] == b"\0\x08\0")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(START_BYTES)


def read(path: Path, pixels: bool = True, tags: Sequence[str] | None = None) -> pydicom.Dataset:
    """Read a file with or without the DICM prefix, or its header alone, or some elements of it.

    A missing TransferSyntaxUID is filled in from the way the header is written. Raises InputError, with the path, for
    what is damaged or no DICOM file, and for compressed pixels without a TransferSyntaxUID.
    """
    guard.check_file(path)
    try:
        with warnings.catch_warnings(), _Clamped(path) as file:
            warnings.simplefilter("ignore")  # of odd values that do no harm; one line for each of 752,803 files
            bare = _is_bare(file.read(START_BYTES))
            file.seek(0)
            header = pydicom.dcmread(file, stop_before_pixels=not pixels, force=bare, specific_tags=tags)
            _fill_in_syntax(header)
            return header
    except Exception as error:  # pydicom raises anything from KeyError to struct.error on a damaged file
        raise InputError(f"{path}: cannot be read as DICOM ({one_line(error)})") from None


def _fill_in_syntax(header: pydicom.Dataset) -> None:
    if header.file_meta.get("TransferSyntaxUID"):
        return
    if "PixelData" in header and header["PixelData"].is_undefined_length:
        raise InputError(
            "has no TransferSyntaxUID, so it is unknown how its pixels are compressed; export it again from the archive"
        )
    implicit, little = header.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def pixel_array(header: pydicom.Dataset) -> np.ndarray:
    """The stored values (rows, columns) of a grey image: BitsStored bits of each pixel, with their sign.

    Raises InputError for declared sizes beyond the limit, and whatever a decoder raises.
    """
    shape = int(header.Rows), int(header.Columns)
    guard.check_pixels("pixel data", (*shape, int(header.get("NumberOfFrames") or 1)))
    syntax = header.file_meta.TransferSyntaxUID
    options: dict[str, Any] = {
        "correct_unused_bits": False
    }  # pydicom cuts them off in uncompressed files alone; `_stored` does in all
    if syntax == RLELossless:  # pylibjpeg's decoder panics on damage, with a trace on the terminal
        options["decoding_plugin"] = "pydicom"
    elif syntax.is_encapsulated:
        _check_frame(header.PixelData, shape)
    header.pixel_array_options(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = header.pixel_array
    if pixels.shape != shape:
        raise InputError(f"its pixel data has shape {pixels.shape}, its header {shape}; export it again")
    return _stored(pixels, int(header.BitsStored), int(header.get("HighBit") or 0))


def _stored(pixels: np.ndarray, bits: int, high_bit: int) -> np.ndarray:
    """The lowest `bits` bits of each pixel as a number, signed or not as the array is.

    HighBit is `bits` - 1 today. In old files a larger one may mean that values sit at the upper end of the word, or
    nothing at all: it is believed where all bits below the values are 0.
    """
    spare = 8 * pixels.dtype.itemsize - bits
    if pixels.dtype.kind not in "iu" or spare <= 0 or bits < 1:
        return pixels
    below = min(high_bit + 1 - bits, spare)
    if below > 0 and pixels.any() and not (pixels & ((1 << below) - 1)).any():
        pixels = pixels >> below
    return pixels << spare >> spare  # carries the sign along in signed arrays


def _check_frame(pixel_data: bytes, shape: tuple[int, int]) -> None:
    """Decoders believe a compressed frame, not the DICOM header: some bytes could fill the memory."""
    found = encoded_size(next(generate_frames(pixel_data, number_of_frames=1), b""))
    if found != shape:
        raise InputError(f"its compressed frame has {found or 'unknown'} pixels (rows, columns), its header {shape}")


def encoded_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame itself declares; None for anything else."""
    if frame.startswith(_J2K_START) and len(frame) >= 24:
        x, y, left, top = struct.unpack(">4I", frame[8:24])
        return y - top, x - left
    place = 2
    while frame.startswith(_JPEG_START) and place + 9 <= len(frame):
        if frame[place] != 0xFF or frame[place + 1] == 0xFF:  # fill bytes
            place += 1
        elif frame[place + 1] in _SIZES:
            return struct.unpack(">HH", frame[place + 5 : place + 9])
        else:
            alone = frame[place + 1] == 0x01 or 0xD0 <= frame[place + 1] <= 0xD9  # markers without a length
            place += 2 if alone else 2 + int.from_bytes(frame[place + 2 : place + 4])
    return None


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return printable(str(error)).strip() or type(error).__name__
