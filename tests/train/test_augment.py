"""Augmentation: image and mask move together, and only what is switched on changes anything."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from config import RECIPES, Recipe
from ich.train.augment import augment, random_affine, upside_down

SIZE = 32
NOTHING = replace(
    RECIPES["fast"], rotation_deg=0, shift=0, shear_deg=0, scale=0, brightness=0, contrast=0, noise=0, flip=False
)


def strength(**given: Any) -> Recipe:
    return replace(NOTHING, **given)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1), np.uint8)


@pytest.fixture
def square() -> tuple[np.ndarray, np.ndarray]:
    """A slice that is bright exactly where its mask is 1, off the middle."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[6:16, 8:20] = 1
    return mask[..., None] * np.uint8(200), mask


def seeds(number: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(number)]


@pytest.mark.parametrize("channels", [1, 3])
def test_strength_zero_changes_nothing(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, channels), np.uint8)
    mask = (image[..., 0] > 128).astype(np.uint8)
    changed = augment(image, mask, strength(), np.random.default_rng(3))
    np.testing.assert_array_equal(changed[0], image)
    np.testing.assert_array_equal(changed[1], mask)


def test_every_second_slice_is_mirrored_exactly(noise: np.ndarray) -> None:
    mask = (noise[..., 0] > 128).astype(np.uint8)
    mirrored = 0
    for rng in seeds(200):
        image, moved = augment(noise, mask, strength(flip=True), rng)
        flipped = not np.array_equal(image, noise)
        mirrored += flipped
        np.testing.assert_array_equal(image, noise[:, ::-1] if flipped else noise)
        np.testing.assert_array_equal(moved, mask[:, ::-1] if flipped else mask)
    assert 70 < mirrored < 130  # 100 expected, standard deviation 7


@pytest.mark.parametrize("recipe", RECIPES)
def test_image_and_mask_move_together(recipe: str, square: tuple[np.ndarray, np.ndarray]) -> None:
    """The bright square stays on its mask: bright inside, dark outside, save on its rim of a pixel."""
    geometry = ("rotation_deg", "shift", "shear_deg", "scale", "flip")
    how = strength(**{name: getattr(RECIPES[recipe], name) for name in geometry})
    for rng in seeds(50):
        image, mask = augment(*square, how, rng)
        bright = image[..., 0] >= 100
        wrong = np.count_nonzero(bright != (mask == 1))
        assert wrong <= 6, f"{wrong} of about 44 rim pixels"
        least, most = (120 * (1 + sign * how.scale) ** 2 for sign in (-1, 1))
        assert least - 17 < mask.sum() < most + 15


def test_known_turn_and_shift() -> None:
    """A shift of 3 columns and 2 rows down, by a generator that returns them."""
    given = SimpleNamespace(uniform=lambda low, high, n=None: high if n is None else np.array([3, 2]) / SIZE)
    given.random = lambda: 1.0
    np.testing.assert_allclose(random_affine(SIZE, strength(), given), [[1, 0, 3], [0, 1, 2]])


def test_turns_are_about_the_centre_and_within_the_limits() -> None:
    centre = (SIZE - 1) / 2
    for rng in seeds(50):
        matrix = random_affine(SIZE, strength(rotation_deg=15, scale=0.1), rng)
        np.testing.assert_allclose(matrix @ [centre, centre, 1], [centre, centre])
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert abs(angle) <= 15
        assert 0.9 <= np.sqrt(np.linalg.det(matrix[:, :2])) <= 1.1


def test_what_comes_in_repeats_the_border(noise: np.ndarray) -> None:
    """A slice of one grey stays of that grey: no black comes in from outside."""
    grey, mask = np.full_like(noise, 90), np.ones((SIZE, SIZE), np.uint8)
    for rng in seeds(20):
        image, moved = augment(grey, mask, strength(rotation_deg=30, shift=0.2, scale=0.2, flip=True), rng)
        assert (image == 90).all()
        assert (moved == 1).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_types_and_values_stay_what_they_were(recipe: str) -> None:
    how = replace(RECIPES[recipe], patch=min(RECIPES[recipe].patch, SIZE))
    channels = 3 if how.neighbours else 1
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, channels), np.uint8)
    mask = (noise[..., 0] > 128).astype(np.uint8)
    for rng in seeds(20):
        image, moved = augment(noise, mask, how, rng)
        assert image.dtype == moved.dtype == np.uint8
        assert image.shape == noise.shape
        assert set(np.unique(moved)) <= {0, 1}


def test_a_patch_holds_a_lesion_pixel_and_is_cut_out_unchanged() -> None:
    image = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE)
    image = np.dstack([image // 256, image % 256]).astype(np.uint8)  # no two pixels are equal
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[14, 18] = mask[29, 2] = 1
    corners = set()
    for rng in seeds(60):
        patch, part = augment(image, mask, strength(patch=16), rng)
        assert patch.shape == (16, 16, 2)
        assert part.any()
        row, column = divmod(int(patch[0, 0, 0]) * 256 + int(patch[0, 0, 1]), SIZE)
        np.testing.assert_array_equal(patch, image[row : row + 16, column : column + 16])
        np.testing.assert_array_equal(part, mask[row : row + 16, column : column + 16])
        corners.add((row, column))
    assert len({row for row, _ in corners}) > 5  # anywhere about the pixel, not in its middle
    assert {row < 14 for row, _ in corners} == {True, False}  # about either of the two


def test_a_patch_of_a_clean_slice_shows_some_of_the_head() -> None:
    image, clean = np.zeros((SIZE, SIZE, 1), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    image[20:24, 4:8] = 90
    assert all(augment(image, clean, strength(patch=16), rng)[0].any() for rng in seeds(40))
    black, _ = augment(np.zeros_like(image), clean, strength(patch=16), np.random.default_rng(0))
    assert black.shape == (16, 16, 1)


def test_patches_are_turned_with_their_masks() -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[10:22, 9:23] = 1
    image = mask[..., None] * np.uint8(255)
    how = strength(patch=24, rotation_deg=30, scale=0.2, shift=0.05, flip=True)
    for rng in seeds(30):
        patch, part = augment(image, mask, how, rng)
        assert ((patch[..., 0] > 127) != part).mean() < 0.05  # linear against nearest, along the edge only


def test_neighbours_change_places_in_half_of_the_slices() -> None:
    image = np.broadcast_to(np.arange(6, dtype=np.uint8), (SIZE, SIZE, 6)).copy()  # three slices of two windows
    mask = np.zeros((SIZE, SIZE), np.uint8)
    assert upside_down(image)[0, 0].tolist() == [4, 5, 2, 3, 0, 1]
    found = [tuple(augment(image, mask, strength(neighbours=1), rng)[0][0, 0].tolist()) for rng in seeds(200)]
    assert set(found) == {(0, 1, 2, 3, 4, 5), (4, 5, 2, 3, 0, 1)}
    assert 70 < found.count((0, 1, 2, 3, 4, 5)) < 130
    assert tuple(augment(image, mask, strength(), np.random.default_rng(0))[0][0, 0].tolist()) == (0, 1, 2, 3, 4, 5)


def test_an_elastic_change_moves_image_and_mask_alike(square: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = square
    changed = []
    for rng in seeds(20):
        bent, moved = augment(image, mask, strength(elastic=1), rng)
        assert ((bent[..., 0] > 100) != moved).mean() < 0.03
        changed.append((moved != mask).any())
    assert sum(changed) > 15
    assert not any((augment(image, mask, strength(elastic=0), rng)[1] != mask).any() for rng in seeds(5))


@pytest.mark.parametrize("lever", ["gamma", "blur", "low_resolution", "elastic"])
def test_a_lever_changes_its_share_of_the_slices(lever: str, noise: np.ndarray) -> None:
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)[..., None]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for share, least, most in ((0, 0, 0), (0.3, 30, 90), (1, 185, 200)):
        differ = [(augment(smooth, mask, strength(**{lever: share}), rng)[0] != smooth).any() for rng in seeds(200)]
        assert least <= sum(differ) <= most


def test_gamma_keeps_black_and_white() -> None:
    image = np.tile(np.array([0, 64, 255, 0], np.uint8), (SIZE, SIZE // 4))[..., None]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    found = [augment(image, mask, strength(gamma=1), rng)[0][0, :3, 0].tolist() for rng in seeds(50)]
    assert {(black, white) for black, _, white in found} == {(0, 255)}
    greys = [grey for _, grey, _ in found]
    assert min(greys) >= round(255 * (64 / 255) ** 1.5)
    assert max(greys) <= round(255 * (64 / 255) ** 0.7)
    assert max(greys) - min(greys) > 30


def test_lost_resolution_takes_fine_detail(noise: np.ndarray) -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for lever in ("blur", "low_resolution"):
        deviations = [augment(noise, mask, strength(**{lever: 1}), rng)[0].std() for rng in seeds(20)]
        assert np.mean(deviations) < 0.75 * noise.std()


def test_greys_are_clipped_and_do_not_wrap() -> None:
    image = np.concatenate([np.zeros((SIZE, SIZE // 2, 1)), np.full((SIZE, SIZE // 2, 1), 255)], 1).astype(np.uint8)
    for rng in seeds(30):
        changed, _ = augment(image, image[..., 0], strength(brightness=60, contrast=0.5, noise=20), rng)
        assert changed[:, : SIZE // 2].mean() < 130 < changed[:, SIZE // 2 :].mean()  # a wrapped grey would cross


def test_brightness_alone_adds_one_number_to_all_pixels() -> None:
    image = np.tile(np.arange(60, 92, dtype=np.uint8), (SIZE, 1))[..., None]
    shifts = set()
    for rng in seeds(40):
        changed, _ = augment(image, image[..., 0], strength(brightness=10), rng)
        shift = np.unique(changed.astype(int) - image)
        assert len(shift) == 1
        shifts.add(int(shift[0]))
    assert -10 <= min(shifts) < -5 < 5 < max(shifts) <= 10


def test_the_same_generator_gives_the_same_slice(noise: np.ndarray) -> None:
    pairs = [augment(noise, noise[..., 0] // 128, RECIPES["fast"], np.random.default_rng([4, 2, 1])) for _ in range(2)]
    np.testing.assert_array_equal(pairs[0][0], pairs[1][0])
    other, _ = augment(noise, noise[..., 0] // 128, RECIPES["fast"], np.random.default_rng([4, 3, 1]))
    assert not np.array_equal(other, pairs[0][0])
