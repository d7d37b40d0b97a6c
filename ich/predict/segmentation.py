"""The mask of a DICOM scan as a DICOM Segmentation object, which viewers lay over the series."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import keyword_for_tag

from ich.predict.scan import Scan
from ich.rsna import dicom_file
from ich.runs import atomic

# What highdicom sees of the scan, since it copies all it knows of patient, study and equipment into the mask.
KEPT = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID",
    "PatientSex", "StudyDate", "StudyTime", "StudyID", "SeriesNumber", "InstanceNumber", "Modality", "ImageType",
    "Rows", "Columns", "PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
    "PositionReferenceIndicator",
)  # fmt: skip
EMPTY = ("PatientName", "PatientBirthDate", "ReferringPhysicianName", "AccessionNumber")  # must be there

MISSING = "mask.dcm (DICOM-SEG) is not written: highdicom is not installed"
VERSION = "0.1.0"


def possible() -> bool:
    """Whether highdicom is installed."""
    return importlib.util.find_spec("highdicom") is not None


def write(path: Path, mask: np.ndarray, scan: Scan) -> str:
    """Write the bool mask (columns, rows, slices) on the slices that were measured.

    Returns a note where it can't be: highdicom is not installed, or asks for more than the series' headers hold.
    """
    if not possible():
        return MISSING
    try:
        _write(path, mask, scan)
    except OSError:
        raise
    except Exception as error:  # an error's text may hold a patient's name, but for names of elements
        reason = str(error) if isinstance(error, AttributeError) else type(error).__name__
        return f"mask.dcm (DICOM-SEG) is not written: the headers of the series do not allow it ({reason})"
    return ""


def _write(path: Path, mask: np.ndarray, scan: Scan) -> None:
    import highdicom as hd

    frames = np.ascontiguousarray(mask.transpose(2, 1, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd values in the scan's own headers
        sources = [_reduced(source) for source in scan.sources]
        made = hd.seg.Segmentation(
            source_images=sources, pixel_array=frames.astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY, segment_descriptions=[_description(hd)],
            series_instance_uid=hd.UID(), series_number=9001, sop_instance_uid=hd.UID(), instance_number=1,
            manufacturer="ICH Detector", manufacturer_model_name="predict.py", software_versions=VERSION,
            device_serial_number="none", series_description="Predicted hemorrhage, for research only",
        )  # fmt: skip
        with atomic(path) as temporary:
            made.save_as(temporary)


def _reduced(path: Path) -> pydicom.Dataset:
    """The header of a slice without what could tell who the patient is, PatientID and the study's UID apart."""
    header = dicom_file.read(path, pixels=False)
    for tag in list(header.keys()):
        if keyword_for_tag(tag) not in KEPT:
            del header[tag]
    for name in EMPTY:
        setattr(header, name, "")
    return header


def _description(hd: object) -> object:
    codes = pydicom.sr.codedict.codes
    blood = hd.sr.CodedConcept("50960005", "SCT", "Hemorrhage")
    return hd.seg.SegmentDescription(
        segment_number=1, segment_label="intracranial hemorrhage",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure, segmented_property_type=blood,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="ICH Detector", version=VERSION, family=codes.cid7162.ArtificialIntelligence
        ),
    )  # fmt: skip
