"""What `pip install .` installs: `ich-predict`, the viewer, the shipped network, and what requirement files name."""

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import nibabel as nib
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from predict_files import write_nifti

from ich.base import record
from ich.base.files import read_json
from ich.phantom.head import make_patient
from ich.predict import engines
from ich.predict.method import CARD

ROOT = Path(__file__).parent.parent
LISTS = sorted(ROOT.glob("requirements*.txt"))
PACKAGE = "ich_detector"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True,
                   capture_output=True)  # fmt: skip
    (made,) = folder.glob("*.whl")
    return made


def required(*names: str) -> set[str]:
    """The requirements in files of the project, each in the form of package metadata."""
    lines = [line for name in names for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return {str(Requirement(line)) for line in lines if line and not line.startswith(("#", "-"))}


def test_wheel_holds_what_predict_needs_and_nothing_beside_its_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {PACKAGE, f"{PACKAGE}-{record.version()}.dist-info"}
    files = ["config.py", "predict.py", "pyproject.toml", "ich/predict/view.html", "ich/predict/niivue/niivue.umd.js",
             "ich/report/report.html.j2", "weights/patient/phantoms/fold_01/last.keras",
             *(f"weights/patient/phantoms/exported/{name}" for name in (CARD, *engines.files("float32"),
                                                                        *engines.files("int8")))]  # fmt: skip
    kept = [*ROOT.glob("ich/**/*.py"), *LISTS, *map(ROOT.joinpath, files)]
    assert {f"{PACKAGE}/{path.relative_to(ROOT)}" for path in kept} <= set(names)
    assert not [name for name in names if re.search(r"/tests/|\.pyc$|/exported_", name)]


def test_requirements_are_those_of_the_lists(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        stated = Parser().parsestr(archive.read(path).decode()).get_all("Requires-Dist")
    plain = {text for text in stated if "extra ==" not in text}
    assert {str(Requirement(text)) for text in plain} == required("requirements-predict.txt")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["metadata"]["hooks"]
    for extra, files in extras["requirements_txt"]["optional-dependencies"].items():
        named = {Requirement(text).name for text in stated if f"extra == '{extra}'" in text.replace('"', "'")}
        assert named == {canonicalize_name(Requirement(text).name) for text in required(*files)}


def test_locked_versions_satisfy_the_lists() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(version)
    for requirement in map(Requirement, required(*(path.name for path in LISTS))):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, requirement
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ich-predict`, installed from the wheel into an empty environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", wheel, "-c", ROOT / "constraints.txt"], check=True)
    return folder / "bin" / "ich-predict"


def call(command: Path, folder: Path, *given: str) -> subprocess.CompletedProcess[str]:
    """In a folder of a user, which knows nothing of the checkout or of the environment of the tests."""
    return subprocess.run([command, *given], cwd=folder, env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
                          capture_output=True, text=True)  # fmt: skip


@pytest.mark.slow
def test_installed_command_predicts_in_any_folder(command: Path, tmp_path: Path) -> None:
    made = make_patient(5, 0, 128)  # with blood
    write_nifti(tmp_path / "head.nii.gz", made.hu, made.affine)
    done = call(command, tmp_path, "head.nii.gz", "--view")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "using the shipped network" in done.stdout
    results = tmp_path / "predicted" / "head"
    assert nib.load(results / "mask.nii.gz").get_fdata().any()
    assert "niivue" in (results / "view.html").read_text(encoding="utf-8")
    facts = read_json(results / "run.json")
    assert facts["packages"]["ich-detector"] == record.version()
    assert {"keras", "tensorflow"}.isdisjoint(facts["packages"])


@pytest.mark.slow
def test_installed_command_names_itself_and_its_own_lists(command: Path, tmp_path: Path) -> None:
    shown = call(command, tmp_path, "--help").stdout
    assert shown.startswith("usage: ich-predict ")
    assert "    ich-predict scan.nii.gz dicom_folder" in shown
    wrong = call(command, tmp_path, "--colour")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: unrecognized arguments: --colour; `ich-predict --help` lists the flags\n"
    advice = call(command, tmp_path, "--export", "exported").stderr
    lists = re.findall(r"-r (\S+?)[ )]", advice)
    assert lists
    assert all(Path(path).is_file() for path in lists)
