"""The table of CT-ICH, the volumes beside it, and their checksums."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ich.base.errors import InputError
from ich.data import ct_ich
from ich.data.table import FLAGS

HEADER = ("PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
          "No_Hemorrhage,Fracture_Yes_No")  # fmt: skip
CLEAN, BLEEDING = "49,1,0,0,0,0,0,1,0", "49,2,0,1,0,0,0,0,1"  # intraparenchymal, with a fracture


def table(folder: Path, *rows: str, header: str = HEADER, end: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / ct_ich.DIAGNOSIS
    path.write_bytes((end.join((header, *rows)) + end).encode(encoding))
    return path


def scan(raw: Path, patient: str = "049", slices: int = 2, suffix: str = ".nii") -> None:
    """A CT and its empty mask."""
    for folder, value in (("ct_scans", -1000), ("masks", 0)):
        (raw / folder).mkdir(exist_ok=True)
        voxels = np.full((4, 4, slices), value, np.int16)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), raw / folder / f"{patient}{suffix}")


@pytest.mark.parametrize(
    ("header", "rows", "end", "encoding"),
    [
        (HEADER, (CLEAN, BLEEDING), "\n", "utf-8"),
        (HEADER, (CLEAN, BLEEDING), "\r\n", "utf-8-sig"),  # saved by a spreadsheet: byte order mark, CRLF
        (HEADER.replace(",", ";"), (CLEAN.replace(",", ";"), BLEEDING.replace(",", ";")), "\r\n", "utf-8"),
        (HEADER.replace(",", "\t"), (CLEAN.replace(",", "\t"), BLEEDING.replace(",", "\t")), "\n", "utf-8"),
        (HEADER.lower().replace(",", " ,"), (CLEAN, BLEEDING), "\n", "utf-8"),
        (HEADER, (CLEAN, "049,2.0,0,1.0,0,0,0,0,1"), "\n", "utf-8"),
        (HEADER, (CLEAN + ",", BLEEDING + ","), "\n", "utf-8"),  # a comma too many at the end of each row
    ],
    ids=["as published", "BOM and CRLF", "semicolons", "tabs", "lower case", "decimals", "trailing comma"],
)
def test_the_table_is_read_however_it_was_saved(
    header: str, rows: tuple[str, ...], end: str, encoding: str, tmp_path: Path
) -> None:
    read = ct_ich.read_diagnosis(table(tmp_path, *rows, header=header, end=end, encoding=encoding))
    assert list(read.columns) == ["patient", "slice", *FLAGS]
    assert read["patient"].tolist() == ["049", "049"]
    assert read["slice"].tolist() == [1, 2]
    assert read["no_hemorrhage"].tolist() == [1, 0]
    assert read["intraparenchymal"].tolist() == [0, 1]
    assert read["fracture"].tolist() == [0, 1]
    assert read[["intraventricular", "subarachnoid", "epidural", "subdural"]].to_numpy().sum() == 0


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (HEADER.replace(",Subdural", ""), ("49,1,0,0,0,0,1,0",), "column for subdural missing or doubled"),
        (HEADER + ",Epidural", (CLEAN + ",0",), "column for epidural missing or doubled"),
        (HEADER.replace("SliceNumber", "Slice_No"), (CLEAN,), "column for slice missing"),
        ("<!DOCTYPE html>", ("<title>Please log in</title>",), "missing or doubled|cannot be read"),
        ("", (), "cannot be read as CSV"),
        (HEADER, (), "no rows"),
        (HEADER, (CLEAN, BLEEDING, CLEAN), "1 slices appear twice, the first is patient 049 slice 1"),
        (HEADER, (CLEAN, "49,2,0,2,0,0,0,0,0"), "row 3, intraparenchymal is '2', expected whole numbers, and 0 or 1"),
        (HEADER, (CLEAN, "49,2,0,,0,0,0,0,0"), "row 3, intraparenchymal is 'nan'"),
        (HEADER, ("x,1,0,0,0,0,0,1,0",), "row 2, patient is 'x'"),
        (HEADER, ("49,1.5,0,0,0,0,0,1,0",), "row 2, slice is '1.5'"),
        (HEADER, ("-4,1,0,0,0,0,0,1,0",), "row 2, patient is '-4'"),
        (HEADER, ("1e300,1,0,0,0,0,0,1,0",), "row 2, patient is '1e300'"),
        (HEADER, ("inf,1,0,0,0,0,0,1,0",), "row 2, patient is 'inf'"),
        (HEADER, ("../49,1,0,0,0,0,0,1,0",), r"row 2, patient is '\.\./49'"),  # no way out of the folder
        (HEADER, (CLEAN, BLEEDING + ",1,2,3"), "cannot be read as CSV"),
        (HEADER, ("a," + CLEAN, "b," + BLEEDING), "cannot be read as CSV"),  # not read one column too far left
    ],
)
def test_tables_that_are_refused(header: str, rows: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as refused:
        ct_ich.read_diagnosis(table(tmp_path, *rows, header=header))
    assert ct_ich.DIAGNOSIS in str(refused.value)


def test_binary_rubbish_is_refused(tmp_path: Path) -> None:
    (tmp_path / ct_ich.DIAGNOSIS).write_bytes(b"\x00\xff\xfe" * 50)
    with pytest.raises(InputError, match=r"cannot be read|missing or doubled"):
        ct_ich.read_diagnosis(tmp_path / ct_ich.DIAGNOSIS)


def test_a_missing_table_says_what_raw_must_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--raw must name the folder of CT-ICH"):
        ct_ich.survey(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_case_knows_its_files_and_its_flags_in_order(suffix: str, tmp_path: Path) -> None:
    table(tmp_path, BLEEDING, CLEAN)
    scan(tmp_path, suffix=suffix)
    (case,), problems = ct_ich.survey(tmp_path)
    assert problems == []
    assert (case.patient, case.ct) == ("049", tmp_path / "ct_scans" / f"049{suffix}")
    assert case.mask == tmp_path / "masks" / f"049{suffix}"
    assert case.flags["slice"].tolist() == [1, 2]
    assert (case.ct_sha256, case.mask_sha256) == ("", "")


@pytest.mark.parametrize(
    ("rows", "slices", "numbers"),
    [
        ((CLEAN, BLEEDING), 3, "has 3 slices in the volume, 2 slices numbered 1 to 2"),
        ((CLEAN, BLEEDING), 1, "has 1 slices in the volume, 2 slices numbered 1 to 2"),
        ((CLEAN, BLEEDING.replace("49,2", "49,3")), 2, "has 2 slices in the volume, 2 slices numbered 1 to 3"),
        ((CLEAN.replace("49,1", "49,0"), CLEAN), 2, "has 2 slices in the volume, 2 slices numbered 0 to 1"),
    ],
    ids=["fewer rows", "more rows", "a gap", "from zero"],
)
def test_slice_counts_that_differ_name_the_patient_and_both(
    rows: tuple[str, ...], slices: int, numbers: str, tmp_path: Path
) -> None:
    table(tmp_path, *rows)
    scan(tmp_path, slices=slices)
    cases, (problem,) = ct_ich.survey(tmp_path)
    assert cases == []
    assert f"049.nii: patient 049 {numbers}" in problem


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    table(tmp_path, CLEAN, BLEEDING, "50,1,0,0,0,0,0,1,0", "51,1,0,0,0,0,0,1,0", "52,1,0,0,0,0,0,1,0")
    scan(tmp_path)
    scan(tmp_path, "050", 1)
    scan(tmp_path, "050", 1, ".nii.gz")  # there twice
    scan(tmp_path, "051", 1)
    (tmp_path / "masks" / "051.nii").unlink()
    scan(tmp_path, "099")  # not in the table
    cases, problems = ct_ich.survey(tmp_path)
    assert [case.patient for case in cases] == ["049"]
    expected = ("050.nii[.gz]: is there twice", "masks/051.nii[.gz]: not found", "ct_scans/052.nii[.gz]: not found",
                "patient 099 is not in hemorrhage_diagnosis_raw_ct.csv")  # fmt: skip
    assert len(problems) == len(expected)
    for problem, part in zip(problems, expected, strict=True):
        assert part in problem


def test_hidden_files_of_the_file_system_are_no_scans(tmp_path: Path) -> None:
    table(tmp_path, CLEAN, BLEEDING)
    scan(tmp_path)
    (tmp_path / "ct_scans" / "._049.nii").write_bytes(b"Mac OS X")
    assert ct_ich.survey(tmp_path)[1] == []


@pytest.mark.parametrize("line", ["{sum}  ct_scans/049.nii", "{sum} *ct_scans/049.nii", "{SUM} ./ct_scans/049.nii"])
def test_checksums_are_found_however_they_are_written(line: str, tmp_path: Path) -> None:
    table(tmp_path, CLEAN, BLEEDING)
    scan(tmp_path)
    found = hashlib.sha256((tmp_path / "ct_scans" / "049.nii").read_bytes()).hexdigest()
    lines = ["", "not a checksum line at all", line.format(sum=found, SUM=found.upper())]
    (tmp_path / "SHA256SUMS.txt").write_text("\n".join(lines), encoding="utf-8")
    (case,), _ = ct_ich.survey(tmp_path)
    assert (case.ct_sha256, case.mask_sha256) == (found, "")
    ct_ich.check_sum(case.ct, case.ct_sha256)
    ct_ich.check_sum(case.mask, case.mask_sha256)  # unknown: nothing to check


def test_another_file_than_the_published_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "049.nii"
    path.write_bytes(b"abc")
    message = r"049\.nii: SHA-256 ba7816bf8f01, expected 000000000000 \(SHA256SUMS\.txt\); download it again"
    with pytest.raises(InputError, match=message):
        ct_ich.check_sum(path, "0" * 64)
