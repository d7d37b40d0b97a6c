"""In what the layers compute: as given, or by GPU, CPU, backend and kind of network; the machine is a made-up one."""

from pathlib import Path

import keras
import pytest

from ich.base import cpu
from ich.train import device

INTEL = "processor\t: 0\nmodel name\t: a CPU\nflags\t\t: fpu sse avx2 avx512f {}\nbugs\t\t: none\n\n"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TensorFlow without a GPU, on a system that says nothing of its CPU."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    monkeypatch.setattr(device, "gpu_name", lambda: None)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setattr(cpu, "FACTS", tmp_path / "cpuinfo")


def on_cpu(text: str) -> None:
    cpu.FACTS.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "facts, expected",
    [
        (INTEL.format("avx512_bf16 amx_bf16 amx_tile amx_int8"), "mixed_bfloat16"),
        (INTEL.format("amx_bf16") * 2, "mixed_bfloat16"),
        (INTEL.format("avx512_bf16"), "float32"),  # was slower
        (INTEL.format("avx512_vnni amx_int8"), "float32"),
        (INTEL.format("amx_bf16x not_amx_bf16"), "float32"),  # whole names count
        ("flags : fpu\nbugs : amx_bf16\n", "float32"),  # of another line
        ("processor : 0\nFeatures : fp asimd bf16 svebf16\n", "float32"),  # an ARM processor: not measured
        ("", "float32"),
    ],
)
def test_auto_on_a_cpu(facts: str, expected: str) -> None:
    on_cpu(facts)
    assert device.choose_precision("auto") == expected


def test_auto_where_no_file_tells_of_the_cpu() -> None:
    """As on macOS and Windows."""
    assert not cpu.FACTS.exists()
    assert device.choose_precision("auto") == "float32"


@pytest.mark.parametrize("backend, expected", [("torch", "mixed_bfloat16"), ("jax", "float32")])
def test_auto_by_backend(monkeypatch: pytest.MonkeyPatch, backend: str, expected: str) -> None:
    on_cpu(INTEL.format("amx_bf16"))
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert device.choose_precision("auto") == expected


@pytest.mark.parametrize("switch, expected", [("0", "float32"), ("1", "mixed_bfloat16")])
def test_auto_with_onednn_switched_off(monkeypatch: pytest.MonkeyPatch, switch: str, expected: str) -> None:
    """TensorFlow's own convolutions emulate bfloat16."""
    on_cpu(INTEL.format("amx_bf16"))
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", switch)
    assert device.choose_precision("auto") == expected


def test_auto_with_depthwise_convolutions_is_float32_on_any_cpu() -> None:
    on_cpu(INTEL.format("amx_bf16"))
    assert device.choose_precision("auto", depthwise=True) == "float32"


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_auto_on_a_gpu(monkeypatch: pytest.MonkeyPatch, backend: str, depthwise: bool) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(device, "gpu_name", lambda: "a GPU")
    assert device.choose_precision("auto", depthwise) == "mixed_bfloat16"


@pytest.mark.parametrize("wanted", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("gpu", [None, "a GPU"])
@pytest.mark.parametrize("flag", ["amx_bf16", ""])
def test_what_is_given_stays(monkeypatch: pytest.MonkeyPatch, wanted: str, gpu: str | None, flag: str) -> None:
    on_cpu(INTEL.format(flag))
    monkeypatch.setattr(device, "gpu_name", lambda: gpu)
    assert device.choose_precision(wanted) == device.choose_precision(wanted, depthwise=True) == wanted
