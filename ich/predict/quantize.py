"""Exported networks in 8-bit integers by NNCF: the fastest on CPUs, a little less exact.

The ranges of the integers are measured on slices of the training data, so this is done where the data set is.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ich.base.environment import requirements

import numpy as np
import pandas as pd

from ich.base import backend, paths
from ich.base.errors import InputError
from ich.base.files import read_json
from ich.data.pixels import near_rows
from ich.data.table import read_parts
from ich.phantom.head import make_patient
from ich.predict import engines
from ich.predict.method import Method
from ich.scans.nifti import Grid
from ich.scans.png import read_image
from ich.scans.scan import consecutive
from ich.scans.window import Window

if TYPE_CHECKING:
    import openvino as ov

    import config as settings

EACH = 64  # slices with blood and as many without; half of them give the ranges, the others judge the result
PHANTOMS, PHANTOM_SEED = 16, 0  # heads for the shipped network
LEAST_AGREEMENT = 0.97  # Dice of the masks of integers and of float32
# Window, resizing and the mean of the networks: next to no work, but rounding grey levels twice costs much.
EXACT = ["MatMul", "Multiply", "Add", "Subtract", "Divide", "Gather"]
FEW_CHANNELS = 4  # convolutions that take or give fewer stay exact: the picture's own, and the probability's


def installed() -> bool:
    """Whether NNCF and OpenVINO can be imported."""
    return backend.has("nncf") and engines.installed("openvino")


def check_installed() -> None:
    """Raise InputError unless `installed`."""
    if not installed():
        raise InputError("--precision int8: needs nncf and openvino; "
                         f"pip install {requirements('requirements-predict.txt')}")  # fmt: skip


def read_slices(config: "settings.Predict", method: Method) -> np.ndarray:
    """Training slices as HU, float32 (2 * EACH or fewer, slices, size, size): with blood and without.

    Of each what the networks take: the slice, or the one below, itself, and the one above.

    Raises InputError when NNCF is missing, and when the data set of the run is not there or is another one.
    """
    check_installed()
    found = read_json(config.data / paths.RUN).get("data_fingerprint")
    if found != method.facts["data"]:
        raise InputError(f"{config.data}: holds data set {found}, expected {method.facts['data']}, on which the run "
                         "was trained; --precision int8 measures on its slices")  # fmt: skip
    table = read_parts(config.data, config.protocol, "kfold")
    table = table[table["part"] != "test"].reset_index(drop=True)
    chosen = pd.concat([_evenly(rows, EACH) for _, rows in table.groupby(table["lesion_pixels"] > 0)]).index
    near = near_rows(table)[chosen] if method.neighbours else chosen.to_numpy()[:, None]
    images = [
        [read_image(config.data / table["image"][row], len(method.windows), method.size) for row in rows]
        for rows in near
    ]
    return _as_hu(np.array(images), method.windows)


def phantom_slices(method: Method) -> np.ndarray:
    """As `read_slices`, of phantoms drawn for it, for the shipped network, whose training data are phantoms too."""
    check_installed()
    with_blood, without = [], []
    for patient in range(PHANTOMS):
        made = make_patient(PHANTOM_SEED, patient, method.size, "calibrated")
        grid, bleeds = Grid(made.hu.shape, made.affine), (made.mask > 0).any((0, 1))
        hu = np.stack([grid.upright(made.hu[:, :, k]) for k in range(len(bleeds))]).astype(np.float32)
        near = consecutive(len(hu)) if method.neighbours else np.arange(len(hu))[:, None]
        with_blood.append(hu[near[bleeds]])
        without.append(hu[near[~bleeds]])
    halves = [np.concatenate(each) for each in (with_blood, without)]
    return np.concatenate([half[_spread(len(half), EACH)] for half in halves])


def write(folder: Path, hu: np.ndarray, threshold: float) -> float:
    """Write `ich_int8.xml` and `.bin` beside the float32 file; return the Dice of its masks with theirs.

    `hu`: as from `read_slices`. Below LEAST_AGREEMENT nothing is kept.
    """
    import nncf
    import openvino as ov

    nncf.set_log_level("ERROR")
    network = ov.Core().read_model(folder / engines.NETWORK)
    small = nncf.quantize(
        network, nncf.Dataset([*hu[::2]]), subset_size=len(hu[::2]),
        preset=nncf.QuantizationPreset.MIXED,  # signed ranges where values are signed
        fast_bias_correction=False,  # the thorough one leaves a third of the error
        ignored_scope=nncf.IgnoredScope(types=EXACT, names=_thin(network), validate=False),
    )  # fmt: skip
    path = folder / engines.INT8
    engines.save_openvino(small, path)
    judged = hu[1::2]
    planes, near = judged.reshape(-1, *hu.shape[2:]), np.arange(judged[..., 0, 0].size).reshape(len(judged), -1)
    exact, rounded = (
        engines.openvino(folder, precision)(planes, near) >= threshold for precision in ("float32", "int8")
    )
    both, total = (exact & rounded).sum(), exact.sum() + rounded.sum()
    agreement = float(2 * both / total) if total else 1.0
    if agreement < LEAST_AGREEMENT:
        path.unlink()
        path.with_suffix(".bin").unlink()
    return agreement


def _thin(network: "ov.Model") -> list[str]:
    """Names of the convolutions with few channels on either side."""
    convolutions = [node for node in network.get_ordered_ops() if node.get_type_name() == "Convolution"]
    channels = [min(list(node.input_value(1).get_shape())[:2]) for node in convolutions]
    return [node.get_friendly_name() for node, few in zip(convolutions, channels, strict=True) if few < FEW_CHANNELS]


def report(agreement: float) -> None:
    """Print how well the integers do. Raises InputError when they were left out."""
    if agreement < LEAST_AGREEMENT:
        raise InputError(f"--precision int8: its masks have Dice {agreement:.3f} with those of float32, expected at "
                         f"least {LEAST_AGREEMENT}; use bfloat16 or float32")  # fmt: skip
    print(f"int8: its masks have Dice {agreement:.3f} with those of float32")


def _evenly(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """At most `number` of the rows, evenly from first to last."""
    return rows.iloc[_spread(len(rows), number)]


def _spread(length: int, number: int) -> np.ndarray:
    return np.linspace(0, length - 1, min(number, length)).round().astype(int)


def _as_hu(images: np.ndarray, windows: tuple[Window, ...]) -> np.ndarray:
    """Grey levels (..., size, size, windows) back to HU, by the widest window."""
    widest, window = max(enumerate(windows), key=lambda pair: pair[1].width)
    return (window.level - window.width / 2 + images[..., widest] * np.float32(window.width / 255)).astype(np.float32)
