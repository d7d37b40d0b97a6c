"""Modules behind the numbered scripts, in ten rooms (docs/architecture.md); nothing here imports a script."""

import importlib.util
import os
from pathlib import Path

# What matplotlib reads while it is imported, here or by Keras: a notebook's MPLBACKEND may be one that isn't installed
# for us, and a matplotlibrc may ask for LaTeX.
if _matplotlib := importlib.util.find_spec("matplotlib"):
    os.environ["MPLBACKEND"] = "agg"
    os.environ["MATPLOTLIBRC"] = str(Path(str(_matplotlib.origin)).parent / "mpl-data" / "matplotlibrc")
