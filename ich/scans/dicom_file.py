"""DICOM files as bytes: parsed and decoded without trusting the lengths and sizes that they declare."""

import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.misc import is_dicom
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from ich.base import guard
from ich.base.errors import InputError, printable

_J2K_START = b"\xff\x4f\xff\x51"  # JPEG 2000: start of codestream, then the image's size
_JPEG_START = b"\xff\xd8"
_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}  # JPEG, JPEG-LS


class _Clamped(io.BufferedReader):
    """Reads no more than the file has left: an element may declare four gigabytes in a file of a few bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._length = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:  # pydicom takes all at once to inflate it, without a limit
            raise InputError("is deflated as a whole, which is not read; unpack it first (dcmconv, gdcmconv)")
        return super().read(min(size, self._length - self.tell()))


def may_be_dicom(path: Path) -> bool:
    """Whether a path is a file, not a pipe or a broken link, that begins with the prefix or with a DICOM data set."""
    return path.is_file() and (is_dicom(path) or _is_bare(path))


def _is_bare(path: Path) -> bool:
    """Whether a file begins with the first element of a DICOM data set, as old exports without the prefix do.

    That is group 2 or 8, low element numbers, little endian or big endian. Only such files are read without a prefix:
    anything else that happens to be in a folder could be of any size.
    """
    with path.open("rb") as file:
        start = file.read(4)
    return (start[:2] in (b"\x02\0", b"\x08\0") and start[3:] == b"\0") or start[:3] == b"\0\x08\0"


def read(path: Path, pixels: bool = True, tags: Sequence[str] | None = None) -> pydicom.Dataset:
    """Read a file with or without the DICM prefix, or its header alone, or some elements of it.

    A missing TransferSyntaxUID is filled in from the way the header is written. Raises InputError, with the path, for
    what is damaged or no DICOM file, and for compressed pixels without a TransferSyntaxUID.
    """
    guard.check_file(path)
    try:
        with warnings.catch_warnings(), _Clamped(path) as file:
            warnings.simplefilter("ignore")  # of odd values that do no harm; one line for each of 752,803 files
            header = pydicom.dcmread(file, stop_before_pixels=not pixels, force=_is_bare(path), specific_tags=tags)
            _fill_in_syntax(header)
            return header
    except Exception as error:  # pydicom raises anything from KeyError to struct.error on a damaged file
        raise InputError(f"{path}: cannot be read as DICOM ({one_line(error)})") from None


def _fill_in_syntax(header: pydicom.Dataset) -> None:
    if header.file_meta.get("TransferSyntaxUID"):
        return
    if "PixelData" in header and header["PixelData"].is_undefined_length:
        raise InputError("has no TransferSyntaxUID, so it is unknown how its pixels are compressed; export it again "
                         "from the archive")  # fmt: skip
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
    # pydicom would cut off unused bits in uncompressed files only: `_stored` does. pylibjpeg's decoder of RLE panics on
    # damage, with a trace on the terminal.
    plugin = "pydicom" if syntax == RLELossless else ""
    header.pixel_array_options(correct_unused_bits=False, decoding_plugin=plugin)
    if syntax.is_encapsulated and syntax != RLELossless:
        _check_frame(header.PixelData, shape)
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
    declared = _encoded_size(next(generate_frames(pixel_data, number_of_frames=1), b""))
    if declared != shape:
        raise InputError(f"its compressed frame has {declared or 'unknown'} pixels (rows, columns), its header {shape}")


def _encoded_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame itself declares; None for anything else."""
    if frame.startswith(_J2K_START) and len(frame) >= 24:
        x, y, left, top = struct.unpack(">4I", frame[8:24])
        return y - top, x - left
    offset = 2
    while frame.startswith(_JPEG_START) and offset + 9 <= len(frame):
        start, marker = frame[offset : offset + 2]
        if start != 0xFF or marker == 0xFF:  # fill bytes
            offset += 1
        elif marker in _SIZES:
            return struct.unpack(">HH", frame[offset + 5 : offset + 9])
        elif marker == 0x01 or 0xD0 <= marker <= 0xD9:  # without a length
            offset += 2
        else:
            offset += 2 + int.from_bytes(frame[offset + 2 : offset + 4])
    return None


def one_line(error: Exception) -> str:
    """What an error says, without line breaks."""
    return printable(str(error)).strip() or type(error).__name__
