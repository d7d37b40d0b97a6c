"""Step 0. Write phantom head CTs in the layout of CT-ICH, to try everything without patient data.

    python make_demo_data.py --out demo --patients 30 --size 256 --seed 0

writes  <out>/ct-ich/ct_scans/NNN.nii  masks/NNN.nii  hemorrhage_diagnosis_raw_ct.csv  Patient_demographics.csv
        <out>/rsna/classes/<class>/*.dcm, test/*.dcm  slices of many heads as DICOM, in folders by class
        <out>/rsna/kaggle/stage_2_train.csv, stage_2_train/ID_*.dcm  the same in the layout of the RSNA competition
        <out>/unseen/scan.nii, unseen/dicom/*.dcm  one more head, for predict.py
        <out>/phantoms.png, a contact sheet
Then: python split_raw_data.py --raw demo/ct-ich
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import config as settings
from ich.base import flags, lock, script, steps
from ich.phantom import ct_ich, rsna, series
from ich.phantom import sheet as contact_sheet


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.DemoData, __doc__, argv)
    with lock.writing(config.out):
        _write(config)
    steps.tell_next(f"split_raw_data.py --raw {shlex.quote(str(config.out / 'ct-ich'))}", config, "seed")


def _write(config: settings.DemoData) -> None:
    ct_ich.write_ct_ich(
        config.out / "ct-ich", config.patients, config.size, config.seed, config.style, quiet=config.quiet
    )
    sheet = config.out / "phantoms.png"
    if not sheet.exists():
        contact_sheet.write(sheet, config.size, config.seed, config.style)
    print(f"{config.patients} phantom heads of {config.size} px -> {config.out / 'ct-ich'}; contact sheet {sheet}")
    if config.scans_only:
        return
    series.write_unseen(config.out / "unseen", config.patients, config.size, config.seed, config.style)
    print(f"one more head, as NIfTI and as a DICOM series -> {config.out / 'unseen'}")
    rsna.write_rsna(
        config.out / "rsna", config.rsna_patients, config.rsna_size, config.seed, config.style, quiet=config.quiet
    )
    print(f"slices of {config.rsna_patients} heads of {config.rsna_size} px as DICOM -> "
          f"{config.out / 'rsna' / 'classes'} and {config.out / 'rsna' / 'kaggle'}")  # fmt: skip


if __name__ == "__main__":
    script.run(main)
