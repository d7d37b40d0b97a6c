"""Whole files and repeatable runs: atomic writes, tables, the manifest run.json, seeds, fingerprints."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ich.errors import InputError

PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "pandas", "nibabel", "pydicom",
            "opencv-python-headless", "openvino", "onnxruntime", "highdicom", "scikit-learn", "scipy",
            "surface-distance", "matplotlib")  # fmt: skip
TEXT = ("id", "patient")  # columns that are never numbers nor missing
RESEARCH_ONLY = "For research, not for diagnosis."


@contextlib.contextmanager
def atomic(path: Path, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` once it is written whole.

    `sync` forces it to disk first. The suffix is kept, since Keras and matplotlib choose the format by it.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        if sync:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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


def read_json(path: Path) -> dict:
    """Read a JSON object. Raises InputError when the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the step that writes it first") from None
    except ValueError as error:
        raise InputError(f"{path}: is no valid JSON ({error}); delete it and run its step again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; delete it and run its step again")
    return content


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, atomically, with six significant digits."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read_csv(path: Path, columns: Sequence[str], made_by: str) -> pd.DataFrame:
    """Read a table; `id` and `patient` stay text (`049`). Raises InputError when it or a column is missing."""
    try:
        names = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
        missing = {name: [] if name in TEXT else ["", "nan"] for name in names}  # a patient may be called NA
        table = pd.read_csv(
            path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=missing, encoding="utf-8-sig"
        )
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `python {made_by}` first") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); run `python {made_by}` again") from None
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


def differences(found: dict, wanted: dict) -> list[tuple[str, object, object]]:
    """Name and both values of each setting in which two dicts differ; of nested ones the name is `recipe.epochs`."""
    found, wanted = _flat(found), _flat(wanted)
    pairs = [(key, found.get(key), wanted.get(key)) for key in {**found, **wanted}]
    return [pair for pair in pairs if pair[1] != pair[2]]


def manifest(config: object, started: float, **facts: object) -> dict:
    """What run.json says of a run: settings, facts given by the step, versions, machine, git commit, seconds."""
    return {
        "note": RESEARCH_ONLY,
        "command": " ".join(sys.argv),
        "config": vars(config),
        **facts,
        "packages": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "git_commit": _git_commit(),
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


def _git_commit() -> str | None:
    root = Path(__file__).parent.parent
    command = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
