"""main_kfold.py --repeats and the steps after it, on the phantoms: what is trained, what is compared, what predicts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FOLDS, Done, Project

import config as settings
import main_kfold
import tests as test_set
import trials
from ich.base import paths
from ich.base.files import read_csv, read_json
from ich.data.split import read_split
from ich.predict import method
from ich.report import comparison, folds
from ich.train import prediction

TINY = ["--models", "dunet=2", "--epochs", "1", "--batch-size", "16"]  # as in conftest.done
LABELS = ["fold_01", "fold_01/repeat_02", "fold_02", "fold_02/repeat_02"]


@pytest.fixture(scope="module")
def repeated(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """D-Unet with one seed, then with two."""
    import models

    made = Done(project, tmp_path_factory.mktemp("repeated"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "LEVELS", 2)  # as in conftest.done
        main_kfold.main(made.training_flags("patient", *TINY))
        before = content(made.run("patient", "dunet"))
        main_kfold.main(made.training_flags("patient", *TINY, "--repeats", "2"))
        after = content(made.run("patient", "dunet"))
        assert before.items() <= after.items()  # what was there is kept
        trials.main(made.flags("patient"))
        test_set.main(made.flags("patient"))
        yield made


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trainings(made: Done) -> list[paths.Training]:
    return paths.of_folds(made.run("patient", "dunet"))


def test_each_fold_holds_its_repeats(repeated: Done, done: Done) -> None:
    found = trainings(repeated)
    assert [each.label for each in found] == LABELS
    for each in found:
        assert {path.name for path in done.run("patient", "dunet/fold_01").iterdir()} <= {
            path.name for path in each.folder.iterdir()
        }
        assert read_json(each.run, ("identity",))["identity"].get("repeat", 1) == each.repeat


@pytest.mark.parametrize("kind", ["slices", "patients", "thresholds", "calibration", "config"])
def test_the_first_seed_is_that_of_a_call_without_repeats(repeated: Done, done: Done, kind: str) -> None:
    for own, other in zip(trainings(repeated)[::2], trainings(done), strict=True):
        assert getattr(own, kind).read_bytes() == getattr(other, kind).read_bytes()


def test_seeds_differ(repeated: Done) -> None:
    first, second, *_ = trainings(repeated)
    assert first.slices.read_bytes() != second.slices.read_bytes()
    assert list(read_csv(first.slices, (), "")["id"]) == list(read_csv(second.slices, (), "")["id"])


def test_trials_compares_means_over_seeds(repeated: Done) -> None:
    folder, found = repeated.report("patient"), trainings(repeated)
    row = read_csv(folder / "comparison.csv", ("repeats",), "").iloc[0]
    by_repeat = read_csv(folder / "repeats.csv", ("run", "repeat", "seed"), "")
    assert (row["folds"], row["repeats"], list(by_repeat["seed"])) == (FOLDS, 2, [0, 1])
    assert row["dice_mean"] == pytest.approx(by_repeat["dice_mean"].mean(), rel=1e-4)
    assert row["dice_sd_seeds"] == pytest.approx(by_repeat["dice_mean"].std(ddof=1), rel=1e-3)
    own = read_csv(folder / "patients.csv", ("patient",), "")
    each = pd.concat([read_csv(training.patients, (), "") for training in found])
    means = each.groupby("patient")["score"].mean()
    assert own.set_index("patient")["score"].to_dict() == pytest.approx(means.to_dict(), rel=1e-4)
    assert list(read_json(folder / "run.json")["trainings"]) == [f"dunet/{label}" for label in LABELS]
    shown = ", ".join(f"{value:.3f}" for value in by_repeat["dice_mean"])
    assert f"Dice, mean, by seed: dunet {shown}." in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("fold", "members"), [(0, LABELS), (2, LABELS[2:])])
def test_the_test_set_is_predicted_by_all_seeds(repeated: Done, tmp_path: Path, fold: int, members: list[str]) -> None:
    flags = repeated.flags("patient", "--fold", str(fold))
    test_set.main([*flags, "--reports", str(tmp_path)])
    folder = tmp_path / "patient" / ("test_dunet" + f"_fold_{fold:02d}" * bool(fold))
    assert read_json(folder / "run.json")["folds"] == members
    split = read_split(settings.Tests(data=repeated.project.data), "kfold", test=True)
    chosen = [each for each in trainings(repeated) if each.label in members]
    prob = np.mean([prediction.predict_mean([each], "last", split.slices) for each in chosen], axis=0)
    np.testing.assert_allclose(read_csv(folder / "slices.csv", (), "")["score"], prob.max((1, 2)), atol=1e-5)


def test_predict_and_export_take_all_seeds(repeated: Done) -> None:
    (run,) = folds.gather(repeated.root / "runs", "patient")
    used, members = method.of_run(run, 1, "last")
    assert used.facts["folds"] == [each.label for each in members] == LABELS[:2]
    assert used.point.threshold == comparison.comparison([run], "patient", seed=0)["chosen_threshold"].item()
    assert len(set(method.of_run(run, 0, "last")[0].facts["networks"])) == len(LABELS)


def test_a_second_call_has_nothing_to_do_and_fewer_repeats_are_noted(
    repeated: Done, capsys: pytest.CaptureFixture
) -> None:
    before = content(repeated.root / "runs")
    main_kfold.main(repeated.training_flags("patient", *TINY, "--repeats", "2"))
    assert "note:" not in capsys.readouterr().out
    main_kfold.main(repeated.training_flags("patient", *TINY))
    assert "fold_01/repeat_02: is beyond --repeats 1, so it is left as it is" in capsys.readouterr().out
    test_set.main(repeated.flags("patient"))
    assert "dunet: already tested" in capsys.readouterr().out
    assert content(repeated.root / "runs") == before
