"""All benchmarks, one after another, and their one table.

    python benchmarks/run.py                          (all of them; keep the machine quiet)
    python benchmarks/run.py --only loader memory     (some; the table keeps the others' last figures)
    python benchmarks/run.py --only                   (none: only writes the table again)
    python benchmarks/run.py --network runs/patient/dunet/fold_01/last.keras --threshold 0.3   (Dice of a trained one)

writes  benchmarks/results/<benchmark>.json, benchmarks/results/table.md, and the table in docs/performance.md
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import ich.base.environment  # noqa: F401

from benchmarks import common, machine
from ich.base.files import read_json, write_text

NAMES = ("split", "rsna_preprocess", "rsna_size", "predict", "train_step", "loader", "memory", "experiment")
FOR_GPU = "experiment"  # without a GPU it runs on tiny networks, as a check; its figures mean nothing
PAGE = common.ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "openvino", "onnxruntime", "numpy")


def main() -> int:
    usual = [name for name in NAMES if machine.gpu() or name != FOR_GPU]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=usual, choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--page", type=Path, default=PAGE, help="page with the two marks between which the table goes")
    parser.add_argument("--results", type=Path, default=common.RESULTS, help="folder of the JSON and of table.md")
    parser.add_argument("--network", type=Path, help="for predict: a trained .keras file, so that Dice means something")
    parser.add_argument("--threshold", type=float, default=0.5, help="for predict: that of the network's run")
    flags = parser.parse_args()
    failed = [name for name in flags.only if run(name, flags)]
    text = report(flags.results)
    write_text(flags.results / "table.md", text)
    write_text(flags.page, between_marks(flags.page.read_text(encoding="utf-8"), text))
    print(f"\n{text}")
    if failed:
        print(f"failed: {', '.join(failed)}; the table holds their last figures, if there are any")
    return len(failed)


def run(name: str, flags: argparse.Namespace) -> int:
    """Run one benchmark; its exit status."""
    print(f"\n== {name}", flush=True)
    began, command = time.time(), [sys.executable, f"benchmarks/{name}.py", "--results", str(flags.results.resolve())]
    if name == "predict" and flags.network:
        command += ["--network", str(flags.network.resolve()), "--threshold", str(flags.threshold)]
    status = subprocess.run(command, cwd=common.ROOT).returncode
    print(f"{time.time() - began:.0f} s", flush=True)
    return status


def report(results: Path) -> str:
    """Machines and versions, then a table of all figures measured so far."""
    found = {name: read_json(path) for name in NAMES if (path := results / f"{name}.json").exists()}
    if not found:
        return "Not measured yet.\n"
    rows = [{"benchmark": name, **row} for name, result in found.items() for row in result["summary"]]
    measured = dict.fromkeys(f"{machine_line(result)} ({result['finished'][:10]})" for result in found.values())
    return "\n".join([*measured, "", common.table(rows), ""])


def machine_line(result: dict) -> str:
    """Processor, cores, memory, GPU and versions in one line."""
    facts, packages = result["machine"], result["packages"]
    parts = [facts["cpu"], f"{facts['cores']} cores"]
    parts += [f"{facts['memory_gib']} GiB"] if facts["memory_gib"] else []
    parts += [facts["gpu"]] if facts["gpu"] else []
    parts += [f"Python {result['python']}", *(f"{name} {packages[name]}" for name in PACKAGES if name in packages)]
    return ", ".join(parts)


def between_marks(page: str, text: str) -> str:
    """The page with `text` between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
