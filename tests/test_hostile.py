"""Files made to do harm: they are refused, or shown as the text they are; nothing of a patient's name gets out."""

import gzip
import io
import os
import re
from pathlib import Path

import broken
import fuzz_targets
import hypothesis
import keras
import numpy as np
import pandas as pd
import pytest
from conftest import Project
from hypothesis import given
from hypothesis import strategies as st
from predict_files import bright_is_blood, find, job, phantom, write_nifti
from pydicom.dataset import Dataset

import create_data_set
import predict
import rsna_preprocess
from ich.base.errors import InputError, printable
from ich.base.files import read_csv, write_csv
from ich.base.paths import Rsna, Training
from ich.data import own_pngs
from ich.data.table import read_parts, read_slices
from ich.phantom.series import write_series
from ich.predict import naming
from ich.predict.method import Method
from ich.rsna import split
from ich.scans.window import Window
from ich.score.operating import FIXED
from ich.train import checkpoint, prediction

SOURCE = Path(__file__).parents[1]
METHOD = Method(32, (Window(40, 120),), FIXED, {})
MARKER = "MUSTER^ERIKA"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything brighter than 60 HU is called blood."""
    found = lambda planes: (planes > 60).astype(np.float32)  # noqa: E731
    monkeypatch.setattr("ich.predict.networks.prepare", lambda config: job(config.out, METHOD, found, view=True))
    monkeypatch.setattr("create_data_set.pictures.preview", lambda *_: None)


# Paths


@pytest.mark.parametrize("column", ["image", "label", "source"])
@pytest.mark.parametrize("value", ["/etc/passwd", "../../secret.png", "image/../../secret.png", "\0", "a\nb"])
def test_paths_in_slices_csv_stay_in_their_folders(column: str, value: str, tmp_path: Path) -> None:
    table = pd.read_csv(io.BytesIO(fuzz_targets.slices_bytes()), dtype=str)
    table.loc[1, column] = value
    table.to_csv(tmp_path / "slices.csv", index=False)
    with pytest.raises(InputError, match=r"slices\.csv: (row 3 .*(must lie in the data folder|source must be)|cannot)"):
        read_slices(tmp_path)


def test_another_patients_volume_is_no_source(tmp_path: Path) -> None:
    content = fuzz_targets.slices_bytes().replace(b"../raw/ct_scans/049.nii", b"../raw/ct_scans/103.nii")
    (tmp_path / "slices.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"source must be the scan"):
        read_slices(tmp_path)


@pytest.mark.parametrize("kind", ["holdout", "kfold"])
def test_a_split_knows_no_slices_of_its_own(kind: str, project: Project, tmp_path: Path) -> None:
    data = Path(broken.shutil.copytree(project.data, tmp_path / "data"))
    path = data / "patient" / f"{kind}.csv"
    path.write_text(re.sub(r"^\w+", "../../secret", path.read_text().split("\n", 1)[0]) + "\n" + re.sub(
        r"(?m)^049_001", "../../secret", path.read_text().split("\n", 1)[1]))  # fmt: skip
    with pytest.raises(InputError, match=rf"{kind}\.csv: (1 of its slices are not in|no column id)"):
        read_parts(data, "patient", kind)


@pytest.mark.parametrize("linked", ["image/p0_1.png", "label/p0_1.png", "image", "label"])
def test_links_that_lead_out_of_the_data_folder_are_refused(linked: str, tmp_path: Path) -> None:
    data, outside = broken.write_own(tmp_path / "data"), tmp_path / "outside"
    (data / linked).rename(outside)
    (data / linked).symlink_to(outside)
    with pytest.raises(InputError, match=r"leads to .*outside.*, outside .*data; only .* itself may be a link"):
        own_pngs.read(data, 16, None)


def test_links_within_the_data_folder_and_the_folder_itself_may_be_links(tmp_path: Path) -> None:
    data = broken.write_own(tmp_path / "elsewhere")
    (data / "image").rename(data / "kept")
    (data / "image").symlink_to("kept")
    (tmp_path / "data").symlink_to(data)
    assert len(own_pngs.read(tmp_path / "data", 16, None)[0]) == 9


def test_a_linked_image_folder_is_not_written_through(tmp_path: Path) -> None:
    import split_raw_data

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "image").symlink_to(tmp_path / "elsewhere")
    raw = broken.write_raw(tmp_path / "raw")
    with pytest.raises(InputError, match=r"image: leads to .*elsewhere"):
        split_raw_data.main(["--raw", str(raw), "--data", str(tmp_path / "data"), "--image-size", "32", "--quiet"])
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\x1b[31mb", "a\nb", "x" * 201, "\udcff"])
def test_names_that_no_file_may_have(name: str) -> None:
    from ich.base.paths import is_file_name

    assert not is_file_name(name)
    assert is_file_name("<img src=x onerror=alert(1)>")  # shown as text


def test_names_that_are_no_text_are_refused_in_one_printable_line(tmp_path: Path) -> None:
    data = broken.write_own(tmp_path)
    for folder in ("image", "label"):
        os.rename(os.fsencode(data / folder / "p0_1.png"), os.fsencode(data / folder) + b"/a\xff\x1b[31m.png")  # noqa: PTH104
    with pytest.raises(InputError, match=r"a\?\?\[31m\.png: its name has characters that can't be printed") as told:
        own_pngs.read(data, 16, None)
    assert str(told.value).isprintable()


def test_scans_of_equal_and_of_impossible_names_get_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("a/x.nii", "b/x.nii", "b/x_2.nii", "b/volumes.csv.nii"):
        broken.save(tmp_path / name, np.zeros((2, 2, 2), np.uint8))
    (tmp_path / "c").mkdir()
    os.rename(tmp_path / "b/x_2.nii", os.fsencode(tmp_path / "c") + b"/\xff.nii")  # noqa: PTH104
    broken.save(tmp_path / "c/x_2.nii", np.zeros((2, 2, 2), np.uint8))
    names = [each.name for each in naming.named(find([tmp_path]), tmp_path / "out")]
    assert names == ["a_x", "b_volumes.csv", "b_x", "x_2", "scan"]


# Code


class _Code:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("run",)


def test_no_code_of_a_network_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = keras.Input((4, 4, 1))
    evil = keras.layers.Lambda(lambda x: [__import__("os").mkdir("run"), x][1], output_shape=(4, 4, 1))
    keras.Model(source, evil(source)).save(Training(tmp_path).last)
    with pytest.raises(InputError, match=r"last\.keras: cannot be loaded .*[Ll]ambda"):
        prediction.load(Training(tmp_path), "last")
    assert not (tmp_path / "run").exists()


def test_no_pickle_of_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "checkpoint").open("wb") as file:
        np.savez(file, epoch=1, history="[]", v0=np.array([_Code()], object))
    model = bright_is_blood(1)
    model.compile("adam", "mse")
    with pytest.raises(InputError, match=r"checkpoint: is damaged .*delete it to train from the start"):
        checkpoint.restore(tmp_path / "checkpoint", model)
    assert not (tmp_path / "run").exists()


def test_the_source_unpickles_and_evaluates_nothing() -> None:
    ways = r"\bpickle\b|allow_pickle=True|\beval\(|\bexec\(|safe_mode=False|yaml\.load|shell=True|os\.system"
    files = [*SOURCE.glob("*.py"), *(SOURCE / "ich").rglob("*.py")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    found = [name for name, text in texts.items() if re.search(ways, text)]
    assert len(files) > 50
    assert found == []


# Text


@hypothesis.settings(deadline=None, derandomize=True)
@given(st.text(st.sampled_from("=+-@\t\r\n'a1 \uff1d"), max_size=6))
def test_text_never_begins_as_a_formula_and_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("a") / "t.csv"
    line = printable(text)  # tabs and line breaks become spaces
    table = pd.DataFrame({"id": [text, "a"], "n": [-1.5, 2]})
    write_csv(path, table)
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    cell = raw["id"][0]
    assert not re.match(r"[=+\-@\t\r\uff1d].", cell) or _is_number(cell)
    assert raw["n"][0] == "-1.5"
    assert read_csv(path, ("id",), "")["id"].tolist() == [line, "a"]


def _is_number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


@pytest.mark.usefixtures("no_network")
def test_ids_that_are_formulas_go_through_every_table(tmp_path: Path) -> None:
    data = broken.write_own(tmp_path)
    for path in [*data.rglob("p0_*.png")]:
        path.rename(path.with_name(path.name.replace("p0", "=cmd|' 'A1")))
    create_data_set.main(["--data", str(data), "--image-size", "16", "--folds", "2", "--test-share", "0", "--quiet"])
    for path in data.rglob("*.csv"):
        assert not re.search(r'(?m)(^|,)"?[=@]', path.read_text()), path
    table = read_parts(data, "patient", "kfold")
    assert {"=cmd|' 'A1"} < set(table["patient"])
    assert set(table["id"]) > {"=cmd|' 'A1_1"}


@pytest.mark.usefixtures("no_network")
def test_a_name_that_is_html_is_shown_as_text(tmp_path: Path) -> None:
    name, made = "<img src=x onerror=alert(1)>", phantom()
    write_nifti(tmp_path / "in" / f"{name}.nii", made.hu, made.affine)
    predict.main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet"])
    page = (tmp_path / "out" / name / "view.html").read_text()
    assert name not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert """http-equiv="Content-Security-Policy"\n      content="default-src 'none';""" in page


# Patients


def marked(header: Dataset) -> None:
    """Puts the marker where names stand, where a maker keeps its own things, and into the file's meta group."""
    for name in ("PatientName", "OtherPatientNames", "PatientAddress", "ReferringPhysicianName", "InstitutionName",
                 "PatientComments", "OperatorsName", "StudyDescription", "AccessionNumber"):  # fmt: skip
        setattr(header, name, MARKER if name != "AccessionNumber" else MARKER[:16])
    header.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", MARKER)
    header.file_meta.SourceApplicationEntityTitle = MARKER
    header.file_meta.PrivateInformationCreatorUID, header.file_meta.PrivateInformation = "1.2.3", MARKER.encode()


def holds_marker(folder: Path) -> list[str]:
    """Files with the marker in their bytes, unpacked where they are compressed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 4
    contents = ((path, path.read_bytes()) for path in files)
    unpacked = ((path, gzip.decompress(raw) if path.suffix == ".gz" else raw) for path, raw in contents)
    return [path.name for path, raw in unpacked if MARKER.encode() in raw or "MUSTER".encode("utf-16-le") in raw]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("damage", [b"", b"cut"])
def test_names_and_private_elements_reach_no_output_of_predict(
    damage: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "in", phantom())
    broken.every(marked)(tmp_path / "in")
    if damage:
        for path in sorted((tmp_path / "in").iterdir())[3:5]:
            broken.at(path, lambda raw: raw[: len(raw) // 2])
        with pytest.raises(InputError) as told:
            predict.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")])
        assert MARKER not in str(told.value)
    else:
        predict.main([str(tmp_path / "in"), "--out", str(tmp_path / "out")])
        assert holds_marker(tmp_path / "out") == []
    assert "MUSTER" not in "".join(capfd.readouterr())


def test_names_and_private_elements_reach_no_output_of_rsna(
    project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw" / "healthy"
    raw.mkdir(parents=True)
    for path in sorted((project.root / "rsna" / "classes" / "healthy").glob("0*.dcm"))[:24]:
        broken.shutil.copy(path, raw)
    broken.every(marked)(raw)
    broken.at(sorted(raw.iterdir())[0], lambda content: content[:-100])
    rsna_preprocess.main(["--raw", str(raw.parent), "--data", str(tmp_path / "out"), "--workers", "1",
                          "--variants", "1_roi"])  # fmt: skip
    assert holds_marker(tmp_path / "out") == []
    assert "MUSTER" not in "".join(capfd.readouterr())
    table = split.read(Rsna(tmp_path / "out"))
    assert table["patient"].nunique() > 2  # PatientID is kept: the split is made by it
