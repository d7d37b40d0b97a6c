"""The images of one series as one stack: what cannot be one volume is refused, copies and strays are left out."""

import collections
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from ich.base.errors import InputError
from ich.scans.dicom_choice import LEAST_IMAGES, images_text
from ich.scans.dicom_image import Image

SAME_PLACE_MM = 0.01
SAME_DIRECTION = 2e-3  # of unit vectors: 0.1 degrees, far above the rounding of headers
SAME_SPACING = 1e-3  # share: half a pixel over a slice of 512
MOST_FORMS = 20  # are compared; more are refused as well, and thousands would take long
MOST_SIDEWAYS = 1.0  # pixels off the line of the others
ADVICE = "move the files of one to another folder, and predict each folder with a call of its own"


def check_one_patient(images: Sequence[Image], name: str) -> None:
    """Raise InputError for images of two patients, studies or frames of reference. No id is shown."""
    for tag, values, fewest in (
        ("patients (PatientID)", [image.patient for image in images], 1),
        ("studies (StudyInstanceUID)", [image.study for image in images], 1),
        ("frames of reference (FrameOfReferenceUID)", [image.frame_of_reference for image in images], LEAST_IMAGES),
    ):
        counts = collections.Counter(filter(None, values))
        if sum(count >= fewest for count in counts.values()) > 1:
            examples = [
                f"{images_text(count)} such as {images[values.index(value)].path}"
                for value, count in counts.most_common(3)
            ]
            raise InputError(f"{name}: holds {len(counts)} {tag}: {', '.join(examples)}; expected one; {ADVICE}")


def one_form(images: Sequence[Image], name: str) -> tuple[list[Image], list[str]]:
    """The images of one size, spacing and orientation, and a note on one or two others.

    Raises InputError where three or more others are there, which may be another stack.
    """
    groups: list[list[Image]] = []
    for image in images:
        group = next((group for group in groups if _same_form(group[0], image)), None)
        if group is None and len(groups) < MOST_FORMS:
            groups.append([image])
        else:
            (group or groups[-1]).append(image)
    groups.sort(key=len, reverse=True)
    most, others = groups[0], [image for group in groups[1:] for image in group]
    if len(others) >= LEAST_IMAGES:
        forms = "; ".join(map(_form, groups[:3]))
        raise InputError(f"{name}: holds {len(groups)} stacks, which cannot be one volume: {forms}; {ADVICE}")
    return most, _strays(most, others)


def _same_form(one: Image, other: Image) -> bool:
    return (
        one.size == other.size
        and np.allclose(one.spacing, other.spacing, rtol=SAME_SPACING, atol=0)
        and np.allclose(one.axes, other.axes, rtol=0, atol=SAME_DIRECTION)
    )


def _form(group: list[Image]) -> str:
    first = group[0]
    tilt = np.degrees(np.arctan2(-first.normal[1], first.normal[2])) + 0.0
    rows, columns = first.size
    return (
        f"{images_text(len(group))} of {rows} x {columns} pixels of {first.spacing[0]:.3g} mm, tilted {tilt:.1f} "
        f"degrees (such as {first.path})"
    )


def _strays(most: list[Image], others: list[Image]) -> list[str]:
    if not others:
        return []
    heights = [image.position @ most[0].normal for image in most]
    inside = any(min(heights) <= image.position @ most[0].normal <= max(heights) for image in others)
    return [
        f"{images_text(len(others))} left out ({', '.join(image.path.name for image in others)}): other size, pixel "
        f"spacing or orientation than the rest{'; inside the scan, so the volume may be too small' * inside}"
    ]


def in_order(images: Sequence[Image]) -> tuple[list[Image], np.ndarray]:
    """Sorted along the normal, from the feet up, and their heights above the lowest, mm."""
    heights = np.array([image.position @ images[0].normal for image in images])
    order = np.argsort(heights, kind="stable")
    return [images[index] for index in order], heights[order] - heights.min()


def check_one_acquisition(images: Sequence[Image], heights: np.ndarray, name: str) -> None:
    """Raise InputError for acquisitions that overlap in space; one that begins where another ends is the same scan."""
    spans: dict[str, list[float]] = {}
    for image, height in zip(images, heights, strict=True):
        if image.acquisition:
            spans.setdefault(image.acquisition, []).append(float(height))
    ordered = sorted(spans, key=lambda number: (spans[number][0], -spans[number][-1]))
    for first, second in itertools.pairwise(ordered):  # if any two overlap, so do two neighbours in this order
        if spans[second][0] < spans[first][-1] - SAME_PLACE_MM:
            both = " and ".join(f"{number} with {images_text(len(spans[number]))}" for number in (first, second))
            raise InputError(
                f"{name}: two acquisitions overlap in space (AcquisitionNumber {both}), expected one; {ADVICE}"
            )


def without_copies(
    images: Sequence[Image], heights: np.ndarray, pixels: Callable[[Image], np.ndarray], name: str
) -> tuple[list[Image], np.ndarray, list[str]]:
    """Each place once, and a note on copies: images of one place with equal pixels.

    Raises InputError for different images at one place.
    """
    kept = [0]
    for index in range(1, len(images)):
        if heights[index] - heights[kept[-1]] >= SAME_PLACE_MM:
            kept.append(index)
            continue
        first, second = images[kept[-1]], images[index]
        apart = np.abs(first.position - second.position).max() >= SAME_PLACE_MM
        if apart or not np.array_equal(pixels(first), pixels(second)):
            raise InputError(
                f"{name}: {first.path} and {second.path} are different slices at one place; expected one "
                f"patient and one reconstruction in a series; {ADVICE}"
            )
    copies = len(images) - len(kept)
    note = f"left out {copies} {'copy' if copies == 1 else 'copies'} of slices (equal place and pixels)"
    return [images[index] for index in kept], heights[kept], [note] * bool(copies)


def check_line(images: Sequence[Image], heights: np.ndarray, name: str) -> None:
    """Raise InputError when a slice lies sideways of the line through the others."""
    sides = np.array([image.axes @ image.position for image in images])  # mm along rows and columns
    half = len(images) // 2  # slopes between slices half a scan apart
    slope = np.median((sides[half:] - sides[:-half]) / (heights[half:] - heights[:-half])[:, None], axis=0)
    sides -= heights[:, None] * slope
    off_mm = np.abs(sides - np.median(sides, axis=0))
    off_pixels = (off_mm / images[0].spacing[::-1]).max(axis=1)
    worst = int(off_pixels.argmax())
    if off_pixels[worst] > MOST_SIDEWAYS:
        number = int((off_pixels > MOST_SIDEWAYS).sum())
        raise InputError(
            f"{name}: {images_text(number)} shifted sideways from the line of the others, {images[worst].path.name} "
            f"by {off_mm[worst].max():.1f} mm; expected one straight stack, reslice the scan first"
        )
