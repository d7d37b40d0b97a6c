"""What lies in `--raw`: which of the known layouts, and the scans in it."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from ich.base.errors import InputError
from ich.data import case, ct_ich, labels, nifti_pairs, patients
from ich.data.case import Case

EXPECTED = (
    f"expected CT-ICH ({case.CT_ICH_SCANS}/ {case.CT_ICH_MASKS}/ {ct_ich.DIAGNOSIS}), nnU-Net or Decathlon "
    f"({case.NNUNET_SCANS}/ {case.NNUNET_MASKS}/), or NIfTI files of equal names in {case.IMAGES[1]}/ and "
    f"{case.CT_ICH_MASKS}/"
)
ASSUMED = "note: each scan counts as a patient; where patients have several, give --patients-csv (id,patient)"


class Survey(NamedTuple):
    """What was found: the layout in words, the scans, every problem, notes, and tables that the PNGs depend on.

    `patients_assumed`: nobody has said whose scans they are, so each counts as a patient.
    """

    layout: str
    cases: list[Case]
    problems: list[str]
    notes: list[str]
    tables: list[Path]
    patients_assumed: bool


def survey(raw: Path, patients_csv: Path | None) -> Survey:
    """Find out the layout and all scans in it, from names, tables and headers. Raises InputError where none is known.

    With `patients_csv` (id of the scan, patient) scans belong to the patients that it names.
    """
    found = _survey(raw)
    if patients_csv is None:
        return found
    try:
        others = [name for path in case.volumes(raw / case.NNUNET_TEST) for name in _names(path)]
        patient_of = patients.of_scans(patients_csv, [each.scan for each in found.cases], others)
    except InputError as error:
        return found._replace(problems=[*found.problems, str(error)])
    cases = [dataclasses.replace(each, patient=patient_of[each.scan]) for each in found.cases]
    tables = [*found.tables, patients_csv]
    notes = [note for note in found.notes if note != ASSUMED]
    return found._replace(cases=cases, tables=tables, notes=notes, patients_assumed=False)


def _survey(raw: Path) -> Survey:
    pair = folders(raw)
    if pair is None:
        cases, problems = ct_ich.survey(raw)
        text = f"layout: CT-ICH, {len(cases)} scans with masks, types from {ct_ich.DIAGNOSIS}"
        return Survey(text, cases, problems, [], [raw / ct_ich.DIAGNOSIS], False)
    images, masks = pair
    cases, problems = nifti_pairs.survey(images, masks)
    name = "nnU-Net or Decathlon" if images.name == case.NNUNET_SCANS else "two folders of NIfTI files"
    text = f"layout: {name}: {nifti_pairs.told(images, masks, cases)}"
    dataset = raw / labels.DATASET
    return Survey(text, cases, problems, [ASSUMED, *_unmarked(raw)], [dataset] if dataset.exists() else [], True)


def folders(raw: Path) -> tuple[Path, Path] | None:
    """The folders of scans and of masks of nnU-Net or of a user's own; None for CT-ICH.

    Raises InputError where no layout is known, or two may be meant.
    """
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder (--raw); {EXPECTED}. The README says how to get CT-ICH")
    is_ct_ich = (raw / case.CT_ICH_SCANS).is_dir() or (raw / ct_ich.DIAGNOSIS).exists()
    is_nnunet = (raw / case.NNUNET_SCANS).is_dir()
    if is_ct_ich and is_nnunet:
        raise InputError(f"{raw}: holds CT-ICH and {case.NNUNET_SCANS}/, nothing says which is meant; move one away")
    if is_ct_ich:
        return None
    images, masks = (case.NNUNET_SCANS, case.NNUNET_MASKS) if is_nnunet else _own(raw)
    if not images:
        raise InputError(f"{raw}: holds no known data set; {EXPECTED}")
    if not masks or not (raw / masks).is_dir():
        raise InputError(f"{raw / images}: there are no masks beside it; {EXPECTED}")
    return raw / images, raw / masks


def _own(raw: Path) -> tuple[str, str]:
    """Names of a user's own folders of scans and of masks; empty where there is none.

    Raises InputError where several may be meant.
    """
    there = sorted(path.name for path in raw.glob("[!.]*") if path.is_dir())
    images, masks = ([name for name in there if name.lower() in names] for names in (case.SCANS, case.LABELS))
    for several in (images, masks):
        if len(several) > 1 and images and masks:
            raise InputError(f"{raw / several[0]}: {raw / several[1]} is there too; keep one folder of scans and one "
                             "of masks")  # fmt: skip
    return images[0] if images else "", masks[0] if masks else ""


def _unmarked(raw: Path) -> list[str]:
    """A note on the scans of nnU-Net's own test set."""
    if not (unmarked := case.volumes(raw / case.NNUNET_TEST)):
        return []
    return [f"note: {len(unmarked)} scans in {raw / case.NNUNET_TEST} are left out: only scans with a mask in "
            f"{case.NNUNET_MASKS} are trained and tested on; predict.py marks the others"]  # fmt: skip


def _names(path: Path) -> tuple[str, str]:
    """The names under which a table may list a file of nnU-Net's test set."""
    name = case.stem(path)
    return name, case.scan_and_channel(name)[0]
