"""An import that fails is one line that says what to install or activate, for every script."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest
from predict_files import write_nifti

from ich.base import environment
from ich.phantom.head import make_patient

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (*ROOT.glob("*.py"), *ROOT.glob("benchmarks/*.py")) if "__main__" in path.read_text())
# Not in requirements-predict.txt
HEAVY = ("matplotlib", "sklearn", "tqdm", "surface_distance", "jinja2", "keras", "tensorflow")


def stub(folder: Path, name: str, text: str) -> Path:
    """A folder with a module that is found in place of the installed one."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def barred(folder: Path, *names: str) -> Path:
    """A folder whose sitecustomize hides packages as if they were not installed."""
    return stub(
        folder,
        "sitecustomize",
        f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name in {names!r} else find(name, *rest)
""",
    )


def run(script: Path, *flags: str, path: Path | None = None, python: tuple[str, ...] = (), **environment: str
        ) -> subprocess.CompletedProcess[str]:  # fmt: skip
    environment = {**os.environ, "LD_LIBRARY_PATH": "", **environment}
    if path:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *python, str(script), *flags]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, encoding="utf-8")


def line_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_package_installed_and_the_folder_not_on_the_path(script: Path) -> None:
    line = line_of(run(script, python=("-S", "-P")))
    assert re.search(r"numpy is not installed for .*; (pip install -r requirements\.txt|source .*activate)$", line)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_another_python(script: Path, tmp_path: Path) -> None:
    old = stub(tmp_path, "sitecustomize", "import sys\nsys.version_info = (3, 8, 18)\nsys.version = '3.8.18 (main)'\n")
    assert "this is Python 3.8.18 (" in (line := line_of(run(script, path=old)))
    assert "expected 3.11 to 3.13; " in line


@pytest.mark.parametrize(
    "path", [*SCRIPTS, ROOT / "ich/__init__.py", ROOT / "ich/base/__init__.py", ROOT / "ich/base/environment.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_old_pythons_can_read_as_far_as_the_line(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


LIBGL = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory", name="cv2")'
GLIBCXX = """
try:
    raise ImportError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found", name="numpy._core._multiarray_umath")
except ImportError as error:
    raise ImportError('''

IMPORTANT: PLEASE READ THIS FOR ADVICE ON HOW TO SOLVE THIS ISSUE!
''') from error
"""
FAILING: dict[str, tuple[str, str, str, str]] = {  # script, module, its text, line
    "libGL": ("split_raw_data.py", "cv2", LIBGL,
              r"cv2 is installed and cannot be loaded \(libGL\.so\.1: .*\); (pip install --force-reinstall -r|source)"),
    "libGL, benchmark": ("benchmarks/split.py", "cv2", LIBGL, r"cv2 is installed and cannot be loaded \(libGL"),
    "libstdc++": ("trials.py", "numpy", GLIBCXX, r"numpy is installed and cannot be loaded \(libstdc\+\+\.so\.6: vers"),
    "another NumPy": ("main.py", "numpy", "__version__ = '1.26.4'", r"NumPy is 1\.26\.4, expected 2\.x; "),
    "pandas": ("tests.py", "pandas", "raise ModuleNotFoundError('No module', name='pandas')",
               "pandas is not installed"),
    "of a package": ("trials.py", "pandas", "raise ModuleNotFoundError('No module', name='dateutil.tz')",
                     "dateutil is not installed for .*; (pip install dateutil|source)"),
    "of predict.py": ("predict.py", "nibabel", "raise ModuleNotFoundError('No module', name='nibabel')",
                      "nibabel is not installed"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "module", "text", "line"), FAILING.values(), ids=FAILING.keys())
def test_imports_that_fail(script: str, module: str, text: str, line: str, tmp_path: Path) -> None:
    assert re.search(line, line_of(run(ROOT / script, "--help", path=stub(tmp_path, module, text))))


@pytest.mark.parametrize("library", ["", "/opt/conda/lib"])
def test_library_path_of_the_shell_is_named(library: str, tmp_path: Path) -> None:
    line = line_of(run(ROOT / "main.py", path=stub(tmp_path, "cv2", LIBGL), LD_LIBRARY_PATH=library))
    assert ("unset LD_LIBRARY_PATH, or " in line) == bool(library)


def test_keras_that_cannot_be_imported(project: object, tmp_path: Path) -> None:
    path = stub(tmp_path, "keras", "import sys\nprint('note', file=sys.stderr)\nimport absl_is_missing\n")
    flags = ["--data", str(project.data), "--runs", str(tmp_path / "runs"), "--models", "dunet=2", "--quiet"]
    assert "absl_is_missing is not installed" in line_of(run(ROOT / "main.py", *flags, path=path))


def test_predict_imports_only_what_it_needs(tmp_path: Path) -> None:
    listed = (ROOT / "requirements-predict.txt").read_text(encoding="utf-8")
    assert not [name for name in HEAVY if re.search(rf"^{name}", listed, re.MULTILINE)]
    done = run(ROOT / "predict.py", "/nowhere.nii", path=barred(tmp_path, *HEAVY))
    assert "nowhere.nii" in line_of(done)


def test_shipped_network_predicts_with_only_what_it_needs(tmp_path: Path) -> None:
    head = make_patient(5, 0, 128)  # with blood
    scan = write_nifti(tmp_path / "head.nii.gz", head.hu, head.affine)
    given = [str(scan), "--out", str(tmp_path / "out"), "--view"]
    done = run(ROOT / "predict.py", *given, path=barred(tmp_path / "bar", *HEAVY))
    assert done.returncode == 0, done.stderr
    assert "using the shipped network" in done.stdout
    assert "exporting" not in done.stdout
    assert nib.load(tmp_path / "out" / "head" / "mask.nii.gz").get_fdata().any()
    assert (tmp_path / "out" / "head" / "view.html").exists()


def test_scripts_run_without_their_folder_on_the_path() -> None:
    done = run(ROOT / "trials.py", "--runs", "/nowhere", "--quiet", python=("-P",))
    assert "no finished fold" in line_of(done)


def test_faults_of_the_project_keep_their_traceback(tmp_path: Path) -> None:
    done = run(ROOT / "trials.py", path=stub(tmp_path, "jinja2", "import ich.nothing"))
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)


def test_debug_shows_the_traceback_too(tmp_path: Path) -> None:
    done = run(ROOT / "trials.py", "--debug", path=stub(tmp_path, "jinja2", LIBGL))
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("error: cv2 is installed and cannot be loaded")


ADVICE = {"cv2": "requirements.txt", "sklearn": "requirements.txt", "surface_distance": "requirements.txt",
          "openvino": "requirements-predict.txt", "ray": "requirements-cluster.txt", "pytest": "requirements-dev.txt",
          "numpy": "requirements.txt"}  # fmt: skip


@pytest.mark.parametrize(("name", "file"), ADVICE.items())
def test_requirement_file_of_a_package(name: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_activate", str)
    line = environment.line(ModuleNotFoundError(f"No module named {name!r}", name=f"{name}.part"))
    assert line == f"{name} is not installed for {sys.executable}; pip install -r {file}"


def test_environment_that_is_not_activated_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    missing = ModuleNotFoundError("No module named 'numpy'", name="numpy")
    assert environment.line(missing).endswith(f"; source {tmp_path}/.venv/bin/activate")
    monkeypatch.chdir(tmp_path)
    assert environment.line(missing).endswith("; source .venv/bin/activate")


def test_versions_are_those_of_the_requirements() -> None:
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in
             ("pyproject.toml", "environment.sh", "requirements-common.txt", "requirements-predict.txt")}  # fmt: skip
    (old_major, old), (new_major, new) = environment.OLDEST, environment.NEWEST
    assert f'requires-python = ">={old_major}.{old},<{new_major}.{new + 1}"' in texts["pyproject.toml"]
    assert f"{environment.OLDEST} <= sys.version_info[:2] <= {environment.NEWEST}" in texts["environment.sh"]
    for path in ("requirements-common.txt", "requirements-predict.txt"):
        assert re.search(rf"^numpy~={environment.NUMPY}\.", texts[path], re.MULTILINE)
