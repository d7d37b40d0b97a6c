"""Means over the repeats of a run, which were trained with one seed each."""

from collections.abc import Sequence

import pandas as pd

from ich.base.errors import InputError


def mean_of(tables: Sequence[pd.DataFrame], what: str) -> pd.DataFrame:
    """Mean over tables, cell by cell; `what` names them in the error.

    NaN is left out of a mean, an infinite value makes it infinite. A column that is the same in all tables, whole
    numbers too, stays as it is. Raises InputError when the tables differ in length, columns or text.
    """
    first = tables[0]
    result = first.copy()
    for table in tables[1:]:
        if list(table.columns) != list(first.columns):
            columns = f"{', '.join(table.columns)} in one repeat, {', '.join(first.columns)} in another"
            raise InputError(f"{what}: {columns}; train the run again")
        if len(table) != len(first):
            raise InputError(f"{what}: {len(first)} and {len(table)} rows in two repeats; train the run again")
    for name in first.columns:
        if all(table[name].equals(first[name]) for table in tables[1:]):
            continue
        if not pd.api.types.is_numeric_dtype(first[name]):
            raise InputError(f"{what}: {name} differs between two repeats; train the run again")
        result[name] = pd.concat([table[name] for table in tables], axis=1).mean(axis=1)
    return result
