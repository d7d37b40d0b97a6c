"""Every header that scanners write is read to the right HU; what is no axial CT slice is refused with its reason."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ich.base.errors import InputError
from ich.scans import dicom_slice
from ich.scans.window import Window


def dataset(pixels: np.ndarray, **tags: object) -> Dataset:
    """A CT slice of the given stored values, signed or not by their type; `tags` come on top, None removes one."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = CTImageStorage, "1.2.3", "CT"
    header.PatientID, header.SamplesPerPixel, header.PhotometricInterpretation = "007", 1, "MONOCHROME2"
    header.Rows, header.Columns = pixels.shape
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = int(pixels.dtype == np.int16)
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    header.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.HighBit = header.BitsStored - 1
    return header


def written(folder: Path, header: Dataset) -> Path:
    path = folder / "slice.dcm"
    header.save_as(path, enforce_file_format=True)
    return path


def signed(*values: int) -> np.ndarray:
    return np.array([values], np.int16)


def unsigned(*values: int) -> np.ndarray:
    return np.array([values], np.uint16)


@pytest.mark.parametrize(
    ("pixels", "tags", "hu"),
    [
        # Signed with intercept 0: HU already, even with 12 bits.
        (signed(-1000, 0, 60), {}, [-1000, 0, 60]),
        (signed(-1000, 0, 60), {"BitsStored": 12}, [-1000, 0, 60]),
        # Offset by 1024: 1084 - 1024 = 60.
        (unsigned(24, 1024, 1084), {"RescaleIntercept": -1024}, [-1000, 0, 60]),
        (unsigned(24, 1024, 1084), {"RescaleIntercept": -1024, "BitsStored": 12}, [-1000, 0, 60]),
        # 2 * 530 - 1000 = 60.
        (unsigned(0, 500, 530), {"RescaleSlope": 2, "RescaleIntercept": -1000}, [-1000, 0, 60]),
        # Padding -2000 - 1024 = -3024 HU: shown as air.
        (signed(-2000, 1084), {"RescaleIntercept": -1024, "PixelPaddingValue": -2000}, [-1024, 60]),
        (signed(-2000, 1084), {"RescaleIntercept": -1024}, [-1024, 60]),
        (signed(-3024, 60), {}, [-1024, 60]),
        # -2000 as an unsigned number is 63536, which would be brighter than bone.
        (unsigned(63536, 1084), {"RescaleIntercept": -1024, "PixelPaddingValue": 63536}, [-1024, 60]),
        # The same in 12 bits: 63536 loses its upper four bits and becomes 2096.
        (unsigned(63536, 1084), {"RescaleIntercept": -1024, "PixelPaddingValue": 63536, "BitsStored": 12}, [-1024, 60]),
        # A padding that is an ordinary HU is left alone: there may be water of that value.
        (signed(0, 60), {"PixelPaddingValue": 0}, [0, 60]),
        # Unsigned 12 bit with intercept 0: 4095 + 1000 - 4096 - 1000 = -1; 3096 -> -1000; 60 -> 60.
        (unsigned(4095, 3096, 60, 0), {"BitsStored": 12}, [-1, -1000, 60, 0]),
        # Intercept -100 or lower: nothing has wrapped, 4095 - 100 = 3995.
        (unsigned(4095, 160), {"BitsStored": 12, "RescaleIntercept": -100}, [3995, 60]),
        # 16 bits: no repair, 4095 is metal.
        (unsigned(4095, 60), {}, [4095, 60]),
    ],
)
def test_hu_of_every_header(tmp_path: Path, pixels: np.ndarray, tags: dict, hu: list[int]) -> None:
    found = dicom_slice.read_slice(written(tmp_path, dataset(pixels, **tags)))
    assert found.hu.dtype == np.int16
    assert found.hu.tolist() == [hu]
    assert found.patient == "007"


def test_a_broken_slope_keeps_its_fractions(tmp_path: Path) -> None:
    header = dataset(unsigned(121), RescaleSlope="0.5", RescaleIntercept="-0.25")
    found = dicom_slice.read_slice(written(tmp_path, header))
    assert found.hu.tolist() == [[60.25]]


def test_only_wrapped_slices_are_called_repaired(tmp_path: Path) -> None:
    assert dicom_slice.read_slice(written(tmp_path, dataset(unsigned(60), BitsStored=12))).repaired
    assert not dicom_slice.read_slice(written(tmp_path, dataset(signed(60), BitsStored=12))).repaired


@pytest.mark.parametrize(
    ("level", "width", "window"),
    [
        ("40", "80", Window(40, 80)),
        (["00036", "00036"], ["00080", "00080"], Window(36, 80)),
        (["40", "600"], ["100", "2800"], Window(40, 100)),
        ("40", "0", None),
    ],
)
def test_window_tags(tmp_path: Path, level: object, width: object, window: Window | None) -> None:
    path = written(tmp_path, dataset(signed(60), WindowCenter=level, WindowWidth=width))
    assert dicom_slice.read_slice(path).window == window


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, None),
        ({"ImagePositionPatient": [-120, 3, 41.5]}, 41.5),
        ({"ImagePositionPatient": [0, 0, 40], "ImageOrientationPatient": [1, 0, 0, 0, -1, 0]}, 40),  # seen from above
        ({"ImagePositionPatient": [0, 10, 40], "ImageOrientationPatient": [1, 0, 0, 0, 0.8, -0.6]}, 38),
        ({"ImagePositionPatient": [0, 0, 1e9]}, None),
    ],
)
def test_position_along_the_normal(tmp_path: Path, tags: dict, expected: float | None) -> None:
    found = dicom_slice.read_slice(written(tmp_path, dataset(signed(60), SeriesInstanceUID="1.2.9", **tags)))
    assert (found.series, found.position_mm) == ("1.2.9", expected)


def test_without_window_tags(tmp_path: Path) -> None:
    assert dicom_slice.read_slice(written(tmp_path, dataset(signed(60)))).window is None


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed(tmp_path: Path, syntax: str) -> None:
    pixels = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
    header = dataset(pixels, RescaleIntercept=-24)
    header.compress(syntax)
    assert np.array_equal(dicom_slice.read_slice(written(tmp_path, header)).hu, (pixels - 24).clip(-1024))


def test_jpeg_lossless(tmp_path: Path) -> None:
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    header = dataset(pixels, RescaleIntercept=-1024)
    header.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    header.PixelData = encapsulate([imagecodecs.ljpeg_encode(pixels, bitspersample=16)])
    header["PixelData"].is_undefined_length = True
    assert np.array_equal(dicom_slice.read_slice(written(tmp_path, header)).hu, pixels.astype(np.int16) - 1024)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MR"}, "modality MR, expected CT"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "scout"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "not an axial slice"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"PatientID": ""}, "no PatientID"),
        ({"RescaleIntercept": None}, "no RescaleSlope or RescaleIntercept"),
        ({"PixelData": None}, "cannot be read as DICOM"),
    ],
)
def test_what_is_no_axial_ct_slice_is_refused(tmp_path: Path, tags: dict, reason: str) -> None:
    path = written(tmp_path, dataset(signed(60), **tags))
    with pytest.raises(InputError, match=f"{path}: .*{reason}"):
        dicom_slice.read_slice(path)


def test_a_tilted_gantry_is_axial(tmp_path: Path) -> None:
    tilted = [1, 0, 0, 0, 0.87, -0.5]  # 30 degrees
    path = written(tmp_path, dataset(signed(60), ImageOrientationPatient=tilted))
    assert dicom_slice.read_slice(path).hu.tolist() == [[60]]


@pytest.mark.parametrize("cut", [4, 40])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, dataset(np.zeros((8, 8), np.int16)))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        dicom_slice.read_slice(path)


def test_what_is_no_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slice.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        dicom_slice.read_slice(tmp_path / "slice.dcm")


def jpeg_2000(pixels: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0, codecformat="j2k", mct=False)


def jpeg_ls(pixels: np.ndarray) -> bytes:
    return imagecodecs.jpegls_encode(pixels)


def ljpeg(pixels: np.ndarray) -> bytes:
    return imagecodecs.ljpeg_encode(pixels, bitspersample=16)


WAYS = {
    "uncompressed": (ExplicitVRLittleEndian, None), "RLE": (RLELossless, None),
    "JPEG 2000": (JPEG2000Lossless, jpeg_2000), "JPEG-LS": (JPEGLSLossless, jpeg_ls),
    "JPEG lossless": (JPEGLosslessSV1, ljpeg),
}  # fmt: skip
STORED = {  # stored words, elements -> HU
    "unsigned 12 bits": (np.uint16, [1084, 1084 | 0xF000, 24 | 0x1000, 4095], {}, [60, 60, -1000, 3071]),
    "unsigned 12 bits, high": (np.uint16, [1084 << 4, 24 << 4], {"HighBit": 15}, [60, -1000]),
    "unsigned 12 bits, high bit wrong": (np.uint16, [1084, 25], {"HighBit": 15}, [60, -999]),
    "unsigned 12 bits, no high bit": (np.uint16, [1084 | 0xF000, 25], {"HighBit": None}, [60, -999]),
    "padding beyond the bits": (np.uint16, [63536, 1084], {"PixelPaddingValue": 63536}, [-1024, 60]),
    # 0x0C18 without its sign: -1000 in 12 bits; 0xF03C: 60 with bits above.
    "signed 12 bits": (np.uint16, [0x0C18, 0xFC18, 0xF03C, 60], {"PixelRepresentation": 1, "RescaleIntercept": 0},
                       [-1000, -1000, 60, 60]),
    "signed 16 bits": (np.uint16, [0xFC18, 60], {"PixelRepresentation": 1, "RescaleIntercept": 0, "BitsStored": 16},
                       [-1000, 60]),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", STORED)
def test_bits_above_the_stored_ones_do_not_count(tmp_path: Path, way: str, case: str) -> None:
    """Some scanners keep an overlay there; compressed or not, signed or not, it is no HU."""
    (syntax, encode), (kind, words, tags, hu) = WAYS[way], STORED[case]
    pixels = np.resize(np.array(words, kind), (32, 32))
    header = dataset(pixels, **({"RescaleIntercept": -1024, "BitsStored": 12} | tags))
    header.HighBit = tags.get("HighBit", header.BitsStored - 1)
    if header.HighBit is None:
        del header.HighBit
    if encode:
        header.file_meta.TransferSyntaxUID = syntax
        header.PixelData = encapsulate([encode(pixels)])
        header["PixelData"].is_undefined_length = True
    elif syntax == RLELossless:
        stored = header.BitsStored, header.get("HighBit")
        header.BitsStored, header.HighBit = 16, 15  # pydicom's encoder would refuse it
        header.compress(syntax)
        header.BitsStored = stored[0]
        if stored[1] is None:
            del header.HighBit
        else:
            header.HighBit = stored[1]
    assert np.array_equal(dicom_slice.read_slice(written(tmp_path, header)).hu, np.resize(hu, (32, 32)))


def test_a_slice_without_the_prefix_is_read(tmp_path: Path) -> None:
    header = dataset(signed(-1000, 60))
    del header.file_meta
    header.save_as(tmp_path / "slice.dcm", implicit_vr=True, little_endian=True)
    assert dicom_slice.read_slice(tmp_path / "slice.dcm").hu.tolist() == [[-1000, 60]]
