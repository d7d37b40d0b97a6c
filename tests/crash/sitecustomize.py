"""Python loads this in every process of a script that test_crash.py starts (PYTHONPATH), workers too.

CRASH_AT=`moment:number:pattern` kills the script, as a power cut would, at the number-th time that a process renames a
finished file to a path that the pattern is found in (`half`, `whole`: before that, with half of it or all of it
written; `renamed`: after) or has deleted one (`deleted`). Networks are small ones, compiled in a third of the time.
"""

import importlib.abc
import importlib.util
import os
import re
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path

MOMENT, NUMBER, PATTERN = (os.environ.get("CRASH_AT") or "never:0:").split(":", 2)
os.environ.setdefault("CRASH_SCRIPT", str(os.getpid()))  # workers inherit it
seen = 0


def kill() -> None:
    """The script first, then the process that called, which may be a worker of it."""
    for pid in (int(os.environ["CRASH_SCRIPT"]), os.getpid()):
        os.kill(pid, signal.SIGKILL)


def is_due(path: object) -> bool:
    global seen
    seen += bool(re.search(PATTERN, str(path)))
    return seen == int(NUMBER) and bool(re.search(PATTERN, str(path)))


def replace(source: object, target: object, *, original: Callable = os.replace, **given: object) -> None:
    due = MOMENT in ("half", "whole", "renamed") and is_due(target)
    if due and MOMENT == "half":
        os.truncate(source, Path(source).stat().st_size // 2)
    if due and MOMENT != "renamed":
        kill()
    original(source, target, **given)
    if due:
        kill()


def unlink(path: object, *, original: Callable = os.unlink, **given: object) -> None:
    original(path, **given)
    if MOMENT == "deleted" and is_due(path):
        kill()


os.replace, os.unlink = replace, unlink


class SmallNetworks(importlib.abc.MetaPathFinder):
    """Changes a module right after it is imported."""

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        if name not in CHANGES:
            return None
        change = CHANGES.pop(name)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            run(module)
            change(module)

        spec.loader.exec_module = exec_module
        return spec


def two_levels(models: types.ModuleType) -> None:
    models.LEVELS = 2


def tiny_backbone(classifier: types.ModuleType) -> None:
    import keras

    def backbone_of(name: str, image_size: int) -> keras.Model:
        inputs = keras.Input((image_size, image_size, 3))
        x = keras.layers.Conv2D(4, 3, strides=4, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x)))

    classifier.backbone_of = backbone_of


CHANGES = {"models": two_levels, "ich.rsna.classifier": tiny_backbone}
sys.meta_path.insert(0, SmallNetworks())
