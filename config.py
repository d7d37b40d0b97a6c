"""All settings. Edit the values here, or give them on the command line: `image_size` is `--image-size 128`.

One class per step. The comment behind a field is its help text (`python main.py --help`).
Order: the value here < the command line. Nothing is read from anywhere else.
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar, Literal


@dataclass
class Common:
    """Flags that every script understands."""

    seed: int = 0  # random seed of phantoms, splits, weights, augmentation and bootstrap, where the script draws any
    quiet: bool = False  # print results and problems only
    debug: bool = False  # show the traceback of an error (as a flag only)

    # What a number may be; anything else is refused before work begins.
    LIMITS: ClassVar[dict[str, tuple[float, float]]] = {
        "seed": (0, 2**31 - 1), "patients": (1, 10_000), "size": (32, 512), "image_size": (16, 1024),
        "workers": (0, 256), "at_once": (1, 64),
        "folds": (2, 100), "test_share": (0.0, 0.9), "negatives_per_positive": (0.0, 1000.0), "epochs": (1, 100_000),
        "batch_size": (1, 4096), "learning_rate": (1e-9, 10.0), "learning_rates": (1e-9, 10.0), "fold": (0, 100),
        "validate_every": (1, 100_000),
        "checkpoint_seconds": (0, 86_400), "threshold": (0.0, 1.0),
        "valid_share": (0.0, 0.9), "rotation_deg": (0.0, 180.0), "shift_px": (0.0, 100.0), "repeats": (1, 100),
        "min_lesion_mm3": (0.0, 1e6),
    }  # fmt: skip


@dataclass
class Raw(Common):
    """Shared by the scripts that read volumes"""

    raw: Path = Path("ct-ich")  # folder of CT-ICH as downloaded, or of NIfTI pairs (nnU-Net, images/ and masks/)


@dataclass
class Data(Common):
    """Shared by the scripts that write or read slices"""

    data: Path = Path("data")  # folder for PNG slices and splits


@dataclass
class Split(Data):
    """Shared by the scripts that write or read a split"""

    protocol: Literal["patient", "slice"] = "patient"  # split by patient (honest), or by slice (as published; leaks)


@dataclass
class Runs(Common):
    """Shared by the scripts that write or read trained networks"""

    runs: Path = Path("runs")  # folder for trained networks


@dataclass
class Reports(Common):
    """Shared by the scripts that write tables and plots"""

    reports: Path = Path("reports")  # folder for tables, plots and predicted masks


@dataclass
class Engine(Common):
    """Shared by the scripts whose work can be spread over many machines (docs/cluster.md)"""

    engine: Literal["local", "ray"] = "local"  # local: this process; ray: all GPUs and cores of a Ray cluster
    address: str = ""  # of the Ray cluster: auto, head:6379 or ray://head:10001; empty: one on this computer


@dataclass
class DemoData(Common):
    """make_demo_data.py"""

    out: Path = Path("demo")  # folder to write; the scans go to <out>/ct-ich
    patients: int = 30  # number of phantom heads, about half of them with blood
    size: int = 256  # pixels per side of a slice
    rsna_patients: int = 600  # heads of which slices are written as DICOM, for the rsna_ scripts
    rsna_size: int = 128  # pixels per side of these
    style: Literal["plain", "calibrated"] = "plain"  # alike and easy, or as varied as real heads (docs/phantoms.md)
    scans_only: bool = False  # write ct-ich and the contact sheet only: no DICOM slices, no unseen head


@dataclass
class SplitRawData(Data, Raw):
    """split_raw_data.py"""

    image_size: int = 256  # pixels per side of the PNG slices and of the network's input; a multiple of 16
    windows: tuple[str, ...] = ("40/120",)  # HU level/width, one to three channels; e.g. 40/120 80/200 600/2800
    orientation: str = ""  # axis codes such as RAS or LPS for files whose header has none; empty: trust the header
    patients_csv: Path | None = None  # CSV with the columns id,patient; id: a scan, or a slice of own PNGs
    workers: int = 0  # processes that read volumes; 0: one per CPU core
    check: bool = False  # read everything, write nothing, print every problem


@dataclass
class CreateDataSet(Split, SplitRawData):
    """create_data_set.py (runs split_raw_data.py when data/slices.csv is missing)"""

    folds: int = 10  # parts of the cross-validation
    test_share: float = 0.10  # share of the patients (or slices) that is kept for the test
    negatives_per_positive: float = 1.0  # lesion-free slices used in training for each lesion slice
    export_nnunet: Path | None = None  # write scans, masks and folds for nnU-Net too, such as nnUNet_raw/Dataset001_ICH


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Geometric changes are drawn evenly from -x to +x."""

    loss: Literal["dice", "dice_bce"]
    epochs: int
    batch_size: int  # slices per step
    learning_rate: float  # of Adam: at the start (decay) or at the peak (cosine)
    schedule: Literal["inverse_time", "cosine"]
    negatives: Literal["once", "each_epoch"]  # how lesion-free slices are drawn
    checkpoint_every: int  # epochs between weights that are kept; 0: only the last and the best
    validate_every: int  # epochs between validations, which change nothing and cost time
    rotation_deg: float
    shift: float  # share of the image side
    shear_deg: float
    scale: float  # 0.1: factors 0.9 to 1.1
    flip: bool  # left-right, every second slice
    brightness: float  # grey levels of 255
    contrast: float  # 0.1: factors 0.9 to 1.1 about mid-grey
    noise: float  # largest standard deviation, grey levels of 255
    # Levers, off (0) in `fast` and `paper`. What each is worth: docs/recipes.md.
    neighbours: int = 0  # 1: the slices below and above are further channels; whole scans only (protocol patient)
    patch: int = 0  # pixels per side of random crops to train on; everything else sees whole slices
    ema: float = 0  # momentum of averaged weights, such as 0.999: kept, scored and predicted with instead of the last
    clean_weight: float = 0  # above 0: Dice slice by slice, a clean slice with this weight, such as 0.2
    negatives_per_positive: float = 0  # lesion-free slices for each lesion slice, drawn each epoch; 0: as split
    elastic: float = 0  # share of slices that are bent by a smooth random field
    gamma: float = 0  # share of slices whose grey levels are raised to a power of 0.7 to 1.5
    blur: float = 0  # share of slices that are smoothed (Gaussian, 0.5 to 1 pixels)
    low_resolution: float = 0  # share of slices that lose detail: made smaller by up to one half, and large again
    test_time_flip: bool = False  # scored and predicted with the mean over each slice and its mirror image
    fine_tune_rate: float = 0  # learning rate that starts from --init-weights; 0: the same as from nothing
    n_filters: int = 0  # of the first level of each network, instead of those in `models`


LEVERS = tuple(each.name for each in fields(Recipe) if each.default == 0)  # the fields that may be off

RECIPES = {
    # Reaches its best in tens of epochs: cross-entropy keeps a gradient where Dice has none.
    "fast": Recipe(
        loss="dice_bce", epochs=60, batch_size=16, learning_rate=1e-3, schedule="cosine", negatives="each_epoch",
        checkpoint_every=0, validate_every=5, rotation_deg=15, shift=0.05, shear_deg=0, scale=0.1, flip=True,
        brightness=10, contrast=0.1, noise=4,
    ),
    # The published recipe, but for two things: zoom is the same in both directions here, and the momentum of batch
    # normalization is 0.9 (models.py), not Keras' 0.99.
    "paper": Recipe(
        loss="dice", epochs=1000, batch_size=32, learning_rate=1e-4, schedule="inverse_time", negatives="once",
        checkpoint_every=100, validate_every=10, rotation_deg=0.2, shift=0.05, shear_deg=0.05, scale=0.05, flip=True,
        brightness=0, contrast=0, noise=0,
    ),
}  # fmt: skip
# What helped on real heads, and longer: docs/recipes.md.
RECIPES["best"] = replace(
    RECIPES["fast"], epochs=240, neighbours=1, patch=128, test_time_flip=True, fine_tune_rate=5e-4
)
# For a night on two CPU cores: half the epochs, and a quarter of the filters' work.
RECIPES["laptop"] = replace(RECIPES["best"], epochs=120, n_filters=16)
# For phantoms alone, which must prepare for the pictures of any scanner: train_weights.sh.
RECIPES["phantoms"] = replace(
    RECIPES["laptop"], epochs=30, test_time_flip=False, rotation_deg=25, scale=0.2, contrast=0.2, gamma=0.2, blur=0.15,
    low_resolution=0.1,
)  # fmt: skip


@dataclass
class Train(Split, Runs):
    """Shared by main.py and main_kfold.py"""

    # THE model choice: network -> filters of its first level. Names are those of models.MODELS.
    models: dict[str, int] = field(default_factory=lambda: {"unet": 32, "dunet": 32})  # networks, name=filters
    recipe: Literal["fast", "best", "laptop", "phantoms", "paper"] = "fast"  # see RECIPES in config.py
    epochs: int | None = None  # passes over the training slices; none: the recipe's
    batch_size: int | None = None  # slices per step; none: the recipe's
    learning_rate: float | None = None  # none: the recipe's
    validate_every: int | None = None  # epochs between validations; none: the recipe's. The last is always validated
    run: str = ""  # folder name of the run; empty: the model's name
    init_weights: Path | None = None  # file to start from (.keras, .weights.h5), or `phantoms`, the shipped one
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"  # auto: mixed_bfloat16 on a GPU or a CPU with AMX
    jit: Literal["auto", "on", "off"] = "auto"  # XLA compilation; auto: on a GPU
    deterministic: bool = False  # only computations that give the same bits each time; slower on a GPU
    workers: int = 0  # threads that augment batches; 0: one per CPU core, 8 at most
    checkpoint_seconds: int = 30  # shortest time between two checkpoints to restart from
    tensorboard: bool = False  # also write event files, to be watched with `tensorboard --logdir runs`

    def resolved_recipe(self) -> Recipe:
        """The chosen recipe with the values that were given instead of its own."""
        names = ("epochs", "batch_size", "learning_rate", "validate_every")
        own = {name: value for name in names if (value := getattr(self, name)) is not None}
        recipe = RECIPES[self.recipe]
        if self.init_weights and recipe.fine_tune_rate:
            recipe = replace(recipe, learning_rate=recipe.fine_tune_rate)
        return replace(recipe, **own)


@dataclass
class Main(Train):
    """main.py"""

    model: str = "dunet"  # the one network to train


@dataclass
class MainKfold(Train, Engine):
    """main_kfold.py"""

    model: str = ""  # only this one of `models`; empty: all of them
    fold: int = 0  # only this fold (1, 2, ...); 0: all that are not finished
    repeats: int = 1  # trainings of each fold, with the seeds seed, seed + 1, ...; may be raised later
    at_once: int = 1  # networks trained at the same time, each in a process of its own, by the local engine


@dataclass
class ScoreMasks(Split, Runs):
    """score_masks.py"""

    run: str = ""  # folder name of the run to write, such as nnunet or reader2
    masks: tuple[Path, ...] = ()  # folders with a mask or probabilities for each scan of the folds


@dataclass
class Trials(Split, Reports, Runs):
    """trials.py"""

    compare: tuple[str, ...] = ()  # runs to compare (folder names under runs/<protocol>); empty: all


@dataclass
class Tests(Split, Reports, Runs):
    """tests.py"""

    run: str = ""  # only this run; empty: all
    fold: int = 0  # only this fold's networks; 0: the mean over all folds, each with its repeats
    weights: Literal["last", "best"] = "last"  # best: chosen on its own validation data: scores there are too high
    threshold: float | None = None  # of the probability; none: the one chosen on out-of-fold predictions
    min_lesion_mm3: float | None = None  # smaller lesions are removed; 0: keep all; none: as chosen out of fold


@dataclass
class RsnaPreprocess(Engine, Data):
    """rsna_preprocess.py"""

    raw: Path = Path("rsna")  # DICOM slices: folders named after the six classes, or the competition's folder
    window: str = "40/120"  # HU level/width for all slices, or `tag`: each file's own window tags
    variants: tuple[str, ...] = ()  # which to make, beside those that are there; empty: all seven
    valid_share: float = 0.10  # share of each class, by patient, that chooses the weights
    test_share: float = 0.10  # share of each class, by patient, that is kept for the test
    workers: int = 0  # processes that read files; 0: one per CPU core


Backbone = Literal[
    "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3",
    "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7", "MobileNetV3Small", "MobileNetV3Large",
]  # fmt: skip


@dataclass
class RsnaTrain(Engine, Runs, Data):
    """rsna_train.py"""

    LIMITS: ClassVar[dict[str, tuple[float, float]]] = {
        **Common.LIMITS, "image_size": (32, 1024), "neighbours": (0, 1), "balance": (0.0, 1.0),
        "batch_norm_momentum": (0.0, 0.9999),
    }  # fmt: skip

    variant: str = "all"  # the preprocessing to train on, such as 2_roi_clahe; all: each of the seven
    task: Literal["multiclass", "multilabel"] = "multiclass"  # one of six classes, or any number of five types
    neighbours: int = 0  # 1: the slices below and above are red and blue, instead of the same grey three times
    network: Backbone = "EfficientNetB7"  # of keras.applications; MobileNetV3Small is the smallest
    image_size: int = 600  # pixels per side that the network sees
    weights: str = "imagenet"  # to start from: imagenet (downloaded), none, or a file
    epochs: int = 25  # passes over the training slices
    learning_rates: tuple[float, ...] = (6e-5, 3e-5, 1e-5, 8e-6, 1e-6)  # of Adam, one after another in equal shares
    batch_size: int = 8  # slices per step
    balance: float = 0.0  # 0: each slice once an epoch; 1: drawn so that all classes come equally often
    batch_norm_momentum: float = 0.0  # 0: the network's own, for long trainings; 0.9 for a few hundred steps
    rotation_deg: float = 20.0  # augmentation: angles from -x to +x
    shift_px: float = 2.0  # augmentation: shifts from -x to +x, pixels of the network's input
    mirror: Literal["both", "sides"] = "both"  # augmentation: upside down too, as published, or left-right only
    repeats: int = 1  # trainings of each variant, with the seeds seed, seed + 1, ...
    at_once: int = 1  # trainings at the same time, each in a process of its own, by the local engine
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"  # auto: mixed_bfloat16 on a GPU
    jit: Literal["auto", "on", "off"] = "auto"  # XLA compilation; auto: on a GPU
    deterministic: bool = False  # only computations that give the same bits each time; slower on a GPU
    workers: int = 2  # threads that read and augment batches
    checkpoint_seconds: int = 30  # shortest time between two checkpoints to restart from
    tensorboard: bool = False  # also write event files, to be watched with `tensorboard --logdir runs`


@dataclass
class RsnaCompare(Reports, Runs, Data):
    """rsna_compare.py"""

    task: Literal["multiclass", "multilabel"] = "multiclass"  # which trainings to compare


@dataclass
class Predict(Split, Runs):
    """predict.py"""

    scans: tuple[Path, ...] = ()  # NIfTI files, DICOM folders, or folders of them
    out: Path = Path("predicted")  # folder to write; one folder a scan in it
    run: str = ""  # the run that predicts; empty: the one with the highest out-of-fold Dice; `phantoms`: the shipped
    fold: int = 0  # only this fold's networks; 0: the mean over all folds, each with its repeats
    weights: Literal["last", "best"] = "last"  # best: chosen on its own validation data
    windows: tuple[str, ...] = ()  # HU level/width, for a run on own PNGs, whose windows are unknown; e.g. 40/120
    model: Path | None = None  # exported folder to predict with, instead of a run
    engine: Literal["auto", "openvino", "onnx", "keras"] = "auto"  # auto: the first of them that is installed
    precision: Literal["float32", "bfloat16", "int8"] = "float32"  # of OpenVINO: each faster and less exact
    threshold: float | None = None  # of the probability; none: the one chosen on out-of-fold predictions
    flip: bool = False  # average with the prediction of the mirrored slice, as `test_time_flip`; takes twice as long
    min_lesion_mm3: float | None = None  # smaller lesions are removed; 0: keep all; none: as chosen out of fold
    probabilities: bool = False  # write probabilities.nii.gz too
    view: bool = False  # write view.html, a page to scroll through the scan with the mask on it; opens offline
    scan_nifti: bool = False  # DICOM: write scan.nii.gz too, the scan in HU, for the mask to lie on
    series: str = ""  # DICOM: number, description or UID of the series to take where a folder holds several, or all
    orientation: str = ""  # axis codes such as RAS or LPS for files whose header has none; empty: trust the header
    export: Path | None = None  # write the networks there as ONNX with a model card, and end

    POSITIONAL: ClassVar[str] = "scans"  # given without a flag
