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
from ich import cli, lock
from ich.errors import InputError
from ich.predict import inputs, job, networks


def main(argv: Sequence[str] | None = None) -> None:
    config = cli.parse(settings.Predict, __doc__, argv)
    networks.check(config)
    if config.export:
        networks.export(config, config.export)
        return
    scans = inputs.find(config.scans, config.orientation, config.series)
    work = networks.prepare(config)
    with lock.writing(config.out):
        _predict(work, scans)


def _predict(work: job.Job, scans: list[inputs.Input]) -> None:
    """All scans; one that is refused does not keep the others back."""
    refused = []
    for given in scans:
        try:
            job.predict_once(work, given)
        except InputError as error:
            refused.append(str(error))
            if len(scans) > 1:
                print(f"refused: {error}")
    if len(refused) < len(scans):
        job.write_volumes(work.config.out)
        print(f"-> {work.config.out}: {job.VOLUMES} and a folder for each scan")
    if refused:
        raise InputError(refused[0] if len(scans) == 1 else f"{len(refused)} of {len(scans)} scans were refused")


if __name__ == "__main__":
    cli.run(main)
