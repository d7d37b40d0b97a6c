"""Head CTs in, masks out: NIfTI files, DICOM folders, or folders of them.

    python predict.py scan.nii.gz dicom_folder --out predicted --view
    python predict.py --export exported               (the networks as OpenVINO and ONNX files, with a model card)
    python predict.py dicom_folder --model exported   (predicts with them; needs neither TensorFlow nor Keras)

reads   the scans; <runs>/<protocol>/<run>/fold_*/, or the exported folder
writes  <out>/volumes.csv, and for each scan <out>/<scan>/: mask.nii.gz overlay.png run.json; mask.dcm (DICOM-SEG) of
        a DICOM scan; mask_upright.nii.gz scan_upright.nii.gz of a scan with gantry tilt; where asked for
        probabilities.nii.gz, view.html and, of DICOM, scan.nii.gz
The mask lies on the scan's own voxels. Scans that are predicted already are skipped.
"""

from collections.abc import Sequence

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
    refusals = Refusals(len(found.scans) + len(found.refused))
    for reason in found.refused:
        refusals.add(reason)
    if found.scans:
        work = networks.prepare(config)
        with lock.writing(config.out):
            _predict(work, found.scans, refusals)
    for note in naming.left_behind(found.scans, config.scans, config.out):
        print(f"note: {printable(note)}")
    refusals.end()


def _predict(work: job.Job, scans: list[inputs.Input], refusals: "Refusals") -> None:
    """All scans, and volumes.csv; one scan that is refused does not keep the others back."""
    results.check(work.config.out)
    predicted = 0
    for given in naming.named(scans, work.config.out):
        try:
            job.predict_once(work, given)
            predicted += 1
        except InputError as error:
            refusals.add(str(error))
    for note in results.write_volumes(work.config.out):
        print(f"note: {note}")
    if predicted:
        print(f"-> {work.config.out}: {results.VOLUMES} and a folder for each scan")


class Refusals:
    """Why some of `number` scans and paths were refused: printed as it happens, an error in the end."""

    def __init__(self, number: int) -> None:
        self.number, self.reasons = number, []

    def add(self, reason: str) -> None:
        self.reasons.append(reason)
        if self.number > 1:
            print(f"refused: {printable(reason)}")

    def end(self) -> None:
        """Raise InputError if anything was refused."""
        if self.reasons:
            several = f"{len(self.reasons)} of {self.number} scans were refused; the lines above say why"
            raise InputError(self.reasons[0] if self.number == 1 else several)


if __name__ == "__main__":
    script.run(main)
