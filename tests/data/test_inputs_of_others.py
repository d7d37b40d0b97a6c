"""Data sets as other programs write them: inputs, and the values that must come out, or the line that says why not.

PNG pairs are of 32 x 32 pixels, blood is 4 x 4 = 16 of them, slice 2 of each patient.
"""

import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from ich.base.errors import InputError
from ich.base.tables import parse
from ich.data import audit, ct_ich, own_pngs, table
from ich.data.slicing import Slicing, slice_scan
from ich.scans import nifti
from ich.scans.png import read_image, read_label
from ich.scans.window import Window

SIZE, BLOOD = 32, (slice(8, 12), slice(20, 24))
Pixels = Callable[[], np.ndarray]


def grey(value: int = 255, background: int = 0, kind: type = np.uint8) -> np.ndarray:
    plane = np.full((SIZE, SIZE), background, kind)
    plane[BLOOD] = value
    return plane


def colour(value: tuple[int, ...], background: tuple[int, ...] = (0, 0, 0)) -> np.ndarray:
    """RGB or RGBA; OpenCV writes BGR."""
    return np.dstack([grey(one, other) for one, other in zip(value, background, strict=True)])


def encoded(pixels: np.ndarray) -> bytes:
    order = {2: None, 3: cv2.COLOR_RGB2BGR}.get(pixels.ndim)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        order = cv2.COLOR_RGBA2BGRA
    return cv2.imencode(".png", pixels if order is None else cv2.cvtColor(pixels, order))[1].tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(depth: int, colour_type: int, rows: list[bytes], *extra: bytes) -> bytes:
    """A PNG of SIZE x SIZE pixels, packed as its header says."""
    header = struct.pack(">IIBBBBB", SIZE, SIZE, depth, colour_type, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


def palette(*colours: tuple[int, int, int], alpha: bytes = b"", used: np.ndarray | None = None) -> bytes:
    """An indexed PNG: 0 outside, 1 in the blood, or the indices `used`."""
    indices = grey(1) if used is None else used
    extra = [chunk(b"PLTE", bytes(sum(colours, ())))] + [chunk(b"tRNS", alpha)] * bool(alpha)
    return raw_png(8, 3, [row.tobytes() for row in indices], *extra)


def bits(depth: int, value: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits."""
    per_byte = 8 // depth
    rows = [[sum(int(one) << depth * (per_byte - 1 - k) for k, one in enumerate(row[start : start + per_byte]))
             for start in range(0, SIZE, per_byte)] for row in grey(value)]  # fmt: skip
    return raw_png(depth, 0, [bytes(row) for row in rows])


def exif(png: bytes, orientation: int, order: str = "<") -> bytes:
    """The PNG with an eXIf chunk before its pixels."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    content = mark + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", 1) + entry + b"\0" * 4
    place = png.index(b"IDAT") - 4
    return png[:place] + chunk(b"eXIf", content) + png[place:]


def animated(png: bytes, pictures: int) -> bytes:
    """The PNG with the chunk that says how many pictures follow."""
    place = png.index(b"IDAT") - 4
    return png[:place] + chunk(b"acTL", struct.pack(">II", pictures, 0)) + png[place:]


def two_classes(low: int, high: int, kind: type = np.uint8) -> np.ndarray:
    plane = grey(high, kind=kind)
    plane[20:26, 4:10] = low
    return plane


def soft(kind: type = np.uint8) -> np.ndarray:
    """Edges as resizing leaves them: a quarter of full around the blood."""
    full = np.iinfo(kind).max
    plane = np.zeros((SIZE, SIZE), kind)
    plane[7:13, 19:25] = full // 4
    plane[BLOOD] = full
    return plane


MASKS_TAKEN: dict[str, bytes | np.ndarray] = {
    "0 and 255": grey(255), "0 and 1": grey(1), "0 and 128": grey(128), "0 and 2": grey(2), "0 and 254": grey(254),
    "16 bits, 0 and 1": grey(1, kind=np.uint16), "16 bits, 0 and 255": grey(255, kind=np.uint16),
    "16 bits, 0 and 65535": grey(65535, kind=np.uint16),
    "1 bit": bits(1, 1), "2 bits, full": bits(2, 3), "4 bits, full": bits(4, 15), "4 bits, 1": bits(4, 1),
    "soft edges": soft(), "soft edges of 16 bits": soft(np.uint16),
    "white on black": colour((255, 255, 255)), "red on black": colour((255, 0, 0)),
    "dark red on black, as labelme": colour((128, 0, 0)), "yellow on black": colour((255, 255, 0)),
    "opaque": colour((255, 255, 255, 255), (0, 0, 0, 255)),
    "drawing in the alpha channel": colour((255, 255, 255, 255), (255, 255, 255, 0)),
    "black drawing in the alpha channel": colour((0, 0, 0, 255), (0, 0, 0, 0)),
    "red on transparent": colour((255, 0, 0, 255), (0, 0, 0, 0)),
    "half transparent red": colour((255, 0, 0, 128), (0, 0, 0, 0)),
    "palette of grey": palette((0, 0, 0), (255, 255, 255)), "palette of VOC": palette((0, 0, 0), (128, 0, 0)),
    "palette, background transparent": palette((0, 0, 0), (128, 0, 0), alpha=b"\0\xff"),
    "an eXIf orientation of 1": exif(encoded(grey(255)), 1), "animated, of one picture": animated(encoded(grey()), 1),
}  # fmt: skip

MASKS_REFUSED: dict[str, tuple[bytes | np.ndarray, str]] = {
    "classes 1 and 2": (two_classes(1, 2), "mask values are 0, 1, 2, expected 0 and one other"),
    "class greys 128 and 255": (two_classes(128, 255), "mask values are 0, 128, 255, expected 0 and one other"),
    "classes of 16 bits": (two_classes(1, 2, np.uint16), "mask values are 0, 1, 2"),
    "class greys of 16 bits": (two_classes(30000, 65535, np.uint16), "mask values are 0, 30000, 65535"),
    "two colours": (np.where(two_classes(1, 0)[..., None] > 0, np.uint8([0, 255, 0]), colour((255, 0, 0))),
                    "mask has several colours, expected one on black"),
    "palette of two colours": (palette((0, 0, 0), (128, 0, 0), (0, 128, 0), used=two_classes(2, 1)),
                               "mask has several colours"),
    "colours and transparency": (np.dstack([two_classes(0, 255), grey(0), grey(0), two_classes(255, 255)]),
                                 "mask has a drawing in colours and another in its alpha channel"),
    "no zero in it": (grey(255, 1), "mask covers 100%|mask values are 1, 255"),
    "all of it": (np.full((SIZE, SIZE), 255, np.uint8), "mask covers 100% of the slice"),
    "inverted": (grey(0, 255), "mask covers 98% of the slice"),
    "an eXIf orientation": (exif(encoded(grey(255)), 6), r"an eXIf orientation \(6\) turns it"),
    "an eXIf orientation of a Mac": (exif(encoded(grey(255)), 3, ">"), r"an eXIf orientation \(3\) turns it"),
    "another size": (np.zeros((SIZE, SIZE + 1), np.uint8), r"mask has \(32, 33\) pixels"),
    "animated": (animated(encoded(grey(0)), 2), r"is animated \(2 pictures in one file\), expected one"),
    "a JPEG": (cv2.imencode(".jpg", grey(255))[1].tobytes(), "is not a readable PNG"),
}  # fmt: skip

IMAGES_TAKEN: dict[str, bytes | np.ndarray] = {
    "grey": grey(180, 90), "grey as RGB": colour((180, 180, 180), (90, 90, 90)),
    "grey as opaque RGBA": colour((180, 180, 180, 255), (90, 90, 90, 255)),
    "greys that JPEG moved apart": colour((180, 183, 178), (90, 92, 88)),
    "palette of grey": palette((90, 90, 90), (180, 180, 180)),
}  # fmt: skip

IMAGES_REFUSED: dict[str, tuple[bytes | np.ndarray, str]] = {
    "16 bits": (grey(1104, 1064, np.uint16), "has 16 bits per pixel, expected 8-bit grey levels"),
    "16 bits in colour": (np.dstack([grey(1104, 1064, np.uint16)] * 3), "has 16 bits per pixel"),
    "an overlay in red": (colour((255, 0, 0), (90, 90, 90)), "has colours, expected a grey CT slice"),
    "transparent in parts": (colour((180, 180, 180, 255), (90, 90, 90, 0)), "is transparent in parts"),
    "a palette with a transparent colour": (palette((90, 90, 90), (180, 180, 180), alpha=b"\0"), "is transparent in"),
    "an eXIf orientation": (exif(encoded(grey(180, 90)), 8), r"an eXIf orientation \(8\) turns it"),
}  # fmt: skip


def write(path: Path, content: bytes | np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else encoded(content))


def data_set(
    folder: Path, images: str = "image", labels: str = "label", names: tuple[str, ...] = ("a_1", "a_2")
) -> Path:
    """Pairs of which those named `..._2` hold blood."""
    for name in names:
        write(folder / images / f"{name}.png", grey(180, 90))
        write(folder / labels / f"{name}.png", grey(255 if name.endswith("2") else 0))
    return folder


@pytest.mark.parametrize("mask", MASKS_TAKEN.values(), ids=MASKS_TAKEN.keys())
def test_masks_that_are_taken(mask: bytes | np.ndarray, tmp_path: Path) -> None:
    path = data_set(tmp_path, names=("a_1",)) / "label" / "a_1.png"
    write(path, mask)
    assert own_pngs.read(tmp_path, SIZE, None).table["lesion_pixels"].tolist() == [16]
    np.testing.assert_array_equal(read_label(path, SIZE), grey(1) > 0)


@pytest.mark.parametrize(("mask", "line"), MASKS_REFUSED.values(), ids=MASKS_REFUSED.keys())
def test_masks_that_are_refused(mask: bytes | np.ndarray, line: str, tmp_path: Path) -> None:
    write(data_set(tmp_path) / "label" / "a_2.png", mask)
    with pytest.raises(InputError, match=line) as refused:
        own_pngs.read(tmp_path, SIZE, None)
    assert "label/a_2.png: " in str(refused.value)


@pytest.mark.parametrize("image", IMAGES_TAKEN.values(), ids=IMAGES_TAKEN.keys())
def test_images_that_are_taken(image: bytes | np.ndarray, tmp_path: Path) -> None:
    path = data_set(tmp_path, names=("a_1",)) / "image" / "a_1.png"
    write(path, image)
    own_pngs.read(tmp_path, SIZE, None)
    assert set(np.unique(read_image(path, 1, SIZE))) == {90, 180}


@pytest.mark.parametrize(("image", "line"), IMAGES_REFUSED.values(), ids=IMAGES_REFUSED.keys())
def test_images_that_are_refused(image: bytes | np.ndarray, line: str, tmp_path: Path) -> None:
    write(data_set(tmp_path) / "image" / "a_2.png", image)
    with pytest.raises(InputError, match=line) as refused:
        own_pngs.read(tmp_path, SIZE, None)
    assert "image/a_2.png: " in str(refused.value)


def test_masks_of_two_values_in_two_files_are_classes(tmp_path: Path) -> None:
    data_set(tmp_path, names=("a_1", "a_2", "b_2"))
    write(tmp_path / "label" / "b_2.png", grey(1))
    with pytest.raises(
        InputError, match=r"label/a_2\.png: marks blood by 255, .*b_2\.png by 1, expected one value in all"
    ):
        own_pngs.read(tmp_path, SIZE, None)


@pytest.mark.parametrize("images", own_pngs.IMAGES)
@pytest.mark.parametrize("labels", own_pngs.LABELS)
def test_usual_names_of_folders(images: str, labels: str, tmp_path: Path) -> None:
    table = own_pngs.read(data_set(tmp_path, images, labels), SIZE, None).table
    assert table["image"].tolist() == [f"{images}/a_1.png", f"{images}/a_2.png"]


@pytest.mark.parametrize("name", ["images", "masks"])
def test_two_folders_of_one_kind_are_refused(name: str, tmp_path: Path) -> None:
    (data_set(tmp_path) / name).mkdir()
    with pytest.raises(InputError, match=f"{name} is there too; keep one folder of images and one of labels"):
        own_pngs.read(tmp_path, SIZE, None)


@pytest.mark.parametrize("name", ["b_1.jpg", "b_1.JPEG", "b_1.tif", "b_1.bmp", "b_1.nii.gz", "b_1.dcm"])
@pytest.mark.parametrize("folder", ["image", "label"])
def test_pictures_of_other_formats_are_not_passed_over(folder: str, name: str, tmp_path: Path) -> None:
    (data_set(tmp_path) / folder / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"{name}: is not a PNG \(1 such files there\); convert or remove them"):
        own_pngs.read(tmp_path, SIZE, None)


def test_what_is_no_picture_is_left_alone(tmp_path: Path) -> None:
    for name in ("Thumbs.db", "notes.txt", ".DS_Store", "._a_1.jpg"):
        (data_set(tmp_path) / "image" / name).write_bytes(b"x")
    assert len(own_pngs.read(tmp_path, SIZE, None).table) == 2


@pytest.mark.parametrize(("size", "note"), [(16, "made smaller to 16 x 16"), (64, "enlarged to 64 x 64"), (SIZE, "")])
def test_other_sizes_are_noted(size: int, note: str, tmp_path: Path) -> None:
    notes = own_pngs.read(data_set(tmp_path), size, None).notes
    assert [text.split("are ")[-1] for text in notes] == [f"{note} (--image-size)"] * bool(note)


def test_a_data_set_that_is_mostly_blood_is_warned_of(tmp_path: Path) -> None:
    mask = grey(0)
    mask[:12, :12] = 255  # 14 % of the slice
    write(data_set(tmp_path, names=("a_1",)) / "label" / "a_1.png", mask)
    assert any("14% of all pixels are marked as blood" in note for note in own_pngs.read(tmp_path, SIZE, None).notes)


NFC, NFD = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
PATIENTS_TAKEN = {
    "spaces": (("a_1,P1", "a_2, P1 "), ["P1", "P1"]),
    "numbers of a spreadsheet": (("a_1,49", "a_2,49.0"), ["49", "49"]),
    "two forms of Unicode": ((f"a_1,{NFC}", f"a_2,{NFD}"), [NFC, NFC]),
    "ids with .png": (("a_1.png,x", "a_2.png,y"), ["x", "y"]), "ids with spaces": ((" a_1,x", "a_2 ,y"), ["x", "y"]),
    "empty rows at the end": (("a_1,x", "a_2,y", ",", "", ","), ["x", "y"]),
    "random numbers of one length": (("a_1,a01b1", "a_2,a1b01"), ["a01b1", "a1b01"]),
    "zeros kept": (("a_1,049", "a_2,050"), ["049", "050"]),
}  # fmt: skip
PATIENTS_REFUSED = {
    "leading zeros, three": (("a_1,ID_01b", "a_2,ID_1b"), "patients 'ID_01b' and 'ID_1b' may be one person"),
    "case": (("a_1,P1", "a_2,p1"), "patients 'P1' and 'p1' may be one person"),
    "leading zeros": (("a_1,049", "a_2,49"), "patients '049' and '49' may be one person"),
    "leading zeros inside": (("a_1,P01", "a_2,P1"), "patients 'P01' and 'P1' may be one person"),
    "a space inside": (("a_1,P 1", "a_2,P1"), "patients 'P 1' and 'P1' may be one person"),
    "only spaces": (("a_1,x", "a_2,  "), "id 'a_2' has no patient"),
    "ids that are one": (("a_1,x", "a_1 ,y", "a_2,z"), "id 'a_1' appears twice"),
}  # fmt: skip


def csv(folder: Path, rows: tuple[str, ...], header: str = "id,patient") -> Path:
    path = folder / "patients.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("rows", "patients"), PATIENTS_TAKEN.values(), ids=PATIENTS_TAKEN.keys())
def test_names_of_patients_that_are_taken(rows: tuple[str, ...], patients: list[str], tmp_path: Path) -> None:
    table = own_pngs.read(data_set(tmp_path), SIZE, csv(tmp_path, rows)).table
    assert table["patient"].tolist() == patients


@pytest.mark.parametrize(("rows", "line"), PATIENTS_REFUSED.values(), ids=PATIENTS_REFUSED.keys())
def test_names_of_patients_that_are_refused(rows: tuple[str, ...], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=line):
        own_pngs.read(data_set(tmp_path), SIZE, csv(tmp_path, rows))


def test_names_of_files_are_patients_in_the_same_way(tmp_path: Path) -> None:
    table, notes, _ = own_pngs.read(data_set(tmp_path, names=("P1 _1", "P1_2")), SIZE, None)
    assert table["patient"].tolist() == ["P1", "P1"]
    assert any("'P1 '" in note for note in notes)
    with pytest.raises(InputError, match="patients 'P1' and 'p1' may be one person"):
        own_pngs.read(data_set(tmp_path, names=("p1_7",)), SIZE, None)


@pytest.mark.parametrize(
    "copy", ["a_2 (1)", "a_2(2)", "a_2_copy", "a_2 copy 2", "a_2 - Copy", "a_2 - Copy (3)", "Copy of a_2"]
)
def test_copies_by_name_are_refused(copy: str, tmp_path: Path) -> None:
    data_set(tmp_path, names=("a_1", "a_2", copy))
    with pytest.raises(InputError, match="named as a copy of a PNG that is there too; remove") as refused:
        own_pngs.read(tmp_path, SIZE, None)
    assert f": {copy}: " in str(refused.value)


@pytest.mark.parametrize("name", ["copy_3", "b_2 (1)", "a_2copy"])
def test_other_names_are_no_copies(name: str, tmp_path: Path) -> None:
    assert len(own_pngs.read(data_set(tmp_path, names=("a_1", "a_2", name)), SIZE, None).table) == 3


@pytest.mark.parametrize(("bright", "is_noted"), [(0, False), (1, False), (2, True), (3, True)])
def test_inverted_grey_levels_are_warned_of(bright: int, is_noted: bool, tmp_path: Path) -> None:
    names = ("a_1", "a_2", "b_2")
    data_set(tmp_path, names=names)
    for place, name in enumerate(names):
        image = np.pad(np.full((SIZE - 4, SIZE - 4), 90, np.uint8), 2, constant_values=255 if place < bright else 0)
        write(tmp_path / "image" / f"{name}.png", image)
    line = f"warning: {bright} of 3 images are bright along their edges, where air is black; are their grey levels inv"
    assert any(line in note for note in own_pngs.read(tmp_path, SIZE, None).notes) == is_noted


@pytest.mark.parametrize(
    ("share", "line"), [(0.0, ""), (0.05, ""), (0.25, "25% of the marked"), (1.0, "100% of the marked")]
)
def test_masks_outside_the_head_are_warned_of(share: float, line: str, tmp_path: Path) -> None:
    image, blood = grey(90, 90), np.zeros(16, np.uint8)
    blood[: round(16 * (1 - share))] = 90
    image[BLOOD] = blood.reshape(4, 4)
    write(data_set(tmp_path) / "image" / "a_2.png", image)
    found = [note for note in own_pngs.read(tmp_path, SIZE, None).notes if "are black in their image" in note]
    assert [line in note for note in found] == [True] * bool(line)


@pytest.mark.parametrize("header", ["id,patient,,", " id , patient,", "\ufeffid,patient"])
def test_headers_of_spreadsheets(header: str, tmp_path: Path) -> None:
    commas = "," * (header.count(",") - 1)
    table = parse(csv(tmp_path, (f"a,1{commas}", f"b,2{commas}", f",{commas}"), header))
    assert (table.columns.tolist(), table["patient"].tolist()) == (["id", "patient"], ["1", "2"])


# NIfTI


def volume(folder: Path, name: str = "049.nii.gz", *, kind: type = np.int16, mask: bool = False) -> nib.Nifti1Image:
    voxels = np.full((8, 8, 3), -1000, kind) if not mask else np.zeros((8, 8, 3), kind)
    voxels[2:6, 2:6] = 1 if mask else 40
    if not mask:
        voxels[2, 2] = 900
    image = nib.Nifti1Image(voxels, np.diag([0.5, 0.5, 5, 1]))
    folder.mkdir(parents=True, exist_ok=True)
    image.to_filename(folder / name)
    return image


def test_capitals_in_names_of_scans(tmp_path: Path) -> None:
    raw_folder(tmp_path)
    for folder in ("ct_scans", "masks"):
        (tmp_path / folder / "049.nii.gz").rename(tmp_path / folder / "049.NII.GZ")
    cases, problems = ct_ich.survey(tmp_path)
    assert (problems, [case.ct.name for case in cases]) == ([], ["049.NII.GZ"])
    assert table._is_volume("../raw/ct_scans/049.NII.GZ", "049_001")  # as steps 2 to 5 read it
    (tmp_path / "ct_scans" / "049.nii").write_bytes(b"x")
    assert "is there twice, as 049.NII.GZ and 049.nii; remove one" in ct_ich.survey(tmp_path)[1][0]


def raw_folder(folder: Path) -> None:
    """One patient of three slices, and a spreadsheet's empty row in the table."""
    for name in ("ct_scans", "masks"):
        volume(folder / name, mask=name == "masks")
    rows = [f"49,{number},0,0,0,0,0,1,0" for number in (1, 2, 3)] + [",,,,,,,,"]
    names = "Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,No_Hemorrhage,Fracture_Yes_No"
    (folder / ct_ich.DIAGNOSIS).write_text("\n".join([f"PatientNumber,SliceNumber,{names}", *rows]) + "\n")


@pytest.mark.parametrize(("shift", "line"), [(0, ""), (1, "33% of its blood lies in air or bone"), (4, "100% of its")])
def test_nifti_masks_outside_the_head_are_warned_of(shift: int, line: str, tmp_path: Path) -> None:
    raw_folder(tmp_path)
    voxels = np.zeros((8, 8, 3), np.uint8)
    voxels[3 + shift : 6 + shift, 3:5] = 1
    image = nib.Nifti1Image(voxels, np.diag([0.5, 0.5, 5, 1]))
    image.to_filename(tmp_path / "masks" / "049.nii.gz")
    outcome = slice_scan(ct_ich.survey(tmp_path)[0][0], Slicing(tmp_path, 16, (Window(40, 120),), write=False))
    assert outcome.problem == ""
    assert [line in text for text in outcome.warnings if "in air or bone" in text] == [True] * bool(line)


@pytest.mark.parametrize(
    ("values", "blood", "line"),
    [
        ((0, 1), 1, ""),
        ((0, 255), 1, ""),
        ((0, 0.99999994, 1), 2, ""),  # rounding of floats
        ((1e-7, 1), 1, ""),
        ((0, 1, 2), 0, "mask has values .*expected 0 and one other"),
        ((0, 0.5, 1), 0, "mask has values"),
        ((-1024, -1024), 0, "mask is -1024 everywhere, expected 0 outside the blood; is its scl_inter right"),
    ],
)
def test_values_of_nifti_masks(values: tuple[float, ...], blood: int, line: str) -> None:
    voxels = np.array(values, np.float32)
    if line:
        with pytest.raises(InputError, match=line):
            nifti.check_binary(voxels, "m.nii")
    else:
        assert nifti.check_binary(voxels, "m.nii").sum() == blood


@pytest.mark.parametrize(
    ("units", "scale", "line"),
    [
        ("mm", 1, ""),
        ("unknown", 1, ""),
        ("meter", 1, "header says metres, but voxels of .* are of mm; taken as mm"),
        ("micron", 1, "header says microns, but voxels of"),
        ("micron", 100, "its header is in microns .*expected mm"),
    ],
)
def test_units_of_nifti_headers(units: str, scale: float, line: str, tmp_path: Path) -> None:
    image = volume(tmp_path)
    image.set_sform(np.diag([0.5 * scale, 0.5 * scale, 5 * scale, 1]), 1)
    image.header.set_xyzt_units(units)
    image.to_filename(tmp_path / "a.nii.gz")
    opened = nifti.read_nifti(tmp_path / "a.nii.gz")
    if scale > 1:
        with pytest.raises(InputError, match=line):
            nifti.grid(opened)
    elif line:
        with pytest.warns(UserWarning, match=line):
            assert nifti.grid(opened).spacing_mm == (5, 0.5, 0.5)
    else:
        assert nifti.grid(opened).spacing_mm == (5, 0.5, 0.5)


def test_qform_and_sform_that_disagree_are_noted(tmp_path: Path) -> None:
    image = volume(tmp_path)
    shifted = np.diag([0.5, 0.5, 5, 1])
    shifted[0, 3] = 7
    image.set_qform(shifted, 1)
    image.set_sform(np.diag([0.5, 0.5, 5, 1]), 1)
    image.to_filename(tmp_path / "a.nii.gz")
    with pytest.warns(UserWarning, match="its qform and sform differ by up to 7.00 mm; the sform counts"):
        assert nifti.grid(nifti.read_nifti(tmp_path / "a.nii.gz")).affine[0, 3] == 0


def test_copies_under_another_patient_are_warned_of(tmp_path: Path) -> None:
    names = tuple(f"{patient}_{number}" for patient in "abc" for number in (1, 2))
    for place, name in enumerate(names):
        write(data_set(tmp_path, names=(name,)) / "image" / f"{name}.png", grey(180, 90 + place))
    assert audit.copies(own_pngs.read(tmp_path, SIZE, None).table) == []
    write(tmp_path / "image" / "c_2.png", grey(180, 91))
    (line,) = audit.copies(own_pngs.read(tmp_path, SIZE, None).table)
    assert "1 slices are there under several patients, such as a_2 and c_2: the same pixels" in line


def test_black_slices_are_no_copies(tmp_path: Path) -> None:
    for name in ("a_1", "b_1"):
        write(data_set(tmp_path, names=(name,)) / "image" / f"{name}.png", grey(0))
    assert audit.copies(own_pngs.read(tmp_path, SIZE, None).table) == []


@pytest.mark.parametrize("mask", [soft(), np.dstack([soft()] * 3)], ids=["grey", "colours"])
def test_soft_masks_are_counted(mask: np.ndarray, tmp_path: Path) -> None:
    write(data_set(tmp_path) / "label" / "a_2.png", mask)
    notes = own_pngs.read(tmp_path, SIZE, None).notes
    assert [note for note in notes if "1 of 2 masks have soft edges, cut at the middle: label/a_2.png" in note]


@pytest.mark.parametrize("levels", [1, 15])
def test_images_without_grey_levels_are_warned_of(levels: int, tmp_path: Path) -> None:
    write(data_set(tmp_path, names=("a_1",)) / "image" / "a_1.png", grey(levels))
    notes = own_pngs.read(tmp_path, SIZE, None).notes
    assert [note for note in notes if f"the brightest pixel of all images is {levels} of 255" in note]
