"""Step R3. Which preprocessing is best? Compares the finished trainings of all variants on the test slices.

    python rsna_compare.py

reads   <runs>/rsna/*/predictions.csv and their repeats; slices to show from <data>/rsna
writes  <reports>/rsna/: report.html comparison.csv differences.csv per_class.csv confusion_<variant>.csv
        per_scan.csv answer.png confusion.png per_scan.png run.json
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import pandas as pd

import config as settings
from ich.base import flags, lock, paths, record, script
from ich.base.files import write_csv, write_json
from ich.data import origin
from ich.draw.plots import label_all
from ich.report.words import heading
from ich.rsna import by_class, compare, doubts, page, per_scan, plots, split, verdict
from ich.rsna.scores import MAIN, MEASURES
from ich.rsna.variants import RUN_NAMES


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.RsnaCompare, __doc__, argv)
    results = compare.gather(config.runs, config.task, config.seed)
    with lock.writing(paths.rsna_folder(config.reports, config.task)):
        _write(config, results)


def _write(config: settings.RsnaCompare, results: list[compare.Result]) -> None:
    started = time.time()
    folder = paths.rsna_folder(config.reports, config.task)
    (folder / paths.RUN).unlink(missing_ok=True)  # written last: until then the files may be of two calls
    for name in (paths.PAGE, "answer.png", "per_scan.png", *(f"confusion_{variant}.csv" for variant in RUN_NAMES)):
        (folder / name).unlink(missing_ok=True)  # also of variants that are not compared any more
    tables = {
        "comparison": compare.comparison(results), "differences": compare.differences(results),
        "per_class": by_class.per_class(results, config.task), "per_scan": per_scan.table(results, config.seed),
    }  # fmt: skip
    for name, each in tables.items():
        write_csv(folder / f"{name}.csv", each)
    table, differences, scans = tables["comparison"], tables["differences"], tables["per_scan"]
    source = results[0].origin
    label_all(origin.banner(source))
    matrices = by_class.confusion(results, config.task)
    for name, matrix in matrices.items():
        write_csv(folder / f"confusion_{name}.csv", matrix.rename_axis("truth").reset_index())
    first = table.iloc[0]
    about = f"{first['slices']} test slices of {first['patients']} patients, split by patient; {config.task}"
    if first["patients"] < doubts.FEW_PATIENTS:
        about += "; too few patients for an answer"
    plots.confusion(folder / "confusion.png", matrices, f"{about}; first training")
    about += f"; {(trainings := verdict.trainings_of(table['repeats']))}"
    no_answer, by_seed = doubts.no_answer(results), compare.by_seed(results)
    if len(differences):
        dots = " (small dots: each)" * any(len(each) > 1 for each in by_seed.values())
        plots.answer(folder / "answer.png", table, differences, about + dots, no_answer, by_seed)
    if len(scans):
        highest = scans[scans["score"] == per_scan.HIGHEST]
        plots.scans(folder / "per_scan.png", highest, about, doubts.unsure(results))
    found = verdict.verdicts(differences, no_answer, by_seed, config.task)
    answers = verdict.answers(found, first["patients"], trainings, config.task)
    if missing := page.write(folder, tables, results, found, answers, config.task, config.data):
        print(f"note: {paths.PAGE} shows no slices: {missing}")
    facts = {"variants": list(table["variant"]), "answers": answers, "no_answer": no_answer, "origin": source}
    write_json(folder / paths.RUN, record.manifest(config, started, **facts))
    _tell(table, differences, no_answer, about, MAIN[config.task])
    if advice := compare.without_pair(results):
        print(f"no differences for some variants: {advice}" if len(differences) else f"no differences: {advice}")
    for answer in answers:
        print(answer)
    print(f"-> {folder}: {paths.PAGE} {'answer.png ' if found else ''}confusion.png comparison.csv differences.csv "
          "per_class.csv")  # fmt: skip
    _tell_scans(scans, folder)
    if results[0].lacking:
        print(f"note: {split.lacking_line(results[0].lacking)}; means over classes leave them out")
    origin.tell(source)


def _tell(
    table: pd.DataFrame, differences: pd.DataFrame, no_answer: dict[str, str], about: str, measure: str
) -> None:  # fmt: skip
    print(f"\n{about}; 95 % intervals over patients are in the files:")
    print(table[["variant", "repeats", *MEASURES]].to_string(index=False, float_format="%.3f", na_rep="-"))
    for row in differences[~differences["variant"].isin(no_answer)].to_dict("records"):
        value, low, high = (row[measure + end] for end in ("", "_low", "_high"))
        print(f"{row['variant']} - {row['minus']}: {heading(measure).lower()} {value:+.3f} (95 % interval {low:+.3f} "
              f"to {high:+.3f}), McNemar p = {row['mcnemar_p']:.2g}, by Holm {row['mcnemar_p_holm']:.2g}")  # fmt: skip


def _tell_scans(scans: pd.DataFrame, folder: Path) -> None:
    """How well any blood in a whole scan is found, or why that is unknown."""
    rows = scans[(scans["type"] == "any") & (scans["score"] == per_scan.HIGHEST)]
    if rows.empty:
        print("note: no scores of whole scans, since the series of the slices is unknown: their headers have no "
              "SeriesInstanceUID, or an earlier version trained some of the variants")  # fmt: skip
        return
    first = rows.iloc[0]
    print(f"\n{first['scans']} whole scans, {first['with_it']} with blood; AUROC of any blood by the highest slice:")
    shown = rows[["variant", "auroc", "auroc_low", "auroc_high"]]
    print(shown.to_string(index=False, float_format="%.3f", na_rep="-"))
    print(f"-> {folder}: per_scan.csv per_scan.png")


if __name__ == "__main__":
    script.run(main)
