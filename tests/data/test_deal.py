"""Who is trained, validated and tested on: by hand, by properties, and what the leak audit counts."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ich.base.errors import InputError
from ich.base.files import write_csv
from ich.data import audit, deal
from ich.data.table import COLUMNS, TYPES, read_parts, read_slices

FOLDS = 3


def slices_of(patients: dict[str, list[int]]) -> pd.DataFrame:
    """A table of slices from the lesion pixels of each patient's slices; the table's flags agree with the masks."""
    rows = [
        {"id": f"{patient}_{number:03d}", "patient": patient, "slice": number, "lesion_pixels": pixels,
         "image": f"image/{patient}_{number:03d}.png", "label": f"label/{patient}_{number:03d}.png",
         "no_hemorrhage": int(pixels == 0), "epidural": int(pixels > 0)}
        for patient, loads in patients.items() for number, pixels in enumerate(loads, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS)).fillna(dict.fromkeys(TYPES, 0))


def dealt(slices: pd.DataFrame, protocol: str, seed: int = 0, share: float = 0.2, ratio: float = 1.0) -> pd.DataFrame:
    by = {"patient": deal.by_patient, "slice": deal.by_slice}[protocol]
    return by(deal.balanced(slices, ratio, seed), FOLDS, share, seed)


# 12 patients of 10 slices with blood in 1 to 6 of them, and 12 clean ones of 8 slices
MANY = slices_of({f"{n:03d}": [9] * (1 + n // 2) + [0] * (9 - n // 2) for n in range(12)}
                 | {f"{n:03d}": [0] * 8 for n in range(100, 112)})  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Four or more patients with blood, any number without, one to six slices each."""
    scans = st.lists(st.integers(0, 3), min_size=1, max_size=6)
    bleeding = draw(st.lists(scans.map(lambda loads: [5, *loads]), min_size=4, max_size=12))
    clean = draw(st.lists(scans.map(lambda loads: [0] * len(loads)), max_size=8))
    return slices_of({f"{place:03d}": loads for place, loads in enumerate([*bleeding, *clean])})


@given(table=tables(), seed=st.integers(0, 5), share=st.sampled_from([0.0, 0.1, 0.2]))
@settings(max_examples=25, deadline=None)
def test_no_patient_is_in_two_parts_and_no_slice_is_lost(table: pd.DataFrame, seed: int, share: float) -> None:
    made = dealt(table, "patient", seed, share)
    assert made["id"].tolist() == table["id"].tolist()
    per_patient = made.groupby("patient")[["split", "fold"]].nunique()
    assert (per_patient == 1).all(axis=None)
    assert ((made["split"] == "test") == (made["fold"] == "test")).all()
    assert set(audit.leaks(made).values()) == {0}
    bleeding = made[made["lesion_pixels"] > 0]
    assert set(bleeding["fold"]) >= {"1", "2", "3"}  # each fold has blood to find
    assert set(bleeding["split"]) >= {"train", "valid"}
    patients_a_fold = made[made["fold"] != "test"].groupby("fold")["patient"].nunique()
    assert patients_a_fold.max() - patients_a_fold.min() <= 1


@pytest.mark.parametrize("protocol", ["patient", "slice"])
def test_the_same_seed_gives_the_same_split_and_another_one_another(protocol: str) -> None:
    first, again, other = dealt(MANY, protocol), dealt(MANY, protocol), dealt(MANY, protocol, seed=1)
    pd.testing.assert_frame_equal(first, again)
    for column in ("split", "fold"):
        assert first.set_index("id")[column].to_dict() != other.set_index("id")[column].to_dict()


def test_serpentine_by_hand() -> None:
    dealt = deal.serpentine(list("abcdefgh"), 3)
    # 1 2 3, back 3 2 1, and again 1 2
    assert dealt == {"a": 1, "b": 2, "c": 3, "d": 3, "e": 2, "f": 1, "g": 1, "h": 2}


def test_folds_by_patient_follow_the_lesion_load() -> None:
    # loads 6 5 4 3 2 1 are dealt 1 2 3 3 2 1: 6 + 1, 5 + 2 and 4 + 3 lesion slices, 7 in each fold
    table = slices_of({f"p{load}": [9] * load + [0] for load in (3, 6, 1, 5, 2, 4)})
    made = dealt(table, "patient", share=0)
    fold_of = made.groupby("patient")["fold"].first().to_dict()
    assert fold_of == {"p6": "1", "p5": "2", "p4": "3", "p3": "3", "p2": "2", "p1": "1"}
    assert made[made["lesion_pixels"] > 0]["fold"].value_counts().to_dict() == {"1": 7, "2": 7, "3": 7}


def test_clean_patients_go_on_where_those_with_blood_ended() -> None:
    table = slices_of({f"b{n}": [9] for n in range(4)} | {f"c{n}": [0] for n in range(4)})
    made = dealt(table, "patient", share=0)
    # 1 2 3 3 for blood, then 2 1 1 2: three, three and two patients
    assert made["fold"].value_counts().to_dict() == {"1": 3, "2": 3, "3": 2}
    assert made[made["lesion_pixels"] > 0]["fold"].value_counts().to_dict() == {"1": 1, "2": 1, "3": 2}


@pytest.mark.parametrize(("share", "bleeding", "clean"), [(0.0, 0, 0), (0.01, 1, 1), (0.1, 1, 1), (0.25, 3, 3),
                                                          (0.4, 5, 5)])  # fmt: skip
def test_test_share_is_of_patients_and_stratified(share: float, bleeding: int, clean: int) -> None:
    made = dealt(MANY, "patient", share=share)
    test = made[made["split"] == "test"].groupby("patient")["lesion_pixels"].sum()
    # 12 of each kind: 0.1 * 12 = 1.2 -> 1, 0.25 * 12 = 3, 0.4 * 12 = 4.8 -> 5; a share above 0 is one at least
    assert ((test > 0).sum(), (test == 0).sum()) == (bleeding, clean)


def test_the_test_set_holds_large_and_small_loads() -> None:
    load = deal.lesion_load(MANY)
    for seed in range(5):
        made = dealt(MANY, "patient", seed, share=0.25)
        chosen = [load[patient] for patient in made.loc[made["split"] == "test", "patient"].unique() if load[patient]]
        # loads 6 6 5 5 | 4 4 3 3 | 2 2 1 1: one of each stretch
        assert sorted(value > 4 for value in chosen) == [False, False, True]
        assert sorted(value < 3 for value in chosen) == [False, False, True]


@pytest.mark.parametrize(("patients", "advice"), [(1, "at least two are needed"), (2, "use --folds 2 or fewer")])
def test_too_few_patients_with_blood(patients: int, advice: str) -> None:
    table = slices_of({f"b{n}": [9, 0] for n in range(patients)} | {f"c{n}": [0] for n in range(9)})
    with pytest.raises(InputError, match=f"{patients} patients with blood outside the test set for 3 folds.*{advice}"):
        dealt(table, "patient", share=0)


def test_the_published_protocol_is_balanced_stratified_and_complete() -> None:
    made = dealt(MANY, "slice")
    blood = made["lesion_pixels"] > 0
    # 2 * (1 + 2 + 3 + 4 + 5 + 6) = 42 slices with blood, and as many without
    assert (len(made), blood.sum()) == (84, 42)
    assert set(made.loc[blood, "id"]) == set(MANY.loc[MANY["lesion_pixels"] > 0, "id"])
    for column in ("split", "fold"):
        shares = blood.groupby(made[column]).mean()
        assert ((shares - 0.5).abs() < 0.06).all()  # one slice of the smallest part, of 7 or 8, is 1/14
    # 20 % of 84 is 16.8, rounded up to 17; 1/9 of the other 67 is 7.4, rounded up to 8
    assert made["split"].value_counts().to_dict() == {"train": 59, "test": 17, "valid": 8}
    assert set(made["fold"]) == {"1", "2", "3", "test"}
    assert ((made["split"] == "test") == (made["fold"] == "test")).all()
    assert made["fold"].value_counts().drop("test").max() <= 23  # 67 = 23 + 22 + 22


def test_folds_are_disjoint_and_complete() -> None:
    made = dealt(MANY, "slice")
    assert made["id"].is_unique
    parts = [set(part["id"]) for _, part in made.groupby("fold")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(made)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.9, "--test-share 0.9 leaves too few of 36 slices for 3 folds"),  # a tenth of 18 with blood: 2
        (0.01, "0.01 of 36 slices is too few"),  # one slice cannot be of both kinds
    ],
)
def test_shares_that_cannot_be_stratified_are_refused(share: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dealt(slices_of({f"b{n}": [9, 0] for n in range(18)}), "slice", share=share)


def test_too_few_slices_of_a_kind_are_refused() -> None:
    with pytest.raises(InputError, match="42 slices with blood and 0 without are too few for 3 folds"):
        dealt(MANY, "slice", ratio=0)


@pytest.mark.parametrize(("ratio", "negatives"), [(0, 0), (0.5, 21), (1, 42), (2, 84), (1000, 174)])
def test_negatives_per_positive(ratio: float, negatives: int) -> None:
    made = deal.balanced(MANY, ratio, 0)  # 42 with blood; 120 - 42 + 96 = 174 without
    blood = made["lesion_pixels"] > 0
    assert made.loc[blood, "in_training"].all()
    assert made.loc[~blood, "in_training"].sum() == negatives


def test_the_drawn_negatives_depend_on_the_seed_only() -> None:
    first, other = deal.balanced(MANY, 1, 0), deal.balanced(MANY, 1, 1)
    assert first["in_training"].equals(deal.balanced(MANY, 1, 0)["in_training"])
    assert not first["in_training"].equals(other["in_training"])


def test_ready_folders_stay_the_split() -> None:
    table = deal.balanced(MANY, 1, 0)
    order = {patient: place for place, patient in enumerate(table["patient"].unique())}
    table["split"] = [("train", "valid", "test")[order[patient] % 3] for patient in table["patient"]]
    made = deal.from_folders(table, FOLDS, 0, "patient")
    assert made["split"].tolist() == table["split"].tolist()
    assert ((made["split"] == "test") == (made["fold"] == "test")).all()
    assert len(made[["patient", "fold"]].drop_duplicates()) == made["patient"].nunique()


LEAKY = pd.DataFrame({
    "id": list("abcdefgh"),
    "patient": ["1", "1", "1", "2", "2", "3", "3", "4"],
    "split": ["train", "valid", "test", "train", "valid", "train", "train", "test"],
    "fold": ["1", "2", "test", "1", "1", "1", "2", "test"],
    "lesion_pixels": [5, 0, 7, 0, 0, 0, 0, 9],
    "in_training": [True, False, True, True, False, False, True, True],
    "no_hemorrhage": [0, 1, 0, 1, 0, 1, 1, 1],  # e: the table says blood, its mask none; h: the other way round
    **dict.fromkeys(TYPES, 0), "epidural": [1, 0, 1, 0, 0, 0, 0, 0],
})  # fmt: skip


def test_leaks_by_hand() -> None:
    # valid holds patients 1 and 2, train 1, 2 and 3: two shared. Test holds 1 and 4, the rest 1, 2, 3: one shared.
    # fold 1 holds 1, 2, 3, fold 2 holds 1 and 3: two shared either way.
    expected = {"holdout valid": 2, "holdout test": 1, "fold 1": 2, "fold 2": 2, "kfold test": 1}
    assert audit.leaks(LEAKY) == expected
    text = "5 of 5 parts share patients with their training data (holdout valid: 2 patients); scores overestimate"
    assert audit.sentence(expected).startswith(text)
    assert audit.sentence(dict.fromkeys(expected, 0)) == "no patient is in two parts"


def test_summary_by_hand() -> None:
    made = audit.summary(LEAKY, LEAKY)
    assert made["part"].tolist() == ["train", "valid", "test", "1", "2", "test", "e", "h"]
    holdout = made.iloc[:3].set_index("part")
    assert holdout["patients"].to_dict() == {"train": 3, "valid": 2, "test": 2}
    assert holdout["patients_with_blood"].to_dict() == {"train": 1, "valid": 0, "test": 2}
    assert holdout["slices"].to_dict() == {"train": 4, "valid": 2, "test": 2}
    assert holdout["lesion_slices"].to_dict() == {"train": 1, "valid": 0, "test": 2}
    assert holdout["training_slices"].to_dict() == {"train": 3, "valid": 0, "test": 2}
    assert holdout["epidural"].to_dict() == {"train": 1, "valid": 0, "test": 1}
    disagreements = made[made["kind"] == audit.DISAGREEMENT].set_index("part")
    assert disagreements["lesion_slices"].to_dict() == {"e": 0, "h": 1}


def test_folds_are_listed_by_number() -> None:
    table = pd.concat([LEAKY] * 2, ignore_index=True).assign(fold=[*map(str, range(12, 0, -1)), *["test"] * 4])
    kfold = audit.summary(table, LEAKY).query("kind == 'kfold'")
    assert kfold["part"].tolist() == [*map(str, range(1, 13)), "test"]


def test_unknown_types_stay_empty_in_the_summary() -> None:
    made = audit.summary(LEAKY.assign(**dict.fromkeys(TYPES, float("nan"))), LEAKY)
    assert made[list(TYPES)].isna().all(axis=None)


def write(data: Path, slices: pd.DataFrame, made: pd.DataFrame) -> None:
    write_csv(data / "slices.csv", slices)
    for kind, column in (("holdout", "split"), ("kfold", "fold")):
        write_csv(data / "patient" / f"{kind}.csv", made[["id", "in_training", column]])


def test_rows_travel_by_id(tmp_path: Path) -> None:
    made = dealt(MANY, "patient")
    write(tmp_path, MANY.sample(frac=1, random_state=0), made)
    for kind, column in (("holdout", "split"), ("kfold", "fold")):
        read = read_parts(tmp_path, "patient", kind)
        assert read["id"].tolist() == made["id"].tolist()
        assert read["part"].tolist() == made[column].tolist()
        assert read["lesion_pixels"].tolist() == made["lesion_pixels"].tolist()


def test_a_split_of_other_slices_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MANY.iloc[5:], dealt(MANY, "patient"))
    with pytest.raises(InputError, match=r"holdout\.csv: 5 of its slices are not in slices\.csv"):
        read_parts(tmp_path, "patient", "holdout")


@pytest.mark.parametrize("change", [{"in_training": "yes"}, {"fold": None}, {"id": "000_001"}])
def test_a_split_edited_into_nonsense_is_refused(change: dict[str, str | None], tmp_path: Path) -> None:
    write(tmp_path, MANY, dealt(MANY, "patient").assign(**change))
    with pytest.raises(InputError, match=r"kfold\.csv: .* run create_data_set\.py --protocol patient again"):
        read_parts(tmp_path, "patient", "kfold")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", "../../id", "its id is not a file name"),
        ("id", "", "its id is not a file name"),
        ("id", "000_001", "appears twice"),
        ("patient", "a/b", "its patient is not a file name"),
        ("patient", "", "its patient is not a file name"),
        ("image", "/etc/passwd", "must lie in the data folder"),
        ("label", "../../secret.png", "must lie in the data folder"),
        ("label", None, "must lie in the data folder"),
        ("lesion_pixels", "many", "must be numbers"),
        ("lesion_pixels", None, "must be numbers"),
    ],
)
def test_slices_edited_into_nonsense_are_refused(column: str, value: str | None, message: str, tmp_path: Path) -> None:
    table = MANY.astype({column: object})
    table.loc[1, column] = value
    write_csv(tmp_path / "slices.csv", table)
    with pytest.raises(InputError, match=rf"slices\.csv: row [23] .*{message}"):
        read_slices(tmp_path)
