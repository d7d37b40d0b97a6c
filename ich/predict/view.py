"""One page that shows a scan with its mask, in any browser, without a network: NiiVue and both volumes inside."""

import base64
import gzip
import html
import string
from pathlib import Path

import nibabel as nib
import numpy as np

from ich.ct import Window
from ich.predict.scan import Scan
from ich.rsna.dicom import AIR_HU, BRIGHTEST_HU
from ich.runs import RESEARCH_ONLY, write_text

HERE = Path(__file__).parent
NIIVUE = HERE / "niivue" / "niivue.umd.js"  # 2.3 MB, BSD-2; its licence lies beside it


def write(path: Path, scan: Scan, mask: np.ndarray, window: Window, title: str) -> None:
    """Write the page of a scan and its bool mask (one plane a slice, the file's order of axes).

    It opens at the slice with most blood.
    """
    voxels, mask = scan.on_grid(scan.voxels, AIR_HU), scan.on_grid(mask)
    area = scan.upright(mask).sum(axis=(1, 2))
    most = int(area.argmax()) if mask.any() else len(area) // 2
    upwards = scan.grid.ornt[2, 1] > 0
    height = (most + 0.5) / len(area)
    page = string.Template((HERE / "view.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=html.escape(title), note=RESEARCH_ONLY, niivue=NIIVUE.read_text(encoding="utf-8"),
        scan=_base64(np.clip(voxels, AIR_HU, BRIGHTEST_HU).astype(np.int16), scan.affine),
        mask=_base64(mask.astype(np.uint8), scan.affine), low=window.level - window.width / 2,
        high=window.level + window.width / 2, height=height if upwards else 1 - height,
    )  # fmt: skip
    write_text(path, text)


def _base64(voxels: np.ndarray, affine: np.ndarray) -> str:
    """A NIfTI file, compressed, as text."""
    content = nib.Nifti1Image(voxels, affine).to_bytes()
    return base64.b64encode(gzip.compress(content, compresslevel=1, mtime=0)).decode()
