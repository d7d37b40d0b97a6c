"""A user's own PNG pairs: found, paired, given to patients, and never changed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import create_data_set
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.data import own_pngs, patients
from ich.data.table import read_parts, read_slices
from ich.scans.png import read_image, read_label

SIZE = 16
NAMES = tuple(f"p{patient}_{number}" for patient in range(6) for number in (1, 2, 3))  # slice 2 holds blood


def png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def pair(
    folder: Path, name: str, *, blood: bool, folders: tuple[str, str] = ("image", "label"), high: int = 255
) -> None:
    """An image of 20 rows and 40 columns; blood is 8 x 8 pixels."""
    image, label = np.full((20, 40), 90, np.uint8), np.zeros((20, 40), np.uint8)
    if blood:
        image[4:12, 16:24], label[4:12, 16:24] = 180, high
    png(folder / folders[0] / f"{name}.png", image)
    png(folder / folders[1] / f"{name}.png", label)


def pairs(folder: Path, names: tuple[str, ...] = NAMES, **how: object) -> Path:
    for name in names:
        pair(folder, name, blood=name.endswith("2"), **how)
    return folder


@pytest.fixture
def without_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contact sheet takes longer than all the rest."""
    monkeypatch.setattr("create_data_set.pictures.preview", lambda *_: None)


def create(data: Path, *flags: str) -> None:
    create_data_set.main([
        "--data", str(data), "--image-size", str(SIZE), "--folds", "2", "--test-share", "0.2", "--quiet", *flags,
    ])  # fmt: skip


@pytest.mark.parametrize("folders", [("image", "label"), ("img", "mask")])
@pytest.mark.parametrize("high", [1, 255])
def test_two_folders_with_equal_names(folders: tuple[str, str], high: int, tmp_path: Path) -> None:
    data = pairs(tmp_path / "eigene Bilder", folders=folders, high=high)
    table, notes, known = own_pngs.read(data, SIZE, None)
    assert known
    assert all(note.startswith("note: ") for note in notes)
    assert table["id"].tolist() == sorted(NAMES)
    assert table["patient"].unique().tolist() == [f"p{n}" for n in range(6)]
    assert table["slice"].tolist() == [1, 2, 3] * 6
    assert table["image"][0] == f"{folders[0]}/p0_1.png"
    # 40 pixels become 16, a factor of 0.4. Columns 16 to 24 become 6.4 to 9.6: 0.6, 1, 1, 0.6 of pixels 6 to 9.
    # Rows 4 to 12, 10 lower by padding, become 5.6 to 8.8: 0.4, 1, 1, 0.8 of pixels 5 to 8. Areas of one half at least:
    # none in row 5 (0.4 at most), four each in rows 6 and 7, two in row 8 (0.8; 0.8 * 0.6 is 0.48)
    assert table["lesion_pixels"].tolist() == [0, 10, 0] * 6
    assert table["no_hemorrhage"].tolist() == [1, 0, 1] * 6
    assert table[["spacing_row_mm", "epidural", "source"]].isna().all(axis=None)


def test_read_label_and_image_agree_on_the_place(tmp_path: Path) -> None:
    pairs(tmp_path, ("a_2",))
    image = read_image(tmp_path / "image" / "a_2.png", 1, SIZE)[:, :, 0]
    label = read_label(tmp_path / "label" / "a_2.png", SIZE)
    np.testing.assert_array_equal(label, image >= 135)  # half-way between 90 and 180


@pytest.mark.usefixtures("without_preview")
def test_ready_folders_are_the_split(tmp_path: Path) -> None:
    where = {"train": NAMES[:12], "valid": NAMES[12:15], "test": NAMES[15:]}
    for part, names in where.items():
        pairs(tmp_path / part, names)
    create(tmp_path)
    holdout = read_parts(tmp_path, "patient", "holdout").set_index("id")["part"]
    assert holdout.to_dict() == {name: part for part, names in where.items() for name in names}
    kfold = read_parts(tmp_path, "patient", "kfold")
    assert set(kfold.loc[kfold["id"].isin(where["test"]), "part"]) == {"test"}
    assert set(kfold.loc[~kfold["id"].isin(where["test"]), "part"]) == {"1", "2"}
    assert read_json(tmp_path / "patient" / "run.json")["leak_audit"]["holdout valid"] == 0


@pytest.mark.usefixtures("without_preview")
def test_ready_folders_that_share_a_patient_are_counted_as_a_leak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "train", NAMES[:14])
    pairs(tmp_path / "valid", NAMES[14:15])  # the last slice of p4, whose others are trained on
    pairs(tmp_path / "test", NAMES[15:])
    create(tmp_path)
    assert read_json(tmp_path / "patient" / "run.json")["leak_audit"]["holdout valid"] == 1
    assert "scores overestimate performance on new patients" in capsys.readouterr().out


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    pairs(tmp_path / "train")
    pairs(tmp_path / "test", ("q_1",))
    with pytest.raises(InputError, match="folders train, test found, valid missing"):
        own_pngs.find(tmp_path)


def test_a_name_in_two_parts_is_refused(tmp_path: Path) -> None:
    for part in own_pngs.PARTS:
        pairs(tmp_path / part, ("p1_1",))
    with pytest.raises(InputError, match=r"'p1_1\.png' is there in two folders"):
        own_pngs.read(tmp_path, SIZE, None)


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (("049_001", "049_012", "103_001"), ["049", "049", "103"]),
        (("CT scan_7_001", "Müller_2"), ["CT scan_7", "Müller"]),  # the last number counts
        (("NA_1", "None_2"), ["NA", "None"]),
    ],
)
def test_patients_from_names(names: tuple[str, ...], patients: list[str], tmp_path: Path) -> None:
    table, notes, known = own_pngs.read(pairs(tmp_path, names), SIZE, None)
    assert table["patient"].tolist() == patients
    assert known
    assert all(note.startswith("note: ") for note in notes)


def test_unknown_patients_are_one_warning_and_one_each(tmp_path: Path) -> None:
    table, notes, known = own_pngs.read(pairs(tmp_path, ("a", "b", "c_1")), SIZE, None)
    assert table["patient"].tolist() == ["a", "b", "c_1"]
    assert not known
    assert [note for note in notes if note.startswith("warning: ")] == [patients.UNKNOWN]


def patients_csv(folder: Path, *rows: str) -> Path:
    path = folder / "patients.csv"
    path.write_text("\n".join(("id,patient", *rows)) + "\n", encoding="utf-8")
    return path


def test_patients_from_a_csv(tmp_path: Path) -> None:
    path = patients_csv(tmp_path, "b,007", "a,NA", "not_here,1")
    table, notes, known = own_pngs.read(pairs(tmp_path, ("a", "b")), SIZE, path)
    assert table["patient"].tolist() == ["NA", "007"]
    assert known
    assert all(note.startswith("note: ") for note in notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a,1",), "no row for b"),
        (("a,1", "b,2", "b,3"), "id 'b' appears twice"),
        (("a,1", "b,"), "id 'b' has no patient"),
        (("a,1", "b,../../x"), "id 'b' has no patient, or one with '/'"),
    ],
)
def test_csvs_that_are_refused(rows: tuple[str, ...], message: str, tmp_path: Path) -> None:
    pairs(tmp_path, ("a", "b"))
    with pytest.raises(InputError, match=message) as refused:
        own_pngs.read(tmp_path, SIZE, patients_csv(tmp_path, *rows))
    assert "patients.csv" in str(refused.value)


def test_a_missing_csv_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--patients-csv .*nowhere\.csv: not found"):
        own_pngs.read(pairs(tmp_path, ("a",)), SIZE, tmp_path / "nowhere.csv")


@pytest.mark.parametrize("lost", ["image", "label"])
def test_unequal_names_are_refused(lost: str, tmp_path: Path) -> None:
    pairs(tmp_path, ("a_1", "a_2"))
    (tmp_path / lost / "a_2.png").unlink()
    with pytest.raises(InputError, match=r"a_2\.png: is in only one of .*, 1 in all"):
        own_pngs.read(tmp_path, SIZE, None)


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    for name in ("image", "label"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="image: holds no PNG"):
        own_pngs.read(tmp_path, SIZE, None)


def test_hidden_files_are_left_out_and_capitals_are_not(tmp_path: Path) -> None:
    pairs(tmp_path, ("a_1", "a_2"))
    for name in ("image", "label"):
        (tmp_path / name / "a_2.png").rename(tmp_path / name / "a_2.PNG")
        (tmp_path / name / "._a_1.png").write_bytes(b"Mac OS X")
    assert own_pngs.read(tmp_path, SIZE, None)[0]["image"].tolist() == ["image/a_1.png", "image/a_2.PNG"]


def test_image_and_label_of_two_shapes_are_refused(tmp_path: Path) -> None:
    pairs(tmp_path, ("a_1",))
    png(tmp_path / "label" / "a_1.png", np.zeros((40, 20), np.uint8))
    with pytest.raises(InputError, match=r"a_1\.png: mask has \(40, 20\) pixels"):
        own_pngs.read(tmp_path, SIZE, None)


@pytest.mark.parametrize("folder", ["image", "label"])
def test_a_damaged_png_is_named(folder: str, tmp_path: Path) -> None:
    pairs(tmp_path, ("a_1",))
    (tmp_path / folder / "a_1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=rf"{folder}/a_1\.png"):
        own_pngs.read(tmp_path, SIZE, None)


def test_step_2_takes_them_in_changes_none_and_sees_new_ones(tmp_path: Path) -> None:
    data = pairs(tmp_path / "mit Leerzeichen", ("$x_^$_2", *NAMES))  # mathematics to matplotlib, and wrong
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    create(data)
    assert {path: path.read_bytes() for path in data.rglob("*.png") if path in before} == before
    assert read_json(data / "run.json")["own_data"] is True
    pair(data, "p9_1", blood=False)
    create(data)
    assert set(read_slices(data)["id"]) == {"$x_^$_2", *NAMES, "p9_1"}
    assert set(read_parts(data, "patient", "kfold")["id"]) == {"$x_^$_2", *NAMES, "p9_1"}


def test_check_of_own_pngs_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    create(tmp_path, "--check")
    assert sorted(tmp_path.rglob("*")) == before
    assert "18 own PNG pairs read and found good" in capsys.readouterr().out


@pytest.mark.usefixtures("without_preview")
def test_own_pngs_that_are_gone_are_missed(tmp_path: Path) -> None:
    create(pairs(tmp_path))
    (tmp_path / "label").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="its folders of own PNGs are gone"):
        create(tmp_path)
