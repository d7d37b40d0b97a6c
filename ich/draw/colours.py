"""What a colour means, the same in all plots and pictures. tests/draw/test_colours.py simulates color blindness."""

import itertools
from collections.abc import Iterable

RGB = tuple[int, int, int]

# Pixels of a slice: green, yellow and magenta differ for every kind of color vision, also as a tint on grey.
HIT: RGB = (64, 153, 46)
FALSE_ALARM: RGB = (255, 235, 0)
MISS: RGB = (255, 0, 200)
# Outlines on a slice where no comparison is shown.
PREDICTION: RGB = (255, 165, 0)
REFERENCE: RGB = (0, 230, 255)

# Networks in plots. The first three differ for every kind of color vision. Most are of Okabe and Ito 2008.
KNOWN = {"unet": "#0072B2", "dunet": "#D55E00"}
OTHERS = ("#7A4B2A", "#56B4E9", "#CC79A7", "#9A9A00")
GREY = "#737373"  # training beside validation, chance, what is undecided
BLACK = "#000000"
ALARM = "#B00020"  # the banner of phantom data


def css(colour: RGB) -> str:
    """The colour as `#RRGGBB`, for matplotlib and HTML."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def of_runs(names: Iterable[str]) -> dict[str, str]:
    """The colour of each run. Call it with all runs of a protocol: then each keeps its own in every comparison."""
    others = sorted(set(names) - set(KNOWN))
    return KNOWN | dict(zip(others, itertools.cycle(OTHERS), strict=False))
