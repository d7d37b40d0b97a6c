"""Flags from the fields of config.py, and errors as one line with an exit status."""

import dataclasses
import errno
import subprocess
import sys
from pathlib import Path

import pytest

import config as settings
from ich.base import flags, script, steps
from ich.base.errors import InputError

ROOT = Path(__file__).parents[2]
STEPS = (settings.DemoData, settings.SplitRawData, settings.CreateDataSet, settings.Main, settings.MainKfold,
         settings.Trials, settings.Tests,
         settings.RsnaPreprocess, settings.RsnaTrain, settings.RsnaCompare, settings.Predict)  # fmt: skip
SHARED = ("--seed", "--quiet", "--debug")
PLACES = {"--raw", "--data", "--runs", "--reports", "--protocol"}
READ_BY = {
    settings.DemoData: set(), settings.SplitRawData: {"--raw", "--data"},
    settings.CreateDataSet: {"--raw", "--data", "--protocol"}, settings.Main: {"--data", "--runs", "--protocol"},
    settings.MainKfold: {"--data", "--runs", "--protocol"}, settings.Predict: {"--data", "--runs", "--protocol"},
    settings.Trials: PLACES - {"--raw"}, settings.Tests: PLACES - {"--raw"},
    settings.RsnaPreprocess: {"--raw", "--data"}, settings.RsnaTrain: {"--data", "--runs"},
    settings.RsnaCompare: {"--data", "--runs", "--reports"},
}  # fmt: skip


def help_of(step: type, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Help text by flag, white space made even."""
    with pytest.raises(SystemExit) as stop:
        flags.parse(step, "what it does, 100 % of it", ["--help"])
    assert stop.value.code == 0
    options = capsys.readouterr().out.split("options:")[1]
    parts = [" ".join(part.split()) for part in options.split("\n  --")[1:]]
    return {"--" + part.split()[0].rstrip(","): part for part in parts}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_every_field_is_a_flag_with_its_comment_and_default(step: type, capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(step, capsys)
    names = {field.name for field in dataclasses.fields(step)} - {getattr(step, "POSITIONAL", "")}
    assert {"--" + name.replace("_", "-") for name in names} == set(shown)
    assert set(SHARED) <= set(shown)
    for flag, text in shown.items():
        before_default = text.split("(default:")[0]
        assert "(default: " in text
        assert len(before_default.split()) >= 3, f"{flag} has no comment in config.py: {text}"


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_script_has_flags_of_the_places_that_it_reads(step: type, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(help_of(step, capsys)) & PLACES == READ_BY[step]


def test_help_shows_the_comment_and_the_value_of_config_py(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(settings.CreateDataSet, capsys)
    assert "parts of the cross-validation (default: 10)" in shown["--folds"]
    assert "(default: 40/120)" in shown["--windows"]
    assert "(default: none)" in shown["--patients-csv"]
    assert "{patient,slice}" in shown["--protocol"]


def test_values_become_the_type_of_the_field() -> None:
    given = "--image-size 128 --windows 40/120 80/200 --test-share 0.25 --patients-csv p.csv --protocol slice --check"
    config = flags.parse(settings.CreateDataSet, "", given.split())
    assert (config.image_size, config.windows, config.test_share) == (128, ("40/120", "80/200"), 0.25)
    assert (config.patients_csv, config.protocol, config.check) == (Path("p.csv"), "slice", True)
    assert flags.parse(settings.CreateDataSet, "", []) == settings.CreateDataSet()


def test_optional_number_and_models() -> None:
    config = flags.parse(settings.Main, "", ["--epochs", "3", "--models", "unet=16", "dunet=8"])
    assert config.epochs == 3
    assert config.models == {"unet": 16, "dunet": 8}
    assert config.resolved_recipe().epochs == 3
    assert config.resolved_recipe().batch_size == settings.RECIPES["fast"].batch_size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--image-siz 128", "unrecognized arguments: --image-siz"),  # no guessing of shortened names
        ("--colour red", "--help` lists the flags"),
        ("stray", "unrecognized arguments: stray"),
        ("--protocol random", "invalid choice"),
        ("--image-size big", "invalid int value"),
        ("--image-size", "expected one argument"),
        ("--image-size 8", "--image-size is 8, expected 16 to 1024"),
        ("--folds 1", "--folds is 1, expected 2 to 100"),
        ("--test-share nan", "--test-share is nan"),
        ("--seed -1", "--seed is -1"),
    ],
)
def test_flags_that_are_refused(given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        flags.parse(settings.CreateDataSet, "", given.split())


@pytest.mark.parametrize("models", ["unet", "unet=", "=32", "unet=x", "unet=-1", "unet=0", "unet=4096", "a=1 a=2"])
def test_models_that_are_refused(models: str) -> None:
    with pytest.raises(InputError, match="--models"):
        flags.parse(settings.Main, "", ["--models", *models.split()])


def test_what_differs_from_config_py_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    flags.parse(settings.CreateDataSet, "", ["--folds", "5", "--seed", "0", "--windows", "80/200"])
    assert capsys.readouterr().out == "changed: folds 5, windows 80/200\n"


def test_a_step_whose_command_is_shown_prints_no_overrides(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(steps.DEMO, "1")
    config = flags.parse(settings.CreateDataSet, "", ["--folds", "5"])
    steps.tell_next("main_kfold.py", config, "data")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "names", "line"),
    [
        ("", ("data", "models", "epochs"), "next: python trials.py\n"),
        ("--data d --runs r", ("data", "protocol"), "next: python trials.py --data d\n"),
        ("--models unet=8 dunet=16 --epochs 3", ("models", "epochs"),
         "next: python trials.py --models unet=8 dunet=16 --epochs 3\n"),
        ("--deterministic --seed 4", ("deterministic", "seed"), "next: python trials.py --deterministic --seed 4\n"),
        ("--data d --quiet", ("data",), ""),
    ],
)  # fmt: skip
def test_next_step_has_the_flags_of_this_one(
    given: str, names: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = flags.parse(settings.MainKfold, "", given.split())
    capsys.readouterr()
    steps.tell_next("trials.py", config, *names)
    assert capsys.readouterr().out == line


def test_next_step_is_quoted_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    steps.tell_next("trials.py", settings.Trials(data=Path("my data")), "data")
    assert capsys.readouterr().out == "next: python trials.py --data 'my data'\n"


def test_quiet_prints_no_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    flags.parse(settings.CreateDataSet, "", ["--folds", "5", "--quiet"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("a.nii: is bad"), 2, "error: a.nii: is bad\n"),
        (InputError("a.csv: line 3\nsaw 5\n"), 2, "error: a.csv: line 3 saw 5\n"),  # one line, whatever a library says
        (KeyboardInterrupt(), 130, "interrupted; rerun the same command to resume\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 3,
         "error: output: No space left on device; make room or choose another folder\n"),
        (OSError(errno.EROFS, "Read-only file system", "data"), 3,
         "error: data: Read-only file system; make room or choose another folder\n"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.txt"), 2,
         "error: a.txt: Not a directory; choose another folder\n"),
    ],
)  # fmt: skip
def test_run_turns_errors_into_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the tests' own handlers stay

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        script.run(main)
    assert stop.value.code == status
    assert capsys.readouterr().err == line


def test_run_ends_with_0_and_lets_programming_errors_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        script.run(lambda: None)
    assert stop.value.code == 0
    with pytest.raises(ZeroDivisionError):
        script.run(lambda: 1 / 0)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["split_raw_data.py", "--debug"])

    def main() -> None:
        raise InputError("a.nii: is bad")

    with pytest.raises(SystemExit):
        script.run(main)
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("error: a.nii: is bad\n")


def test_a_script_refuses_in_one_line_of_stderr(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "split_raw_data.py"), "--raw", "Köpfe und mehr", "--data", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: Köpfe und mehr: no such folder (--raw); expected CT-ICH")
    assert not any(tmp_path.iterdir())
