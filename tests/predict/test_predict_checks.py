"""What is not a head CT in HU is refused, each for its own reason."""

from collections.abc import Callable

import numpy as np
import pytest
from predict_files import phantom

from ich.base.errors import InputError
from ich.predict.checks import check_head_ct

SPACING = (5.0, 3.6, 3.6)


def head() -> np.ndarray:
    return phantom(64).hu.transpose(2, 1, 0).astype(np.float32)


def test_every_phantom_passes() -> None:
    check_head_ct(head(), SPACING, "a")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hu: hu[:2], "has 2 axial slices"),
        (lambda hu: np.where(hu < -300, 0, hu), "air"),  # skull-stripped, or background set to 0
        (lambda hu: np.clip(hu, -1024, 250), "bone"),
        (lambda hu: np.where((hu > -50) & (hu < 150), -120, hu), "brain"),
        (lambda hu: np.clip((hu + 20) / 120 * 255, 0, 255), "air"),  # windowed to 8 bit
        (lambda hu: hu + 1024, "air"),  # stored values without the intercept
        (lambda hu: hu * 40, "values run from"),
    ],
)
def test_other_values_are_refused(change: Callable[[np.ndarray], np.ndarray], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_head_ct(change(head()), SPACING, "a")


def test_mr_is_refused() -> None:
    """Noise around 0 outside, 300 to 900 within: as of a T1 picture."""
    rng = np.random.default_rng(0)
    mr = np.abs(rng.normal(0, 10, (20, 32, 32)))
    mr[:, 8:24, 8:24] = rng.uniform(300, 900, (20, 16, 16))
    with pytest.raises(InputError, match="not a head CT in HU"):
        check_head_ct(mr, SPACING, "a")


def test_trunk_is_refused() -> None:
    """The same values twice as wide are no head."""
    with pytest.raises(InputError, match=r"mm wide, expected a head"):
        check_head_ct(head(), (5.0, 3.6, 7.2), "a")
