"""DICOM-SEG: valid for whatever a series' headers lack, on the slices that it was made from, without personal data."""

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from predict_files import find, phantom
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from ich.base import record
from ich.draw.colours import PREDICTION
from ich.phantom.head import Patient
from ich.phantom.series import NAME, write_series
from ich.predict import segmentation, segmentation_sources
from ich.scans.scan import Scan
from ich.score.operating import FIXED, Point

hd = pytest.importorskip("highdicom")
Change = Callable[[pydicom.Dataset], None]

ALWAYS_EMPTY = ("PatientName", "PatientBirthDate", "ReferringPhysicianName", "AccessionNumber")
# What anonymisers delete or empty, and scanners leave out; none of it is needed to lay a mask over its series.
MAY_LACK = (
    "PatientSex", "PatientID", "StudyDate", "StudyTime", "StudyID", "SliceThickness", "SeriesNumber", "InstanceNumber",
    "PositionReferenceIndicator", "Laterality", "ImageType", "Manufacturer", "ContentDate", "ContentTime",
    "FrameOfReferenceUID", *ALWAYS_EMPTY,
)  # fmt: skip
NEW_FRAME = "mask.dcm has a new one, so viewers match it by the slices that it refers to"
CHARACTER_SETS = [
    ("GB18030", "患者1"), ("GBK", "患者1"), ("ISO_IR 192", "患者1"), (["", "ISO 2022 IR 87"], "患者1"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ山田"), (["", "ISO 2022 IR 149"], "환자1"),
    (["", "ISO 2022 IR 58"], "\x1b$)A患者1"),  # pydicom takes the escape sequence for text, but keeps the bytes
    ("ISO_IR 100", "Müller-7"), ("ISO_IR 101", "Łódź"), ("ISO_IR 144", "Больной"),
    ("ISO_IR 126", "ασθενής"), ("ISO_IR 166", "คนไข้"), ("ISO_IR 13", "ﾔﾏﾀﾞ"), ("ISO_IR 138", "חולה"),
]  # fmt: skip


def short() -> Patient:
    made = phantom()
    return dataclasses.replace(made, hu=made.hu[:, :, 10:22], mask=made.mask[:, :, 10:22])


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom") / "head"
    write_series(folder, short(), scout=False)
    return folder


@pytest.fixture
def copy(series: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(series, tmp_path / "head"))


def read(folder: Path) -> Scan:
    (found,) = find([folder])
    return found.read()


def change_all(folder: Path, change: Change) -> Path:
    """Change each header in place, the one of the lowest slice first."""
    for path in sorted(folder.iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2]):
        header = pydicom.dcmread(path)
        change(header)
        header.save_as(path)
    return folder


def blood(scan: Scan) -> np.ndarray:
    """A mask that no mirror image or permutation of equals, on slices 2 to 5."""
    mask = np.zeros(scan.voxels.shape, bool)
    mask[3:6, 8, 2] = mask[20:29, 5:9, 3:6] = True
    return mask


def written(folder: Path, mask: np.ndarray | None = None) -> tuple[pydicom.Dataset, list[str]]:
    scan = read(folder)
    path = folder.parent / "mask.dcm"
    notes = segmentation.write(path, blood(scan) if mask is None else mask, scan, FIXED)
    return pydicom.dcmread(path), notes


def lacks(name: str) -> Change:
    return lambda header: header.__delitem__(name) if name in header else None


def set_to(**values: object) -> Change:
    def change(header: pydicom.Dataset) -> None:
        for name, value in values.items():
            header[name] = pydicom.DataElement(name, pydicom.datadict.dictionary_VR(name), value, validation_mode=0)

    return change


def emptied(name: str) -> Change:
    return set_to(**{name: "" if name != "SliceThickness" else None})


def long_numbers(header: pydicom.Dataset) -> None:
    """More digits than DICOM allows, as some writers have it."""
    spacing, place = [1 / 3 + 6.5] * 2, header.ImagePositionPatient
    for name, values in {"PixelSpacing": spacing, "ImagePositionPatient": place}.items():
        text = [f"{float(value) + 1e-9 / 3:.18f}" for value in values]
        header[name] = pydicom.DataElement(name, "DS", text, validation_mode=0)


def lossy(header: pydicom.Dataset) -> None:
    header.LossyImageCompression, header.LossyImageCompressionRatio = "01", 10
    header.LossyImageCompressionMethod = "ISO_10918_1"


CHANGES: dict[str, list[Change]] = {
    **{f"without {name}": [lacks(name)] for name in MAY_LACK},
    **{f"empty {name}": [emptied(name)] for name in MAY_LACK},
    "without all of these": [lacks(name) for name in MAY_LACK],
    "all of these empty": [emptied(name) for name in MAY_LACK],
    "no thickness": [set_to(SliceThickness=0)],
    "invalid values": [set_to(PatientSex="male", StudyDate="removed", StudyTime="25:00", StudyID="1" * 30)],
    "the 31st of February": [set_to(StudyDate="20200231")],
    "old forms of date and time": [set_to(StudyDate="2020.01.31", StudyTime="10:11:12")],
    "unknown character set": [set_to(SpecificCharacterSet="UTF-8")],
    "more digits than allowed": [long_numbers],
    "compressed with losses": [lossy],
    "empty compression": [set_to(LossyImageCompression="")],
    "secondary capture": [set_to(SOPClassUID=SecondaryCaptureImageStorage)],
}


def errors(path: Path) -> list[str]:
    """What dciodvfy calls an error or warns of; a DICOMDIR may lack what the series lacks too."""
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
    lines = [line for line in (told.stdout + told.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in lines if "needed to build DICOMDIR" not in line]


@pytest.mark.parametrize("name", CHANGES)
def test_valid_whatever_the_headers_lack(copy: Path, name: str) -> None:
    for change in CHANGES[name]:
        change_all(copy, change)
    made, notes = written(copy)
    without_frame = "FrameOfReferenceUID" in name or "all of these" in name
    assert notes == ([f"the series has no FrameOfReferenceUID; {NEW_FRAME}"] if without_frame else [])
    assert made.NumberOfFrames == 4
    assert made.FrameOfReferenceUID
    assert made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 5
    assert [made[empty].value for empty in ALWAYS_EMPTY] == [""] * 4
    assert errors(copy.parent / "mask.dcm") == []


@pytest.mark.parametrize(
    "given",
    [{"tilt_deg": 20.0}, {"tilt_deg": -12.5}, {"missing": (4,)}, {"syntax": JPEG2000Lossless}, {"syntax": RLELossless},
     {"thin": 4}, {"thin": 4, "tilt_deg": 20.0}],
    ids=str,
)  # fmt: skip
def test_valid_for_each_form_of_series(tmp_path: Path, given: dict) -> None:
    write_series(tmp_path / "head", short(), scout=False, **given)
    _, notes = written(tmp_path / "head")
    assert notes == []
    assert errors(tmp_path / "mask.dcm") == []


def test_values_that_are_not_of_their_type_are_left_out(copy: Path) -> None:
    change_all(copy, lambda header: (lossy(header), set_to(LossyImageCompressionRatio="10.0")(header)))
    for path in copy.iterdir():
        path.write_bytes(path.read_bytes().replace(b"10.0", b"10:1"))
    made, notes = written(copy)
    assert notes == []
    assert "LossyImageCompressionRatio" not in made


def test_jpeg_lossless(copy: Path) -> None:
    def compress(header: pydicom.Dataset) -> None:
        header.PixelData = encapsulate([imagecodecs.ljpeg_encode(header.pixel_array, bitspersample=16)])
        header.file_meta.TransferSyntaxUID = JPEGLosslessSV1

    change_all(copy, compress)
    assert written(copy)[1] == []
    assert errors(copy.parent / "mask.dcm") == []


def test_implicit_little_endian(copy: Path) -> None:
    change_all(copy, lambda header: setattr(header.file_meta, "TransferSyntaxUID", ImplicitVRLittleEndian))
    assert written(copy)[1] == []
    assert errors(copy.parent / "mask.dcm") == []


def test_empty_mask_is_a_valid_segmentation(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    made, notes = written(copy, np.zeros(read(copy).voxels.shape, bool))
    assert (notes, caplog.messages) == ([], [])
    assert not made.pixel_array.any()
    assert made.NumberOfFrames == 12  # no frame at all is not allowed
    assert errors(copy.parent / "mask.dcm") == []


@pytest.mark.parametrize(("character_set", "patient"), CHARACTER_SETS, ids=str)
def test_character_set_is_kept(copy: Path, character_set: object, patient: str) -> None:
    change_all(copy, set_to(SpecificCharacterSet=character_set, PatientID=patient))
    made, notes = written(copy)
    assert notes == []
    assert made.PatientID == patient
    kept = made.SpecificCharacterSet
    assert (kept if isinstance(kept, str) else [part or "" for part in kept]) == character_set
    if character_set not in ("GBK", "ISO_IR 13"):  # which dciodvfy does not know
        assert errors(copy.parent / "mask.dcm") == []


@pytest.mark.parametrize("character_set", ["UTF-8", "ISO_IR 100", "ISO_IR 13"])
def test_utf8_where_the_character_set_can_not_hold_the_text(
    copy: Path, monkeypatch: pytest.MonkeyPatch, character_set: str
) -> None:
    """As where software knows another set than the file declares."""
    change_all(copy, set_to(SpecificCharacterSet=character_set))
    read_text = segmentation_sources._text
    monkeypatch.setattr(
        segmentation_sources, "_text", lambda header, name: "患者1" if name == "PatientID" else read_text(header, name)
    )
    made, _ = written(copy)
    assert (made.PatientID, made.SpecificCharacterSet) == ("患者1", "ISO_IR 192")
    assert errors(copy.parent / "mask.dcm") == []


def test_bytes_of_an_undeclared_character_set_stay(copy: Path) -> None:
    """Nobody knows what they mean; a viewer shows both files in the same way."""
    change_all(copy, set_to(PatientID="患者1".encode("gb18030").decode("latin-1")))
    made, _ = written(copy)
    assert made.PatientID.encode("latin-1").decode("gb18030") == "患者1"
    assert "SpecificCharacterSet" not in made


def test_rounding_noise_of_headers_does_not_matter(copy: Path) -> None:
    """Orientation and spacing that differ from slice to slice by less than any voxel shows."""
    noise = np.random.default_rng(0)

    def change(header: pydicom.Dataset) -> None:
        for name in ("ImageOrientationPatient", "PixelSpacing"):
            values = np.array(header[name].value, float)
            setattr(header, name, [f"{value:.8f}" for value in values + noise.uniform(-1e-4, 1e-4, values.shape)])

    change_all(copy, change)
    made, notes = written(copy)
    assert (notes, len(made.PerFrameFunctionalGroupsSequence)) == ([], 4)
    assert errors(copy.parent / "mask.dcm") == []


def test_no_personal_data_but_the_id(copy: Path) -> None:
    secret = {"PatientAddress": "Street^7", "PatientComments": "Comment^7", "InstitutionName": "Hospital^7",
              "OtherPatientIDs": "Other^7", "StudyDescription": "Words^7", "PatientBirthDate": "19700707",
              "PatientName": NAME, "AccessionNumber": "A^7", "PatientAge": "077Y"}  # fmt: skip
    change_all(copy, set_to(**secret))
    written(copy)
    content = (copy.parent / "mask.dcm").read_bytes()
    assert [value for value in secret.values() if value.encode() in content] == []
    assert b"phantom" in content  # PatientID


def test_first_value_that_is_there_counts(copy: Path) -> None:
    """An ID that only some slices have is the patient's."""
    change_all(copy, lambda header: set_to(PatientID="" if header.InstanceNumber < 3 else "7")(header))
    assert written(copy)[0].PatientID == "7"


def test_new_frame_of_reference_is_the_same_for_each_mask_of_a_series(copy: Path) -> None:
    change_all(copy, lacks("FrameOfReferenceUID"))
    assert written(copy)[0].FrameOfReferenceUID == written(copy)[0].FrameOfReferenceUID


def test_slices_with_frames_of_reference_of_their_own(copy: Path) -> None:
    change_all(copy, lambda header: setattr(header, "FrameOfReferenceUID", f"1.2.{header.InstanceNumber}"))
    made, notes = written(copy)
    assert notes == [f"the slices differ in FrameOfReferenceUID; {NEW_FRAME}"]
    assert not made.FrameOfReferenceUID.startswith("1.2.3")
    assert errors(copy.parent / "mask.dcm") == []


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lacks("SOPInstanceUID"), r"SOPInstanceUID is missing in IM\d+\.dcm"),
        (emptied("SOPClassUID"), r"SOPClassUID is missing in IM\d+\.dcm"),
        (lacks("StudyInstanceUID"), r"StudyInstanceUID is missing in IM\d+\.dcm"),
        (lacks("SeriesInstanceUID"), r"SeriesInstanceUID is missing in IM\d+\.dcm"),
        (lambda header: setattr(header, "StudyInstanceUID", f"1.2.{header.InstanceNumber}"),
         r"IM\d+\.dcm and IM\d+\.dcm differ in StudyInstanceUID"),
        (set_to(SOPInstanceUID="1.2.3"),
         r"IM\d+\.dcm and IM\d+\.dcm have one SOPInstanceUID, so no viewer could tell .*; mask.nii.gz is not affected"),
    ],
)  # fmt: skip
def test_what_can_not_be_referred_to_is_named(copy: Path, change: Change, note: str) -> None:
    scan = read(copy)  # whether a scan can be read without these is not asked here
    change_all(copy, change)
    (found,) = segmentation.write(copy.parent / "mask.dcm", blood(scan), scan, FIXED)
    assert re.fullmatch(rf"mask\.dcm \(DICOM-SEG\) is not written: {note}", found)
    assert not (copy.parent / "mask.dcm").exists()


def in_mm(scan: Scan, mask: np.ndarray) -> np.ndarray:
    """Where the voxels of mask.nii.gz lie, LPS, sorted."""
    places = np.argwhere(scan.on_grid(mask)) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    places = places * (-1, -1, 1)
    return places[np.lexsort(places.round(2).T)]


def frames_in_mm(path: Path) -> np.ndarray:
    """Where the voxels of a Segmentation lie, read by highdicom frame by frame, LPS, sorted."""
    made = hd.seg.segread(path)
    shared, places = made.SharedFunctionalGroupsSequence[0], []
    along, down = np.reshape(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), (2, 3))
    for number, frame in enumerate(made.PerFrameFunctionalGroupsSequence, start=1):
        measures = (shared if "PixelMeasuresSequence" in shared else frame).PixelMeasuresSequence[0]
        between_rows, between_columns = map(float, measures.PixelSpacing)
        origin = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(made.get_stored_frame(number))
        places.append(origin + np.outer(columns, along * between_columns) + np.outer(rows, down * between_rows))
    places = np.concatenate(places)
    return places[np.lexsort(places.round(2).T)]


@pytest.mark.parametrize(
    "given", [{}, {"tilt_deg": 20.0}, {"tilt_deg": -12.5}, {"missing": (4, 5)}, {"missing": (4,), "tilt_deg": 15.0}],
    ids=str,
)  # fmt: skip
def test_voxels_lie_where_those_of_the_nifti_mask_lie(tmp_path: Path, given: dict) -> None:
    write_series(tmp_path / "head", short(), scout=False, **given)
    scan = read(tmp_path / "head")
    mask = blood(scan)
    segmentation.write(tmp_path / "mask.dcm", mask, scan, FIXED)
    assert len(frames_in_mm(tmp_path / "mask.dcm")) == mask.sum()
    np.testing.assert_allclose(frames_in_mm(tmp_path / "mask.dcm"), in_mm(scan, mask), atol=1e-3)


def test_highdicom_makes_the_same_volume_of_it(copy: Path) -> None:
    scan = read(copy)
    mask = blood(scan)
    written(copy, mask)
    volume = hd.seg.segread(copy.parent / "mask.dcm").get_volume(combine_segments=True)
    found = np.argwhere(volume.array) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    np.testing.assert_allclose(found[np.lexsort(found.round(2).T)], in_mm(scan, mask), atol=1e-3)


def test_itk_reads_it_at_the_same_place(copy: Path) -> None:
    """It takes frames for equally spaced, which those of one lesion are as a rule."""
    sitk = pytest.importorskip("SimpleITK")
    scan = read(copy)
    mask = blood(scan)
    written(copy, mask)
    image = sitk.ReadImage(copy.parent / "mask.dcm")
    found = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1].tolist()
    there = np.array([image.TransformIndexToPhysicalPoint(place) for place in found])
    np.testing.assert_allclose(there[np.lexsort(there.round(2).T)], in_mm(scan, mask), atol=1e-3)


def test_frames_refer_to_their_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "head", short(), missing=(5,))
    scan = read(tmp_path / "head")
    mask = np.zeros(scan.voxels.shape, bool)
    mask[3:6, 8, 6] = True  # columns 3 to 5 of row 8
    made, _ = written(tmp_path / "head", mask)
    (frame,) = made.PerFrameFunctionalGroupsSequence  # of slices with blood only
    source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    assert source == pydicom.dcmread(scan.sources[6]).SOPInstanceUID  # place 7, one below is missing
    assert np.argwhere(made.pixel_array.reshape(made.Rows, made.Columns)).tolist() == [[8, 3], [8, 4], [8, 5]]


def test_each_frame_has_the_thickness_and_place_of_its_slice(tmp_path: Path) -> None:
    """Slices of 2.5 mm below and 5 mm above: a frame's volume is that of the pixels times its slice's thickness."""
    write_series(tmp_path / "head", short(), scout=False, thin=2)
    scan = read(tmp_path / "head")
    made, _ = written(tmp_path / "head")
    assert "PixelMeasuresSequence" not in made.SharedFunctionalGroupsSequence[0]
    by_height = {
        float(frame.PlanePositionSequence[0].ImagePositionPatient[2]): frame.PixelMeasuresSequence[0]
        for frame in made.PerFrameFunctionalGroupsSequence
    }
    heights = [float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in scan.sources[2:6]]
    assert sorted(by_height) == pytest.approx(heights)
    assert [float(by_height[height].SliceThickness) for height in sorted(by_height)] == [2.5, 2.5, 5, 5]
    assert not any("SpacingBetweenSlices" in measures for measures in by_height.values())


def test_equal_slices_keep_their_spacing(copy: Path) -> None:
    (measures,) = written(copy)[0].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (5, 5)


def test_colour_is_that_of_the_outline_and_version_that_of_the_project(copy: Path) -> None:
    (segment,) = written(copy)[0].SegmentSequence
    colour = hd.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
    np.testing.assert_allclose(colour.to_rgb(), PREDICTION, atol=1)
    version = segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion
    assert version == record.version()
    root = Path(__file__).parents[2]
    assert f'\nversion = "{version}"\n' in (root / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text()


def test_without_highdicom_a_note_says_so(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation.backend, "has", lambda package: package != "highdicom")
    scan = read(copy)
    (note,) = segmentation.write(copy.parent / "mask.dcm", blood(scan), scan, FIXED)
    assert note == "mask.dcm (DICOM-SEG) is not written: highdicom is not installed"


def test_operating_point_is_recorded(copy: Path) -> None:
    scan = read(copy)
    path = copy.parent / "mask.dcm"
    segmentation.write(path, blood(scan), scan, Point(0.25, 30))
    (segment,) = pydicom.dcmread(path).SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert "threshold=0.25" in algorithm.AlgorithmParameters
    assert "min_lesion_mm3=30" in algorithm.AlgorithmParameters
