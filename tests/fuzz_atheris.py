"""Coverage-guided fuzzing of one reader, by hand; test_fuzz.py is the bounded part that always runs.

    pip install atheris
    python tests/fuzz_atheris.py dicom -max_total_time=300      (targets: see fuzz_targets.TARGETS)

Stops at the first input that ends in anything but InputError, and says where it is kept.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
with atheris.instrument_imports(include=["ich", "nibabel", "pydicom"]):
    import fuzz_targets
from ich.base.errors import InputError  # noqa: E402


def main() -> None:
    name, folder = sys.argv[1], Path(tempfile.mkdtemp(prefix="fuzz_"))
    target, whole = fuzz_targets.TARGETS[name]
    corpus, work = folder / "corpus", folder / "work"
    for each in (corpus, work):
        each.mkdir()
    wholes = [whole()] if name != "dicom" else [fuzz_targets.dicom_bytes(each) for each in fuzz_targets.SYNTAXES]
    for place, content in enumerate(wholes):
        (corpus / str(place)).write_bytes(content)
    warnings.simplefilter("ignore")

    def once(content: bytes) -> None:
        try:
            target(work, content)
        except InputError:
            return  # what a reader may end in

    flags = [f"-artifact_prefix={folder}/", "-timeout=10", "-max_len=20000", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], str(corpus), *flags, *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
