"""The slices below and above a slice, from the series and positions that rsna_preprocess.py has recorded."""

import pandas as pd

from ich.base.errors import InputError
from ich.base.files import read_csv
from ich.base.paths import Rsna

WIDEST_GAP = 1.5  # of the series' usual distance; beyond it a slice is missing between


def read(files: Rsna) -> pd.DataFrame:
    """`near` of all slices. Raises InputError where no slice has a neighbour, or they were never recorded."""
    table = near(read_csv(files.series, ("id", "series", "position_mm"), "rsna_preprocess.py"))
    if (table["below"] == table.index).all():
        raise InputError(f"{files.series}: no slice has one below it; --neighbours 1 needs whole series, with "
                         "SeriesInstanceUID and ImagePositionPatient; train with --neighbours 0")  # fmt: skip
    return table


def near(table: pd.DataFrame) -> pd.DataFrame:
    """By id the ids `below` and `above`; one that is missing is the slice itself. Several at one place share theirs."""
    known = table.dropna(subset=["series", "position_mm"])
    places = known.sort_values(["series", "position_mm", "id"]).drop_duplicates(["series", "position_mm"])
    series = places["series"]
    step = places.groupby(series)["position_mm"].diff()
    usual = WIDEST_GAP * step.groupby(series).transform("median")
    next_step = step.groupby(series).shift(-1)
    ids = places["id"].groupby(series)
    places = places.assign(below=ids.shift(1).where(step <= usual), above=ids.shift(-1).where(next_step <= usual))
    found = known[["id", "series", "position_mm"]].merge(
        places[["series", "position_mm", "below", "above"]], on=["series", "position_mm"]
    )
    both = found.set_index("id")[["below", "above"]].reindex(table["id"])
    return both.apply(lambda column: column.fillna(both.index.to_series()))
