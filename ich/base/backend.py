"""Starts Keras with the settings that this project relies on, whatever the user's environment says."""

import contextlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ich.base import quiet_stderr
from ich.base.errors import InputError, MachineError

USABLE = ("tensorflow", "jax", "torch")
# Meant for debugging: they cut trainings and predictions short, without a word.
CUT_SHORT = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Import Keras inside this block: TensorFlow's native start-up notes ignore its own log level and hide our lines.

    The notes are shown when the process is aborted, or by an error that doesn't explain itself. `--help` and refusals
    of flags come before it, without the seconds it takes. Raises InputError for a backend that can't be used.
    """
    _check_backend()
    for variable in CUT_SHORT:
        os.environ.pop(variable, None)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet_stderr.hidden((InputError, MachineError, ImportError, KeyboardInterrupt)):
        _import_keras()
        with contextlib.suppress(ImportError):
            import tensorflow  # noqa: F401  (Keras uses parts of it with any backend, and would import it later)
        yield


def share_gpu() -> None:
    """Let several processes that this one starts compute on one GPU: each takes memory as it needs it."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def share_cores(processes: int) -> None:
    """Let each of several processes that this one starts compute on its share of the cores, unless the user has chosen.

    With all cores each, they wait for each other: two on two cores take a quarter longer.
    """
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, str(max(1, (os.cpu_count() or 1) // processes)))


def name() -> str:
    """The package that Keras will compute with, chosen as Keras does: by KERAS_BACKEND, keras.json, or TensorFlow."""
    return os.environ.get("KERAS_BACKEND") or _in_settings() or "tensorflow"


def has(package: str) -> bool:
    """Whether a package can be imported; it is not imported yet."""
    return importlib.util.find_spec(package) is not None


def _settings() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()) / "keras.json"


def _in_settings() -> str:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads(_settings().read_text(encoding="utf-8")).get("backend", ""))
    return ""


def _check_backend() -> None:
    backend = name()
    source = "KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else str(_settings())
    if backend not in USABLE:
        raise InputError(f"{source}: the backend is {backend!r}, expected {', '.join(USABLE)}; change it there")
    if not has(backend):
        installed = [package for package in USABLE if has(package)]
        advice = f"set KERAS_BACKEND={installed[0]}, or " if installed else ""
        raise InputError(f"{source}: the backend {backend} is not installed; {advice}pip install {backend}")


def _import_keras() -> None:
    """Settings of other projects in keras.json, `channels_first` say, are not ours."""
    try:
        import keras
    except (ValueError, AttributeError) as error:
        raise InputError(f"{_settings()}: Keras refuses it ({error}); correct or delete it") from None
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
