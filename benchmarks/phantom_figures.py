"""How phantoms compare with real head CTs, in numbers: brain, noise, shape of the head, and blood.

    python benchmarks/phantom_figures.py demo/data      (a data folder of split_raw_data.py, window 40/120)

Each row gives the percentiles 5, 25, 50, 75, 95 over the slices with brain, over those with blood, or over the
patients with blood, beside those of CT-ICH 1.3.1 (aggregate figures). Larger slices are averaged to 128 px. HU are
known from -20 to 100.
docs/phantoms.md explains the styles of phantoms.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage

from ich.base import paths
from ich.base.files import read_json
from ich.base.script import run
from ich.data.table import read_slices
from ich.scans.png import read_image, read_label

SIZE = 128  # pixels per side at which figures are taken
LOW_HU, WIDTH_HU = -20.0, 120.0  # window 40/120
SKIN_GREY, BONE_GREY = 60, 250  # of 255: 8 HU, brighter than fat; as bright as the window shows
LEAST_BRAIN = 0.06  # part of the frame; slices with less are not counted
MARGIN_PX = 3  # between bone and the brain that is measured
RING_PX = (1, 4)  # around a lesion: from, to
PERCENTILES = (5, 25, 50, 75, 95)
CT_ICH: dict[str, tuple[float, ...]] = {  # CT-ICH 1.3.1, aggregate figures of 75 patients, 318 slices with blood
    "brain, median HU": (31.3, 33.7, 34.6, 36.5, 40.7),
    "brain, standard deviation, HU": (5.0, 5.7, 6.4, 7.5, 9.9),
    "noise, HU": (2.0, 2.3, 2.4, 2.6, 3.3),
    "head height / frame": (0.56, 0.67, 0.73, 0.79, 0.83),
    "head width / frame": (0.52, 0.58, 0.62, 0.66, 0.70),
    "head centre, rows / frame": (-0.04, -0.01, 0.01, 0.02, 0.06),
    "head centre, columns / frame": (-0.06, -0.02, 0.00, 0.02, 0.07),
    "skull thickness, px of 128": (2.4, 2.9, 3.8, 5.0, 7.6),
    "blood, median HU": (16.7, 49.1, 58.1, 64.8, 74.3),
    "blood, standard deviation, HU": (6.3, 8.6, 10.8, 13.5, 18.1),
    "ring around blood, median HU": (31.6, 35.5, 37.4, 39.6, 42.1),
    "contrast, blood - ring, HU": (-20.7, 11.9, 22.1, 26.6, 34.6),
    "blood, % of the frame": (0.09, 0.27, 0.57, 1.30, 3.61),
    "pieces of blood in a slice": (1, 1, 1, 2, 3),
    "blood to bone, % of the frame": (1.1, 1.6, 2.3, 3.2, 5.1),
    "slices with blood a patient": (2, 5, 9, 12, 17),
    "blood a patient, px of 128": (27, 208, 438, 1077, 4448),
}
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of split_raw_data.py")
    print(as_table(percentiles(measure_folder(parser.parse_args().data))))


def measure_folder(data: Path) -> pd.DataFrame:
    """One row a slice: `patient`, `pixels` of blood at 128 px, and the figures of `measure` (NaN where it has none).

    Raises InputError for a folder or a picture that cannot be read.
    """
    size = min(read_json(data / paths.RUN, ("image_size",))["image_size"], SIZE)
    rows = []
    for row in read_slices(data).itertuples():
        grey, blood = read_image(data / row.image, 1, size)[:, :, 0], read_label(data / row.label, size)
        rows.append({"patient": str(row.patient), "pixels": blood.sum(), **measure(grey, blood)})
    return pd.DataFrame(rows)


def measure(grey: np.ndarray, blood: np.ndarray) -> Figures:
    """Figures of one slice, `grey` uint8 of the window 40/120, `blood` bool; none where there is hardly any brain."""
    head = largest(grey > SKIN_GREY)
    bone = (grey >= BONE_GREY) & head
    cavity = (
        ndimage.binary_fill_holes(cv2.morphologyEx(bone.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))) & ~bone
    )
    brain = largest(ndimage.binary_erosion(cavity, iterations=MARGIN_PX), fill=False) if cavity.any() else cavity
    figures: Figures = {}
    if brain.mean() >= LEAST_BRAIN:
        figures = _brain_figures(grey, brain & ~blood) | _head_figures(head, bone)
    return figures | (_blood_figures(grey, blood, bone) if blood.any() else {})


def largest(mask: np.ndarray, fill: bool = True) -> np.ndarray:
    """The largest connected part of a mask, by default with its holes."""
    parts, count = ndimage.label(mask)
    part = parts == 1 + np.argmax(np.bincount(parts.ravel(), minlength=2)[1:]) if count else mask
    return ndimage.binary_fill_holes(part) if fill else part


def to_hu(grey: np.ndarray) -> np.ndarray:
    """HU of the greys 0 to 255 of the window 40/120."""
    return LOW_HU + grey.astype(np.float32) * (WIDTH_HU / 255)


def _brain_figures(grey: np.ndarray, brain: np.ndarray) -> Figures:
    hu = to_hu(grey)
    fine = (hu - cv2.blur(hu, (3, 3)))[brain]
    robust = 1.4826 * float(np.median(abs(fine - np.median(fine))))  # the deviation of a normal distribution
    return {"brain, median HU": float(np.median(hu[brain])), "brain, standard deviation, HU": float(hu[brain].std()),
            "noise, HU": robust}  # fmt: skip


def _head_figures(head: np.ndarray, bone: np.ndarray) -> Figures:
    (top, bottom), (left, right) = (np.flatnonzero(head.any(axis))[[0, -1]] for axis in (1, 0))
    rows, columns = head.shape
    skull = largest(bone).astype(np.uint8)
    outlines, _ = cv2.findContours(skull, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    around = max(cv2.arcLength(outline, True) for outline in outlines) if outlines else np.nan
    return {"head height / frame": (bottom - top + 1) / rows, "head width / frame": (right - left + 1) / columns,
            "head centre, rows / frame": (top + bottom + 1) / 2 / rows - 0.5,
            "head centre, columns / frame": (left + right + 1) / 2 / columns - 0.5,
            "skull thickness, px of 128": float((bone & (skull > 0)).sum()) / max(around, 1.0)}  # fmt: skip


def _blood_figures(grey: np.ndarray, blood: np.ndarray, bone: np.ndarray) -> Figures:
    hu, wide = to_hu(grey), blood.astype(np.uint8)
    near, far = (cv2.dilate(wide, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1,) * 2)) > 0 for r in RING_PX)
    ring = far & ~near & ~bone & (grey > 0)
    median = float(np.median(hu[blood]))
    around = float(np.median(hu[ring])) if ring.any() else np.nan
    to_bone = (
        np.median(cv2.distanceTransform(1 - bone.astype(np.uint8), cv2.DIST_L2, 5)[blood]) if bone.any() else np.nan
    )
    return {"blood, median HU": median, "blood, standard deviation, HU": float(hu[blood].std()),
            "ring around blood, median HU": around, "contrast, blood - ring, HU": median - around,
            "blood, % of the frame": 100 * float(blood.mean()),
            "pieces of blood in a slice": float(ndimage.label(blood, np.ones((3, 3)))[1]),
            "blood to bone, % of the frame": 100 * float(to_bone) / len(grey)}  # fmt: skip


def percentiles(slices: pd.DataFrame) -> dict[str, np.ndarray]:
    """The PERCENTILES of each figure over slices, of blood over patients who bleed; NaN where nothing has it."""
    bleeding = slices[slices["pixels"] > 0].groupby("patient")["pixels"]
    values = {name: slices[name].dropna() for name in CT_ICH if name in slices}
    values |= {"slices with blood a patient": bleeding.count(), "blood a patient, px of 128": bleeding.sum()}
    missing = np.full(len(PERCENTILES), np.nan)
    return {name: np.percentile(v, PERCENTILES) if len(v := values.get(name, ())) else missing for name in CT_ICH}


def as_table(found: dict[str, np.ndarray]) -> str:
    """A Markdown table: each figure, CT-ICH, and what was found."""
    rows = ["| figure, percentiles 5 25 50 75 95 | CT-ICH | here |", "|---|---|---|"]
    rows += [f"| {name} | {_numbers(name, real)} | {_numbers(name, found[name])} |" for name, real in CT_ICH.items()]
    return "\n".join(rows)


def _numbers(name: str, values: tuple[float, ...] | np.ndarray) -> str:
    digits = 0 if "patient" in name or "pieces" in name else 2 if "/ frame" in name or "% of" in name else 1
    return " ".join("-" if np.isnan(v) else f"{v:.{digits}f}" for v in values)


if __name__ == "__main__":
    run(main)
