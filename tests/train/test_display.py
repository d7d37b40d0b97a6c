"""What trainings log is shown: a live line each on a terminal, every tenth epoch elsewhere, one line when they end."""

import io
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ich.base import paths
from ich.train import display

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    """One of 110 columns that knows what tqdm sends: line ends, carriage returns, and one line up."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        rows, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[A|[\n\r]|[^\x1b\n\r]+", self.getvalue()):
            if part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                rows += [""] * (row == len(rows))
            elif part == "\x1b[A":
                row -= 1
            else:
                rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + len(part) :]
                column += len(part)
        return [text.rstrip() for text in rows if text.strip()]


def begin(folder: Path, name: str = "unet/fold_01", epochs: int = 40) -> display.Expected:
    folder.mkdir(parents=True)
    return display.Expected(name, paths.Training(folder), epochs)


def epoch(each: display.Expected, number: int) -> None:
    text = "train loss 0.900 dice 0.100 iou 0.050 | valid loss 0.400 dice 0.500 iou 0.400"
    display.log(each.files, f"{each.name} epoch {number}/{each.epochs}  {text}  lr 1.0e-03  1.0 s")


def end(each: display.Expected) -> None:
    display.log(each.files, f"{each.name}: {each.epochs} epochs in 40 s, validation Dice 0.412 -> runs")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_without_a_terminal_every_tenth_epoch_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    each = begin(tmp_path / "run")
    with display.shown([each], quiet=False):
        display.log(each.files, f"{each.name}: begins, epoch 0 of 40; now")
        for number in range(1, 41):
            epoch(each, number)
        end(each)
    shown = lines(capsys)
    assert [line.split("  ")[0] for line in shown[:-1]] == [f"unet/fold_01 epoch {k}/40" for k in (1, 10, 20, 30, 40)]
    assert shown[-1] == "unet/fold_01: 40 epochs in 40 s, validation Dice 0.412 -> runs"
    assert len(each.files.log.read_text().splitlines()) == 42


def test_quiet_shows_what_ends_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [begin(tmp_path / name, name) for name in ("a", "b")]
    with display.shown(both, quiet=True):
        for each in both:
            epoch(each, 1)
            end(each)
    assert [line[:12] for line in lines(capsys)] == ["1 of 2: a: 4", "2 of 2: b: 4"]


def test_what_was_logged_before_is_not_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill may leave half a line."""
    each = begin(tmp_path / "run")
    epoch(each, 10)
    with each.files.log.open("a") as file:
        file.write("unet/fold_01 epoch 20/40  train lo")
    with display.shown([each], quiet=False):
        display.log(each.files, "unet/fold_01: resuming after epoch 9 of 40; 2026-01-01 00:00:00")
        epoch(each, 30)
    assert [line[:40] for line in lines(capsys)] == [
        "unet/fold_01: resuming after epoch 9 of ", "unet/fold_01 epoch 30/40  train loss 0.9"
    ]  # fmt: skip
    assert [line[:24] for line in each.files.log.read_text().splitlines()[1:3]] == [
        "unet/fold_01 epoch 20/40", "unet/fold_01: resuming a"
    ]  # fmt: skip


def test_time_left_is_that_of_all_trainings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two trainings of 20 epochs the second costs three times as much. Epochs 2 to 10 of the first take 18 s.

    10 more of the first are 20 s, and all of the second 120 s.
    """
    first, second = (begin(tmp_path / name, name, 20)._replace(cost=cost) for name, cost in (("a", 1.0), ("b", 3.0)))
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    watch = display._Watch([first, second], quiet=False, terminal=None)
    for number in range(1, 11):
        now[0] += 2 if number > 1 else 30  # the first compiles
        epoch(first, number)
        watch.look()
    shown = lines(capsys)
    assert "left" not in shown[0]
    assert shown[1].endswith("1.0 s, 2 min left in all")


LOGS = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from ich.base import paths
    from ich.train import display
    name = sys.argv[3]
    files = paths.Training(Path(sys.argv[2]))
    display.log(files, f"{name}: begins, epoch 0 of 12; now")
    for k in range(1, 13):
        display.log(files, f"{name} epoch {k}/12  train loss 0.9 dice 0.1 | valid loss 0.4 dice 0.5{k:02d}  lr 1  1 s")
    display.log(files, f"{name}: 12 epochs in 9 s -> here")
"""


def test_a_terminal_has_a_live_line_for_each_training_and_keeps_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainings are other processes."""
    both = [begin(tmp_path / name, name, 12) for name in ("unet/fold_01", "dunet/fold_01")]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with display.shown(both, quiet=False):
        print("a note of the program")
        for each in both:
            command = [sys.executable, "-c", textwrap.dedent(LOGS), str(ROOT), str(each.files.folder), each.name]
            subprocess.run(command, check=True)
        time.sleep(5 * display.LOOK_S)
    assert terminal.screen() == [
        "a note of the program", "1 of 2: unet/fold_01: 12 epochs in 9 s -> here",
        "2 of 2: dunet/fold_01: 12 epochs in 9 s -> here",
    ]  # fmt: skip
    assert "unet/fold_01 epoch 12/12 |" in terminal.getvalue()


def test_live_lines_of_two_trainings_stand_below_each_other(tmp_path: Path) -> None:
    both = [begin(tmp_path / name, name, 12) for name in ("unet/fold_01", "dunet/fold_01")]
    terminal = Terminal()
    watch = display._Watch(both, quiet=False, terminal=terminal)
    for number in (1, 2):
        for each in both:
            epoch(each, number)
            watch.look()
    rows = terminal.screen()
    assert [row.split(" |")[0] for row in rows] == ["unet/fold_01 epoch 2/12", "dunet/fold_01 epoch 2/12"]
    assert "valid dice 0.500 iou 0.400" in rows[0]
    assert ["left in all" in row for row in rows] == [True, False]
    watch.close()
    assert terminal.screen() == []


@pytest.mark.parametrize("left", ["unet/fo", "unet/fold_01 epoch 2", "unet/fold_01 epoch 20/40", "unet/fold_01: 4"])
def test_half_a_line_of_a_process_that_was_killed_is_no_end(tmp_path: Path, left: str) -> None:
    """It is watched from another process, and begins again."""
    each, terminal = begin(tmp_path / "run"), Terminal()
    watch = display._Watch([each], quiet=False, terminal=terminal)
    each.files.log.write_text(left)
    watch.look()
    display.log(each.files, "unet/fold_01: resuming after epoch 9 of 40; 2026-01-01 00:00:00")
    watch.look()
    end(each)
    watch.look()
    assert terminal.screen() == [
        "unet/fold_01: resuming after epoch 9 of 40", "unet/fold_01: 40 epochs in 40 s, validation Dice 0.412 -> runs"
    ]  # fmt: skip


def test_output_that_is_full_is_told_after_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    each = begin(tmp_path / "run")
    trained = []
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="No space"), display.shown([each], quiet=False):
        epoch(each, 1)
        time.sleep(2 * display.LOOK_S)
        trained.append(each)
        end(each)
    assert trained
