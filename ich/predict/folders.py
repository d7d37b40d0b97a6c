"""Which files lie under the paths that a user named: each once, links followed, the program's own results left out."""

import os
from pathlib import Path

from ich.predict import results
from ich.scans.dicom_choice import first_few

TWICE = "link", "to what is read already"  # what is left out, and why
BROKEN = "link", "to what is not there"
SPECIAL = "path", "pipe or device, expected a regular file"
CLOSED = "folder", "cannot be read; check its permissions"
OWN = "file", "written by predict.py"


class Walk:
    """Lists the files under several paths; each real file and folder once over all of them.

    `out` is the output folder, which is left out unless it is itself one of the paths. So are names that begin with a
    dot, and the program's own results.
    """

    def __init__(self, out: Path | None) -> None:
        self._out = os.path.realpath(out) if out else ""
        self._seen: set[str] = set()
        self._left_out: dict[tuple[str, str], list[Path]] = {}
        self._holds_out: list[Path] = []

    @property
    def notes(self) -> list[str]:
        """What was left out, a line for each reason."""
        return [f"{path}: left out, since it is the output folder (--out)" for path in self._holds_out] + [
            f"{len(paths)} {kind}{'' if len(paths) == 1 else 's'} left out ({why}): {first_few(paths)}"
            for (kind, why), paths in self._left_out.items()
        ]

    def file(self, path: Path) -> list[Path]:
        """The file itself, or nothing if it has been listed or is none."""
        if not path.is_file():
            self._leave_out(SPECIAL, path)
            return []
        real = os.path.realpath(path)
        is_new = real not in self._seen
        self._seen.add(real)
        return [path] if is_new else []

    def folder(self, root: Path) -> list[Path]:
        """All files in `root` and its folders, in order of their names; what links lead to comes last.

        A link is followed unless it leads to what is listed already, or to a folder that holds `root`.
        """
        top = Path(os.path.realpath(root))
        links: list[Path] = []
        files = self._below(root, links, is_named=True)
        for link in links:  # grows while links lead to folders with links
            real = os.path.realpath(link)
            if not os.path.exists(real):  # noqa: PTH110  (False for a ring of links, and in folders that are closed)
                self._leave_out(BROKEN, link)
            elif real in self._seen or top.is_relative_to(real):
                self._leave_out(TWICE, link)
            elif Path(real).is_dir():
                files += self._below(link, links)
            elif Path(real).name in results.own_files(Path(real).parent):
                self._leave_out(OWN, link)
            else:
                files += self.file(link)
        return files

    def _below(self, root: Path, links: list[Path], is_named: bool = False) -> list[Path]:
        """Files of a folder and of the folders in it; links are added to `links`."""
        files: list[Path] = []
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder)
            if real == self._out and not (is_named and folder == root):
                self._holds_out.append(folder)
            elif real not in self._seen:
                self._seen.add(real)
                waiting += reversed(self._sort(folder, files, links))
        return files

    def _sort(self, folder: Path, files: list[Path], links: list[Path]) -> list[Path]:
        """Add what a folder holds to `files` and `links`; return the folders in it."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            self._leave_out(CLOSED, folder)
            return []
        own, folders = results.own_files(folder), []
        for entry in (entry for entry in entries if not entry.name.startswith(".")):
            path = folder / entry.name
            if entry.name in own:
                self._leave_out(OWN, path)
            elif entry.is_symlink():
                links.append(path)
            elif entry.is_dir():
                folders.append(path)
            else:
                files += self.file(path)
        return folders

    def _leave_out(self, reason: tuple[str, str], path: Path) -> None:
        self._left_out.setdefault(reason, []).append(path)
