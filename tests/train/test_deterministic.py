"""--deterministic: two runs end with the same bits; each backend is set to deterministic kernels."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKENDS = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
ASKED = {  # Python that is true once the backend was told
    "tensorflow": "__import__('tensorflow.python.framework.config', fromlist=['']).is_op_determinism_enabled()",
    "jax": "'--xla_gpu_deterministic_ops=true' in os.environ['XLA_FLAGS']",
    "torch": "__import__('torch').are_deterministic_algorithms_enabled()",
}
TRAIN = """
import hashlib, json, sys
from pathlib import Path
import test_training as made
from ich.train import runner
split = made.split_of(made.bright_squares(), whole_scans=True)
job = made.job(Path(sys.argv[1]), split, deterministic=True)
runner.run_all([job], split, made.small)
weights = b"".join(each.tobytes() for path in (job.files.last, job.files.best) for each in made.weights(path))
print(json.dumps([hashlib.sha256(weights).hexdigest(), made.history(job).to_csv()]))
"""


def run(code: str, backend: str, *arguments: str) -> str:
    """What a process of its own prints last."""
    places = (ROOT, ROOT / "tests", Path(__file__).parent)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(map(str, places)),
                   "TF_CPP_MIN_LOG_LEVEL": "3"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_runs_end_with_the_same_weights_and_histories(backend: str, tmp_path: Path) -> None:
    one, two = (json.loads(run(TRAIN, backend, str(tmp_path / name))) for name in ("one", "two"))
    assert one == two
    assert one[1].count("\n") == 5  # the header and four epochs


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wanted", [True, False])
def test_the_backend_is_asked_for_it(backend: str, wanted: bool) -> None:
    code = "import os; os.environ.setdefault('XLA_FLAGS', ''); from ich.train import device; "
    code += f"device.choose_kernels({wanted})"
    assert run(f"{code}; print({ASKED[backend]})", backend) == str(wanted)
