"""Head CTs in, masks out: NIfTI files, DICOM folders, or folders of them.

    python predict.py scan.nii.gz dicom_folder --out predicted --view
    python predict.py --export exported               (the networks as an ONNX file, with a model card)
    python predict.py dicom_folder --model exported   (predicts with them; needs neither TensorFlow nor Keras)

reads   the scans; <runs>/<protocol>/<run>/fold_*/, or the exported folder
writes  <out>/volumes.csv, and for each scan <out>/<scan>/: mask.nii.gz overlay.png run.json; mask.dcm (DICOM-SEG)
        and report.dcm (DICOM SR) of a DICOM scan; mask_upright.nii.gz scan_upright.nii.gz of a scan with gantry tilt;
        where asked for probabilities.nii.gz, view.html and, of DICOM, scan.nii.gz
The mask lies on the scan's own voxels. Scans that are predicted already are skipped.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # python -P leaves it out

import ich.base.environment  # noqa: F401

import config as settings
from ich.base import flags, lock, script
from ich.base.errors import InputError, printable
from ich.predict import inputs, job, naming, networks, results


def main(argv: Sequence[str] | None = None) -> None:
    config = flags.parse(settings.Predict, __doc__, argv)
    networks.check(config)
    if config.export:
        networks.export(config, config.export)
        return
    found = inputs.look(config.scans, config.orientation, config.series, config.out)
    for note in [*found.notes, *inputs.unused(config, found.scans)]:
        print(f"note: {printable(note)}")
    number, reasons = len(found.scans) + len(found.refused), []
    for reason in _predict(config, found):
        reasons.append(reason)
        if number > 1:
            print(f"refused: {printable(reason)}")
    for note in naming.left_behind(found.scans, config.scans, config.out):
        print(f"note: {printable(note)}")
    if reasons:
        several = f"{len(reasons)} of {number} scans were refused; the lines above say why"
        raise InputError(reasons[0] if number == 1 else several)


def _predict(config: settings.Predict, found: inputs.Found) -> Iterator[str]:
    """Write the results of all scans and volumes.csv; yield why a scan or path is refused, then go on."""
    yield from found.refused
    if not found.scans:
        return
    work = networks.prepare(config)
    with lock.writing(config.out):
        results.check(config.out)
        predicted = 0
        for scan in naming.named(found.scans, config.out):
            try:
                job.predict_once(work, scan)
                predicted += 1
            except InputError as error:
                yield str(error)
        for note in results.write_volumes(config.out):
            print(f"note: {note}")
        if predicted:
            print(f"-> {config.out}: {results.VOLUMES} and a folder for each scan")


def run() -> None:
    """The command `ich-predict`, where the project is installed."""
    script.run(main)


if __name__ == "__main__":
    run()
