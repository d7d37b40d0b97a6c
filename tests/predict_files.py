"""Made for the tests of predict.py: a run whose network calls bright pixels blood, scans of phantoms in any form."""

from pathlib import Path

import keras
import nibabel as nib
import numpy as np
import pandas as pd

import config as settings
from ich.base import paths
from ich.base.errors import InputError
from ich.base.files import write_csv, write_json
from ich.phantom.head import Patient, make_patient
from ich.predict.inputs import Input, look
from ich.predict.job import Job
from ich.predict.method import Method

SIZE = 32
THRESHOLD = 0.25
IDENTITY = {
    "model": "dunet", "n_filters": 2, "protocol": "patient", "part": "1", "seed": 0, "recipe_name": "fast",
    "recipe": {"epochs": 1}, "image_size": SIZE, "channels": 1, "windows": ["40/120"], "data_fingerprint": "d",
    "split_fingerprint": "s",
}  # fmt: skip


def bright_is_blood(middle: float, size: int = SIZE) -> keras.Model:
    """Probability sigmoid(grey - middle) of each pixel; grey is 0 to 255."""
    inputs = keras.Input((size, size, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid", name="only")(inputs))
    model.set_weights([np.ones((1, 1, 1, 1)), np.full(1, -middle)])
    return model


def write_run(folder: Path, networks: list[keras.Model], name: str = "dunet", min_lesion_mm3: float = 0.0) -> Path:
    """A finished run with these networks as folds; out of fold, THRESHOLD and this size are best. Returns `runs`."""
    for fold, network in enumerate(networks, start=1):
        training = paths.Training(folder / "patient" / name / paths.fold_name(fold))
        training.folder.mkdir(parents=True)
        network.save(training.last)
        counts = [(k / 256, 10 - (k / 256 != THRESHOLD), 0, k / 256 != THRESHOLD, 90) for k in range(256)]
        table = pd.DataFrame(counts, columns=["threshold", "tp", "fp", "fn", "tn"]).astype({"fn": int})
        patients = pd.concat([table.assign(patient=f"{k:03d}", voxel_mm3=1) for k in range(49, 55)])
        write_csv(training.thresholds, patients.drop(columns="voxel_mm3"))
        parts = [
            patients.assign(min_lesion_mm3=size, lesions_found=1, lesions_invented=int(size < min_lesion_mm3))
            for size in sorted({0.0, min_lesion_mm3})
        ]
        write_csv(training.operating, pd.concat(parts))
        scores = {"patient": "049", "tp": 9, "fp": 0, "fn": 1, "tn": 90, "dice": 0.9, "iou": 0.8, "precision": 1.0,
                  "sensitivity": 0.9, "hd95_mm": 5.0}  # fmt: skip
        write_csv(training.patients, pd.DataFrame([scores]))
        write_json(training.run, {"identity": {**IDENTITY, "part": str(fold)}, "training_slices": 7})
    return folder


def phantom(size: int = SIZE) -> Patient:
    """A head without blood; anything above 1900 HU is cut off, so that brighter marks stand out."""
    made = make_patient(0, 1, size)
    return Patient(np.minimum(made.hu, 1900), made.mask, made.affine, made.slices, made.age, made.sex)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray, qform: int = 1, sform: int = 2) -> Path:
    image = nib.Nifti1Image(voxels, affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def job(out: Path, method: Method, engine: object, **given: object) -> Job:
    """A job as predict.py makes it, with any engine."""
    return Job(settings.Predict(out=out, **given), method, method.point, engine, {"engine": "test"})


def find(paths: list[Path], **given: object) -> list[Input]:
    """The scans that the paths hold. Raises InputError for the first path that is refused."""
    found = look(paths, **given)
    if found.refused:
        raise InputError(found.refused[0])
    return found.scans


def only(path: Path, **given: object) -> object:
    """The one input that `path` holds."""
    (found,) = find([path], **given)
    return found
