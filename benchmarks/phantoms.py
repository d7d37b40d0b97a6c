"""Phantom data for the benchmarks, made by the project's own scripts in a folder that is thrown away."""

import contextlib
import io
from pathlib import Path

import numpy as np

import create_data_set
import split_raw_data
from ich.phantom import ct_ich
from ich.phantom.head import make_patient
from ich.scans.nifti import Grid


def flags(root: Path, *names: str) -> list[str]:
    """`--raw ROOT/raw --data ROOT/data` and so on, of the named folders."""
    return [part for name in names for part in (f"--{name}", str(root / name))]


def prepare(root: Path, patients: int, size: int, protocols: tuple[str, ...]) -> None:
    """Phantom heads of `size` pixels, cut to PNGs of the same size and split (steps 1 and 2)."""
    ct_ich.write_ct_ich(root / "raw", patients, size, seed=0, quiet=True)
    folders = [*flags(root, "raw", "data"), "--quiet"]
    folds = str(min(10, patients // 4))  # half of the patients have blood, and every fold needs one
    with contextlib.redirect_stdout(io.StringIO()):
        split_raw_data.main([*folders, "--image-size", str(size)])
        for protocol in protocols:
            create_data_set.main([*folders, "--folds", folds, "--protocol", protocol])


def middle_slices(number: int, size: int) -> list[np.ndarray]:
    """Upright slices in HU (size, size) from the middle half of one phantom head, repeated up to `number`."""
    patient = make_patient(seed=0, patient=0, size=size)
    grid, slices = Grid(patient.hu.shape, patient.affine), patient.hu.shape[2]
    return [grid.upright(patient.hu[:, :, slices // 4 + index % (slices // 2)]) for index in range(number)]
