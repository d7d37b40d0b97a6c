"""Damaged files of every kind: a reader gives something or raises InputError, soon, with little memory, and no more.

The examples follow from the code (derandomize), so a failure comes again. Longer, and guided by coverage:
fuzz_atheris.py.
"""

import contextlib
import dataclasses
import gzip
import math
import signal
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import hypothesis
import nibabel as nib
import numpy as np
import pydicom
import pytest
from fuzz_targets import SYNTAXES, TARGETS, dicom_bytes, nifti_bytes
from hypothesis import strategies as st
from predict_files import bright_is_blood

import config as settings
from ich.base import flags
from ich.base.errors import InputError
from ich.base.paths import Training
from ich.train import prediction

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
MOST_SECONDS, MOST_BYTES = 5, 2**26  # 64 MiB: a whole 4096 x 4096 slice and its copies are the largest that may be
ODD = (b"\0", b"\xff", b"\x7f\xff", b"\x80\0", bytes(8), b"\xff" * 8, struct.pack("<f", math.nan), b"\xef\xbb\xbf",
       struct.pack("<f", 1e30), struct.pack("<d", -1), b",", b"\n", b"\r", b'"', b";", b"'", b"nan", b"-1", b"1e999",
       b"../", b"9" * 30, b"True", b"=1+1", "ä".encode("utf-16"))  # fmt: skip


def examples(number: int) -> hypothesis.settings:
    return hypothesis.settings(
        derandomize=True, database=None, deadline=None, max_examples=number,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip


class Hang(BaseException):
    """No Exception: a reader that catches all of a library's would take it for damage."""


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Fails when what is inside takes too long or too much memory; InputError is what it may end in."""

    def late(*_: object) -> None:
        raise Hang(f"longer than {MOST_SECONDS} s")

    kept = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    tracemalloc.start()
    try:
        with contextlib.suppress(InputError):
            yield
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


@st.composite
def damaged(draw: st.DrawFn, wholes: Sequence[bytes]) -> bytes:
    """One of some files with one to six edits: bytes set, left out, put in, or the rest cut off."""
    content = bytearray(draw(st.sampled_from(wholes)))
    edit = st.tuples(st.sampled_from(("set", "set", "drop", "add", "cut")), st.integers(0, 2**14),
                     st.sampled_from(ODD) | st.binary(min_size=1, max_size=4))  # fmt: skip
    for kind, place, piece in draw(st.lists(edit, min_size=1, max_size=6)):
        at = place % (len(content) + 1)
        end = len(content) if kind == "cut" else at + len(piece) * (kind != "add")
        content[at:end] = piece if kind in ("set", "add") else b""
    return bytes(content)


def run(folder: Path, name: str, content: bytes) -> None:
    """Gives bytes to a reader; nothing may appear beside its folder."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    with watched():
        TARGETS[name][0](work, content)
    assert [path.name for path in folder.iterdir()] == ["work"]


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read(name: str, tmp_path: Path) -> None:
    TARGETS[name][0](tmp_path, TARGETS[name][1]())


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_bytes(name: str, tmp_path: Path) -> None:
    wholes = [dicom_bytes(syntax) for syntax in SYNTAXES] if name == "dicom" else [TARGETS[name][1]()]

    @examples(100)
    @hypothesis.given(damaged(wholes))
    def check(content: bytes) -> None:
        run(tmp_path, name, content)

    check()


NUMBERS = st.sampled_from((0, 1, -1, 2, 255, 32767, -32768, 2**31 - 1, 1e-30, 1e30, math.nan, math.inf, -math.inf))
FIELDS = [name for name in nib.Nifti1Header.template_dtype.names if name not in ("sizeof_hdr", "magic")]


def with_fields(content: bytes, values: dict[str, float]) -> bytes:
    """A NIfTI file with other values in fields of its header, as far as their types hold them."""
    header = np.frombuffer(content[:348], nib.Nifti1Header.template_dtype).copy()
    for name, value in values.items():
        kind = header.dtype[name].base
        if kind.kind == "S":
            header[name] = str(value)
        elif kind.kind == "f":
            header[name] = value
        elif math.isfinite(value):
            header[name] = np.clip(value, *np.array((np.iinfo(kind).min, np.iinfo(kind).max), float))
    return header.tobytes() + content[348:]


@examples(150)
@hypothesis.given(
    values=st.dictionaries(st.sampled_from(FIELDS), NUMBERS, min_size=1, max_size=4), packed=st.booleans()
)
def test_nifti_headers_of_odd_numbers(tmp_path_factory: pytest.TempPathFactory, values: dict, packed: bool) -> None:
    content = with_fields(nifti_bytes(), values)
    name = "nifti.gz" if packed else "nifti"
    run(tmp_path_factory.mktemp("a"), name, gzip.compress(content, mtime=0) if packed else content)


ELEMENTS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "ImageType",
    "Modality", "PatientID", "WindowCenter", "WindowWidth", "PixelPaddingValue", "PixelData", "SeriesInstanceUID",
    "SOPInstanceUID", "PhotometricInterpretation", "SeriesDescription",
)  # fmt: skip
VALUES = (None, "", 0, 1, 3, -1, 65535, 1e300, "nan", "inf", "x", "1e999", b"", bytes(7), [1, 2], [0.0] * 3, [0.0] * 6,
          ["nan"] * 3, [1, 0, 0, 1, 0, 0], [1e300] * 2, ["a", "b"])  # fmt: skip


@examples(150)
@hypothesis.given(
    values=st.dictionaries(st.sampled_from(ELEMENTS), st.sampled_from(VALUES), min_size=1, max_size=4),
    syntax=st.sampled_from(SYNTAXES),
)
def test_dicom_elements_of_odd_values(tmp_path_factory: pytest.TempPathFactory, values: dict, syntax: str) -> None:
    kept = pydicom.config.settings.writing_validation_mode
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        content = dicom_bytes(syntax, **values)
    except Exception:  # not even pydicom's writer takes it
        hypothesis.reject()
    finally:
        pydicom.config.settings.writing_validation_mode = kept
    run(tmp_path_factory.mktemp("a"), "dicom", content)


TABLES = ("diagnosis", "slices", "split", "patients", "labels", "rsna")
CELLS = st.sampled_from(("", " ", "nan", "NaN", "NA", "-1", "0", "1", "2.5", "1e999", "True", "a/b", "..", "=1+1",
                         "\u0085", '"', "'", "9" * 40, "\x1b[31m", "train", "ä" * 300, "1,2", "1\n2"))  # fmt: skip


@st.composite
def changed_table(draw: st.DrawFn, content: bytes) -> bytes:
    """A CSV with cells, columns and rows changed, left out or doubled."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    for row, column, cell in draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), CELLS), max_size=4)):
        line = rows[row % len(rows)]
        line[column % len(line)] = cell
    if draw(st.booleans()):
        place = draw(st.integers(0, 99)) % len(rows[0])
        times = draw(st.sampled_from((0, 2)))
        rows = [line[:place] + line[place : place + 1] * times + line[place + 1 :] for line in rows]
    if draw(st.booleans()):
        rows = [rows[0], *draw(st.lists(st.sampled_from(rows), max_size=6))]
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")))
    return "\n".join(",".join(line) for line in rows).encode(encoding)


@pytest.mark.parametrize("name", TABLES)
def test_changed_tables(name: str, tmp_path: Path) -> None:
    @examples(100)
    @hypothesis.given(changed_table(TARGETS[name][1]()))
    def check(content: bytes) -> None:
        run(tmp_path, name, content)

    check()


CLASSES = [each for each in vars(settings).values() if dataclasses.is_dataclass(each)]
STEPS = [each for each in CLASSES if issubclass(each, settings.Common)]
FLAGS = sorted(
    {flags._flag(field.name) for step in STEPS for field in dataclasses.fields(step)} - {"--quiet", "--debug"}
)
NOT_FLAGS = ("", "0", "1", "-1", "2.5", "nan", "inf", "1e400", "9" * 30, "x", "../x", "unet=4", "=", "40/120")
WORDS = st.sampled_from((*FLAGS, *NOT_FLAGS))


@examples(150)
@hypothesis.given(step=st.sampled_from(STEPS), words=st.lists(WORDS | st.text(max_size=6), max_size=6))
def test_flags(step: type, words: list[str]) -> None:
    with watched():
        try:
            found = flags.parse(step, "", [*words, "--quiet"])
        except SystemExit as stop:
            assert stop.code == 0  # --help
            return
        flags.check_limits(found)


@examples(150)
@hypothesis.given(
    step=st.sampled_from(STEPS), name=st.sampled_from(sorted(settings.Common.LIMITS)),
    value=NUMBERS | st.sampled_from(("", "10", True, [1], {})),
)  # fmt: skip
def test_values_in_config_py(step: type, name: str, value: object) -> None:
    config = step()
    if hasattr(config, name):
        setattr(config, name, value)
        with watched():
            flags.check_limits(config)
            low, high = step.LIMITS[name]
            assert low <= value <= high


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("network") / "last.keras"
    bright_is_blood(1).save(path)
    return path.read_bytes()


def test_damaged_networks(network: bytes, tmp_path: Path) -> None:
    training = Training(tmp_path)

    @examples(60)
    @hypothesis.given(damaged([network]))
    def check(content: bytes) -> None:
        training.last.write_bytes(content)
        with watched():
            prediction.load(training, "last")

    check()
