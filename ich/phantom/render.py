"""From the fields of a phantom head to Hounsfield units: tissues, partial volume, scanner noise and artefacts."""

from dataclasses import dataclass

import cv2
import numpy as np

from ich.phantom.shapes import Field, soft_step, union
from ich.phantom.style import Look

AIR, FAT, SKIN, MUSCLE, REST = -1000.0, -80.0, 40.0, 52.0, 15.0  # HU
CSF, WHITE, GREY, BRAINSTEM, OEDEMA, GLOBE = 7.0, 28.0, 38.0, 30.0, 17.0, 12.0  # HU
CALCIUM, PRESSED = 190.0, 32.0  # HU; brain whose sulci are pressed shut
CORTICAL_BONE, DIPLOE, FACE_BONE, CRACK = 1400.0, 750.0, 900.0, 120.0  # HU
CORTEX_MM, SULCUS_MM, SULCUS_DEPTH_MM = 3.2, 0.5, 24.0
SWOLLEN_MM = 0.7  # a sulcus full of blood is wider on each side
EDGE_MM = 0.9  # partial volume across an upright edge
CUPPING_MM = 3.0  # reach of the beam hardening beside bone
SMALLEST_BLOOD = 80 / 512**2  # part of the image; less than that on a slice is not drawn


@dataclass(frozen=True)
class Lesion:
    """One bleeding: `region` is a field in mm; `place` limits it to "cavity", "ventricles" or "csf" (outside them)."""

    kind: str
    region: Field
    place: str
    hu: Field  # HU of the blood, same shape as region
    oedema: float = 0.0  # width of the dark rim, mm
    squeeze: float = 0.0  # sulci nearer than this, in mm, are pressed shut
    loose: float = 0.0  # mm that the outline of the mask lies outside the blood
    joined: float = 0.0  # mm; pieces nearer to each other than this are outlined as one


class View:
    """The fields of one slice, each enlarged to (size, size) when it is first asked for."""

    def __init__(self, fields: dict[str, Field], index: int, size: int):
        self._coarse = {name: field[index] for name, field in fields.items()}
        self._fine: dict[str, Field] = {}
        self.size = size

    def __getitem__(self, name: str) -> Field:
        if name not in self._fine:
            self._fine[name] = enlarge(self._coarse[name], self.size)
        return self._fine[name]

    def part(self, name: str, center: float = 0.0, width: float = EDGE_MM) -> Field | None:
        """Fraction 0..1 of each pixel inside a field; None where the slice holds nothing of it."""
        if name not in self._coarse or self._coarse[name].max() <= center - width:
            return None
        return soft_step(self[name], center, width)


def enlarge(coarse: Field, size: int) -> Field:
    """One slice of a field, (cells, cells), at (size, size)."""
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def paint(hu: Field, part: Field | None, value: Field | float) -> None:
    """Mix `value` into `hu` in place, by the fraction `part` of each pixel."""
    if part is not None:
        hu += part * (value - hu)


def render(
    fields: dict[str, Field], lesions: list[Lesion], crack: Field | None, atrophy: float, look: Look, pixel: float,
    size: int, rng: np.random.Generator,
) -> tuple[Field, Field]:  # fmt: skip
    """CT (slices, size, size) in HU, and the blood fraction 0..1 per lesion (lesions, slices, size, size).

    `pixel` is the pixel's size in mm at this `size`.
    """
    slices = fields["depth"].shape[0]
    hu = np.empty((slices, size, size), np.float32)
    blood = np.zeros((len(lesions), slices, size, size), np.float32)
    noise = rng.standard_normal((slices, size, size), dtype=np.float32)
    steps = abs(np.gradient(fields["depth"], axis=0))
    for k in range(slices):
        view = View(fields, k, size)
        shell = steps[k][abs(fields["depth"][k]) < 3]
        edge = float(np.clip(np.median(shell), EDGE_MM, 5)) if shell.size else EDGE_MM
        hu[k] = AIR
        draw_outside(hu[k], view, edge)
        brain, csf, ventricles = brain_slice(view, atrophy, look)
        cavity, inside = soft_step(view["depth"], 0, edge), soft_step(view["depth"], 0.7 * edge + look.gap_mm, edge)
        places = {"cavity": inside, "csf": csf * inside, "ventricles": ventricles}
        for lesion, fraction in zip(lesions, blood, strict=True):
            fraction[k] = draw_blood(brain, lesion, k, places[lesion.place], look)
            if lesion.joined:
                fraction[k] = join(fraction[k], lesion.joined / pixel) * inside
        draw_bone(hu[k], view, edge, None if crack is None else enlarge(crack[k], size))
        paint(hu[k], cavity, brain)
        draw_face(hu[k], view, look.face_blur_mm / pixel)
        finish(hu[k], view, noise[k], look, pixel)
    return hu, blood


def draw_outside(hu: Field, view: View, edge: float) -> None:
    """Head rest, skin, fat under it, muscle, and fingers that hold the head."""
    paint(hu, view.part("rest"), REST)
    skin = view["skin"]
    tissue = FAT + (SKIN - FAT) * soft_step(-skin, -2.4, 1.6) + 12 * view["texture"]
    paint(tissue, view.part("muscle", 0, 2.0), MUSCLE)
    paint(hu, soft_step(skin, 0, max(EDGE_MM, 0.6 * edge)), tissue)
    paint(hu, view.part("fingers"), SKIN)
    paint(hu, view.part("fingers", 4.0), FACE_BONE)


def draw_bone(hu: Field, view: View, edge: float, crack: Field | None) -> None:
    """Skull of two hard tables with spongy diploe between, and a crack (a field in mm) through both."""
    bone = view["bone"]
    between = np.minimum(bone, -view["depth"])
    value = CORTICAL_BONE + (DIPLOE - CORTICAL_BONE) * soft_step(between, 1.9, 1.6) + 60 * view["texture"]
    if crack is not None:
        paint(value, soft_step(-abs(crack), -0.6, EDGE_MM), CRACK)
    paint(hu, soft_step(bone, 0, edge), value)


def brain_slice(view: View, atrophy: float, look: Look) -> tuple[Field, Field, Field]:
    """HU as if brain filled the slice, and the fractions of CSF outside and inside the ventricles.

    The first fraction is that of sulci full of blood, which are wider.
    """
    depth, fold = view["depth"], abs(view["fold"])
    open_mm = (SULCUS_MM + 1.0 * atrophy) * look.sulci
    half = open_mm * (1.15 - depth / SULCUS_DEPTH_MM) * (0.8 + 0.45 * view["texture"])
    fissure = np.minimum(open_mm * 0.8 - abs(view["midline"]), view["falx"] + 6)
    layer = (0.5 + 1.6 * atrophy) * look.sulci - depth
    surface = union(np.minimum(half, 2.5) - fold, fissure, layer, view["cisterns"])
    csf, swollen = soft_step(surface, 0, 1.1), soft_step(surface, -SWOLLEN_MM, 1.1)
    buried = union(np.minimum(0.0, 26 - depth) - fold, fissure, layer, view["cisterns"])
    grey = WHITE + (GREY - WHITE) * look.contrast
    hu = WHITE + (grey - WHITE) * soft_step(buried, -CORTEX_MM, 2.2) + 0.8 * view["texture"]
    paint(hu, view.part("nuclei", 0, 2.0), grey - 1)
    paint(hu, view.part("brainstem", 0, 2.0), BRAINSTEM)
    hu += look.brain_hu
    paint(hu, csf, CSF)
    ventricles = soft_step(view["ventricles"], 0, 1.3)
    paint(hu, ventricles, CSF)
    paint(hu, view.part("tentorium", 0, 1.5), look.tentorium_hu)
    paint(hu, view.part("veins", 0, 1.5), look.vein_hu)
    falx = view.part("falx", 0, 3)
    if falx is not None:
        paint(hu, falx * soft_step(-abs(view["midline"]), -0.7, EDGE_MM), look.falx_hu)
    paint(hu, view.part("calcium", 0, 1.6), CALCIUM)
    return hu, swollen, ventricles


def draw_blood(brain: Field, lesion: Lesion, index: int, place: Field, look: Look) -> Field:
    """Paint one lesion into the brain; the mask's fraction of each pixel, all zero where too little would show."""
    if lesion.region[index].max() <= 0:
        return np.zeros_like(brain)
    region = enlarge(lesion.region[index], len(brain))
    whole = soft_step(region, 0, 1.2)
    fraction = whole * place
    if (fraction > 0.5).sum() < SMALLEST_BLOOD * brain.size:
        return np.zeros_like(brain)
    if lesion.squeeze:
        near = soft_step(region, -0.5 * lesion.squeeze, lesion.squeeze)
        paint(brain, near, np.maximum(brain, PRESSED + look.brain_hu))
    if lesion.oedema:
        paint(brain, soft_step(region, -lesion.oedema, lesion.oedema), np.minimum(brain, OEDEMA))
    # Blood is drawn up to the bone, but counted only where no bone shines through.
    paint(brain, whole if lesion.place == "cavity" else fraction, enlarge(lesion.hu[index], len(brain)))
    return soft_step(region, -lesion.loose, 1.2) * place if lesion.loose else fraction


def join(fraction: Field, gap: float) -> Field:
    """A mask's fraction of each pixel with gaps up to `gap` pixels closed, as a reader outlines torn blood."""
    side = 2 * round(gap / 2) + 1
    return cv2.morphologyEx(fraction, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def draw_face(hu: Field, view: View, blur: float) -> None:
    """Orbits, face bones and air, blurred by `blur` pixels in front; only low slices have any. Air of an injury."""
    paint(hu, view.part("face_bone"), FACE_BONE + 250 * view["texture"])
    paint(hu, view.part("orbit"), FAT)
    paint(hu, view.part("eye_muscle"), MUSCLE - 12)
    paint(hu, view.part("globe"), MUSCLE - 5)
    paint(hu, view.part("globe", 1.3), GLOBE)
    paint(hu, view.part("air"), AIR + 20)
    paint(hu, view.part("cells"), AIR + 150)
    paint(hu, view.part("bubbles", 0, 1.5), AIR + 100)
    front = view.part("front", 0, 6) if blur else None
    if front is not None:
        paint(hu, front, cv2.GaussianBlur(hu, (0, 0), blur))


def finish(hu: Field, view: View, noise: Field, look: Look, pixel: float) -> None:
    """Motion, blur of the kernel, cupping beside bone, streaks, and noise with the grain of the kernel."""
    if look.moved_mm:
        hu[:] = cv2.blur(hu, (1 + round(look.moved_mm / pixel), 1))
    hu[:] = cv2.GaussianBlur(hu, (0, 0), max(look.blur_mm / pixel, 0.3))
    depth = view["depth"]
    hu += look.cupping_hu * np.exp(-np.maximum(depth, 0) / CUPPING_MM) * (depth > -1)
    grain = cv2.GaussianBlur(noise, (0, 0), max(look.grain_mm / pixel, 0.3))
    grain *= look.noise_hu / grain.std()
    hu += grain * view["noise"] + view["streaks"]
