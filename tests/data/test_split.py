"""The rows of a split and their pixels."""

import numpy as np
import pytest
from conftest import Project

import config as settings
from ich.base.errors import MachineError
from ich.data.split import read_split


def test_rows_to_train_on_are_those_of_the_other_folds(project: Project) -> None:
    split = read_split(settings.Main(data=project.data), "kfold")
    train = split.training("1")
    assert set(train.table["part"]) == {"2"}
    images, masks = train.pair(3)
    place = split.table.index[split.table["id"] == train.table["id"][3]][0]
    np.testing.assert_array_equal(images, split.slices.images[place])
    np.testing.assert_array_equal(masks, split.slices.masks[place])


def test_too_many_slices_for_the_memory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    split = read_split(settings.Main(data=project.data), "kfold")
    monkeypatch.setattr(np, "empty", none_left)
    with pytest.raises(MachineError, match=r"slices of 32 pixels need 0.0 GiB of memory.*--image-size"):
        split.validation("1")
