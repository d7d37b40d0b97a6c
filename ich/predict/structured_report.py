"""What is said of a DICOM scan's mask as a DICOM Structured Report (TID 1500), which refers to the Segmentation."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
from pydicom.uid import generate_uid

from ich.base import record
from ich.predict.segmentation import ALGORITHM, parameters, save
from ich.score.operating import Point

if TYPE_CHECKING:
    import highdicom as hd

SEGMENT = "SegmentIdentificationSequence"
NOT_WRITTEN = "report.dcm (DICOM SR) is not written"


def write(path: Path, segmentation: Path, found: Mapping[int, Mapping[str, Any]], point: Point) -> list[str]:
    """Write the report on the file of a Segmentation; `found` is that of measure.measures by segment number.

    `point` is how the mask was cut. Returns notes: why the report could not be written.
    """
    return save(
        path, lambda: _report(pydicom.dcmread(segmentation, stop_before_pixels=True), found, point), NOT_WRITTEN
    )


def _report(mask: pydicom.Dataset, found: Mapping[int, Mapping[str, Any]], point: Point) -> pydicom.Dataset:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    groups = [_group(mask, segment, found[segment.SegmentNumber], point) for segment in mask.SegmentSequence]
    content = hd.sr.MeasurementReport(
        observation_context=_observer(), procedure_reported=codes.LN.HeadCT, imaging_measurements=groups
    )
    made = hd.sr.ComprehensiveSR(
        evidence=[mask, *_slices(mask)], content=content, series_instance_uid=hd.UID(), series_number=9002,
        sop_instance_uid=hd.UID(), instance_number=1, manufacturer=ALGORITHM, is_complete=True,
        manufacturer_model_name="predict.py", software_versions=record.version(), device_serial_number="none",
        series_description="Measurements of predicted hemorrhage, for research only",
        specific_character_set=None,  # highdicom refuses some that are valid
    )  # fmt: skip
    if character_set := mask.get("SpecificCharacterSet"):
        made.SpecificCharacterSet = character_set
    return made


def _observer() -> "hd.sr.ObservationContext":
    """The program, which is no person: the same device for each report of a version."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    uid = generate_uid(entropy_srcs=[ALGORITHM, record.version()])
    device = hd.sr.DeviceObserverIdentifyingAttributes(uid=uid, name=ALGORITHM, model_name="predict.py")
    return hd.sr.ObservationContext(observer_device_context=hd.sr.ObserverContext(codes.DCM.Device, device))


def _group(
    mask: pydicom.Dataset, segment: pydicom.Dataset, found: Mapping[str, Any], point: Point
) -> "hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations":
    """The measurements of a segment, of the kind of finding that the Segmentation says it is."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    kind, category = (
        hd.sr.CodedConcept.from_dataset(segment[f"SegmentedProperty{name}CodeSequence"][0])
        for name in ("Type", "Category")
    )
    settings = [f"{name}={value}" for name, value in parameters(point).items()]
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), str(segment.SegmentLabel)),
        referenced_segment=_reference(mask, segment.SegmentNumber),
        finding_type=kind, finding_category=category, measurements=list(_measurements(found)),
        algorithm_id=hd.sr.AlgorithmIdentification(ALGORITHM, record.version(), settings),
    )  # fmt: skip
    contains = hd.sr.RelationshipTypeValues.CONTAINS
    group[0].ContentSequence.append(hd.sr.TextContentItem(codes.DCM.Comment, record.RESEARCH_ONLY, contains))
    return group


def _reference(mask: pydicom.Dataset, number: int) -> "hd.sr.ReferencedSegment":
    """The segment and the slices that it lies on, all of the mask's where it has no frame.

    highdicom's own `from_segmentation` does not find the number that all frames share.
    """
    import highdicom as hd

    (shared,) = mask.SharedFunctionalGroupsSequence
    images = {}
    for frame in mask.PerFrameFunctionalGroupsSequence:
        (segment,) = (frame if SEGMENT in frame else shared)[SEGMENT]
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        if segment.ReferencedSegmentNumber == number:
            images[source.ReferencedSOPInstanceUID] = source.ReferencedSOPClassUID
    images = images or {each.SOPInstanceUID: each.SOPClassUID for each in _slices(mask)}
    sources = [hd.sr.SourceImageForSegmentation(kind, uid) for uid, kind in images.items()]
    return hd.sr.ReferencedSegment(mask.SOPClassUID, mask.SOPInstanceUID, number, source_images=sources)


def _measurements(found: Mapping[str, Any]) -> Iterator["hd.sr.Measurement"]:
    """Volume (1 cm3 is 1 ml), lesions and, where there are any, the longest line within one slice."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    yield hd.sr.Measurement(codes.SCT.Volume, round(found["volume_ml"], 3), codes.UCUM.CubicCentimeter)
    yield hd.sr.Measurement(codes.SCT.NumberOfLesions, found["lesions"], codes.UCUM.NoUnits)
    if found["lesions"]:
        longest = round(found["largest_diameter_mm"], 2)
        yield hd.sr.Measurement(codes.SCT.LongAxis, longest, codes.UCUM.Millimeter, derivation=codes.SCT.Maximum)


def _slices(mask: pydicom.Dataset) -> list[pydicom.Dataset]:
    """What a report has to know of the slices that a Segmentation refers to."""
    slices = []
    for series in mask.ReferencedSeriesSequence:
        for instance in series.ReferencedInstanceSequence:
            made = pydicom.Dataset()
            made.StudyInstanceUID, made.SeriesInstanceUID = mask.StudyInstanceUID, series.SeriesInstanceUID
            made.SOPClassUID, made.SOPInstanceUID = instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID
            slices.append(made)
    return slices
