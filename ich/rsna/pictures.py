"""The same slices under the variants, side by side."""

from collections.abc import Sequence

import pandas as pd

from ich.base.paths import Rsna
from ich.draw.pictures import TILE, contact_sheet
from ich.rsna.layouts import CLASSES
from ich.scans.png import read_image


def preview(files: Rsna, table: pd.DataFrame, names: Sequence[str]) -> None:
    """A row a variant, a column a class; of each class the slice in the middle of its list."""
    parts = {name: table.loc[table["class"] == name, "id"] for name in CLASSES}
    shown = {name: ids.iloc[len(ids) // 2] for name, ids in parts.items() if len(ids)}
    rows = {
        variant: [(read_image(files.png(variant, one), 1, TILE)[:, :, 0], name) for name, one in shown.items()]
        for variant in names
    }
    contact_sheet(files.preview, rows, "The same slices under each preprocessing")
