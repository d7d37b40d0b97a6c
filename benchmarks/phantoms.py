"""Phantom data for the benchmarks, made by the project's own scripts in a folder that is thrown away."""

import contextlib
import io
from pathlib import Path

import create_data_set
import split_raw_data
from ich.phantom import ct_ich


def flags(root: Path, *names: str) -> list[str]:
    """`--raw ROOT/raw --data ROOT/data` and so on, of the named folders."""
    return [part for name in names for part in (f"--{name}", str(root / name))]


def prepare(root: Path, patients: int, size: int, protocols: tuple[str, ...]) -> None:
    """Phantom heads of `size` pixels, cut to PNGs of the same size and split."""
    ct_ich.write_ct_ich(root / "raw", patients, size, seed=0, quiet=True)
    cut(root, size, protocols, folds=min(10, patients // 4))  # half of them have blood, and every fold needs one


def cut(root: Path, image_size: int, protocols: tuple[str, ...], folds: int) -> None:
    """Steps 1 and 2 on the volumes in `root/raw`."""
    with contextlib.redirect_stdout(io.StringIO()):
        split_raw_data.main([*flags(root, "raw", "data"), "--image-size", str(image_size), "--quiet"])
        for protocol in protocols:
            given = ["--folds", str(folds), "--protocol", protocol, "--quiet"]
            create_data_set.main([*flags(root, "raw", "data"), *given])
