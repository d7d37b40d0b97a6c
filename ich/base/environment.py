"""Imported first by every script: what cannot be imported is one line that says what to install or activate.

Runs on Python 3.8 too, to say there that another Python is expected.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import TracebackType

OLDEST, NEWEST = (3, 11), (3, 13)  # as in pyproject.toml and environment.sh
NUMPY = 2  # major version: code compiled for one doesn't run on the other
ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = ("common", "predict", "cluster", "dev")
DISTRIBUTIONS = {"cv2": "opencv", "sklearn": "scikit-learn"}  # whose name is not that of the import
EXIT_INPUT = 2


def check() -> None:
    """End with one line and exit status 2 on another Python or NumPy; from here on, too, when an import fails."""
    sys.excepthook = _explain
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        expected = " to ".join(f"{major}.{minor}" for major, minor in (OLDEST, NEWEST))
        _end(f"this is Python {sys.version.split()[0]} ({sys.executable}), expected {expected}; {_another_python()}")
    try:
        import numpy
    except ImportError as error:
        _end(line(error))
    if int(numpy.__version__.split(".")[0]) != NUMPY:
        _end(f"NumPy is {numpy.__version__}, expected {NUMPY}.x; {_install('numpy')}")


def line(error: ImportError) -> str:
    """What is not installed or cannot be loaded, and what to do; "" where the fault is in this project."""
    cause: BaseException = error
    while isinstance(cause.__cause__, ImportError):  # NumPy puts a page of advice around it
        cause = cause.__cause__
    name = (error.name or getattr(cause, "name", None) or "").split(".")[0]
    if name and ((ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()):
        return ""
    if isinstance(error, ModuleNotFoundError) and name:
        return f"{name} is not installed for {sys.executable}; {_install(name)}"
    text = " ".join(str(cause).split())[:300]  # TensorFlow appends a traceback
    advice = _install(name, "--force-reinstall ")
    if os.environ.get("LD_LIBRARY_PATH"):
        advice = f"unset LD_LIBRARY_PATH, or {advice}"
    return f"{name or 'a package'} is installed and cannot be loaded ({text}); {advice}"


def requirements(*files: str) -> str:
    """What to give to pip for requirement files of the project; with their folder where pip has installed it."""
    installed = not (ROOT / "environment.sh").is_file()
    return " ".join(f"-r {ROOT / file if installed else file}" for file in files)


def _another_python() -> str:
    return _activate() or f"make .venv with one of these (cd {ROOT}; python3.13 -m venv .venv), see README.md"


def _install(name: str, how: str = "") -> str:
    """`pip install -r` of the requirement file that names a package, or of the package itself."""
    if advice := _activate():
        return advice
    wanted = DISTRIBUTIONS.get(name, name).replace("_", "-")
    for kind in REQUIREMENTS:
        text = (ROOT / f"requirements-{kind}.txt").read_text(encoding="utf-8")
        if re.search(rf"^{re.escape(wanted)}\b", text, re.MULTILINE):
            file = "requirements.txt" if kind == "common" else f"requirements-{kind}.txt"
            return f"pip install {how}{requirements(file)}"
    return f"pip install {how}{wanted or requirements('requirements.txt')}"


def _activate() -> str:
    """How to use the project's own environment, where it is there and not in use."""
    own = ROOT / ".venv"
    if not (own / "bin" / "activate").is_file() or Path(sys.executable).parent.parent.resolve() == own.resolve():
        return ""
    return f"source {'.venv' if Path.cwd() == ROOT else own}/bin/activate"


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As sys.excepthook: an import that fails ends in one line, anything else as usual."""
    text = line(error) if isinstance(error, ImportError) else ""
    if not text or "--debug" in sys.argv:
        sys.__excepthook__(kind, error, trace)
    if text:
        _end(text)


def _end(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(EXIT_INPUT)


check()
