"""Where the slices come from, as far as the files tell: said wherever a result is shown."""

from pathlib import Path

import pandas as pd

from ich.base import paths
from ich.base.files import read_json

PHANTOMS, CT_ICH, OWN_SCANS, OWN_PNGS = "phantoms", "CT-ICH", "own scans", "own PNGs"
PHANTOM_BANNER = "PHANTOM DATA: shows that the program works, says nothing about patients"
PHANTOM_NETWORKS = "phantom-trained network: has never seen a patient's scan"
CT_ICH_SIZE = (75, 2814)  # volumes and slices of CT-ICH 1.3.1


def of_volumes(raw: Path, slices: pd.DataFrame) -> str:
    """What the slices were cut from: the phantoms or the published data set in `raw`, or a user's own scans."""
    if is_phantom(raw):
        return PHANTOMS
    return CT_ICH if (slices["patient"].nunique(), len(slices)) == CT_ICH_SIZE else OWN_SCANS


def is_phantom(raw: Path) -> bool:
    """Whether a folder, or the one around it, is marked as one of phantoms."""
    return any((folder / paths.PHANTOM_MARKER).exists() for folder in (raw, raw.parent))


def unit(origin: str) -> str:
    """What the patients of these data are, in the plural."""
    return "phantom heads" if origin == PHANTOMS else "patients"


def read(folder: Path) -> str:
    """The origin that the `run.json` in `folder` names; "" where an earlier version wrote it."""
    return str(read_json(folder / paths.RUN).get("origin", ""))


def tell(origin: str) -> None:
    """Print the banner of the data that a result is of, if they have one."""
    if line := banner(origin):
        print(line)


def banner(origin: str) -> str:
    """What a page or plot of these data says first; "" for real data."""
    return PHANTOM_BANNER if origin == PHANTOMS else ""


def networks_notice(origin: str) -> str:
    """What a prediction of networks trained on these data says beside its result; "" for real data."""
    return PHANTOM_NETWORKS if origin == PHANTOMS else ""
