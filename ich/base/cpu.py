"""What the CPU says that it can do."""

import re
from pathlib import Path

FACTS = Path("/proc/cpuinfo")  # of Linux
# Multiplies tiles of bfloat16. With avx512_bf16 alone, which multiplies vectors, a training was slower than in float32.
BFLOAT16 = "amx_bf16"


def has_flag(name: str) -> bool:
    """Whether Linux lists this flag for the first CPU of an x86 machine; False elsewhere, where nothing says it."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", FACTS.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and name in flags[1].split()
