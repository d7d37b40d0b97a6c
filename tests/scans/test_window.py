"""HU to grey levels, squares and back, and PNGs that a user brings: worked by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ich.base.errors import InputError
from ich.scans.png import check_pair, read_image, read_label
from ich.scans.window import Window, square, square_mask, unsquare

BRAIN = Window(40, 120)
# -20 is the window's lower end, 100 its upper. 40 -> (40 + 20) * 255 / 120 = 127.5, rounded to the even 128.
# 0 -> 20 * 2.125 = 42.5 -> 42 (even); 41 -> 61 * 2.125 = 129.625 -> 130; 50 -> 70 * 2.125 = 148.75 -> 149
HU_GREY = {-3024: 0, -1000: 0, -21: 0, -20: 0, 0: 42, 40: 128, 41: 130, 50: 149, 99: 253, 100: 255, 101: 255, 3071: 255}


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<i4", "<f4", ">f4", "<f8"])
def test_window_by_hand_for_every_kind_of_number(dtype: str) -> None:
    hu = np.array([list(HU_GREY)], dtype)
    grey = BRAIN(hu)
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, [list(HU_GREY.values())])


@pytest.mark.parametrize("window", [BRAIN, Window(80, 200), Window(600, 2800), Window(-0.5, 1), Window(40, 10_000)])
def test_table_of_int16_agrees_with_the_formula_for_every_hu(window: Window) -> None:
    hu = np.arange(-(2**15), 2**15, dtype=np.int16).reshape(256, 256)
    np.testing.assert_array_equal(window(hu), window(hu.astype(np.float64)))


@pytest.mark.parametrize("view", [np.s_[:], np.s_[::-1, ::-1], np.s_[::2]])
def test_window_takes_turned_views_of_int16(view: object) -> None:
    hu = np.arange(-60, 60, dtype=np.int16).reshape(10, 12)
    for turned in (hu[view], hu.T[view]):
        np.testing.assert_array_equal(BRAIN(turned), BRAIN(turned.astype(np.float32)))


def test_window_takes_a_whole_volume() -> None:
    hu = np.full((4, 5, 3), 40, np.int16)
    np.testing.assert_array_equal(BRAIN(hu), np.full((4, 5, 3), 128))


def test_parse_reads_level_and_width() -> None:
    assert Window.parse("80/200") == Window(80, 200)
    assert Window.parse(" -600/1500 ") == Window(-600, 1500)


@pytest.mark.parametrize("text", ["", "40", "40/", "40/120/3", "a/b", "40/0", "40/-5", "nan/120", "40/nan", "inf/120",
                                  "40/inf", "99999/120"])  # fmt: skip
def test_windows_that_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--windows"):
        Window.parse(text)


def test_square_pads_evenly_with_zeros() -> None:
    # 2 rows, 5 columns: 3 rows are missing, 1 above and 2 below
    expected = np.zeros((5, 5), np.uint8)
    expected[1:3] = 7
    np.testing.assert_array_equal(square(np.full((2, 5), 7, np.uint8), 5), expected)
    np.testing.assert_array_equal(square(np.full((5, 2), 7, np.uint8), 5), expected.T)


def test_square_averages_areas() -> None:
    pixels = np.array([[0, 10, 100, 100], [20, 30, 100, 100], [1, 1, 0, 0], [1, 1, 0, 2]], np.uint8)
    # blocks of 2x2: (0 + 10 + 20 + 30) / 4 = 15; 100; 1; (0 + 0 + 0 + 2) / 4 = 0.5, rounded up by OpenCV
    np.testing.assert_array_equal(square(pixels, 2), [[15, 100], [1, 1]])


def test_square_averages_areas_that_cut_through_pixels() -> None:
    # three pixels to two: each new one holds 1.5 old ones: (30 + 60 / 2) / 1.5 = 40, (60 / 2 + 90) / 1.5 = 80
    line = np.array([30, 60, 90], np.float32)
    np.testing.assert_allclose(square(np.tile(line, (3, 1)), 2), [[40, 80], [40, 80]], rtol=1e-6)


def test_a_mask_pixel_is_set_from_one_half_on() -> None:
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1], [0, 1, 1, 0]], bool)
    # set pixels in each 2x2 block: 1, 2; 3, 2 of 4
    np.testing.assert_array_equal(square_mask(mask, 2), [[False, True], [True, True]])


def test_a_mask_is_padded_like_its_image() -> None:
    mask = np.zeros((3, 6), bool)
    mask[1, 4] = True
    place = np.argwhere(square_mask(mask, 6))
    np.testing.assert_array_equal(place, [[2, 4]])  # (6 - 3) // 2 = 1 row above
    np.testing.assert_array_equal(place, np.argwhere(square(mask.astype(np.uint8), 6)))


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99))
def test_unsquare_restores_a_mask_at_native_size(rows: int, columns: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.3
    squared = square_mask(mask, max(rows, columns))
    np.testing.assert_array_equal(unsquare(squared.astype(np.float32), rows, columns) >= 0.5, mask)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (48, 64), (64, 47)])
def test_unsquare_from_half_the_size_keeps_a_block_in_its_place(rows: int, columns: int) -> None:
    mask = np.zeros((rows, columns), bool)
    mask[16:32, 8:40] = True
    back = unsquare(square_mask(mask, 32).astype(np.float32), rows, columns) >= 0.5
    assert back.shape == mask.shape
    places, expected = np.argwhere(back), np.argwhere(mask)
    assert np.abs(places.mean(0) - expected.mean(0)).max() <= 0.5
    assert abs(len(places) - len(expected)) <= 2 * (16 + 32)  # one pixel of its border


def write(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def test_read_image_gives_the_channels_in_the_order_they_were_written(tmp_path: Path) -> None:
    rgb = np.dstack([np.full((16, 16), value, np.uint8) for value in (10, 20, 30)])
    path = write(tmp_path / "a.png", rgb[:, :, ::-1])
    np.testing.assert_array_equal(read_image(path, 3, 16), rgb)
    np.testing.assert_array_equal(read_image(path, 2, 16), rgb[:, :, :2])


def test_read_image_makes_any_size_square(tmp_path: Path) -> None:
    path = write(tmp_path / "schräg und breit.png", np.full((20, 40), 90, np.uint8))
    image = read_image(path, 1, 32)
    assert image.shape == (32, 32, 1)
    # 10 of 40 rows are padding at the top and at the bottom: 8 of 32
    np.testing.assert_array_equal(image[:8], 0)
    np.testing.assert_array_equal(image[8:24], 90)
    np.testing.assert_array_equal(image[24:], 0)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 128), (0, 3)])
def test_read_label_takes_usual_masks(tmp_path: Path, low: int, high: int) -> None:
    mask = np.zeros((16, 16), bool)
    mask[2:5, 3:9] = True
    path = write(tmp_path / "a.png", np.where(mask, high, low).astype(np.uint8))
    np.testing.assert_array_equal(read_label(path, 16), mask)


def test_an_empty_label_is_empty(tmp_path: Path) -> None:
    assert not read_label(write(tmp_path / "a.png", np.zeros((9, 7), np.uint8)), 16).any()


def test_a_label_with_class_numbers_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", np.array([[0, 1], [2, 5]], np.uint8))
    with pytest.raises(InputError, match=r"a\.png: mask values are 0, 1, 2, 5, expected 0 and one other"):
        read_label(path, 16)


def test_a_pair_of_two_shapes_is_refused(tmp_path: Path) -> None:
    image = write(tmp_path / "image.png", np.zeros((20, 30), np.uint8))
    label = write(tmp_path / "label.png", np.zeros((30, 20), np.uint8))
    check_pair(image, image)
    with pytest.raises(InputError, match=r"label\.png: mask has \(30, 20\) pixels .* has \(20, 30\)"):
        check_pair(image, label)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", None])
@pytest.mark.parametrize("read", [lambda path: read_image(path, 1, 16), lambda path: read_label(path, 16)])
def test_damaged_and_missing_pngs_are_refused_by_name(tmp_path: Path, content: bytes | None, read: object) -> None:
    path = tmp_path / "049_001.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"049_001\.png"):
        read(path)


def test_a_folder_in_place_of_a_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, expected a file"):
        read_image(tmp_path, 1, 16)
