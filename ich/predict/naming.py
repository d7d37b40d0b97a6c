"""The names of the scans' output folders: no two alike, none that holds another scan's results, the same next time."""

import contextlib
import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ich.base import record
from ich.base.errors import InputError, printable
from ich.base.paths import is_file_name
from ich.predict import results
from ich.predict.inputs import NAMELESS, Input
from ich.predict.results import Result
from ich.scans.dicom_choice import first_few

DIGITS = 8  # of a fingerprint, in a name that no path can make unique


def named(scans: Sequence[Input], out: Path) -> list[Input]:
    """The scans with the names of their folders in `out`.

    A scan that has results there keeps their name: the one read from the same path (and series), else one of the same
    content whose file is gone from its place, so that it was moved. Others are called by their base name; where several
    have that, parts of the path are put before it (`sub-01_ct`), and digits of the content behind it where they do not
    help. Folders that the program did not make are left alone.
    """
    earlier = results.read_all(out)
    names = _kept(scans, earlier)
    others = [result.source["base"] for name, result in earlier.items() if name not in names.values() and result.source]
    bases = Counter(map(_key, [*(scan.base for scan in scans), *others]))
    taken = {_key(name) for name in [results.VOLUMES, *names.values(), *_occupied(earlier, out)]}
    names |= _new([scan for scan in scans if scan not in names], bases, taken)
    return [_called(scan, names[scan], bases) for scan in scans]


def left_behind(scans: Sequence[Input], named_paths: Sequence[Path], out: Path) -> list[str]:
    """A note on results in `out` whose scans are no longer under the paths that were named; they stay."""
    roots = [Path(os.path.abspath(path)) for path in named_paths]  # noqa: PTH100  (links are kept)
    empty = {root for root in roots if not any(scan.absolute.is_relative_to(root) for scan in scans)}
    names = []
    for name, result in results.read_all(out).items():
        path = Path(result.source.get("path", ""))
        if path in empty or (result.is_moved() and any(path.is_relative_to(root) for root in roots)):
            names.append(name)
    note = f"scans that are no longer where they were predicted keep their results: {first_few(names)}"
    return [note] if names else []


def _called(scan: Input, name: str, bases: Counter[str]) -> Input:
    """The scan under its name; messages add its path where the name could be of several."""
    is_clear = name == scan.base and bases[_key(name)] == 1
    return dataclasses.replace(scan, name=name, shown=name if is_clear else f"{name} ({printable(str(scan.path))})")


def _kept(scans: Sequence[Input], earlier: Mapping[str, Result]) -> dict[Input, str]:
    """The names of earlier results, for the scans that they are of."""
    free, names = dict(earlier), {}
    for scan in scans:
        same = [name for name, result in free.items() if result.is_from(scan.source)]
        if len(same) > 1:  # one series that was read as several scans
            same.sort(key=lambda name: free[name].content != _content(scan))
        if same:
            names[scan] = same[0]
            del free[same[0]]
    moved = {name: result for name, result in free.items() if result.is_moved()}
    for scan in scans:
        if scan in names or not moved:
            continue
        if name := next((name for name, result in moved.items() if result.content == _content(scan)), ""):
            names[scan] = name
            del moved[name]
    return names


def _new(scans: Sequence[Input], bases: Counter[str], taken: set[str]) -> dict[Input, str]:
    """Names for scans that have none; `bases` counts base names, `taken` holds the names in use. Both hold `_key`s."""
    names: dict[Input, str] = {}
    for depth in range(max((len(scan.absolute.parts) for scan in scans), default=0) + 1):
        wanted = {scan: _name(scan, depth) for scan in scans if scan not in names}
        counts = Counter(map(_key, wanted.values()))
        for scan, name in wanted.items():
            key = _key(name)
            is_unique = counts[key] == 1 and key not in taken and (depth > 0 or bases[key] == 1)
            if is_unique and is_file_name(name):
                names[scan] = name
                taken.add(key)
    for scan in scans:
        if scan not in names:
            names[scan] = _numbered(scan, taken)
            taken.add(_key(names[scan]))
    return names


def _numbered(scan: Input, taken: set[str]) -> str:
    """A name with digits of the content, or of the path where two contents are one."""
    base = scan.base if is_file_name(scan.base + "_" * (DIGITS + 1)) else NAMELESS
    of_path = record.fingerprint(os.fsencode(scan.absolute))
    names = [f"{base}_{digits[:DIGITS]}" for digits in (_content(scan), of_path) if digits]
    return next((name for name in names if _key(name) not in taken), f"{base}_{of_path}")


def _name(scan: Input, depth: int) -> str:
    """The base name with so many folders of the path before it."""
    parents = scan.absolute.parent.parts[1:]  # the root has no name
    return "_".join([*parents[max(0, len(parents) - depth) :], scan.base])


def _occupied(earlier: Mapping[str, Result], out: Path) -> list[str]:
    """Names in `out` that no new scan may have. Results that do not say which scan they are of may be replaced."""
    if not out.is_dir():
        return []
    replaceable = {name for name, result in earlier.items() if not result.source}
    return [path.name for path in out.iterdir() if path.name not in replaceable and not _is_empty(path)]


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _content(scan: Input) -> str:
    """Its fingerprint; empty for a scan that can't be read: predicting it reports that."""
    with contextlib.suppress(InputError):
        return scan.content
    return ""


def _key(name: str) -> str:
    """Equal for names that some file systems take for one: those of other case or Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
