"""Which files lie under the paths that a user named: each once, links followed, the program's own results left out."""

import os
from collections.abc import Callable
from pathlib import Path

SHOWN = 3  # paths of one kind that a note names
TWICE = "link", "to what is read already"  # what is left out, and why
BROKEN = "link", "to what is not there"
SPECIAL = "path", "pipe or device, expected a regular file"
CLOSED = "folder", "cannot be read; check its permissions"
OWN = "file", "written by predict.py"


class Walk:
    """Lists the files under several paths; each real file and folder once over all of them.

    `out` is the output folder, which is left out unless it is itself one of the paths; `own_files` gives the names of
    the files in a folder that are the program's own results. Names that begin with a dot are left out.
    """

    def __init__(self, out: Path | None, own_files: Callable[[Path], set[str]]) -> None:
        self._out = os.path.realpath(out) if out else ""
        self._own_files = own_files
        self._seen: set[str] = set()
        self._left: dict[tuple[str, str], list[Path]] = {}
        self._holds_out: list[Path] = []

    @property
    def notes(self) -> list[str]:
        """What was left out, a line for each reason."""
        notes = [f"{path}: left out, since it is the output folder (--out)" for path in self._holds_out]
        for (kind, why), paths in self._left.items():
            names = ", ".join(map(str, paths[:SHOWN])) + (", ..." if len(paths) > SHOWN else "")
            notes.append(f"{len(paths)} {kind}{'' if len(paths) == 1 else 's'} left out ({why}): {names}")
        return notes

    def file(self, path: Path) -> list[Path]:
        """The file itself, or nothing if it has been listed."""
        real = os.path.realpath(path)
        if real in self._seen:
            return []
        self._seen.add(real)
        return [path]

    def folder(self, root: Path) -> list[Path]:
        """All files in `root` and its folders, in order of their names; what links lead to comes last.

        A link is followed unless it leads to what is listed already, or to a folder that holds `root`.
        """
        around = {os.path.realpath(root)} | {str(parent) for parent in Path(os.path.realpath(root)).parents}
        links: list[Path] = []
        files = self._below(root, links, is_root=True)
        for link in links:  # grows while links lead to folders with links
            real = os.path.realpath(link)
            if not os.path.exists(real):  # noqa: PTH110  (False for a ring of links, and in folders that are closed)
                self._leave(BROKEN, link)
            elif real in self._seen or real in around:
                self._leave(TWICE, link)
            elif Path(real).is_dir():
                files += self._below(link, links)
            elif self._is_own(real):
                self._leave(OWN, link)
            else:
                files += self._regular(link)
        return files

    def _below(self, root: Path, links: list[Path], is_root: bool = False) -> list[Path]:
        """Files of a folder and of the folders in it; links are added to `links`."""
        files: list[Path] = []
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder)
            if real == self._out and not (is_root and folder == root):
                self._holds_out.append(folder)
                continue
            if real in self._seen:
                continue
            self._seen.add(real)
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                self._leave(CLOSED, folder)
                continue
            own = self._own_files(folder)
            folders = []
            for entry in entries:
                path = folder / entry.name
                if entry.name.startswith("."):
                    continue
                if entry.name in own:
                    self._leave(OWN, path)
                elif entry.is_symlink():
                    links.append(path)
                elif entry.is_dir():
                    folders.append(path)
                else:
                    files += self._regular(path)
            waiting += reversed(folders)
        return files

    def _is_own(self, real: str) -> bool:
        """Whether a file that a link leads to is a result of the program."""
        path = Path(real)
        return path.name in self._own_files(path.parent)

    def _regular(self, path: Path) -> list[Path]:
        if path.is_file():
            return self.file(path)
        self._leave(SPECIAL, path)
        return []

    def _leave(self, reason: tuple[str, str], path: Path) -> None:
        self._left.setdefault(reason, []).append(path)
