"""Modules behind the numbered scripts, in ten rooms (docs/architecture.md); nothing here imports a script."""

import importlib.util
import os
from pathlib import Path

# What matplotlib reads while it is imported, here or by Keras: a notebook's MPLBACKEND may be one that isn't installed
# for us, and a matplotlibrc may ask for LaTeX.
if _matplotlib := importlib.util.find_spec("matplotlib"):
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = str(Path(str(_matplotlib.origin)).parent / "mpl-data" / "matplotlibrc")

# What tqdm and OpenCV read while they are imported: TQDM_MININTERVAL=abc or OPENCV_IO_MAX_IMAGE_PIXELS=abc stop Python,
# and a low OPENCV_IO_MAX_IMAGE_PIXELS would look like a damaged PNG.
for _variable in [each for each in os.environ if each.startswith(("TQDM_", "OPENCV_")) and each != "TQDM_DISABLE"]:
    del os.environ[_variable]
