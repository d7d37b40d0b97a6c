"""All plots and pictures, in one style, whatever the user's own matplotlib settings are."""

import matplotlib as mpl

STYLE = {
    "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
    "text.parse_math": False,  # names of runs and patients may hold dollar signs
    "font.size": 10, "axes.titlesize": 11, "savefig.dpi": 200, "figure.constrained_layout.use": True,
}  # fmt: skip

mpl.rcdefaults()  # a matplotlibrc in the current folder is read whatever MATPLOTLIBRC says
mpl.rcParams.update(STYLE)
