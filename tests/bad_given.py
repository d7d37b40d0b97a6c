"""What each case of test_bad_input.py is given, and further ways to break it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import keras
import nibabel as nib
from broken import at, instead, moved
from conftest import IMAGE_SIZE, Project
from predict_files import bright_is_blood

import config as settings
import create_data_set
import main_kfold
import predict
import rsna_preprocess
import split_raw_data
import tests as test_set
import trials
from ich.base import record
from ich.base.files import read_json, write_json
from ich.data.labels import DATASET

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Place:
    """Where a case works: a folder of its own, and the project that nobody may change."""

    root: Path
    project: Project
    templates: Path

    def copy(self, name: str, to: str) -> Path:
        return Path(shutil.copytree(self.templates / name, self.root / to, symlinks=True))


Given = Callable[[Place, Change], tuple[ModuleType, Sequence[object]]]


def volumes(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step 1 on two patients of CT-ICH, in a folder with a space and a letter beyond ASCII."""
    raw = place.copy("raw", "CT ICH für alle")
    change(raw)
    return split_raw_data, ["--raw", raw, "--data", place.root / "out", "--image-size", 32, "--workers", 1]


def nifti_pairs(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step 1 on two scans in nnU-Net's layout; `patients.csv` is used where the case writes one."""
    raw = place.copy("pairs", "Dataset001 für alle")
    change(raw)
    given = ["--patients-csv", raw / "patients.csv"] if (raw / "patients.csv").exists() else []
    return split_raw_data, ["--raw", raw, "--data", place.root / "out", "--image-size", 32, "--workers", 1, *given]


def own_pngs(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step 2 on nine pairs of own PNGs; `patients.csv` is used where the case writes one."""
    data = place.copy("own", "eigene Bilder")
    change(data)
    given = ["--patients-csv", data / "patients.csv"] if (data / "patients.csv").exists() else []
    return create_data_set, ["--data", data, "--image-size", 16, "--folds", 2, "--test-share", 0, *given]


def nifti_scan(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """predict.py on one NIfTI file."""
    scans = place.copy("scan", "Köpfe und mehr")
    change(scans)
    return predict, [scans, "--out", place.root / "out"]


def dicom_series(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """predict.py on one DICOM folder."""
    folder = place.copy("series", "Köpfe und mehr")
    change(folder)
    return predict, [folder, "--out", place.root / "out"]


def edited_split(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step 3b on a copied data folder without its PNGs."""
    data = place.root / "data"
    shutil.copytree(place.project.data, data, ignore=shutil.ignore_patterns("*.png"))
    change(data)
    return main_kfold, ["--data", data, "--runs", place.root / "out", "--fold", 99]


def split_of(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """The same, where the audit knows of the change."""

    def audited(data: Path) -> None:
        change(data)
        if (data / KFOLD).is_file():
            audit = data / "patient" / "run.json"
            prints = {"kfold": record.fingerprint(data / KFOLD)}
            write_json(audit, read_json(audit) | {"split_fingerprints": prints})

    return edited_split(place, audited)


def a_run(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step 5 on a finished run of two folds."""
    folder = place.copy("runs", "runs")
    change(folder / "patient" / "dunet")
    given = ["--data", place.project.data, "--runs", folder, "--reports", place.root / "out", "--protocol", "patient"]
    return test_set, given


def table_of(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step 4 on a finished run."""
    _, given = a_run(place, change)
    return trials, given


def rsna(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
    """Step R1 on three slices of one class."""
    raw = place.copy("rsna", "RSNA Köpfe")
    change(raw)
    return rsna_preprocess, ["--raw", raw, "--data", place.root / "out", "--workers", 1, "--variants", "1_roi"]


SETTINGS = {
    "main": settings.Main, "main_kfold": settings.MainKfold, "tests": settings.Tests, "rsna_train": settings.RsnaTrain,
    "rsna_preprocess": settings.RsnaPreprocess,
}  # fmt: skip


def flags(script: ModuleType, *given: object) -> Given:
    """A script on the project's data, with flags."""

    def prepare(place: Place, change: Change) -> tuple[ModuleType, Sequence[object]]:
        change(place.root)
        names = [name for name in ("runs", "reports") if hasattr(SETTINGS[script.__name__], name)]
        folders = [part for name in names for part in (f"--{name}", place.root / "out")]
        return script, [
            "--data",
            place.project.data,
            *folders,
            *(str(each).replace("HERE", str(place.root)) for each in given),
        ]

    return prepare


def nothing(_: Path) -> None:
    """As it should be."""


def network_of(size: int, name: str = "fold_01/last.keras") -> Change:
    """Puts another network's file in the place of one of the run."""
    return lambda run: bright_is_blood(150, size).save(run / name)


def other_network(run: Path) -> None:
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1))
    keras.Model(inputs, keras.layers.Conv2D(3, 3, name="only")(inputs)).save(run / "fold_02" / "last.keras")


def identity(**values: object) -> Change:
    """Changes what the run says it was trained on."""

    def change(run: Path) -> None:
        for path in run.glob("fold_*/run.json"):
            told = read_json(path)
            told["identity"] |= {**values, "part": str(int(path.parent.name.removeprefix("fold_")))}
            write_json(path, told)

    return change


def several(*changes: Change) -> Change:
    """More than one fault."""
    return lambda place: [change(place) for change in changes]


def swapped(raw: Path) -> None:
    moved("ct_scans", "kept")(raw)
    moved("masks", "ct_scans")(raw)
    moved("kept", "masks")(raw)


def linked(path: Path) -> None:
    """A link to the file that was there, elsewhere in the folder."""
    path.symlink_to(path.parent.parent / "elsewhere.nii")


def with_link(raw: Path) -> None:
    shutil.copy(raw / "ct_scans" / "049.nii", raw / "elsewhere.nii")
    instead(linked)(raw)


def dataset_json(content: object) -> Change:
    return lambda raw: write_json(raw / DATASET, content)


def both_suffixes(raw: Path) -> None:
    shutil.copy(raw / "ct_scans" / "049.nii", raw / "ct_scans" / "049.nii.gz")


def rename_all(data: Path) -> None:
    for path in data.rglob("p0_*.png"):
        path.rename(path.with_name(path.name.replace("p0", "Müller, Köpfe 'neu'")))


def unpaired(data: Path) -> None:
    (data / "label" / "p1_1.png").unlink()


IDS = [f"p{patient}_{number},{patient}" for patient in range(3) for number in (1, 2, 3)]
CUT = "cut off or damaged"
KFOLD, SLICES = "patient/kfold.csv", "slices.csv"


def cell(name: str, old: str, new: str) -> Change:
    """Replaces a text in a table once."""

    def change(data: Path) -> None:
        content = (data / name).read_text(encoding="utf-8")
        assert old in content
        (data / name).write_text(content.replace(old, new, 1), encoding="utf-8")

    return change


def saved_as(name: str, encoding: str, end: str = "\n") -> Change:
    return lambda data: at(data / name, lambda raw: raw.decode().replace("\n", end).encode(encoding))


# The line of `split_of` and of flags that work: the split has two folds, and 99 was asked for.
READ_WELL = "--fold 99: the split has folds 1 to 2"


def huge() -> bytes:
    """A header of 32767 x 32767 x 32767 voxels and some zeros."""
    header = nib.Nifti1Header()
    header.set_data_shape((32767,) * 3)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(10_000)
