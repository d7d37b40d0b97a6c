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
from ich.predict.folders import SHOWN
from ich.predict.inputs import Input
from ich.predict.results import Result

DIGITS = 8  # of a fingerprint, in a name that no path can make unique


def named(scans: Sequence[Input], out: Path) -> list[Input]:
    """The scans with the names of their folders in `out`.

    A scan that has results there keeps their name: the one read from the same path (and series), else one of the same
    content whose file is gone from its place, so that it was moved. Others are called by their base name; where that
    is of several, parts of the path are put before it (`sub-01_ct`), and digits of the content behind it where they
    do not help. Folders that the program did not make are left alone.
    """
    earlier = results.read_all(out)
    names = _kept(scans, earlier)
    for place, name in _new(scans, names, earlier, out).items():
        names[place] = name
    bases = _bases(scans, names, earlier)
    return [_called(each, names[place], bases) for place, each in enumerate(scans)]


def left_behind(scans: Sequence[Input], given: Sequence[Path], out: Path) -> list[str]:
    """A note on results in `out` whose scans are no longer under the paths that were given; they stay."""
    roots = [Path(os.path.abspath(path)) for path in given]  # noqa: PTH100  (links are kept)
    empty = {root for root in roots if not any(each.absolute.is_relative_to(root) for each in scans)}
    names = []
    for name, result in results.read_all(out).items():
        path = Path(str(result.source.get("path", "")))
        if path in empty or (result.is_moved() and any(path.is_relative_to(root) for root in roots)):
            names.append(name)
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return [f"scans that are no longer where they were predicted keep their results: {shown}"] if names else []


def _called(scan: Input, name: str, bases: Counter[str]) -> Input:
    """The scan under its name; messages add its path where the name could be of several."""
    alone = name == scan.base and bases[_key(name)] == 1
    shown = name if alone else f"{name} ({printable(str(scan.path))})"
    return dataclasses.replace(scan, name=name, shown=shown)


def _kept(scans: Sequence[Input], earlier: Mapping[str, Result]) -> dict[int, str]:
    """Names of earlier results by the place of their scan in `scans`."""
    free, names = dict(earlier), {}
    for place, each in enumerate(scans):
        same = [name for name, result in free.items() if result.is_from(each.source)]
        if len(same) > 1:  # one series that was read as several scans
            same.sort(key=lambda name: free[name].content != _content(each))
        if same:
            names[place] = same[0]
            del free[same[0]]
    moved = {name: result for name, result in free.items() if result.is_moved()}
    for place, each in enumerate(scans):
        if place in names or not moved:
            continue
        if name := next((name for name, result in moved.items() if result.content == _content(each)), ""):
            names[place] = name
            del moved[name]
    return names


def _new(scans: Sequence[Input], names: Mapping[int, str], earlier: Mapping[str, Result], out: Path) -> dict[int, str]:
    """Names for the scans that have none in `names`."""
    bases = _bases(scans, names, earlier)
    taken = {_key(name) for name in [results.VOLUMES, *names.values(), *_not_ours_to_use(earlier, out)]}
    waiting = {place: each for place, each in enumerate(scans) if place not in names}
    found: dict[int, str] = {}
    depth = 0
    while waiting:
        wanted = {place: _name(each, depth) for place, each in waiting.items()}
        counts = Counter(map(_key, wanted.values()))
        for place, name in wanted.items():
            key = _key(name)
            unique = counts[key] == 1 and key not in taken and (depth > 0 or bases[key] == 1)
            if unique and is_file_name(name):
                found[place] = name
                taken.add(key)
                del waiting[place]
        depth += 1
        if depth > max((len(each.absolute.parts) for each in waiting.values()), default=0):
            return found | _numbered(waiting, taken)
    return found


def _numbered(waiting: Mapping[int, Input], taken: set[str]) -> dict[int, str]:
    """Names with digits of the content, or of the path where two contents are one."""
    found = {}
    for place, each in waiting.items():
        base = each.base if is_file_name(each.base + "_" * (DIGITS + 1)) else "scan"
        digits = [_content(each), record.fingerprint(os.fsencode(each.absolute))]
        names = [f"{base}_{each[:DIGITS]}" for each in digits if each]
        found[place] = next((name for name in names if _key(name) not in taken), f"{base}_{digits[1]}")
        taken.add(_key(found[place]))
    return found


def _name(scan: Input, depth: int) -> str:
    """The base name with so many folders of the path before it."""
    parents = scan.absolute.parent.parts[1:]  # of the root there is no name
    return "_".join([*parents[max(0, len(parents) - depth) :], scan.base])


def _bases(scans: Sequence[Input], names: Mapping[int, str], earlier: Mapping[str, Result]) -> Counter[str]:
    """How many scans of each base name there are, in the call and in the output folder."""
    others = [result for name, result in earlier.items() if name not in names.values()]
    return Counter(_key(each.base) for each in scans) + Counter(
        _key(str(result.source["base"])) for result in others if result.source.get("base")
    )


def _not_ours_to_use(earlier: Mapping[str, Result], out: Path) -> list[str]:
    """Names in `out` that no new scan may have. Results that do not tell their scan can be replaced, which is said."""
    if not out.is_dir():
        return []
    replaceable = {name for name, result in earlier.items() if not result.source}
    return [path.name for path in out.iterdir() if path.name not in replaceable and not _is_empty(path)]


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _content(scan: Input) -> str:
    """Its fingerprint; of a scan that can't be read none, which is said when it is predicted."""
    with contextlib.suppress(InputError):
        return scan.content
    return ""


def _key(name: str) -> str:
    """Equal for names that are one on some file systems: those of other case or Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
