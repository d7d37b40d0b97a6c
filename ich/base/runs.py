"""Whole files and repeatable runs: atomic writes, tables, the manifest run.json, seeds, fingerprints."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ich.base import guard, tables
from ich.base.errors import InputError

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "pandas", "nibabel", "pydicom",
            "opencv-python-headless", "openvino", "onnxruntime", "highdicom", "scikit-learn", "scipy",
            "surface-distance", "matplotlib")  # fmt: skip
ROOT = Path(__file__).parents[2]
RESEARCH_ONLY = "For research, not for diagnosis."


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
            with contextlib.suppress(OSError):  # some network drives can't
                _to_disk(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)  # a full disk is told without one
        raise


def unfinished(path: Path) -> Path:
    """Where this process writes what will be `path`."""
    return path.with_name(f".unfinished.{os.getpid()}.{path.name}")


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of this name was left by a process that was killed, or is being written."""
    return re.fullmatch(r"\.unfinished\.\d+\..+", name) is not None


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
    """What `read_json` gives back after `write_json`: tuples are lists, paths are text."""
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


def png_bytes(pixels: np.ndarray) -> bytes:
    """A PNG of (rows, columns) or (rows, columns, 3 RGB) uint8 pixels."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write_bytes(path: Path, content: bytes, sync: bool = True) -> bytes:
    """Write a file, atomically; return its content."""
    with atomic(path, sync) as temporary:
        temporary.write_bytes(content)
    return content


def write_png(path: Path, pixels: np.ndarray, sync: bool = True) -> bytes:
    """Write (rows, columns) or (rows, columns, 3 RGB) uint8 pixels, atomically; return the file's bytes."""
    return write_bytes(path, png_bytes(pixels), sync)


def fingerprint(*parts: bytes | str | Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over bytes, texts and files' contents."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part
        digest.update(content.encode() if isinstance(content, str) else content)
    return digest.hexdigest()[:16]


def prints(files: Iterable[Path]) -> dict[str, str]:
    """Fingerprints by name of those of the files that are there."""
    return {path.name: fingerprint(path) for path in files if path.exists()}


def result_print(run: Path, path: Path) -> str:
    """The fingerprint of a training's result; `run` is its run.json.

    Raises InputError when the file is not the one that run.json speaks of, such as one of another training.
    """
    again = f"delete {path.parent} and train again"
    if not path.exists():
        raise InputError(f"{path}: not found; {again} (main_kfold.py, main.py or rsna_train.py)")
    found = fingerprint(path)
    if (wanted := read_json(run).get("results", {}).get(path.name, found)) != found:
        raise InputError(f"{path}: its fingerprint is {found}, in {run} it is {wanted}; {again}")
    return found


def differences(found: dict, wanted: dict) -> list[tuple[str, object, object]]:
    """Name and both values of each setting in which two dicts differ; of nested ones the name is `recipe.epochs`."""
    found, wanted = _flat(found), _flat(wanted)
    pairs = [(key, found.get(key), wanted.get(key)) for key in {**found, **wanted}]
    return [pair for pair in pairs if pair[1] != pair[2]]


def manifest(config: object, started: float, **facts: object) -> dict:
    """What run.json says of a run: settings, facts given by the step, versions, machine, state of the code, seconds."""
    return {
        "note": RESEARCH_ONLY,
        "command": " ".join(sys.argv),
        "config": vars(config),
        **facts,
        "packages": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "git_commit": _git("rev-parse", "--verify", "--quiet", "HEAD"),
        "git_changed": _changed_code(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(time.time() - started, 1),
    }


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)


def _flat(settings: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@functools.cache
def version() -> str:
    """The project's version, from its one place: pyproject.toml (scripts run from the folder, nothing is installed)."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def _changed_code() -> list[str] | None:
    """Python files that differ from the commit, new ones too; none: the tree is clean. None where git can't say."""
    found = _git("status", "--porcelain", "--untracked-files=all", "--", "*.py")
    return None if found is None else [line[3:] for line in found.splitlines()]


def _git(*command: str) -> str | None:
    try:
        answer = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.rstrip() if answer.returncode == 0 else None
