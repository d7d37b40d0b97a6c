"""The page that answers which preprocessing is best, and the words of the answer."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import violations
from rsna_runs import guesses, trained

import rsna_compare
from ich.base import record
from ich.base.files import read_csv, read_json, write_csv, write_json
from ich.base.paths import Rsna
from ich.report.verdict import NOT_SHOWN, PROBABLY, YES
from ich.rsna import compare, examples, verdict
from ich.rsna.layouts import CLASSES
from ich.rsna.scores import Predicted
from ich.rsna.verdict import NO_ANSWER, PROBABLY_WORSE, WORSE
from ich.scans.png import write_png

NAMES = ("0_dicom2png", "1_roi", "2_roi_clahe")


def row(low: float, high: float, p: float = 0.001, this: int = 20, other: int = 5) -> dict:
    """One comparison of compare.differences."""
    return {"variant": "1_roi", "minus": "0_dicom2png", "balanced_accuracy": (low + high) / 2,
            "balanced_accuracy_low": low, "balanced_accuracy_high": high, "mcnemar_p_holm": p,
            "only_this_right": this, "only_baseline_right": other}  # fmt: skip


def test_of_labels_the_competitions_loss_answers() -> None:
    """Rare types never reach one half, so that balanced accuracy is the same whatever was learned."""
    one = {**row(0, 0), "log_loss": -0.1, "log_loss_low": -0.12, "log_loss_high": -0.09}
    by_seed = {"1_roi": pd.DataFrame({"balanced_accuracy": [0.0, 0.0], "log_loss": [-0.11, -0.09]})}
    (judged,) = verdict.verdicts(pd.DataFrame([one]), {}, by_seed, "multilabel")
    assert (judged.answer, judged.difference) == (YES, -0.1)
    assert verdict.answers([judged], 40, "means over 2 trainings", "multilabel") == [
        "Does preprocessing help? Better: 1_roi (-0.100). By log loss (lower is better), 40 test patients, means over "
        "2 trainings."
    ]
    worse = {**one, "log_loss": 0.1, "log_loss_low": 0.09, "log_loss_high": 0.12}
    worse |= {"only_this_right": 5, "only_baseline_right": 20}
    seeds = {"1_roi": pd.DataFrame({"log_loss": [0.11, -0.09]})}
    (judged,) = verdict.verdicts(pd.DataFrame([worse]), {}, seeds, "multilabel")
    assert (judged.answer, judged.note) == (PROBABLY_WORSE, "1 of 2 seeds say otherwise")


@pytest.mark.parametrize(
    ("repeats", "text"),
    [([1, 1], verdict.ONE_EACH), ([3, 3], "means over 3 trainings"), ([1, 3], "means over 1 to 3 trainings")],
)
def test_the_trainings_behind_the_numbers_are_counted(repeats: list[int], text: str) -> None:
    assert verdict.trainings_of(pd.Series(repeats)) == text


@pytest.mark.parametrize(
    ("found", "seeds", "answer", "note"),
    [
        (row(0.02, 0.1), (0.05, 0.07), YES, ""),
        (row(0.02, 0.1), (0.06,), PROBABLY, ""),  # one training: chance in training is not counted
        (row(0.02, 0.1), (0.14, -0.02), PROBABLY, "1 of 2 seeds say otherwise"),
        (row(0.02, 0.1, p=0.2), (0.05, 0.07), PROBABLY, "does not confirm it (p = 0.2 by Holm)"),
        # McNemar's is the other way round
        (row(0.02, 0.1, this=5, other=20), (0.06,), PROBABLY, "does not confirm it"),
        (row(-0.02, 0.1), (0.03, 0.05), NOT_SHOWN, ""),
        (row(0.0, 0.1), (0.04, 0.06), NOT_SHOWN, ""),
        (row(float("nan"), float("nan")), (float("nan"),), NOT_SHOWN, ""),
        (row(-0.1, -0.02, this=5, other=20), (-0.07, -0.05), WORSE, ""),
        (row(-0.1, -0.02, this=5, other=20), (-0.06,), PROBABLY_WORSE, ""),
        (row(-0.1, -0.02, this=5, other=20), (-0.13, 0.01), PROBABLY_WORSE, "1 of 2 seeds say otherwise"),
        (row(-0.1, -0.02, p=0.2, this=5, other=20), (-0.07, -0.05), PROBABLY_WORSE, "does not confirm it"),
    ],
)
def test_one_comparison_in_a_word(found: dict, seeds: tuple[float, ...], answer: str, note: str) -> None:
    by_seed = {"1_roi": pd.DataFrame({"balanced_accuracy": seeds})}
    (judged,) = verdict.verdicts(pd.DataFrame([found]), {}, by_seed)
    assert judged.answer == answer
    assert note in judged.note
    assert bool(note) == bool(judged.note)
    (grey,) = verdict.verdicts(pd.DataFrame([found]), {"1_roi": "3 test patients"}, by_seed)
    assert (grey.answer, grey.note) == (NO_ANSWER, "3 test patients")


def test_the_answer_in_a_sentence() -> None:
    def one(variant: str, answer: str, difference: float, note: str = "") -> verdict.Verdict:
        return verdict.Verdict(variant, "", answer, difference, note)

    found = [one("1_roi", NOT_SHOWN, 0.01), one("2_roi_clahe", YES, 0.05), one("4_roi_noblank", YES, 0.08),
             one("5_roi_noblank_clahe", NO_ANSWER, 0.3, "calls every slice healthy"),
             one("1_roi_neighbours", WORSE, -0.04)]  # fmt: skip
    assert verdict.answers(found, 40, verdict.ONE_EACH) == [
        "Does preprocessing help? Better: 4_roi_noblank (+0.080), 2_roi_clahe (+0.050); no difference shown: 1_roi "
        "(+0.010); no answer about 5_roi_noblank_clahe: calls every slice healthy. By balanced accuracy, 40 test "
        "patients, one training each, so chance between trainings is not accounted for.",
        "Do neighbouring slices help? Worse: 1_roi_neighbours (-0.040). By balanced accuracy, 40 test patients, one "
        "training each, so chance between trainings is not accounted for.",
    ]
    assert verdict.answers(found[-1:], 40, "means over 3 trainings")[0].endswith(
        "40 test patients, means over 3 trainings."
    )
    assert verdict.answers([], 40, verdict.ONE_EACH) == []


def test_which_slices_are_shown() -> None:
    prob = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])
    truth = np.array([[1, 0]] * 5 + [[0, 1]])
    predicted = Predicted(truth, prob, np.array(list("aabbcc")), multilabel=False)
    assert examples.choose(predicted, 0) == {"found": 1, "missed": 4}
    assert examples.choose(predicted, 1) == {"missed": 5}  # a tie goes to the first class
    assert examples.choose(Predicted(truth * 0, prob, predicted.patient, False), 0) == {}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three trainings on the slices in `data`, of which each variant has its own grey level."""
    table = None
    for k, name in enumerate(NAMES):
        trained(tmp_path, name, guesses(0.1 + 0.4 * k, seed=k))
    table = read_csv(tmp_path / "rsna" / NAMES[0] / "predictions.csv", (), "")
    files = Rsna(tmp_path / "data")
    write_csv(files.slices, table.drop(columns=[name for name in table if name.startswith("prob_")]))
    write_json(files.run, {"rejected": 3, "variants": list(NAMES)})
    for k, name in enumerate(NAMES):
        for slice_id in table["id"]:
            write_png(files.png(name, slice_id), np.full((16, 16), 60 * k, np.uint8))
        run = tmp_path / "rsna" / name / "run.json"
        facts = read_json(run)
        facts["identity"]["data_fingerprint"] = record.fingerprint(files.slices)
        write_json(run, facts)
    return tmp_path


def compared(runs: Path, *more: str) -> str:
    rsna_compare.main(["--runs", str(runs), "--reports", str(runs / "reports"), *more])
    return (runs / "reports" / "rsna" / "report.html").read_text(encoding="utf-8")


def test_page(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = compared(runs, "--data", str(runs / "data"))
    differences = read_csv(runs / "reports" / "rsna" / "differences.csv", (), "").set_index("variant")
    assert "For research, not for diagnosis." in page
    (answer,) = re.findall(r'<p class="answer">(.*?)</p>', page)
    assert f"2_roi_clahe (+{differences.loc['2_roi_clahe', 'balanced_accuracy']:.3f})" in answer
    assert answer in capsys.readouterr().out
    assert "Leak audit: no patient is in two parts. Files rejected: 3." in page
    assert "No slices and no split here" not in page
    base = compare.gather(runs, "multiclass", 0)[0]
    chosen = {(name, words): row for k, name in enumerate(CLASSES)
              for words, row in examples.choose(base.trainings[0], k).items()}  # fmt: skip
    assert page.count('class="case"') == len(chosen) > len(CLASSES)
    assert page.count('class="right"') + page.count('class="wrong"') == len(chosen) * len(NAMES)
    for (name, words), row in chosen.items():
        assert f"{name}, {words} under 0_dicom2png: {base.ids[row]}" in page
    assert page.count("<figure") > len(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(runs: Path, browser: object, scheme: str) -> None:
    compared(runs, "--data", str(runs / "data"))
    shown = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": shown})
    browser.get((runs / "reports" / "rsna" / "report.html").resolve().as_uri())
    assert violations(browser) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_page_of_other_slices_shows_none(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(Rsna(runs / "data").slices, pd.DataFrame({"id": ["other"]}))
    page = compared(runs, "--data", str(runs / "data"))
    assert "note: report.html shows no slices: " in capsys.readouterr().out
    assert "is not what was trained on; name the folder with --data" in page
    assert 'class="case"' not in page
    assert "has no slices.csv" in compared(runs, "--data", str(runs / "nowhere"))


def test_names_on_the_page_are_escaped(runs: Path) -> None:
    for name in NAMES:
        path = runs / "rsna" / name / "predictions.csv"
        table = read_csv(path, (), "")
        write_csv(path, table.assign(id=["<b>" + each for each in table["id"]]))
        facts = read_json(path.parent / "run.json")
        write_json(path.parent / "run.json", facts | {"results": record.fingerprints([path])})
    files = Rsna(runs / "data")
    for name in NAMES:
        for png in (files.folder / name).glob("*.png"):
            png.rename(png.with_name(f"<b>{png.name}"))
    page = compared(runs, "--data", str(runs / "data"))
    assert "&lt;b&gt;s0" in page
    assert "<b>" not in page


def test_page_of_slices_that_were_deleted_shows_none(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Preprocessing takes much disk, and is removed when the trainings are done."""
    shutil.rmtree(Rsna(runs / "data").folder / "1_roi")
    page = compared(runs, "--data", str(runs / "data"))
    assert re.search(
        r"shows no slices: 180 of their PNGs are missing, such as .*1_roi.s0000\.png", capsys.readouterr().out
    )
    assert 'class="answer"' in page
    assert 'class="case"' not in page
