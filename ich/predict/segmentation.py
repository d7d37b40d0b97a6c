"""The mask of a DICOM scan as a DICOM Segmentation object, which viewers lay over the series."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom

from ich.base import backend
from ich.base.files import atomic
from ich.base.record import version
from ich.draw.colours import PREDICTION
from ich.predict.segmentation_sources import sources
from ich.scans import dicom_file
from ich.scans.scan import Scan
from ich.score.operating import Point

if TYPE_CHECKING:
    import highdicom as hd

ALGORITHM = "ICH Detector"
NOT_WRITTEN = "mask.dcm (DICOM-SEG) is not written"


def write(path: Path, mask: np.ndarray, scan: Scan, point: Point) -> list[str]:
    """Write the bool mask (columns, rows, slices) on the slices that were measured; `point` is how it was cut.

    Returns notes: why it could not be written (highdicom is not installed, or the headers of the series lack what
    refers to its slices), or what its headers lack that had to be made up.
    """
    if not backend.has("highdicom"):
        return [f"{NOT_WRITTEN}: highdicom is not installed"]
    notes: list[str] = []

    def make() -> pydicom.Dataset:
        headers, lacking = sources(scan)
        notes.extend(lacking)
        return _segmentation(mask, headers, point)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd values in the scan's own headers
        return save(path, make, NOT_WRITTEN) or notes


def save(path: Path, make: Callable[[], pydicom.Dataset], not_written: str) -> list[str]:
    """Write what `make` returns as a DICOM file, atomically. Returns a note `not_written: why` where that fails.

    Raises OSError when the disk refuses it.
    """
    try:
        made = make()
        with atomic(path) as temporary:
            made.save_as(temporary)
    except OSError:
        raise
    except Exception as error:  # the headers hold no name, so no error's text does
        return [f"{not_written}: {dicom_file.one_line(error)}"]
    return []


def _segmentation(mask: np.ndarray, headers: list[pydicom.Dataset], point: Point) -> pydicom.Dataset:
    """The Segmentation of a mask (columns, rows, slices); `headers` are those of its slices."""
    import highdicom as hd

    made = hd.seg.Segmentation(
        source_images=headers, pixel_array=np.ascontiguousarray(mask.transpose(2, 1, 0)).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY, segment_descriptions=[_description(point)],
        series_instance_uid=hd.UID(), series_number=9001, sop_instance_uid=hd.UID(), instance_number=1,
        manufacturer=ALGORITHM, manufacturer_model_name="predict.py", software_versions=version(),
        device_serial_number="none", series_description="Predicted hemorrhage, for research only",
        omit_empty_frames=bool(mask.any()),  # at least one must be there; of an empty mask it writes all
        specific_character_set=None,  # highdicom refuses some that are valid
    )  # fmt: skip
    if character_set := headers[0].SpecificCharacterSet:
        made.SpecificCharacterSet = character_set
    _measure_each_frame(made, headers)
    return made


def _measure_each_frame(made: pydicom.Dataset, headers: list[pydicom.Dataset]) -> None:
    """Give each frame the thickness of its own slice, where slices differ; highdicom gives all that of the first."""
    thickness = {str(header.SOPInstanceUID): header.SliceThickness for header in headers}
    if np.ptp(list(thickness.values())) < 1e-3:
        return
    (common,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    for frame in made.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        own = pydicom.Dataset()
        own.PixelSpacing, own.SliceThickness = common.PixelSpacing, thickness[str(source)]
        frame.PixelMeasuresSequence = [own]


def parameters(point: Point) -> dict[str, str]:
    """How a mask was cut, as the parameters of the algorithm."""
    return {name: f"{value:.9g}" for name, value in point._asdict().items()}


def _description(point: Point) -> "hd.seg.SegmentDescription":
    import highdicom as hd
    from pydicom.sr.codedict import codes

    blood = hd.sr.CodedConcept("50960005", "SCT", "Hemorrhage")
    return hd.seg.SegmentDescription(
        segment_number=1, segment_label="intracranial hemorrhage",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure, segmented_property_type=blood,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=ALGORITHM, version=version(), family=codes.cid7162.ArtificialIntelligence,
            parameters=parameters(point),
        ),
        display_color=hd.color.CIELabColor.from_rgb(*PREDICTION),
    )  # fmt: skip
