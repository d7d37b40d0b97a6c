"""Volumes to PNG slices: what is written, what is done again, what is left alone."""

import json
import shutil
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from conftest import IMAGE_SIZE, Project

import split_raw_data
from ich.base.errors import InputError
from ich.base.files import read_json, write_json, write_text
from ich.data import ct_ich
from ich.data.table import read_slices

COLUMNS = ["id", "patient", "slice", "image", "label", "lesion_pixels", "no_hemorrhage", "intraventricular",
           "intraparenchymal", "subarachnoid", "epidural", "subdural", "fracture", "spacing_row_mm",
           "spacing_column_mm", "spacing_slice_mm", "source", "crc32"]  # fmt: skip
HEADER = ("PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
          "No_Hemorrhage,Fracture_Yes_No")  # fmt: skip
ROWS, COLS, SLICES = 40, 32, 3  # of the scans below: rows are front to back, columns right to left
AFFINE = np.diag([-0.5, -0.75, 5.0, 1.0])  # LPS: as displayed; columns of 0.5 mm, rows of 0.75 mm


def write_scan(raw: Path, patient: str, lesion: bool, affine: np.ndarray | None = AFFINE) -> None:
    """A box of brain in air and, in slice 2, eight by eight voxels of blood; no affine: no orientation."""
    hu = np.full((COLS, ROWS, SLICES), -1000, np.int16)
    hu[4:28, 4:36] = 30
    hu[4:6] = 1000
    mask = np.zeros(hu.shape, np.uint8)
    if lesion:
        mask[10:18, 20:28, 1] = 255
        hu[mask > 0] = 70
    for folder, voxels in (("ct_scans", hu), ("masks", mask)):
        (raw / folder).mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(voxels, affine)
        image.set_sform(affine, 1 if affine is not None else 0)
        nib.save(image, raw / folder / f"{patient}.nii")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two patients, in a folder whose name is not plain ASCII: 049 with epidural blood in slice 2, 103 without."""
    folder = tmp_path / "CT ICH für alle"
    write_scan(folder, "049", lesion=True)
    write_scan(folder, "103", lesion=False)
    rows = [f"{patient},{k},0,0,0,{int((patient, k) == (49, 2))},0,{int((patient, k) != (49, 2))},0"
            for patient in (49, 103) for k in (1, 2, 3)]  # fmt: skip
    (folder / ct_ich.DIAGNOSIS).write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return folder


def split(raw: Path, data: Path, *flags: str, size: int = 32) -> None:
    split_raw_data.main([
        "--raw", str(raw), "--data", str(data), "--image-size", str(size), "--workers", "1", "--quiet", *flags,
    ])  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but run.json, which holds the time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_slices_csv_has_the_columns_of_the_design_and_text_ids(raw: Path, tmp_path: Path) -> None:
    split(raw, tmp_path / "data")
    table = read_slices(tmp_path / "data")
    assert list(table.columns) == COLUMNS
    assert table["id"].tolist() == [f"{patient}_{k:03d}" for patient in ("049", "103") for k in (1, 2, 3)]
    assert table["patient"].tolist() == ["049"] * 3 + ["103"] * 3
    assert table.loc[1, ["image", "label"]].tolist() == ["image/049_002.png", "label/049_002.png"]
    assert table["epidural"].tolist() == [0, 1, 0, 0, 0, 0]
    assert (tmp_path / "data" / table.loc[0, "source"]).samefile(raw / "ct_scans" / "049.nii")


def test_pixels_lesion_and_spacing_worked_by_hand(raw: Path, tmp_path: Path) -> None:
    split(raw, tmp_path / "data", size=80)
    table = read_slices(tmp_path / "data")
    # 40 rows, 32 columns: 4 columns of padding on each side, then twice as many pixels. Columns 10 to 17 of the file
    # become 14 to 17 + 4 = 21, that is pixels 28 to 43; rows 20 to 27 become pixels 40 to 55: 16 * 16 = 256
    expected = np.zeros((80, 80), np.uint8)
    expected[40:56, 28:44] = 255
    np.testing.assert_array_equal(grey(tmp_path / "data" / "label" / "049_002.png"), expected)
    assert table["lesion_pixels"].tolist() == [0, 256, 0, 0, 0, 0]
    # a PNG pixel is half a voxel: 0.75 / 2 and 0.5 / 2 mm; slices stay 5 mm apart
    assert table["spacing_row_mm"].unique() == pytest.approx([0.375])
    assert table["spacing_column_mm"].unique() == pytest.approx([0.25])
    assert table["spacing_slice_mm"].unique() == pytest.approx([5])
    image = grey(tmp_path / "data" / "image" / "049_002.png")
    # 70 HU -> 90 * 2.125 = 191.25 -> 191; 30 HU -> 50 * 2.125 = 106.25 -> 106; air 0
    assert image[48, 36] == 191
    assert image[20, 40] == 106
    assert image[0, 0] == image[79, 40] == 0


def test_lesion_pixels_agree_with_the_label_of_every_phantom(project: Project) -> None:
    table = read_slices(project.data)
    for row in table.itertuples():
        label = grey(project.data / row.label)
        assert label.shape == grey(project.data / row.image).shape == (IMAGE_SIZE, IMAGE_SIZE)
        assert set(np.unique(label)) <= {0, 255}
        assert (label > 0).sum() == row.lesion_pixels
    assert 0 < (table["lesion_pixels"] > 0).sum() < len(table)
    assert {path.stem for path in (project.data / "image").iterdir()} == set(table["id"])


@pytest.mark.parametrize(("windows", "channels"), [(("40/120",), 1), (("40/120", "80/200"), 2),
                                                   (("40/120", "80/200", "600/2800"), 3)])  # fmt: skip
def test_windows_become_channels(windows: tuple[str, ...], channels: int, raw: Path, tmp_path: Path) -> None:
    split(raw, tmp_path / "data", "--windows", *windows, size=80)
    image = grey(tmp_path / "data" / "image" / "049_002.png")
    # 70 HU in 40/120: 191; in 80/200: (70 + 20) * 255 / 200 = 114.75 -> 115; in 600/2800: 870 * 255 / 2800 = 79.2
    expected = [191, 115, 79][:channels] + [0] * (channels == 2)
    pixel = image[48, 36]
    assert (pixel.tolist()[::-1] if channels > 1 else [int(pixel)]) == expected  # OpenCV reads blue first
    assert read_json(tmp_path / "data" / "run.json")["channels"] == channels


def test_more_than_three_windows_and_odd_sizes_are_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--windows: 4 windows given, expected one to three"):
        split(raw, tmp_path / "data", "--windows", *["40/120"] * 4)
    with pytest.raises(InputError, match="--image-size 40: expected a multiple of 16"):
        split(raw, tmp_path / "data", size=40)
    assert not (tmp_path / "data").exists()


def test_a_second_run_finds_all_done(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split(raw, tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    capsys.readouterr()
    split(raw, tmp_path / "data")
    assert "slices.csv is up to date; nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


@pytest.mark.parametrize("lost", ["image/049_002.png", "label/103_001.png", "slices.csv"])
def test_what_is_missing_is_made_again(lost: str, raw: Path, tmp_path: Path) -> None:
    split(raw, tmp_path / "data")
    before = contents(tmp_path / "data")
    (tmp_path / "data" / lost).unlink()
    split(raw, tmp_path / "data")
    assert contents(tmp_path / "data") == before


def test_other_settings_and_other_scans_cut_again(raw: Path, tmp_path: Path) -> None:
    split(raw, tmp_path / "data")
    split(raw, tmp_path / "data", size=16)
    assert grey(tmp_path / "data" / "image" / "049_001.png").shape == (16, 16)
    write_scan(raw, "103", lesion=True)
    split(raw, tmp_path / "data", size=16)
    assert read_slices(tmp_path / "data")["lesion_pixels"].gt(0).sum() == 2


def test_an_interrupted_run_leaves_no_slices_csv_and_is_redone(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(raw, tmp_path / "data")
    before = contents(tmp_path / "data")
    (tmp_path / "data" / "label" / "049_001.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("ich.data.slicing.slice_pixels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            split(raw, tmp_path / "data")
    assert not (tmp_path / "data" / "slices.csv").exists()
    split(raw, tmp_path / "data")
    assert contents(tmp_path / "data") == before


def test_one_and_two_workers_write_the_same(raw: Path, tmp_path: Path) -> None:
    for workers in ("1", "2"):
        split(raw, tmp_path / f"data{workers}", "--workers", workers)
    assert contents(tmp_path / "data1") == contents(tmp_path / "data2")
    prints = {read_json(tmp_path / f"data{workers}" / "run.json")["data_fingerprint"] for workers in (1, 2)}
    assert len(prints) == 1


def test_check_writes_nothing(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split(raw, tmp_path / "data", "--check")
    assert not (tmp_path / "data").exists()
    assert "2 patients, 1 with blood; 6 slices, 1 with blood\nread and found good" in capsys.readouterr().out


def spoil(raw: Path) -> None:
    """Three faults: a scan cut off, a mask with three values, a scan that the table does not know."""
    cut = raw / "ct_scans" / "049.nii"
    shutil.copyfile(cut, raw / "ct_scans" / "200.nii")
    cut.write_bytes(cut.read_bytes()[:-100])
    mask = np.zeros((COLS, ROWS, SLICES), np.uint8)
    mask[0, 0], mask[1, 1] = 1, 2
    nib.save(nib.Nifti1Image(mask, AFFINE), raw / "masks" / "103.nii")


def test_check_prints_all_problems_at_once(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(raw)
    with pytest.raises(InputError, match=r"patient 103: .*mask has values \[0 1 2\].*3 problems found") as refused:
        split(raw, tmp_path / "data", "--check")
    printed = capsys.readouterr().out
    assert "patient 200 is not in hemorrhage_diagnosis_raw_ct.csv" in printed
    assert "049.nii: cut off or damaged" in printed
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "data").exists()


def test_a_damaged_scan_leaves_no_slices_csv(raw: Path, tmp_path: Path) -> None:
    split(raw, tmp_path / "data")
    spoil(raw)
    (raw / "ct_scans" / "200.nii").unlink()
    write_scan(raw, "049", lesion=True)
    with pytest.raises(InputError, match=r"mask has values \[0 1 2\]") as refused:
        split(raw, tmp_path / "data")
    assert "problems found" not in str(refused.value)  # there is one
    assert not (tmp_path / "data" / "slices.csv").exists()


def test_problems_of_headers_and_of_voxels_are_told_together_and_nothing_is_written(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --check too: all is repaired in one go."""
    spoil(raw)
    with pytest.raises(InputError, match=r"mask has values \[0 1 2\].*3 problems found"):
        split(raw, tmp_path / "data")
    assert capsys.readouterr().out.count("problem: ") == 2
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").glob("[!.]*"))


def test_another_file_than_published_is_a_problem(raw: Path, tmp_path: Path) -> None:
    (raw / "SHA256SUMS.txt").write_text(f"{'0' * 64} ct_scans/103.nii\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"patient 103: .*103\.nii: SHA-256 .* download it again"):
        split(raw, tmp_path / "data")


def test_scans_without_orientation_are_one_warning(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for patient in ("049", "103"):
        write_scan(raw, patient, lesion=False, affine=None)
    split(raw, tmp_path / "data")
    warned = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert warned == ["warning: header has no orientation; taken as LAS (--orientation overrides) (2 of 2 patients)"]
    split(raw, tmp_path / "data", "--orientation", "LPS")
    assert "warning" not in capsys.readouterr().out


def test_orientation_of_the_headers_counts_and_one_warning_says_so(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split(raw, tmp_path / "data")
    split(raw, tmp_path / "given", "--orientation", "RAS")
    warned = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert warned == [
        "warning: --orientation is not used: the header has an orientation, which counts (2 of 2 patients)"
    ]
    for folder in ("image", "label"):
        for path in (tmp_path / "data" / folder).iterdir():
            np.testing.assert_array_equal(grey(path), grey(tmp_path / "given" / folder / path.name))


@pytest.mark.parametrize("kinds", [["ct_scans"], ["masks"], ["ct_scans", "masks"]])
def test_trailing_axes_of_one_change_nothing(raw: Path, tmp_path: Path, kinds: list[str]) -> None:
    split(raw, tmp_path / "data")
    for kind in kinds:
        path = raw / kind / "049.nii"
        image = nib.load(path)
        voxels = np.array(image.dataobj)[..., None]
        path.unlink()
        nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    split(raw, tmp_path / "more")
    for name in ("049_001", "049_002"):
        for folder in ("image", "label"):
            made = [grey(tmp_path / data / folder / f"{name}.png") for data in ("data", "more")]
            np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("folder", ["image", "label"])
@pytest.mark.parametrize("name", ["049_001.png", "other.PNG"])
def test_own_pngs_are_never_written_over(folder: str, name: str, raw: Path, tmp_path: Path) -> None:
    own = tmp_path / "data" / folder / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b"a user's own picture")
    with pytest.raises(InputError, match="holds PNGs not made by this script; choose another --data folder"):
        split(raw, tmp_path / "data")
    assert contents(tmp_path / "data") == {f"{folder}/{name}": b"a user's own picture"}


def test_own_pngs_are_safe_after_step_2_took_them_in(raw: Path, tmp_path: Path) -> None:
    own = tmp_path / "data" / "image" / "049_001.png"
    write_text(own, "a user's own picture")
    write_json(tmp_path / "data" / "run.json", {"own_data": True})
    with pytest.raises(InputError, match="not made by this script"):
        split(raw, tmp_path / "data")
    assert own.read_text(encoding="utf-8") == "a user's own picture"
    assert json.loads((tmp_path / "data" / "run.json").read_text(encoding="utf-8")) == {"own_data": True}


def test_a_file_in_place_of_the_data_folder_is_not_touched(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("notes", encoding="utf-8")
    with pytest.raises(OSError, match="data"):  # cli.run makes one line of it
        split(raw, tmp_path / "data")
    assert (tmp_path / "data").read_text(encoding="utf-8") == "notes"


def test_table_and_pngs_of_the_phantoms_agree_with_the_volumes(project: Project) -> None:
    table = read_slices(project.data)
    for patient, rows in table.groupby("patient"):
        volume = nib.load(project.raw / "masks" / f"{patient}.nii")
        assert len(rows) == volume.shape[2]
        scale = volume.shape[0] / IMAGE_SIZE
        column, row, between = volume.header.get_zooms()
        for name, size in (("column", column * scale), ("row", row * scale), ("slice", between)):
            assert rows[f"spacing_{name}_mm"].unique() == pytest.approx([size], rel=1e-5)
