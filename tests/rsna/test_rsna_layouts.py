"""Which files there are, what is known of them, and whose they are: layouts and the split by patient."""

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich.base.errors import InputError
from ich.rsna import layouts, split


def touch(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def kaggle(raw: Path, rows: dict[str, int], files: tuple[str, ...] = ("ID_a",)) -> layouts.Found:
    for name in files:
        touch(raw / "stage_2_train" / f"{name}.dcm")
    lines = [f"{name},{label}" for name, label in rows.items()]
    touch(raw / "stage_2_train.csv", "\n".join(["ID,Label", *lines]) + "\n")
    return layouts.find(raw)


def labels(name: str, **ones: int) -> dict[str, int]:
    return {f"{name}_{label}": ones.get(label, 0) for label in layouts.LABELS}


def test_class_folders(tmp_path: Path) -> None:
    for name in ("healthy/a.dcm", "epidural/b.DCM", "subdural/deep/c.dcm", "test/d.dcm", "healthy/readme.txt"):
        touch(tmp_path / name)
    found = layouts.find(tmp_path)
    table = found.table.set_index("id")
    assert "class folders with 4 DICOM files (healthy 1, epidural 1, subdural 1, test 1)" in found.summary
    assert layouts.class_of(table).to_dict() == {"a": "healthy", "b": "epidural", "c": "subdural", "d": ""}
    assert table.loc["b", list(layouts.LABELS)].tolist() == [1, 1, 0, 0, 0, 0]
    assert table.loc["c", "source"] == "subdural/deep/c.dcm"
    assert table.loc["d", list(layouts.LABELS)].isna().all()
    assert found.rejected.empty


def test_one_slice_in_two_class_folders_has_two_types(tmp_path: Path) -> None:
    for name in ("epidural", "subdural"):
        touch(tmp_path / name / "a.dcm", "same")
    table = layouts.find(tmp_path).table
    assert table[list(layouts.LABELS)].to_numpy().tolist() == [[1, 1, 0, 0, 0, 1]]
    assert layouts.class_of(table).tolist() == [layouts.SEVERAL]


def test_class_folders_of_other_archives(tmp_path: Path) -> None:
    """Names without `.dcm`, of capitals, behind links; a ring of links ends."""
    prefixed = "\0" * 128 + "DICM"
    for name in ("a/Healthy/IM0001", "a/Healthy/1.2.840.5", "elsewhere/b.dcm", "elsewhere/IM0002"):
        touch(tmp_path / name, prefixed)
    (tmp_path / "a" / "Healthy" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "subdural").mkdir()
    (tmp_path / "a" / "subdural" / "first").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "subdural" / "second").symlink_to(tmp_path / "elsewhere")
    found = layouts.find(tmp_path / "a")
    classes = layouts.class_of(found.table.set_index("id")).to_dict()
    assert classes == {"IM0001": "healthy", "1.2.840.5": "healthy", "b": "subdural", "IM0002": "subdural"}
    assert "4 DICOM files (healthy 2, subdural 2)" in found.summary


def test_what_is_not_taken_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "healthy" / "a.dcm")
    for number in range(5):
        touch(tmp_path / "epidural" / f"slice {number}.png", "a picture")
    touch(tmp_path / "bleeding" / "b.dcm")
    notes = layouts.find(tmp_path).notes
    assert notes == [
        f"{tmp_path}/epidural: 5 of 5 files are no DICOM: slice 0.png, slice 1.png, slice 2.png and 2 more",
        f"{tmp_path}: not read, since their names are of no class: bleeding",
        f"{tmp_path}: no slices of epidural, intraparenchymal, intraventricular, subarachnoid, subdural; "
        "expected in folders of these names",
    ]


def test_files_beside_the_competitions_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "stage_2_train" / "ID_a.dcm.gz", "packed")
    found = kaggle(tmp_path, labels("ID_a") | labels("ID_b"), ("ID_b",))
    assert found.notes == [f"{tmp_path}/stage_2_train: 1 of 2 files are no DICOM: ID_a.dcm.gz"]
    assert "1 slices of the table have no file" in found.summary


@pytest.mark.parametrize(
    ("other", "content", "reason"),
    [("subdural", "other", "two different files"), ("healthy", "same", "which is right"), ("test", "same", "which")],
)
def test_names_that_contradict_are_rejected(tmp_path: Path, other: str, content: str, reason: str) -> None:
    touch(tmp_path / "epidural" / "a.dcm", "same")
    touch(tmp_path / other / "a.dcm", content)
    touch(tmp_path / "healthy" / "b.dcm")
    found = layouts.find(tmp_path)
    assert found.table["id"].tolist() == ["b"]
    assert reason in found.rejected.iloc[0]["reason"]


@pytest.mark.parametrize(
    ("second", "content", "reason"),
    [
        ("stage_2_test/ID_b.dcm", "", "the same slice is in train, test; which is right?"),
        ("stage_2_test/ID_b.dcm", "other", "two different files of this name in train, test; names must be unique"),
        ("stage_2_train/more/ID_b.dcm", "other", "two different files of this name in train, train"),
        ("stage_2_train/more/ID_b.dcm", "", ""),  # a copy
    ],
)
def test_two_files_of_one_slice_of_the_competition(tmp_path: Path, second: str, content: str, reason: str) -> None:
    touch(tmp_path / second, content)
    found = kaggle(tmp_path, labels("ID_a") | labels("ID_b", any=1, epidural=1), ("ID_a", "ID_b"))
    assert found.table["id"].tolist() == (["ID_a"] if reason else ["ID_a", "ID_b"])
    assert all(each.startswith(reason) for each in found.rejected["reason"])
    assert found.rejected.empty == (not reason)


def test_two_copies_in_one_class_are_one_slice(tmp_path: Path) -> None:
    for name in ("healthy/a.dcm", "healthy/more/a.dcm", "test/t.dcm", "test/more/t.dcm"):
        touch(tmp_path / name)
    found = layouts.find(tmp_path)
    assert found.table["id"].tolist() == ["a", "t"]
    assert found.rejected.empty


def test_the_competitions_layout(tmp_path: Path) -> None:
    rows = labels("ID_a") | labels("ID_b", any=1, epidural=1) | labels("ID_gone", any=1, subdural=1)
    touch(tmp_path / "stage_2_test" / "ID_t.dcm")
    found = kaggle(tmp_path, rows, ("ID_a", "ID_b"))
    assert "the competition's layout, stage_2_train.csv, 2 DICOM files and 1 without labels" in found.summary
    assert "1 slices of the table have no file" in found.summary
    table = found.table.set_index("id")
    assert layouts.class_of(table).to_dict() == {"ID_a": "healthy", "ID_b": "epidural", "ID_t": ""}
    assert table.loc["ID_b", "source"] == "stage_2_train/ID_b.dcm"
    assert table.loc["ID_t", list(layouts.LABELS)].isna().all()


def test_a_long_table_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million rows at once took 170 MB."""
    monkeypatch.setattr(layouts, "ROWS_AT_ONCE", 20_000)
    names = [f"ID_{number:06d}" for number in range(80_000)]
    touch(
        tmp_path / "l.csv", "ID,Label\n" + "".join(f"{name}_{label},0\n" for name in names for label in layouts.LABELS)
    )
    tracemalloc.start()
    table, wrong = layouts._read_labels(tmp_path / "l.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (table.index.tolist(), table.to_numpy().any(), wrong) == (names, False, {})
    assert peak < 60e6


@pytest.mark.parametrize("at_once", [5, 120_000])
def test_duplicate_rows_count_once_and_contradictions_are_rejected(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "ROWS_AT_ONCE", at_once)  # those of a slice are then read in two pieces
    first = labels("ID_a", any=1, epidural=1) | labels("ID_b") | labels("ID_c", epidural=1) | labels("ID_d")
    first.pop("ID_d_subdural")
    files = ("ID_a", "ID_b", "ID_c", "ID_d", "ID_e")
    kaggle(tmp_path, first, files)
    with (tmp_path / "stage_2_train.csv").open("a") as table:
        table.write("ID_a_epidural,1\nID_b_epidural,1\n")
    found = layouts.find(tmp_path)
    assert found.table["id"].tolist() == ["ID_a"]
    reasons = found.rejected.set_index("id")["reason"]
    assert "two rows in stage_2_train.csv disagree" in reasons["ID_b"]
    assert "`any` disagrees" in reasons["ID_c"]
    assert "lacks one of its six rows" in reasons["ID_d"]
    assert "has no row" in reasons["ID_e"]


@pytest.mark.parametrize("added", ["\n", ",\n", " , \n", "ID_a_any ,1.0\n", " ID_a_epidural,1.0\n,\n"])
def test_tables_that_a_spreadsheet_saved_are_read(added: str, tmp_path: Path) -> None:
    kaggle(tmp_path, labels("ID_a", any=1, epidural=1))
    with (tmp_path / "stage_2_train.csv").open("a") as table:
        table.write(added)
    found = layouts.find(tmp_path)
    assert layouts.class_of(found.table).tolist() == ["epidural"]
    assert found.rejected.empty


@pytest.mark.parametrize("row", [{"ID_a_bleeding": 1}, {"ID_a_any": 2}, {"nonsense": 0}])
def test_rows_that_are_no_labels_are_refused(tmp_path: Path, row: dict) -> None:
    with pytest.raises(InputError, match=r"expected ID_\.\.\._<any"):
        kaggle(tmp_path, row)


def test_folders_of_neither_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        layouts.find(tmp_path / "nowhere")
    touch(tmp_path / "notes" / "a.txt")
    with pytest.raises(InputError, match="found notes; expected the folders healthy"):
        layouts.find(tmp_path)
    shutil.rmtree(tmp_path / "notes")
    touch(tmp_path / "stage_2_train" / "ID_a.png", "a picture")
    with pytest.raises(InputError, match=r"stage_2_train: no DICOM file in it \(of 1 files\); expected head-CT slices"):
        kaggle(tmp_path, labels("ID_a"), ())
    for name in ("healthy/1.png", "subdural/2.png", "subdural/3.png"):
        touch(tmp_path / "folders" / name, "a picture")
    with pytest.raises(InputError, match=r"healthy, .*subdural: no DICOM file in it \(of 3 files\)"):
        layouts.find(tmp_path / "folders")


def test_targets_of_both_tasks() -> None:
    table = pd.DataFrame([[1, 0, 0, 0, 0, 1], [0] * 6, [np.nan] * 6], columns=list(layouts.LABELS))
    table["class"] = layouts.class_of(table)
    assert layouts.targets(table, "multilabel").tolist() == [[1, 0, 0, 0, 0, 1], [0] * 6, [0] * 6]
    assert layouts.targets(table, "multiclass").tolist() == [[0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0], [0] * 6]
    several = table.assign(**{"class": [layouts.SEVERAL, "healthy", ""]})
    assert layouts.usable(several, "multiclass")["class"].tolist() == ["healthy", ""]
    assert len(layouts.usable(several, "multilabel")) == 3


def patients(number: int, seed: int = 0) -> pd.DataFrame:
    """`number` patients of each type and of none, 1 to 12 slices each; those with blood have clean slices too."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{name}{k}", name if at % 2 == 0 else "healthy")
        for name in layouts.CLASSES for k in range(number) for at in range(rng.integers(1, 13))
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["patient", "class"])
    for name in layouts.TYPES:
        table[name] = (table["class"] == name).astype(float)
    table["any"] = table[list(layouts.TYPES)].max(axis=1)
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.mark.parametrize("seed", range(3))
def test_no_patient_stands_in_two_parts_and_classes_keep_their_shares(seed: int) -> None:
    table = patients(20, seed)
    table["split"] = split.by_patient(table, 0.1, 0.2, seed)
    assert table.groupby("patient")["split"].nunique().max() == 1
    assert split.leaks(table) == {"valid": 0, "test": 0}
    shares = pd.crosstab(table["class"], table["split"], normalize="index")
    assert np.allclose(shares[["valid", "test", "train"]], [0.1, 0.2, 0.7], atol=0.06)


def test_a_type_of_three_patients_is_in_all_parts() -> None:
    table = patients(3)
    table["split"] = split.by_patient(table, 0.1, 0.1, 0)
    assert (table.groupby("class")["split"].nunique() == 3).all()


def test_the_split_follows_from_the_seed_and_not_from_the_order_of_rows() -> None:
    table = patients(10)
    first = split.by_patient(table, 0.1, 0.1, 0)
    mixed = table.sample(frac=1, random_state=1)
    assert split.by_patient(mixed, 0.1, 0.1, 0).sort_index().equals(first)
    assert not split.by_patient(table, 0.1, 0.1, 1).equals(first)


def test_unlabelled_slices_are_predicted_only() -> None:
    table = patients(3)
    table.loc[:4, ["any", *layouts.TYPES]] = np.nan
    assert (split.by_patient(table, 0.1, 0.1, 0) == split.PREDICT).tolist() == [True] * 5 + [False] * (len(table) - 5)


def test_too_few_patients_are_refused() -> None:
    table = patients(3)
    with pytest.raises(InputError, match="too few"):
        split.by_patient(table[table["patient"].isin(["epidural0", "epidural1"])], 0.1, 0.1, 0)
    with pytest.raises(InputError, match="no patient for valid"):
        split.by_patient(table, 0.0, 0.1, 0)


def test_the_audit_finds_a_patient_in_two_parts() -> None:
    parts = ["train", "test", "valid", "train", "predict"]
    table = pd.DataFrame({"patient": ["a", "a", "b", "c", "c"], "split": parts})
    assert split.leaks(table) == {"valid": 0, "test": 1}


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ({"class": "epidural"}, ["classes"]),
        ({"patient": "p2"}, ["patients"]),
        ({"class": "epidural", "patient": "p2"}, ["classes", "patients"]),
        ({}, []),
        ({"class": "epidural", "crc32": 6}, []),
        ({"class": "epidural", "no_contour": True}, []),
    ],
)
def test_equal_pixels_under_other_names_are_warned_of(second: dict, what: list[str]) -> None:
    first = {"source": "a.dcm", "class": "healthy", "patient": "p1", "crc32": 5, "no_contour": False}
    table = pd.DataFrame([first, first | {"source": "b.dcm"} | second])
    lines = split.contradictions(table)
    assert [line.split("several ")[1].split(",")[0] for line in lines] == what
    assert all("such as a.dcm and b.dcm" in line for line in lines)
