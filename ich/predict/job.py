"""One scan from its files to its results."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ich import native, paths, runs
from ich.predict import checks, measure, montage, scan, segmentation, upright, view
from ich.predict.engines import Engine
from ich.predict.inputs import Input
from ich.predict.method import Method
from ich.rsna.dicom import AIR_HU

MASK, PROBABILITIES, OVERLAY = "mask.nii.gz", "probabilities.nii.gz", "overlay.png"
SEGMENTATION, VIEW, VOLUMES = "mask.dcm", "view.html", "volumes.csv"
SCAN = "scan.nii.gz"
COLUMNS = ("volume_ml", "lesions", "lesion_ml", "largest_diameter_mm", "slices", "mean_hu")


@dataclass(frozen=True)
class Job:
    """What all scans of a call share. `config` is config.Predict; `facts` say what the results depend on."""

    config: object
    method: Method
    threshold: float
    engine: Engine
    facts: dict

    def inputs(self, given: Input) -> dict:
        """What the results of a scan depend on, so that a second call knows that all is done."""
        wanted = {name: getattr(self.config, name) for name in (
            "flip", "min_lesion_mm3", "probabilities", "view", "scan_nifti", "series", "orientation")}  # fmt: skip
        return runs.as_json({"scan": given.fingerprint(), "threshold": self.threshold, **wanted, **self.facts})

    def is_done(self, given: Input) -> bool:
        """Whether an earlier call wrote these very results; run.json is written last."""
        path = self.config.out / given.name / paths.RUN
        return path.exists() and runs.read_json(path).get("inputs") == self.inputs(given)


def predict_once(job: Job, given: Input) -> None:
    """Predict a scan unless these very results are there; print what was found. Raises InputError as `predict`."""
    folder = job.config.out / given.name
    if job.is_done(given):
        print(f"{given.name}: predicted before -> {folder}")
        return
    started = time.perf_counter()
    told = predict(job, given, folder)
    for note in told["notes"]:
        print(f"{given.name}: note: {note}")
    print(f"{_title(given.name, told['measures'], job.threshold)}; {time.perf_counter() - started:.1f} s")


def predict(job: Job, given: Input, folder: Path) -> dict:
    """Read, check, predict, measure and write one scan; return what was measured and noted.

    Raises InputError when the scan is refused, before anything is written.
    """
    started = time.time()
    read = given.read()
    planes = read.upright()
    checks.check_head_ct(planes, read.grid.spacing_mm, str(given.path))
    prob = job.engine(planes)
    mask = measure.without_specks(read.as_filed(prob >= job.threshold), read, job.config.min_lesion_mm3)
    found = measure.measures(mask, read)
    (folder / paths.RUN).unlink(missing_ok=True)
    notes = [*read.notes, *_write(job, folder, read, planes, mask, prob, _title(given.name, found, job.threshold))]
    facts = {"scan": given.name, "measures": found, "notes": notes, "threshold": job.threshold}
    runs.write_json(folder / paths.RUN, runs.manifest(job.config, started, inputs=job.inputs(given), **facts))
    return facts


def _write(
    job: Job, folder: Path, read: scan.Scan, planes: np.ndarray, mask: np.ndarray, prob: np.ndarray, title: str
) -> list[str]:
    """All files of a scan, and none of an earlier call with other settings; notes on what could not be written."""
    window = job.method.windows[0]
    for name in (PROBABILITIES, SEGMENTATION, VIEW, SCAN, upright.SCAN, upright.MASK):
        (folder / name).unlink(missing_ok=True)
    native.save_like(folder / MASK, read.on_grid(mask).astype(np.uint8), read.image)
    runs.write_png(folder / OVERLAY, montage.montage(planes, read.upright(mask), window, title))
    if job.config.probabilities:
        native.save_like(folder / PROBABILITIES, read.on_grid(read.as_filed(prob)), read.image)
    if job.config.view:
        view.write(folder / VIEW, read, mask, window, title)
    if job.config.scan_nifti and read.sources:
        native.save_hu(folder / SCAN, read.on_grid(read.voxels, AIR_HU), read.image)
    notes = segmentation.write(folder / SEGMENTATION, mask, read) if read.sources else []
    return notes + (upright.write(folder, mask, read) if upright.is_sheared(read) else [])


def _title(name: str, found: dict, threshold: float) -> str:
    number = found["lesions"]
    return (
        f"{name}: {found['volume_ml']:.1f} ml in {number} lesion{'' if number == 1 else 's'}, longest "
        f"{found['largest_diameter_mm']:.0f} mm, {found['slices']} slices, threshold {threshold:.2f}"
    )


def write_volumes(out: Path) -> pd.DataFrame:
    """`volumes.csv`: a row for each scan predicted in `out`, from its run.json."""
    rows = []
    for path in sorted(out.glob(f"*/{paths.RUN}")):
        told = runs.read_json(path)
        if "measures" in told:
            values = {name: told["measures"][name] for name in COLUMNS}
            values["lesion_ml"] = " ".join(f"{each:g}" for each in values["lesion_ml"])
            rows.append({"scan": told["scan"], **values, "threshold": told["threshold"],
                         "engine": told["inputs"]["engine"], "notes": "; ".join(told["notes"])})  # fmt: skip
    table = pd.DataFrame(rows)
    runs.write_csv(out / VOLUMES, table)
    return table
