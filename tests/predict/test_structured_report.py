"""The DICOM SR says what volumes.csv says, of the mask beside it, and is valid for each form of series."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from test_segmentation import (
    ALWAYS_EMPTY,
    CHANGES,
    CHARACTER_SETS,
    blood,
    change_all,
    copy,  # noqa: F401  (fixture)
    errors,
    read,
    series,  # noqa: F401  (fixture)
    set_to,
    short,
)

from ich.base import record
from ich.phantom.series import NAME, write_series
from ich.predict import measure, segmentation, structured_report
from ich.scans.scan import Scan
from ich.score.operating import FIXED, Point

hd = pytest.importorskip("highdicom")


def written(folder: Path, mask: np.ndarray | None = None, point: Point = FIXED) -> tuple[pydicom.Dataset, Scan]:
    """The report on a mask of the scan, as predict.py writes it beside mask.dcm."""
    scan = read(folder)
    mask = blood(scan) if mask is None else mask
    beside = folder.parent / "mask.dcm"
    segmentation.write(beside, mask, scan, point)
    path = folder.parent / "report.dcm"
    assert structured_report.write(path, beside, {1: measure.measures(mask, scan)}, point) == []
    return hd.sr.srread(path), scan


def groups_of(report: pydicom.Dataset) -> list:
    return report.content.get_volumetric_roi_measurement_groups()


def values(group: object) -> dict[str, tuple[float, str]]:
    """Meaning of the name -> value and unit."""
    return {found.name.meaning: (found.value, found.unit.value) for found in group.get_measurements()}


def test_measurements_are_those_of_the_mask(copy: Path) -> None:  # noqa: F811
    report, scan = written(copy)
    (group,) = groups_of(report)
    found = measure.measures(blood(scan), scan)
    assert values(group) == {
        "Volume": (pytest.approx(found["volume_ml"], abs=1e-3), "cm3"),
        "Number of lesions (observable entity)": (found["lesions"], "1"),
        "Long axis": (pytest.approx(found["largest_diameter_mm"], abs=0.01), "mm"),
    }
    assert found["lesions"] == 2
    assert group.finding_type == hd.sr.CodedConcept("50960005", "SCT", "Hemorrhage")
    assert group.finding_category == codes.SCT.MorphologicallyAbnormalStructure


def test_it_refers_to_the_segment_and_its_slices(copy: Path) -> None:  # noqa: F811
    report, scan = written(copy)
    (group,) = groups_of(report)
    mask = pydicom.dcmread(copy.parent / "mask.dcm")
    segment = group.referenced_segment
    assert (segment.referenced_sop_instance_uid, segment.referenced_segment_numbers) == (mask.SOPInstanceUID, [1])
    sources = {image.referenced_sop_instance_uid for image in segment.source_images_for_segmentation}
    assert sources == {pydicom.dcmread(path).SOPInstanceUID for path in scan.sources[2:6]}
    assert (report.StudyInstanceUID, report.PatientID) == (mask.StudyInstanceUID, mask.PatientID)
    evidence = [
        item.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for each in study.ReferencedSeriesSequence
        for item in each.ReferencedSOPSequence
    ]
    assert {mask.SOPInstanceUID, *sources} <= set(evidence)


def test_it_says_what_made_it_and_what_for(copy: Path) -> None:  # noqa: F811
    report, _ = written(copy, point=Point(0.25, 30))
    content = (copy.parent / "report.dcm").read_bytes()
    for told in ("ICH Detector", record.version(), "threshold=0.25", "min_lesion_mm3=30", record.RESEARCH_ONLY):
        assert told.encode() in content
    assert "research only" in report.SeriesDescription
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE", "PRELIMINARY", "UNVERIFIED",
    )  # fmt: skip


def test_no_lesion_is_reported_as_none(copy: Path) -> None:  # noqa: F811
    report, _ = written(copy, np.zeros(read(copy).voxels.shape, bool))
    (group,) = groups_of(report)
    assert values(group) == {"Volume": (0, "cm3"), "Number of lesions (observable entity)": (0, "1")}
    assert errors(copy.parent / "report.dcm") == []


def test_each_segment_has_its_measurements(copy: Path) -> None:  # noqa: F811
    """As where types of hemorrhage are segments of their own."""
    written(copy)
    beside = copy.parent / "mask.dcm"
    mask = pydicom.dcmread(beside)
    second = pydicom.dcmread(beside).SegmentSequence[0]
    second.SegmentNumber, second.SegmentLabel = 2, "epidural"
    mask.SegmentSequence.append(second)
    del mask.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence
    for place, frame in enumerate(mask.PerFrameFunctionalGroupsSequence):
        own = pydicom.Dataset()
        own.ReferencedSegmentNumber = 1 if place < 3 else 2
        frame.SegmentIdentificationSequence = [own]
    mask.save_as(beside)
    found = [{"volume_ml": float(k), "lesions": k, "largest_diameter_mm": 10.0 * k} for k in (1, 2)]
    path = copy.parent / "report.dcm"
    assert structured_report.write(path, beside, dict(enumerate(found, start=1)), FIXED) == []
    groups = groups_of(hd.sr.srread(path))
    assert [group.referenced_segment.referenced_segment_numbers for group in groups] == [[1], [2]]
    assert [group.tracking_identifier for group in groups] == ["intracranial hemorrhage", "epidural"]
    assert [len(group.referenced_segment.source_images_for_segmentation) for group in groups] == [3, 1]
    assert [values(group)["Volume"][0] for group in groups] == [1, 2]
    assert errors(path) == []


@pytest.mark.parametrize("name", ["without all of these", "invalid values", "no thickness", "secondary capture"])
def test_valid_whatever_the_headers_lack(copy: Path, name: str) -> None:  # noqa: F811
    for change in CHANGES[name]:
        change_all(copy, change)
    report, _ = written(copy)
    assert [report[empty].value for empty in ALWAYS_EMPTY] == [""] * 4
    assert errors(copy.parent / "report.dcm") == []


@pytest.mark.parametrize("given", [{}, {"tilt_deg": 20.0}, {"missing": (4,)}, {"thin": 4}], ids=str)
def test_valid_for_each_form_of_series(tmp_path: Path, given: dict) -> None:
    write_series(tmp_path / "head", short(), scout=False, **given)
    written(tmp_path / "head")
    assert errors(tmp_path / "report.dcm") == []


@pytest.mark.parametrize(("character_set", "patient"), CHARACTER_SETS, ids=str)
def test_character_set_is_kept(copy: Path, character_set: object, patient: str) -> None:  # noqa: F811
    change_all(copy, set_to(SpecificCharacterSet=character_set, PatientID=patient))
    assert written(copy)[0].PatientID == patient


def test_no_personal_data_but_the_id(copy: Path) -> None:  # noqa: F811
    secret = {"PatientName": NAME, "PatientBirthDate": "19700707", "InstitutionName": "Hospital^7",
              "AccessionNumber": "A^7", "PatientComments": "Comment^7"}  # fmt: skip
    change_all(copy, set_to(**secret))
    written(copy)
    content = (copy.parent / "report.dcm").read_bytes()
    assert [value for value in secret.values() if value.encode() in content] == []


def test_a_mask_that_is_no_segmentation_is_named(copy: Path) -> None:  # noqa: F811
    (note,) = structured_report.write(copy.parent / "report.dcm", next(copy.iterdir()), {}, FIXED)
    assert note.startswith("report.dcm (DICOM SR) is not written: ")
    assert not (copy.parent / "report.dcm").exists()
