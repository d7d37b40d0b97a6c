"""Step 5. Score the held-out test set and write the predicted masks.

    python tests.py                        (the mean of all folds' probabilities, for every run)
    python tests.py --run dunet --fold 3   (one network)

reads   <data>/<protocol>/kfold.csv (fold = test), <runs>/<protocol>/*/fold_*/
writes  <reports>/<protocol>/test_<run>/: slices.csv patients.csv summary.csv by_type.csv by_size.csv
        patients.png run.json masks/NNN_SSS.png overlays/NNN_SSS.png nifti/NNN_mask.nii.gz
Threshold and smallest lesion are those chosen on the out-of-fold predictions (docs/evaluation.md); where these are not
0.5 and none, the scores at 0.5 with nothing removed are given too.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import numpy as np
import pandas as pd

import config as settings
from ich.base import backend, flags, paths, record, script, steps
from ich.base.errors import InputError
from ich.base.files import read_json, write_csv, write_json
from ich.base.lock import writing
from ich.data import origin
from ich.data.split import Split, read_split, split_fingerprints
from ich.data.table import scan_name
from ich.draw import pictures, plots
from ich.report import choice, finished, folds, page
from ich.scans import native
from ich.scans.png import write_png
from ich.scans.png_file import png_shape
from ich.scans.window import unsquare
from ich.score import breakdown, evaluation, metrics
from ich.score.operating import FIXED, Point
from ich.score.summary import summarize


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.Tests, __doc__, argv)
    names = (config.run,) if config.run else ()
    found = folds.networks(folds.gather(config.runs, config.protocol, names), bool(names))
    folds.refuse_other_data(config, found[0], split_fingerprints(config, "kfold"))
    with writing(config.reports / config.protocol):
        _write(config, found)
    if config.protocol == "patient":
        steps.tell_next("predict.py SCAN --view", config, "runs", "run")


def _write(config: settings.Tests, found: list[folds.Run]) -> None:
    todo = [run for run in found if not _is_done(config, run)]
    if todo:
        split = read_split(config, "kfold", test=True)
        with backend.starting():
            from ich.train import prediction
        for run in todo:
            _refuse_size(config, split, _choice(config, run).point)
            prob = prediction.predict_mean(run.members(config.fold), config.weights, split.slices, run.flips)
            _test(config, run, split, prob)
    origin.tell(origin.read(config.data))


def _folder(config: settings.Tests, run: folds.Run) -> Path:
    fold = f"_{paths.fold_name(config.fold)}" if config.fold else ""
    best = "_best" if config.weights == "best" else ""
    return config.reports / config.protocol / f"test_{run.name}{fold}{best}"


def _inputs(config: settings.Tests, run: folds.Run) -> dict:
    """What the results depend on, so that a second call knows that all is done."""
    networks = [record.result_fingerprint(each.run, getattr(each, config.weights)) for each in run.members(config.fold)]
    point, threshold_is, size_is = _choice(config, run)
    chosen = {**point._asdict(), "threshold_is": threshold_is, "min_lesion_is": size_is}
    return {"networks": networks, "weights": config.weights, **chosen}


def _is_done(config: settings.Tests, run: folds.Run) -> bool:
    path = _folder(config, run) / paths.RUN
    if not path.exists() or read_json(path).get("inputs") != _inputs(config, run):
        return False
    print(f"{run.name}: already tested -> {path.parent}")
    return True


def _test(config: settings.Tests, run: folds.Run, split: Split, prob: np.ndarray) -> None:
    """Write all results; run.json last, so that an interrupted call is not taken for a finished one."""
    started = time.time()
    folder, chosen = _folder(config, run), run.members(config.fold)
    (folder / paths.RUN).unlink(missing_ok=True)
    for pictured in ("masks", "overlays", "nifti"):  # of another threshold or test set
        shutil.rmtree(folder / pictured, ignore_errors=True)
    decision = _choice(config, run)
    point = decision.point
    tables = _tables(split, prob, point)
    by_column = {_column(config): (point, tables)}
    if point != FIXED:
        by_column["fixed"] = (FIXED, _tables(split, prob, FIXED))
    summary = _summary(split, prob, by_column, config.protocol)
    groups = {"by_type": breakdown.by_type(tables["slices"], split.slices.table)}
    if split.whole_scans:
        groups["by_size"] = breakdown.by_size(tables["patients"])
    for name, table in {**tables, **groups, "summary": summary}.items():
        write_csv(folder / f"{name}.csv", table)
    plots.label_all(origin.banner(split.about["origin"]))
    _write_masks(folder, config, split, prob, tables, point)
    facts = {"inputs": _inputs(config, run), "folds": [each.label for each in chosen], **split.about}
    facts |= {"folder": folder.name, "used_threshold": point.threshold, "used_min_lesion_mm3": point.min_lesion_mm3}
    facts |= {"operating_point": decision.text(len(chosen))}
    write_json(folder / paths.RUN, record.manifest(config, started, **facts))
    if (folder.parent / paths.RUN).exists():
        page.build(folder.parent, config.data, config.protocol, _other_trainings(config))
    _tell(run, folder, summary, len(chosen), decision)


def _other_trainings(config: settings.Tests) -> list[str]:
    """A warning when the tables of trials.py are of other trainings than there are now."""
    then = read_json(config.reports / config.protocol / paths.RUN).get("trainings", {})
    runs_then = tuple(dict.fromkeys(name.partition("/")[0] for name in then))
    there = finished.by_run(config.runs, config.protocol)
    now = folds.prints([folds.Run(name, there.get(name, [])) for name in runs_then])
    if not (changed := record.differences(then, now)):
        return []
    warning = f"the tables of trials.py are older than {changed[0][0]} ({len(changed)} trainings differ); run it again"
    print(f"warning: {warning}")
    return [warning]


def _choice(config: settings.Tests, run: folds.Run) -> choice.Choice:
    return choice.of_run(run).replaced(config.threshold, config.min_lesion_mm3)


def _column(config: settings.Tests) -> str:
    """Of summary.csv."""
    if config.threshold is not None or config.min_lesion_mm3 is not None:
        return "given"
    return "chosen_out_of_fold" if config.protocol == "patient" else "default"


def _refuse_size(config: settings.Tests, split: Split, point: Point) -> None:
    """Raise InputError where components can't be measured."""
    if point.min_lesion_mm3 and not split.whole_scans:
        raise InputError("--min-lesion-mm3: split by slice there are no whole scans, so no lesion sizes; leave it out")
    if point.min_lesion_mm3 and split.slices.table[evaluation.SPACING].isna().to_numpy().any():
        raise InputError(
            f"--min-lesion-mm3: {config.data / paths.SLICES} has slices without spacing, so sizes in mm3 are unknown; "
            "leave it out"
        )


def _tables(split: Split, prob: np.ndarray, point: Point) -> dict[str, pd.DataFrame]:
    tables = {"slices": evaluation.slice_scores(split.slices, prob, point)}
    if split.whole_scans:
        tables["patients"] = evaluation.patient_scores(split.slices, prob, point)
    return tables


def _summary(
    split: Split, prob: np.ndarray, by_column: dict[str, tuple[Point, dict[str, pd.DataFrame]]], protocol: str
) -> pd.DataFrame:
    """One row per measure, one column per operating point with the tables at it."""
    columns = {}
    for name, (point, tables) in by_column.items():
        columns[name] = {**point._asdict(), **summarize(tables.get("patients"), tables["slices"])}
        if protocol == "slice":
            columns[name] |= metrics.paper_scores(split.slices.masks.astype(bool), prob)
    return pd.DataFrame(columns).rename_axis("measure").reset_index()


def _write_masks(
    folder: Path,
    config: settings.Tests,
    split: Split,
    prob: np.ndarray,
    tables: dict[str, pd.DataFrame],
    point: Point,
) -> None:
    """Masks as PNG, overlays, and masks as NIfTI: the probability of what is removed is 0 in all of them."""
    masks = evaluation.predicted(split.slices, prob, point)
    kept = np.where(masks | (prob < point.threshold), prob, np.float32(0))
    _write_pictures(folder, split, kept, tables, point)
    if split.whole_scans:
        _write_nifti(folder, config, split, kept, point)


def _write_pictures(
    folder: Path, split: Split, prob: np.ndarray, tables: dict[str, pd.DataFrame], point: Point
) -> None:
    """Masks of all slices in the size of their PNG, overlays of those with blood (true or predicted), some patients."""
    slices, found = split.slices, prob >= point.threshold
    phantom = "PHANTOM " * (split.about["origin"] == origin.PHANTOMS)
    for place, row in enumerate(tables["slices"].itertuples()):
        truth = slices.masks[place].astype(bool)
        mask = unsquare(prob[place], *png_shape(split.data / slices.table["image"][place])) >= point.threshold
        write_png(folder / "masks" / f"{row.id}.png", mask.astype(np.uint8) * 255, sync=False)
        if truth.any() or found[place].any():
            caption = f"{phantom}{row.id}   Dice {row.dice:.2f}   {point.text}"
            picture = pictures.overlay_with_legend(slices.images[place], truth, found[place], caption)
            write_png(folder / "overlays" / f"{row.id}.png", picture, sync=False)
    if "patients" in tables:
        method = f"{folder.name.removeprefix('test_')}, {point.text}"
        pictures.patient_sheet(folder / "patients.png", slices, found, tables["patients"], method)


def _write_nifti(folder: Path, config: settings.Tests, split: Split, prob: np.ndarray, point: Point) -> None:
    orientation = read_json(config.data / paths.RUN, ("config",))["config"].get("orientation", "")
    table = split.slices.table.sort_values(["patient", "slice"])
    if table["source"].isna().any():
        return  # own PNGs come without scans
    missing, scans = [], table.groupby("source", sort=False)
    for name, rows in scans:
        source = config.data / str(name)
        if source.exists():
            path = folder / "nifti" / f"{scan_name(rows['id'].iloc[0])}_mask.nii.gz"
            native.write_mask(path, source, prob[rows.index.to_numpy()], point.threshold, orientation, point.text)
        else:
            missing.append(source)
    if missing:
        print(
            f"warning: {missing[0]}: not found, so {len(missing)} of {len(scans)} NIfTI masks are not written; the "
            "scans of step 1 must stay there"
        )


def _tell(run: folds.Run, folder: Path, summary: pd.DataFrame, networks: int, decision: choice.Choice) -> None:
    value = summary.set_index("measure")[summary.columns[1]]
    of = f"mean of {networks} networks" if networks > 1 else "one network"
    text = f"{run.name} on the test set ({of}): "
    if "dice_mean" in value:
        blood = int(value["n_with_blood"])
        text += f"Dice {value['dice_mean']:.3f} over {blood} patient{'' if blood == 1 else 's'} with blood, "
        text += f"scan sensitivity {value['scan_sensitivity']:.2f}, specificity {value['scan_specificity']:.2f}"
    else:
        text += f"Dice {value['lesion_slice_dice_mean']:.3f} over {value['n_lesion_slices']:.0f} slices with blood, "
        text += f"smoothed as published {value['paper_dice']:.3f}"
    written = sorted(f"{path.name}{'/' * path.is_dir()}" for path in folder.iterdir())
    print(f"{text}\n{decision.text(networks)}\n-> {folder}: {' '.join(written)}")


if __name__ == "__main__":
    script.run(main)
