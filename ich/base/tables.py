"""CSV files: read strictly, and written so that no spreadsheet takes text of the data for a formula.

Ids, patients and notes come from file names and headers that others wrote. A text cell such as `=1+1` is written as
`'=1+1` and read back as `=1+1`, so that every step sees the same ids. Numbers are left alone.
"""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ich.base.errors import InputError, printable

TEXT = ("id", "patient")  # columns that are never numbers nor missing
_START = r"[=+\-@\uff1d\uff0b\uff0d\uff20]."  # a formula to spreadsheets, full-width signs too; a lone dash is none
_FORMULA, _DEFUSED = re.compile(f"'*{_START}"), re.compile(f"'+{_START}")
_NUMBER = re.compile(r"[+-][0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def defused(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each text that a spreadsheet would compute; each text in one line."""
    return _mapped(table, _defused)


def _defused(text: str) -> str:
    if not text.isprintable():
        text = printable(text)  # a line break without quotes would end the row
    return "'" + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def restored(table: pd.DataFrame) -> pd.DataFrame:
    """Undo `defused`."""
    return _mapped(table, lambda text: text[1:] if _DEFUSED.match(text) else text)


def parse(path: Path) -> pd.DataFrame:
    """Read a CSV; TEXT columns stay text (`049`, `NA`). Raises InputError for what is no table of UTF-8 and commas.

    Rows longer than the header are refused: pandas would shift them one column to the left.
    """
    check_encoding(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            names = _names(path)
            texts = [name for name in names if name.strip() in TEXT]
            missing = {name: [] if name in texts else ["", "nan"] for name in names}  # a patient may be called NA
            table = pd.read_csv(
                path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=missing, index_col=False,
                encoding="utf-8-sig",
            )  # fmt: skip
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); save it as `CSV UTF-8` with commas") from None
    return restored(_without_empty(table))


def check_encoding(path: Path) -> None:
    """Raise InputError for what some spreadsheets call Unicode text."""
    with path.open("rb") as file:
        if file.read(2) in _UTF16:
            raise InputError(f"{path}: is saved as UTF-16, expected UTF-8; save it as `CSV UTF-8`")


def check_numbers(path: Path, table: pd.DataFrame) -> None:
    """Raise InputError unless all columns but TEXT hold numbers, or nothing."""
    for name in table.columns.difference(TEXT):
        wrong = table[name].notna() & pd.to_numeric(table[name], errors="coerce").isna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise InputError(f"{path}: row {row + 2}, {name} is '{table[name].iloc[row]}', expected a number")


def _names(path: Path) -> list[str]:
    """The header. Raises InputError for a name that appears twice and for other separators than commas."""
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    names = first.iloc[0].tolist()
    if len(names) == 1 and (other := re.search("[;\t|]", names[0])):
        raise InputError(f"{path}: columns are separated by {other[0]!r}, expected commas; save it as `CSV UTF-8`")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f"{path}: column {twice[0]} appears twice; remove one of them")
    return names


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Without the rows and nameless columns that spreadsheets add at the end, and spaces around names of columns."""
    filled = table.notna() & (table != "")
    nameless = table.columns.str.startswith("Unnamed: ") & ~filled.any(axis=0)
    return table.loc[filled.any(axis=1), ~nameless].rename(columns=str.strip).reset_index(drop=True)


def _mapped(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{name: table[name].map(lambda x: change(x) if isinstance(x, str) else x) for name in texts})
