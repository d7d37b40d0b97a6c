"""A folder of phantoms says which ones it holds, so that real scans are never overwritten."""

from collections.abc import Iterable
from pathlib import Path

from ich.base.errors import InputError
from ich.base.files import read_json, write_json
from ich.base.paths import PHANTOM_MARKER


def is_complete(folder: Path, origin: dict, files: Iterable[str]) -> bool:
    """Whether all `files` of the phantoms made from `origin` are in `folder`; an empty folder is claimed for them.

    Raises InputError for a folder with other contents.
    """
    marker = folder / PHANTOM_MARKER
    refuse_other_files(folder, marker)
    if not marker.exists():
        write_json(marker, origin)
    found = read_json(marker)
    if found != origin:
        raise InputError(f"{folder} holds phantoms made with {found}, asked for {origin}: "
                         "name another folder or delete this one")  # fmt: skip
    return all((folder / name).exists() for name in files)


def refuse_other_files(folder: Path, own: Path) -> None:
    """Raise InputError for a folder that holds something, but not its `own` first file or folder."""
    if folder.exists() and any(folder.iterdir()) and not own.exists():
        raise InputError(f"{folder} holds other files: expected a new folder for the phantoms; name another one")
