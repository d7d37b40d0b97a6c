"""What a result was made of: fingerprints, versions, and the manifest run.json."""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ich.base.errors import InputError
from ich.base.files import read_json
from ich.base.paths import ROOT

if TYPE_CHECKING:
    import config as settings

PACKAGES = ("ich-detector", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "pandas", "nibabel",
            "pydicom", "opencv-python-headless", "openvino", "onnxruntime", "highdicom", "scikit-learn", "scipy",
            "surface-distance", "matplotlib")  # fmt: skip
RESEARCH_ONLY = "For research, not for diagnosis."


def fingerprint(*parts: bytes | str | Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 over bytes, texts and files' contents."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part
        digest.update(content.encode() if isinstance(content, str) else content)
    return digest.hexdigest()[:16]


def fingerprints(files: Iterable[Path]) -> dict[str, str]:
    """Fingerprints of the files that exist, by name."""
    return {path.name: fingerprint(path) for path in files if path.exists()}


def result_fingerprint(run: Path, path: Path) -> str:
    """The fingerprint of a training's result; `run` is its run.json.

    Raises InputError when the file is not the one recorded in run.json, such as one of another training.
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


def manifest(config: "settings.Common", started: float, **facts: object) -> dict:
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


def _flat(settings: dict, prefix: str = "") -> dict:
    flat: dict = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache
def version() -> str:
    """The project's version, from its one place: pyproject.toml (scripts run from the folder, nothing is installed)."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def _changed_code() -> list[str] | None:
    """Python files that differ from the commit, new ones too; none: the tree is clean. None where git can't say."""
    status = _git("status", "--porcelain", "--untracked-files=all", "--", "*.py")
    return None if status is None else [line[3:] for line in status.splitlines()]


def _git(*command: str) -> str | None:
    if not (ROOT / ".git").exists():  # installed: the repository around it, if any, is of something else
        return None
    try:
        answer = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.rstrip() if answer.returncode == 0 else None
