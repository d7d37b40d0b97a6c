"""Whole files: atomic writes, and strict reading of JSON and CSV."""

import collections
import concurrent.futures
import contextlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base import guard, tables
from ich.base.errors import InputError

FORCED_AT_ONCE = 8  # files that `all_to_disk` waits for together


@contextlib.contextmanager
def atomic(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` once it is written whole.

    `sync` forces it to disk first, and its name after. The suffix is kept, since Keras and matplotlib choose the
    format by it. An OSError without a file's name gets that of `path`.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    try:
        yield temporary
        if sync:
            _to_disk(temporary)
        temporary.replace(path)
        if sync:
            _name_to_disk(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)  # the error of a full disk has none
        raise


def unfinished(path: Path) -> Path:
    """Where this process writes what will be `path`."""
    return path.with_name(f".unfinished.{os.getpid()}.{path.name}")


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of this name was left by a process that was killed, or is being written."""
    return re.fullmatch(r"\.unfinished\.\d+\..+", name) is not None


def all_to_disk(paths: Collection[Path]) -> None:
    """Force files to disk, then their names; many at once, which a file system does together."""
    with concurrent.futures.ThreadPoolExecutor(FORCED_AT_ONCE) as pool:
        collections.deque(pool.map(_to_disk_if_there, paths), maxlen=0)
    for folder in {path.parent for path in paths}:
        _name_to_disk(folder)


def _to_disk_if_there(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # somebody has removed it since
        _to_disk(path)


def _name_to_disk(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some network drives can't
        _to_disk(folder)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write JSON, atomically; paths and NumPy numbers become plain values."""
    write_text(path, json.dumps(content, indent=2, default=_plain) + "\n")


def as_json(content: object) -> dict:
    """What `read_json` returns after `write_json`: tuples are lists, paths are text."""
    return json.loads(json.dumps(content, default=_plain))


def read_json(path: Path, keys: Sequence[str] = ()) -> dict:
    """Read a JSON object. Raises InputError when the file is missing or damaged, or lacks one of `keys`."""
    try:
        guard.check_file(path, "; run the step that writes it first")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); delete it and run its step again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; delete it and run its step again")
    if missing := [key for key in keys if key not in content]:
        raise InputError(f"{path}: lacks '{missing[0]}'; delete it and run its step again")
    return content


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, atomically, with six significant digits; text never begins as a formula does (`tables`)."""
    with atomic(path) as temporary:
        tables.defused(table).to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read_csv(path: Path, columns: Sequence[str], made_by: str) -> pd.DataFrame:
    """Read a table; `id` and `patient` stay text (`049`). Raises InputError when it or a column is missing."""
    guard.check_file(path, f"; run `python {made_by}` first")
    table = tables.parse(path)
    if missing := [name for name in columns if name not in table.columns]:
        raise InputError(f"{path}: no column {', '.join(missing)}; found {', '.join(table.columns)}")
    return table


def write_bytes(path: Path, content: bytes, sync: bool = True) -> bytes:
    """Write a file, atomically; return its content."""
    with atomic(path, sync) as temporary:
        temporary.write_bytes(content)
    return content


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
