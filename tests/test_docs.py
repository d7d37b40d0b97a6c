"""The documents stay true: links lead somewhere, commands and flags exist, the example code runs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Done, undocumented

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def commands() -> dict[str, set[str]]:
    """Each script named in a document -> the flags that are used with it."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        for script, rest in re.findall(r"python (\w+\.py)((?: [^\n`|#]*)?)", page.read_text(encoding="utf-8")):
            found.setdefault(script, set()).update(re.findall(r"--[a-z-]+", rest))
    return found


@pytest.mark.parametrize("script", sorted(commands()))
def test_commands_and_flags_exist(script: str) -> None:
    answer = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert {flag for flag in commands()[script] if flag not in answer.stdout} == set()


def test_example_network_of_the_docs_runs() -> None:
    import keras
    from keras import layers

    import models

    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(encoding="utf-8"), re.DOTALL)
    space = {"keras": keras, "layers": layers, "unet": models.unet, "dunet": models.dunet}
    exec(block.group(1), space)
    network = space["MODELS"]["tiny"](16, 1, 2)
    probability = network.predict(np.zeros((1, 16, 16, 1), np.float32), verbose=0)
    assert probability.shape == (1, 16, 16, 1)
    assert ((probability > 0) & (probability < 1)).all()


def test_every_page_says_research_only() -> None:
    assert "not for diagnosis" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_path_from_slices_to_scores_is_as_long_as_the_readme_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## In which order to read")[2]
    files = [
        ROOT / name if (ROOT / name).exists() else ROOT / "ich" / name for name in re.findall(r"`([\w/]+\.py)`", page)
    ]
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    said = re.search(r"about ([\d,]+) lines", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert lines == pytest.approx(int(said[1].replace(",", "")), rel=0.05)


def test_every_column_is_explained(done: Done) -> None:
    tables = [*done.root.rglob("*.csv"), *done.project.data.rglob("*.csv")]
    assert len({table.name for table in tables}) > 20
    assert undocumented(tables) == set()


def test_a_column_that_no_page_explains_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("dice,val_dice_mean,dice_of_the_left_ear\n")
    assert undocumented([tmp_path / "a.csv"]) == {"a.csv: dice_of_the_left_ear"}


def test_every_room_is_on_the_page_of_the_architecture() -> None:
    rooms = {path.parent.name for path in (ROOT / "ich").glob("*/__init__.py")}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[(\w+)\]\(\.\./ich/\w+\)", page, flags=re.MULTILINE)) == rooms
