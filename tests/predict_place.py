"""A folder with scans of a phantom, and calls of predict.py in it, with an engine that knows the blood at once."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from predict_files import SIZE, phantom, write_nifti

import predict
from ich.base.errors import InputError
from ich.phantom.series import write_series
from ich.predict.job import Job
from ich.predict.method import Method
from ich.scans.window import Window
from ich.score.operating import FIXED

METHOD = Method(SIZE, (Window(40, 120),), FIXED, {})
MARK_HU = 3000  # the engine of these tests calls it blood, and nothing else
WHEN = 1_700_000_000
HEAD = phantom()


def scan(path: Path, voxels: int) -> Path:
    """A head with so many voxels of blood. Size and time of the file are always the same."""
    hu = HEAD.hu.copy()
    hu[4 : 4 + voxels, 10, 6] = MARK_HU
    write_nifti(path, hu, HEAD.affine)
    os.utime(path, (WHEN, WHEN))
    return path


def series(folder: Path, voxels: int, **given: object) -> Path:
    """The same as a DICOM series without a scout."""
    hu = HEAD.hu.copy()
    hu[4 : 4 + voxels, 10, 6] = MARK_HU
    write_series(folder, type(HEAD)(hu, HEAD.mask, HEAD.affine, HEAD.slices, HEAD.age, HEAD.sex), scout=False, **given)
    return folder


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@dataclass
class Place:
    """A folder with scans, and calls of predict.py in it."""

    root: Path
    capsys: pytest.CaptureFixture

    def call(self, *given: str | Path, out: str = "out") -> str:
        """What is printed; an error is its last line. Paths are those in the folder, flags may follow them."""
        split = next((place for place, each in enumerate(given) if str(each).startswith("--")), len(given))
        paths = [str(self.root / path) for path in given[:split]]
        try:
            predict.main([*paths, "--out", str(self.root / out), "--quiet", *given[split:]])
        except InputError as error:
            print(f"error: {error}")
        return self.capsys.readouterr().out

    def voxels(self, out: str = "out") -> dict[str, int]:
        """Voxels of blood by scan: of the masks, after a check that volumes.csv has the same ones."""
        masks = {path.parent.name: nib.load(path) for path in sorted((self.root / out).glob("*/mask.nii.gz"))}
        found = {name: int(np.asanyarray(mask.dataobj).sum()) for name, mask in masks.items()}
        voxel_ml = abs(np.linalg.det(HEAD.affine[:3, :3])) / 1000
        table = self.table(out)
        assert {**table["volume_ml"]} == pytest.approx({name: found[name] * voxel_ml for name in table.index}, rel=1e-4)
        assert {*table.index} == {*found}
        return found

    def table(self, out: str = "out") -> pd.DataFrame:
        path = self.root / out / "volumes.csv"
        return pd.read_csv(path, index_col="scan", dtype={"series_number": str}) if path.exists() else pd.DataFrame(
            columns=["volume_ml"])  # fmt: skip

    def told(self, name: str, out: str = "out") -> dict:
        return json.loads((self.root / out / name / "run.json").read_text())


def make(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Place:
    """A place whose calls need no networks."""

    def prepare(config: object) -> Job:
        return Job(config, METHOD, FIXED, lambda hu: (hu == MARK_HU).astype(np.float32), {"engine": "test"})

    monkeypatch.setattr("ich.predict.networks.prepare", prepare)
    return Place(root, capsys)
