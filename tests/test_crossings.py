"""Every way to train a network, crossed with every later step that reads it: compare, test, predict, export."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import keras
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, IMAGE_SIZE, Project

import config as settings
import create_data_set
import main_kfold
import models
import predict
import split_raw_data
import tests as test_set
import trials
from ich.base.files import read_json
from ich.data.split import read_split
from ich.phantom.ct_ich import write_nifti
from ich.phantom.head import make_patient
from ich.predict import engines
from ich.report import folds
from ich.scans.png import write_png
from ich.scans.png_file import png_shape
from ich.train import prediction

AGREEMENT = 1e-3  # between the probabilities of an exported file and of Keras
ENGINES = [name for name in engines.PACKAGES if engines.installed(name)]


@dataclass(frozen=True)
class Way:
    """How a network is trained; `windows` of the data, "own" for PNGs whose window nobody knows.

    `levers` are put into the recipe `best`, whose patches are too large for the slices here.
    """

    name: str
    train: tuple[str, ...] = ()
    windows: tuple[str, ...] | str = ("40/120",)
    predict: tuple[str, ...] = ()
    levers: tuple[tuple[str, float], ...] = ()
    marks: tuple = field(default=(), compare=False)

    @property
    def flips(self) -> bool:
        """Whether its recipe takes the mean over mirror images."""
        return "best" in self.train


SLOW = (pytest.mark.slow,)
BEST = ("--recipe", "best")
PATCH = (("patch", 16),)
LEVERS = (
    ("ema", 0.9), ("clean_weight", 0.2), ("negatives_per_positive", 2), ("elastic", 1), ("gamma", 1), ("blur", 1),
    ("low_resolution", 1),
)  # fmt: skip
WAYS = [
    Way("bfloat16", ("--precision", "mixed_bfloat16")),
    Way("own PNGs", windows="own", predict=("--windows", "40/120")),
    Way("three windows", ("--precision", "mixed_bfloat16"), ("40/120", "80/200", "600/2800")),
    Way("patches and neighbours", BEST, levers=PATCH),
    Way("all levers", (*BEST, "--precision", "mixed_bfloat16"), ("40/120", "80/200", "600/2800"), (), PATCH + LEVERS),
    Way("all levers in float32", (*BEST, "--precision", "float32"), ("40/120",), (), PATCH + LEVERS, marks=SLOW),
    Way("neighbours, own PNGs", BEST, "own", ("--windows", "40/120"), PATCH, marks=SLOW),
    Way("two windows", ("--models", "unet=2"), ("40/120", "80/200"), marks=SLOW),
    Way("paper recipe", ("--recipe", "paper", "--epochs", "1"), marks=SLOW),
    Way("by slice", ("--protocol", "slice"), predict=("--protocol", "slice"), marks=SLOW),
    Way("from .keras", ("--init-weights", "start.keras"), marks=SLOW),
    Way("from .weights.h5", ("--init-weights", "start.weights.h5"), marks=SLOW),
    Way("from legacy .h5", ("--init-weights", "start.h5", "--precision", "mixed_bfloat16"), marks=SLOW),
]


@dataclass(frozen=True)
class Trained:
    """A trained run of two folds and the folders about it."""

    way: Way
    root: Path
    project: Project

    @property
    def protocol(self) -> str:
        return "slice" if "slice" in self.way.train else "patient"

    def flags(self, *given: str, names: tuple[str, ...] = ("data", "runs", "reports")) -> list[str]:
        folders = [part for name in names for part in (f"--{name}", str(self.root / name))]
        return [*folders, "--protocol", self.protocol, "--quiet", *given]

    def predict(self, scan: Path, out: str, *given: str, what: str = "mask") -> np.ndarray:
        """The mask (or the probabilities) of a scan, on the scan's own voxels."""
        flags = ["--runs", str(self.root / "runs"), "--data", str(self.root / "data"), "--quiet"]
        flags += ["--threshold", "0.5", "--probabilities", "--out", str(self.root / out)]
        predict.main([str(scan), *flags, *self.way.predict, *given])
        return nib.load(self.root / out / "scan" / f"{what}.nii.gz").get_fdata()


def prepare(way: Way, project: Project, root: Path) -> None:
    """The data that a way needs, under `root/data`."""
    if way.windows == ("40/120",):
        shutil.copytree(project.data, root / "data")
        return
    flags = ["--raw", str(project.raw), "--data", str(root / "data"), "--image-size", str(IMAGE_SIZE), "--quiet"]
    if way.windows == "own":
        for path in [*project.data.glob("image/*.png"), *project.data.glob("label/*.png")]:
            wide = cv2.copyMakeBorder(cv2.imread(path, cv2.IMREAD_GRAYSCALE), 2, 2, 8, 8, cv2.BORDER_CONSTANT)
            write_png(root / "data" / path.parent.name / path.name, wide)  # 36 rows, 48 columns
    else:
        split_raw_data.main([*flags, "--windows", *way.windows, "--workers", "1"])
    create_data_set.main([*flags, "--folds", str(FOLDS), "--test-share", "0.2"])


def start_weights(root: Path) -> None:
    """Weights to start from, in each format that Keras has written over the years."""
    network = models.build("dunet", IMAGE_SIZE, 1, 2)
    network.save(root / "start.keras")
    network.save_weights(root / "start.weights.h5")
    network.save(root / "start.h5")


@pytest.fixture(scope="module", params=[pytest.param(way, id=way.name, marks=way.marks) for way in WAYS])
def trained(request: pytest.FixtureRequest, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    made = Trained(request.param, tmp_path_factory.mktemp("crossing"), project)
    prepare(made.way, project, made.root)
    given = [str(made.root / each) if each.startswith("start.") else each for each in made.way.train]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "LEVELS", 2)
        patch.setitem(settings.RECIPES, "best", replace(settings.RECIPES["best"], **dict(made.way.levers)))
        start_weights(made.root)
        small = ["--models", "dunet=2", "--epochs", "1", "--batch-size", "16"]
        main_kfold.main(made.flags(*small, *given, names=("data", "runs")))
    keras.config.set_dtype_policy("float32")
    return made


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head of 80 px: its slices are resampled to the network's 32 px and back."""
    made, path = make_patient(0, 1, 80), tmp_path_factory.mktemp("scan") / "scan.nii"
    write_nifti(path, made.hu, made.affine)
    return path


def test_kept_in_float32(trained: Trained) -> None:
    for path in (trained.root / "runs").rglob("*.keras"):
        network = keras.models.load_model(path, compile=False)
        assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}, path


def test_compared_and_tested(trained: Trained) -> None:
    trials.main(trained.flags())
    test_set.main(trained.flags())
    reports = trained.root / "reports" / trained.protocol
    assert len(pd.read_csv(reports / "table.csv"))
    (folder,) = reports.glob("test_*net")
    scores = pd.read_csv(folder / "slices.csv")["score"]
    assert scores.between(0, 1).all()
    assert np.ptp(scores) > 0
    (run,) = folds.gather(trained.root / "runs", trained.protocol)
    config = settings.Tests(data=trained.root / "data", protocol=trained.protocol)
    slices = read_split(config, "kfold", test=True).slices
    expected = prediction.predict_mean(run.members(0), "last", slices, flip=trained.way.flips)
    np.testing.assert_allclose(scores, expected.max((1, 2)), atol=1e-5)
    for mask in (folder / "masks").iterdir():
        assert png_shape(mask) == png_shape(trained.root / "data" / "image" / mask.name)
    assert "not for diagnosis" in (reports / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "keras"])
def test_engines_give_the_mask_of_keras(trained: Trained, scan: Path, engine: str) -> None:
    expected = trained.predict(scan, "keras", "--engine", "keras")
    found = trained.predict(scan, engine, "--engine", engine)
    assert (found != expected).mean() < 1e-3
    (card,) = (trained.root / "runs").rglob("model.json")
    assert max(read_json(card)["largest_difference_from_keras"].values()) < AGREEMENT


def test_exported_folder_predicts_without_the_run(trained: Trained, scan: Path) -> None:
    if engines.lacks_for_export():
        pytest.skip("tf2onnx is not installed")
    folder = trained.root / "exported"
    flags = ["--runs", str(trained.root / "runs"), *trained.way.predict, "--quiet"]
    predict.main(["--export", str(folder), *flags])
    said = "mirror image, which the network takes inside" in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert said == trained.way.flips
    out = ["--out", str(trained.root / "from_export"), "--threshold", "0.5", "--quiet"]
    predict.main([str(scan), "--model", str(folder), *out])
    found = nib.load(trained.root / "from_export" / "scan" / "mask.nii.gz").get_fdata()
    assert (found != trained.predict(scan, "run")).mean() < 1e-3


def test_predicts_with_the_mirror_where_it_was_scored_with_it(trained: Trained, scan: Path) -> None:
    found = trained.predict(scan, "as_trained", what="probabilities")
    flipped = trained.predict(scan, "flipped", "--flip", what="probabilities")
    assert np.array_equal(found, flipped) == trained.way.flips
    assert read_json(trained.root / "as_trained" / "scan" / "run.json")["inputs"]["flip"] == trained.way.flips


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_lower_precision_is_close_or_refused(trained: Trained, scan: Path, precision: str) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    try:
        found = trained.predict(scan, precision, "--precision", precision, what="probabilities")
    except engines.InputError as error:
        assert "its masks have Dice" in str(error)  # after an epoch most probabilities lie near the threshold
        return
    expected = trained.predict(scan, "keras", "--engine", "keras", what="probabilities")
    assert np.abs(found - expected).mean() < 0.02
