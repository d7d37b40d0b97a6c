"""One scan from its files to its results."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ich.base import paths, record
from ich.base.errors import InputError
from ich.base.files import as_json, write_json
from ich.predict import checks, measure, montage, plausibility, results, segmentation, structured_report, upright, view
from ich.predict.engines import Engine, with_flip
from ich.predict.inputs import Input
from ich.predict.method import Method
from ich.predict.results import Result
from ich.scans import native, scan
from ich.scans.dicom_slice import AIR_HU
from ich.scans.png import write_png
from ich.score.operating import Point

if TYPE_CHECKING:
    import config as settings


@dataclass(frozen=True)
class Job:
    """What all scans of a call share. `config` is config.Predict; `facts` say what the results depend on."""

    config: "settings.Predict"
    method: Method
    point: Point
    engine: Engine
    facts: dict

    @property
    def flip(self) -> bool:
        """Whether the mean is taken with the mirrored slices: asked for, or part of the method and so of its engine."""
        return self.config.flip or self.method.flip

    def probabilities(self, read: scan.Scan, planes: np.ndarray) -> np.ndarray:
        """Of blood, float32, the shape of `planes`: upright HU (slices, rows, columns) of the scan `read`."""
        engine = with_flip(self.engine) if self.flip and not self.method.flip else self.engine
        return engine(planes, read.near) if self.method.neighbours else engine(planes)

    def inputs(self, item: Input) -> dict:
        """Everything that the results of a scan depend on, so that a second call can skip finished scans."""
        wanted = {name: getattr(self.config, name) for name in ("probabilities", "view", "scan_nifti", "orientation")}
        return as_json({"scan": item.content, **self.point._asdict(), "flip": self.flip, **wanted, **self.facts})

    def is_done(self, item: Input, before: Result | None) -> bool:
        """Whether an earlier call wrote exactly these results, and none is missing."""
        if before is None or before.is_unfinished or before.content != item.content or before.missing():
            return False
        return before.facts.get("inputs") == self.inputs(item)


def predict_once(job: Job, item: Input) -> None:
    """Predict a scan unless exactly these results exist; print what was found. Raises InputError as `predict`."""
    folder = job.config.out / item.name
    before = results.read(folder)
    if job.is_done(item, before):
        _update_path(item, before)
        print(f"{item.shown}: already predicted -> {folder}")
        return
    started, reasons = time.perf_counter(), _why_again(item, before)
    try:
        facts = predict(job, item, folder)
    except InputError:
        _remove_stale(item, before)
        raise
    for note in [*reasons, *facts["notes"]]:
        print(f"{item.name}: {note if note.startswith(plausibility.PREFIX) else f'note: {note}'}")
    print(f"{_title(item.shown, facts['measures'], job.point)}; {time.perf_counter() - started:.1f} s")


def _update_path(item: Input, before: Result) -> None:
    """Record where a scan is now; nothing else in its results depends on that."""
    if as_json(item.record) == before.source:
        return
    if before.is_moved():
        print(f"{item.name}: note: was {before.source['path']} when it was predicted; now recorded where it is")
    write_json(before.folder / paths.RUN, {**before.facts, "source": item.record})


def _why_again(item: Input, before: Result | None) -> list[str]:
    """What a user needs to know about replaced results; changed settings are no surprise."""
    if before is None or before.is_unfinished:
        return []
    if not before.source:
        return ["predicted again: the earlier results, of another version, did not say which scan they are of"]
    if before.content != item.content:
        return [f"predicted again: the content of {before.source['path']} has changed since the earlier results"]
    notes = [f"predicted again: {name} was missing" for name in before.missing()]
    return [*notes, f"was {before.source['path']} when it was predicted before"] if before.is_moved() else notes


def _remove_stale(item: Input, before: Result | None) -> None:
    """Remove earlier results of a refused scan's path; they would be mistaken for results of its present content."""
    if before and not before.source:
        print(f"{item.name}: note: earlier results in {before.folder} are kept; they do not say of which scan")
    elif before and before.content != item.content:
        before.remove()
        print(f"{item.name}: note: the content of its path has changed, so the earlier results are removed")


def predict(job: Job, item: Input, folder: Path) -> dict:
    """Read, check, predict, measure and write one scan; return what was measured and noted.

    Raises InputError when the scan is refused, before anything is written.
    """
    started = time.time()
    inputs = job.inputs(item)  # of the files as they are before they are read
    read = item.read()
    planes = read.upright()
    checks.check_head_ct(planes, read.grid.spacing_mm, str(item.path))
    prob = job.probabilities(read, planes)
    mask = measure.without_specks(read.as_filed(prob >= job.point.threshold), read, job.point.min_lesion_mm3)
    found = measure.measures(mask, read)
    facts: dict[str, Any] = {"scan": item.name, "source": item.record}
    write_json(folder / paths.RUN, {**facts, "unfinished": True})
    written, note = _write(job, folder, read, planes, mask, prob, found)
    notes = [*plausibility.warnings(planes, read.upright(mask), read, found), *read.notes, *note]
    facts |= {"measures": found, "notes": notes, **job.point._asdict(), "files": written}
    write_json(folder / paths.RUN, record.manifest(job.config, started, inputs=inputs, **facts))
    return facts


def _write(
    job: Job, folder: Path, read: scan.Scan, planes: np.ndarray, mask: np.ndarray, prob: np.ndarray, found: dict
) -> tuple[list[str], list[str]]:
    """All files of a scan, and none of an earlier call with other settings.

    Returns the names of what was written, and notes on what could not be.
    """
    window, title = job.method.windows[0], _title(folder.name, found, job.point)
    for name in results.NAMES:
        (folder / name).unlink(missing_ok=True)
    native.save_like(folder / results.MASK, read.on_grid(mask).astype(np.uint8), read.image, note=job.point.text)
    write_png(folder / results.OVERLAY, montage.montage(planes, read.upright(mask), window, title, job.method.notice))
    if job.config.probabilities:
        native.save_probabilities(folder / results.PROBABILITIES, read.on_grid(read.as_filed(prob)), read.image)
    if job.config.view:
        view.write(folder / results.VIEW, read, mask, window, title, job.method.notice)
    if job.config.scan_nifti and read.sources:
        native.save_hu(folder / results.SCAN, read.on_grid(read.voxels, AIR_HU), read.image)
    notes = _write_dicom(job, folder, read, mask, found) if read.sources else []
    if upright.is_sheared(read):
        notes += upright.write(folder, mask, read)
    return [name for name in results.NAMES if (folder / name).exists()], notes


def _write_dicom(job: Job, folder: Path, read: scan.Scan, mask: np.ndarray, found: dict) -> list[str]:
    """The Segmentation of a DICOM scan, and the report that refers to it; notes on what could not be written."""
    path = folder / results.SEGMENTATION
    notes = segmentation.write(path, mask, read, job.point)
    if path.exists():
        notes += structured_report.write(folder / results.REPORT, path, {1: found}, job.point)
    return notes


def _title(name: str, found: dict, point: Point) -> str:
    number, large = found["lesions"], found["lesions_above_0.1_ml"]
    return (
        f"{name}: {found['volume_ml']:.1f} ml in {number} lesion{'' if number == 1 else 's'} ({large} above 0.1 ml), "
        f"longest {found['largest_diameter_mm']:.0f} mm, {found['slices']} slices, {point.text}"
    )
