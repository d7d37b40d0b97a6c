"""What demo.sh says at the end: a few sentences of result, and the files to open first.

python -m ich.predict.closing demo/data demo/reports demo     (the last one: phantoms were made there)
"""

import sys
from pathlib import Path

import nibabel as nib
import pandas as pd

from ich.base import paths, script
from ich.base.files import read_csv, read_json
from ich.data import origin
from ich.phantom.series import unseen
from ich.predict import measure
from ich.report import verdict
from ich.report.published import NOT_COMPARABLE
from ich.scans.scan import Scan
from ich.score import metrics

PROTOCOL = "patient"
SHIPPED = "predicted_by_shipped"  # folder of demo.sh


def main(data: Path, reports: Path, demo: Path | None = None) -> None:
    """Print the result of the demo; `demo` is the folder of phantoms, None for real scans."""
    folder = reports / PROTOCOL
    facts = read_json(folder / paths.RUN, ("trained",))
    source = origin.read(data)
    phantom = "phantom " * (source == origin.PHANTOMS)
    tables = {name: read_csv(folder / f"{name}.csv", (), "trials.py") for name in ("statistics", "comparison")}
    print("\nResult")
    origin.tell(source)
    answers = [str(each) for each in verdict.verdicts(tables["statistics"], facts["trained"])]
    for answer in answers or [_only(tables["comparison"])]:
        print(f"* Cross-validation{' on phantoms' * bool(phantom)}: {answer}")
    networks = [str(run["run"]) for run in facts["trained"] if not verdict.is_given(run)]
    if networks:
        print(f"* Test set: {_tested(folder, networks, phantom)}")
    if source == origin.CT_ICH:
        print(f"* {NOT_COMPARABLE}")
    if demo:
        print(f"* Unseen phantom head: {_unseen(demo)}")
    slices = paths.rsna_folder(reports, "multiclass")
    if (slices / paths.RUN).exists():
        for answer in read_json(slices / paths.RUN).get("answers", []):
            print(f"* Single slices: {answer}")
    by_dice = tables["comparison"].sort_values("dice_mean", ascending=False)["run"]
    best = by_dice[by_dice.isin(networks)].head(1)
    files = [folder / paths.PAGE, slices / paths.PAGE, *(folder / f"test_{run}" / "patients.png" for run in best)]
    files.append(demo / "predicted" / "dicom" / "view.html" if demo else data / PROTOCOL / "preview.png")
    print("Open these", *(f"  {path}" for path in files if path.exists()), sep="\n")


def _only(comparison: pd.DataFrame) -> str:
    """In place of the verdict, where a single network was trained."""
    row = comparison.iloc[0]
    blood = _counted(row["n_with_blood"], "patient")
    return f"{row['run']} reaches a mean Dice of {row['dice_mean']:.3f} over {blood} with blood."


def _tested(folder: Path, runs: list[str], phantom: str) -> str:
    """Dice and clean patients called clean, of each run on the same test patients."""
    scores, clean_right = [], []
    for run in runs:
        patients = read_csv(folder / f"test_{run}" / "patients.csv", ("dice", "volume_pred_ml"), "tests.py")
        blood = metrics.with_blood(patients)
        clean = patients.drop(blood.index)
        scores.append(f"{run} {blood['dice'].mean():.3f}")
        clean_right.append(f"{run} {(clean['volume_pred_ml'] == 0).sum()}")
    return (f"mean Dice over {_counted(len(blood), f'{phantom}patient')} with blood: {', '.join(scores)}; "
            f"without blood and left unmarked, of {len(clean)}: {', '.join(clean_right)}.")  # fmt: skip


def _unseen(demo: Path) -> str:
    """Volume and lesions of the phantom that no network has seen: the true ones, and the predicted ones."""
    made = read_json(demo / "ct-ich" / paths.PHANTOM_MARKER, ("patients", "size", "seed"))
    head = unseen(made["patients"], made["size"], made["seed"])
    scan = Scan(demo / "unseen", nib.Nifti1Image(head.mask, head.affine), head.hu, head.affine)
    truth = measure.measures(head.mask > 0, scan)
    text = f"it has {truth['volume_ml']:.1f} ml of blood in {_counted(truth['lesions'], 'lesion')}; "
    text += f"the prediction is {_amount(demo / 'predicted', 'dicom')}"
    if (shipped := demo / SHIPPED).exists():
        text += f", and by the shipped network, trained on other phantoms, {_amount(shipped, 'scan')}"
    return f"{text}."


def _amount(folder: Path, scan: str) -> str:
    """What was predicted of a scan."""
    table = read_csv(folder / "volumes.csv", ("scan", "volume_ml", "lesions"), "predict.py")
    found = table[table["scan"] == scan].iloc[0]
    return f"{found['volume_ml']:.1f} ml in {_counted(found['lesions'], 'lesion')}"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("" if number == 1 else "s")


if __name__ == "__main__":
    script.run(lambda: main(*map(Path, sys.argv[1:])))
