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
    for what, values in {
        "patients (PatientID)": [image.patient for image in images],
        "studies (StudyInstanceUID)": [image.study for image in images],
    }.items():
        counts = collections.Counter(value for value in values if value)
        if len(counts) > 1:
            _refuse_two(what, counts, values, images, name)
    frames = [image.frame_of_reference for image in images]
    counts = collections.Counter(frame for frame in frames if frame)
    if sum(count >= LEAST_IMAGES for count in counts.values()) > 1:
        _refuse_two("frames of reference (FrameOfReferenceUID)", counts, frames, images, name)


def _refuse_two(
    what: str, counts: collections.Counter, values: Sequence[str], images: Sequence[Image], name: str
) -> None:  # fmt: skip
    parts = [f"{images_text(count)} such as {images[values.index(value)].path}" for value, count in
             counts.most_common(3)]  # fmt: skip
    raise InputError(f"{name}: holds {len(counts)} {what}: {', '.join(parts)}; expected one; {ADVICE}")


def one_form(images: Sequence[Image], name: str) -> tuple[list[Image], list[str]]:
    """The images of one size, spacing and orientation, and a note on one or two others.

    Raises InputError where three or more others are there, which may be another stack.
    """
    groups: list[list[Image]] = []
    for image in images:
        same = next((group for group in groups if _same_form(group[0], image)), None)
        if same is None and len(groups) < MOST_FORMS:
            groups.append([image])
        else:
            (groups[-1] if same is None else same).append(image)
    groups.sort(key=len, reverse=True)
    most, others = groups[0], list(itertools.chain(*groups[1:]))
    if len(others) >= LEAST_IMAGES:
        raise InputError(
            f"{name}: holds {len(groups)} stacks, which cannot be one volume: {'; '.join(map(_form, groups[:3]))}; "
            + ADVICE
        )
    return most, _strays(most, others)


def _same_form(one: Image, other: Image) -> bool:
    return (
        one.size == other.size
        and np.allclose(one.spacing, other.spacing, rtol=SAME_SPACING, atol=0)
        and np.allclose(one.axes, other.axes, rtol=0, atol=SAME_DIRECTION)
    )


def _form(group: list[Image]) -> str:
    first = group[0]
    tilt = np.degrees(np.arctan2(-first.normal[1], first.normal[2]))
    size = " x ".join(map(str, first.size))
    return (
        f"{images_text(len(group))} of {size} pixels of {first.spacing[0]:.3g} mm, tilted {tilt + 0.0:.1f} degrees "
        f"(such as {first.path})"
    )


def _strays(most: list[Image], others: list[Image]) -> list[str]:
    if not others:
        return []
    normal = most[0].normal
    heights = [image.place @ normal for image in most]
    inside = any(min(heights) <= image.place @ normal <= max(heights) for image in others)
    return [
        f"{images_text(len(others))} left out ({', '.join(image.path.name for image in others)}): other size, pixel "
        f"spacing or orientation than the rest{'; inside the scan, so the volume may be too small' if inside else ''}"
    ]


def in_order(images: Sequence[Image]) -> tuple[list[Image], np.ndarray]:
    """Sorted along the normal, from the feet up, and their heights above the lowest, mm."""
    normal = images[0].normal
    ordered = sorted(images, key=lambda image: float(image.place @ normal))
    heights = np.array([image.place @ normal for image in ordered])
    return ordered, heights - heights[0]


def check_one_acquisition(images: Sequence[Image], heights: np.ndarray, name: str) -> None:
    """Raise InputError for acquisitions that overlap in space; one that begins where another ends is the same scan."""
    spans: dict[str, list[float]] = {}
    for image, height in zip(images, heights, strict=True):
        if image.acquisition:
            spans.setdefault(image.acquisition, []).append(float(height))
    ordered = sorted(spans.items(), key=lambda item: (item[1][0], -item[1][-1]))
    highest = ordered[0] if ordered else ("", [])
    for number, places in ordered[1:]:
        if places[0] < highest[1][-1] - SAME_PLACE_MM:
            both = [f"{each} with {images_text(len(spans[each]))}" for each in (highest[0], number)]
            raise InputError(
                f"{name}: two acquisitions overlap in space (AcquisitionNumber {' and '.join(both)}), expected one; "
                + ADVICE
            )
        highest = max(highest, (number, places), key=lambda item: item[1][-1])


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
        if np.abs(first.place - second.place).max() >= SAME_PLACE_MM or not np.array_equal(
            pixels(first), pixels(second)
        ):
            raise InputError(
                f"{name}: {first.path} and {second.path} are different slices at one place; expected one "
                f"patient and one reconstruction in a series; {ADVICE}"
            )
    copies = len(images) - len(kept)
    note = f"left out {copies} {'copy' if copies == 1 else 'copies'} of slices (equal place and pixels)"
    return [images[index] for index in kept], heights[kept], [note] if copies else []


def check_line(images: Sequence[Image], heights: np.ndarray, name: str) -> None:
    """Raise InputError when a slice lies sideways of the line through the others."""
    sides = np.array([image.axes @ image.place for image in images])  # mm along rows and columns
    half = len(images) // 2
    slope = np.median((sides[half:] - sides[: len(sides) - half]).T / (heights[half:] - heights[: -half or None]), 1)
    sides = sides - heights[:, None] * slope
    off = np.abs(sides - np.median(sides, axis=0)) / images[0].spacing[::-1]
    worst = int(off.max(axis=1).argmax())
    if off[worst].max() > MOST_SIDEWAYS:
        image = images[worst]
        number = int((off.max(axis=1) > MOST_SIDEWAYS).sum())
        raise InputError(
            f"{name}: {images_text(number)} shifted sideways from the line of the others, {image.path.name} by "
            f"{(off[worst] * image.spacing[::-1]).max():.1f} mm; expected one straight stack, reslice the scan first"
        )
