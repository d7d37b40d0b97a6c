"""The mask of a DICOM scan as a DICOM Segmentation object, which viewers lay over the series."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pydicom

from ich.predict.scan import Scan
from ich.runs import atomic

# Copied by highdicom from the scan; whom a mask is of is told by PatientID and the study's UID alone.
NAMES = ("PatientName", "PatientBirthDate", "ReferringPhysicianName", "AccessionNumber")


MISSING = "mask.dcm (DICOM-SEG) is not written: highdicom is not installed"
VERSION = "0.1.0"


def possible() -> bool:
    """Whether highdicom is installed."""
    return importlib.util.find_spec("highdicom") is not None


def write(path: Path, mask: np.ndarray, scan: Scan) -> None:
    """Write the bool mask (the file's voxels: columns, rows, slices) on the slices that were measured."""
    import highdicom as hd

    frames = np.ascontiguousarray(mask.transpose(2, 1, 0)[scan.real])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd values in the scan's own headers
        sources = [pydicom.dcmread(source, stop_before_pixels=True) for source in scan.sources]
        made = hd.seg.Segmentation(
            source_images=sources, pixel_array=frames.astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY, segment_descriptions=[_description(hd)],
            series_instance_uid=hd.UID(), series_number=9001, sop_instance_uid=hd.UID(), instance_number=1,
            manufacturer="ICH Detector", manufacturer_model_name="predict.py", software_versions=VERSION,
            device_serial_number="none", series_description="Predicted hemorrhage, for research only",
        )  # fmt: skip
        for name in NAMES:
            if name in made:
                setattr(made, name, "")
        with atomic(path) as temporary:
            made.save_as(temporary)


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
