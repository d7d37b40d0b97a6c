"""Slices of a split: kept in memory or read when they are needed, the same pixels either way."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Project

import config as settings
from ich.base.errors import InputError
from ich.data import stack


def read(project: Project, cache: str, data: Path | None = None) -> stack.Split:
    return stack.read_split(settings.Main(data=data or project.data, cache=cache), "kfold")


def test_disk_gives_the_pixels_of_memory(project: Project) -> None:
    kept, lazy = read(project, "memory"), read(project, "disk")
    train, again = kept.training("1"), lazy.training("1")
    assert train.table.equals(again.table)
    for row in (0, 7, len(train.table) - 1):
        for one, other in zip(train.pair(row), again.pair(row), strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(kept.validation("1").images, lazy.validation("1").images)
    np.testing.assert_array_equal(kept.validation("1").masks, lazy.validation("1").masks)
    assert "slices" not in vars(lazy)  # never read as a whole


def test_rows_to_train_on_are_those_of_the_other_folds(project: Project) -> None:
    split = read(project, "memory")
    train = split.training("1")
    assert set(train.table["part"]) == {"2"}
    images, masks = train.pair(3)
    place = split.table.index[split.table["id"] == train.table["id"][3]][0]
    np.testing.assert_array_equal(images, split.slices.images[place])
    np.testing.assert_array_equal(masks, split.slices.masks[place])


@pytest.mark.parametrize(("free", "expected"), [(2.1, True), (1.9, False), (np.inf, True)])
def test_auto_takes_half_of_the_free_memory_at_most(
    project: Project, monkeypatch: pytest.MonkeyPatch, free: float, expected: bool
) -> None:
    split = read(project, "auto")
    size = split.slices.images.nbytes + split.slices.masks.nbytes
    monkeypatch.setattr(stack, "_free_memory", lambda: free * size)
    assert split.in_memory == expected


def test_free_memory_is_a_number_of_bytes() -> None:
    assert stack._free_memory() > 1e6


def test_a_slice_that_is_gone_is_told_when_it_is_needed(project: Project, tmp_path: Path) -> None:
    data = shutil.copytree(project.data, tmp_path / "data")
    split = read(project, "disk", data)
    train = split.training("1")
    (data / train.table["image"][2]).unlink()
    train.pair(1)
    with pytest.raises(InputError, match=train.table["image"][2]):
        train.pair(2)
