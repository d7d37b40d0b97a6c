"""What a split holds, and whether any patient stands on both sides of it."""

from collections.abc import Mapping

import pandas as pd

from ich.base import paths
from ich.data.table import CRC, TYPES

DISAGREEMENT = "mask_and_table_disagree"


def summary(table: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """One row for each part of the hold-out split and of the folds, then the slices whose mask and CSV disagree."""
    rows = [
        _part(table, kind, part, table[column] == part)
        for kind, column in paths.PART_COLUMN.items()
        for part in _parts(table[column])
    ]
    blood = slices["lesion_pixels"] > 0
    disagree = slices[slices["no_hemorrhage"].notna() & (blood == (slices["no_hemorrhage"] == 1))]
    rows += [
        {"kind": DISAGREEMENT, "part": row.id, "patients": 1, "slices": 1, "lesion_slices": int(row.lesion_pixels > 0)}
        for row in disagree.itertuples()
    ]
    table = pd.DataFrame(rows)
    whole = table.columns.drop(["kind", "part"])
    return table.astype(dict.fromkeys(whole, "Int64"))  # whole numbers that may be missing


def leaks(table: pd.DataFrame) -> dict[str, int]:
    """Patients of each validation or test part that are also in the training part.

    Keys: `holdout valid`, `holdout test`, `fold 1` ... (validated on that fold, trained on the others), `kfold test`.
    """
    found = {}
    for kind, column in paths.PART_COLUMN.items():
        inside = table[table[column] != "test"]
        for part in _parts(inside[column]):
            if part != "train":
                name = f"fold {part}" if kind == "kfold" else f"holdout {part}"
                found[name] = _shared(inside, inside[column] == part)
        found[f"{kind} test"] = _shared(table, table[column] == "test")
    return found


def copies(slices: pd.DataFrame) -> list[str]:
    """A warning where slices of several patients have the same pixels, of image and mask: they are one person's.

    `slices`: rows of slices.csv. Slices without blood count only if a patient has two of them: black ones are alike.
    """
    if CRC not in slices:
        return []
    same = slices[slices.groupby(CRC)["patient"].transform("nunique") > 1]
    pairs = same.groupby("patient")[CRC].nunique()
    same = same[(same["lesion_pixels"] > 0) | (same["patient"].map(pairs) > 1)]
    shared = [ids for _, ids in same.groupby(CRC)["id"] if len(ids) > 1]
    if not shared:
        return []
    first, second = shared[0].iloc[:2]
    return [f"warning: {len(shared)} slices are there under several patients, such as {first} and {second}: the same "
            "pixels; remove the copies, or the leak audit takes one person for two"]  # fmt: skip


def whose(facts: Mapping[str, object]) -> dict[str, bool]:
    """What a run.json says of patients: `patients_known`, and `patients_assumed` if each scan counts as one."""
    assumed = {"patients_assumed": True} if facts.get("patients_assumed") else {}
    return {"patients_known": bool(facts.get("patients_known", True)), **assumed}


def sentence(found: dict[str, int], patients: Mapping[str, bool] | None = None) -> str:
    """The leak audit in words, with what `whose` says; nothing where nobody knows whose slices they are."""
    patients = patients or {}
    if not patients.get("patients_known", True):
        return "not possible: patients are unknown"
    shared = {name: number for name, number in found.items() if number}
    if not shared:
        assumed = ", assuming that each scan is from a different patient" * ("patients_assumed" in patients)
        return f"no patient is in two parts{assumed}"
    worst = max(shared, key=shared.get)
    return (
        f"{len(shared)} of {len(found)} parts share patients with their training data "
        f"({worst}: {shared[worst]} patients); scores overestimate performance on new patients"
    )


def _shared(table: pd.DataFrame, part: pd.Series) -> int:
    return len(set(table.loc[part, "patient"]) & set(table.loc[~part, "patient"]))


def _parts(column: pd.Series) -> list[str]:
    """train, valid, test; or 1, 2, ... 10, test."""
    order = {"train": 0, "valid": 1, "test": 10**6}
    return sorted(column.unique(), key=lambda part: order.get(part, int(part) if part.isdigit() else 0))


def _part(table: pd.DataFrame, kind: str, name: str, inside: pd.Series) -> dict:
    part = table[inside]
    blood = part["lesion_pixels"] > 0
    return {
        "kind": kind, "part": name, "patients": part["patient"].nunique(),
        "patients_with_blood": part.loc[blood, "patient"].nunique(), "slices": len(part),
        "lesion_slices": int(blood.sum()), "training_slices": int(part["in_training"].sum()),
        "shared_patients": _shared(table, inside), **{name: part[name].sum(min_count=1) for name in TYPES},
    }  # fmt: skip
