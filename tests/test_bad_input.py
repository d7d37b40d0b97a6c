"""Whatever is handed over: a table of inputs with the line that each ends in (exit status 2), or that it works.

A case is (given, change, line). `given` is a small whole input of one step, copied for the case; `change` damages it;
`line` is a regular expression for the one line of stderr: the file, what was found, what to do.
Empty: the script must end well.
"""

import os
import re
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import broken
import nibabel as nib
import numpy as np
import pytest
from bad_given import (
    CUT,
    IDS,
    KFOLD,
    READ_WELL,
    SLICES,
    Change,
    Given,
    Place,
    a_run,
    both_suffixes,
    cell,
    dataset_json,
    dicom_series,
    edited_split,
    flags,
    huge,
    identity,
    linked,
    network_of,
    nifti_pairs,
    nifti_scan,
    nothing,
    other_network,
    own_pngs,
    rename_all,
    rsna,
    saved_as,
    several,
    split_of,
    swapped,
    table_of,
    unpaired,
    volumes,
    with_link,
)  # fmt: skip
from broken import (
    AFFINE,
    NAN,
    at,
    ct,
    every,
    instead,
    moved,
    of,
    one,
    packed,
    patients_called,
    put,
    table,
    voxels,
    with_value,
    without,
)
from conftest import Project
from predict_files import IDENTITY, bright_is_blood, job, phantom, write_nifti, write_run
from pydicom.uid import DeflatedExplicitVRLittleEndian

import config as settings
import create_data_set
import main
import main_kfold
import models
import rsna_preprocess
import rsna_train
import tests as test_set
from ich.base import paths, script
from ich.base.files import read_json, write_json
from ich.data.ct_ich import DIAGNOSIS
from ich.data.labels import DATASET
from ich.data.split import split_fingerprints
from ich.predict.method import Method
from ich.scans.window import Window
from ich.score.operating import FIXED

METHOD = Method(32, (Window(40, 120),), FIXED, {})

CASES: dict[str, tuple[Given, Change, str]] = {
    # NIfTI, as files
    "whole": (volumes, nothing, ""),
    "compressed": (volumes, packed(bytes), ""),
    "NIfTI-2": (volumes, lambda raw: broken.save(
        raw / "ct_scans/049.nii", nib.load(raw / "ct_scans/049.nii").get_fdata(), kind=nib.Nifti2Image), ""),
    "link to a file": (volumes, with_link, ""),
    "cut within the header": (volumes, ct(lambda raw: raw[:200]), r"049\.nii: is not a readable NIfTI file"),
    "cut within the magic": (volumes, ct(lambda raw: raw[:346]), r"049\.nii: is not a readable NIfTI file"),
    "cut after the header": (volumes, ct(lambda raw: raw[:352]), rf"049\.nii: {CUT}: has 352 bytes.*copy it again"),
    "cut within the voxels": (volumes, ct(lambda raw: raw[:-9]), rf"049\.nii: {CUT}: has 3223 bytes.*declares 3232"),
    "empty": (volumes, ct(lambda raw: b""), r"049\.nii: is not a readable NIfTI file .*copy"),
    "gzip cut within its magic": (volumes, packed(lambda raw: raw[:1]), r"049\.nii\.gz: is not a readable NIfTI"),
    "gzip cut within its header": (volumes, packed(lambda raw: raw[:7]), r"049\.nii\.gz: is not a readable NIfTI"),
    "gzip cut within the voxels": (volumes, packed(lambda raw: raw[:-30]), rf"049\.nii\.gz: ({CUT}|is not a readable)"),
    "gzip cut within its trailer": (volumes, packed(lambda raw: raw[:-4]), rf"049\.nii\.gz: {CUT}.*copy it again"),
    "gzip without a trailer": (volumes, packed(lambda raw: raw[:-8]), rf"049\.nii\.gz: {CUT}"),
    "gzip of another checksum": (volumes, packed(lambda raw: raw[:-8] + b"abcd" + raw[-4:]), rf"{CUT}.*CRC"),
    "text called .nii.gz": (volumes, packed(lambda raw: b"<!DOCTYPE html>"), r"049\.nii\.gz: is not a readable NIfTI"),
    "wrong magic": (volumes, ct(put(broken.MAGIC, b"abcd")), r"049\.nii: is not a readable NIfTI file"),
    "unknown type of voxels": (volumes, ct(put(broken.DATATYPE, b"\x63\x63")), r"049\.nii: is not a readable NIfTI"),
    "declares 100 MB": (volumes, ct(put(broken.DIMS, struct.pack("<4h", 3, 4000, 4000, 3))), rf"049\.nii: {CUT}"),
    "declares 70 TB": (volumes, packed(lambda _: broken.gzip.compress(huge())), r"32767 x 32767 x 32767, expected at"),
    "folder called .nii": (volumes, instead(Path.mkdir), r"049\.nii: is a folder, expected a file; move it away"),
    "broken link": (volumes, instead(linked), r"049\.nii: is a link to .*elsewhere\.nii, which is not there"),
    "named pipe": (volumes, instead(os.mkfifo), r"049\.nii: is not a regular file \(a pipe or device\)"),
    "CT missing": (volumes, lambda raw: (raw / "ct_scans/049.nii").unlink(), r"ct_scans/049\.nii\[\.gz\]: not found"),
    "mask missing": (volumes, lambda raw: (raw / "masks/049.nii").unlink(), r"masks/049\.nii\[\.gz\]: not found"),
    "both suffixes": (volumes, both_suffixes, r"049\.nii\[\.gz\]: is there twice, as 049\.nii and 049"),
    "unknown patient's volume": (volumes, moved("masks/103.nii", "ct_scans/200.nii"), r"200\.nii: .*not in hemorr|103"),
    # NIfTI, as volumes
    "two dimensions": (volumes, voxels(lambda found: found[:, :, 0]),
        r"049\.nii: has shape \(20, 24\), expected three"),
    "four dimensions": (volumes, voxels(lambda found: np.stack([found] * 2, -1)),
        r"049\.nii: has shape .*three dimens"),
    "NaN": (volumes, voxels(with_value(np.nan, np.float32)), r"049\.nii: has voxels that are NaN .*expected HU"),
    "infinite": (volumes, voxels(with_value(np.inf, np.float32)), r"049\.nii: has voxels that are NaN or infinite"),
    "colour": (volumes, voxels(lambda found: np.zeros(found.shape, [(c, "u1") for c in "RGB"])), "expected numbers"),
    "complex": (volumes, voxels(with_value(1j, np.complex64)), r"049\.nii: has voxels of type complex64, expected"),
    "zero spacing": (volumes, several(ct(put(254, struct.pack("<h", 0))), ct(put(80, bytes(4)))), "voxel size is"),
    "singular affine": (nifti_scan, lambda scans: at(scans / "head.nii", put(broken.SROW_X, bytes(16))),
        "head.nii: its affine or"),
    "NaN affine": (volumes, ct(put(broken.SROW_X, NAN)), r"049\.nii: (its|mask lies).*(correct|affine)"),
    "voxels of a kilometre": (volumes, ct(put(broken.SROW_X, struct.pack("<f", 1e6))), r"049\.nii: .*(usable|off its)"),
    "qform of no rotation": (volumes, several(ct(put(252, b"\1\0")), ct(put(broken.QUATERN_B, struct.pack("<f", 5)))),
                             r"049\.nii: its qform is not a usable affine; correct the header"),
    "sagittal slices": (volumes, lambda raw: [broken.save(raw / folder / "049.nii", np.asanyarray(
        nib.load(raw / folder / "049.nii").dataobj), AFFINE[[2, 1, 0, 3]]) for folder in ("ct_scans", "masks")],
        r"049\.nii: slices along the third axis are not axial .*reorient the file first"),
    "mask shifted": (volumes, lambda raw: at(raw / "masks/049.nii", put(292, struct.pack("<f", 2))),
        "2.00 mm off its CT"),
    "mask of another shape": (volumes, voxels(lambda found: found[:, :-1], "masks"), r"its CT has \(20, 24, 3\)"),
    "mask of 0 and 1": (volumes, voxels(lambda found: found // 255, "masks"), ""),
    "mask of 0, 1 and 255": (volumes, voxels(with_value(1, np.uint8), "masks"),
        r"mask has values \[ *0 +1 +255\].*255"),
    "mask of probabilities": (volumes, voxels(with_value(0.5, np.float32), "masks"),
        r"masks/049\.nii: mask has values"),
    "mask with NaN": (volumes, voxels(with_value(np.nan, np.float32), "masks"),
        r"masks/049\.nii: has voxels that are NaN or infinite, expected 0 and one other value"),
    "CT inverted": (volumes, voxels(lambda found: -found), r"049\.nii: the edges of its slices have 1000 .*inverted"),
    "mask inverted": (volumes, voxels(lambda found: np.uint8(255) - found, "masks"),
        r"masks/049\.nii: mask covers 9\d% of slice 2, expected blood .*is it inverted|mask covers 100% of slice 1"),
    "mask of the brain": (volumes, lambda raw: voxels(
        lambda _: np.uint8(np.asanyarray(nib.load(raw / "ct_scans/049.nii").dataobj) > -500), "masks")(raw),
        r"masks/049\.nii: mask covers \d+% of slice 1, expected blood"),
    "stored values, padded": (volumes, voxels(
        lambda found: np.where(found == -1000, -2000, found + 1024).astype(np.int16)),
        r"049\.nii: most of the head has values of 1005 to 1104, as stored by a scanner, expected HU .*intercept"),
    "CT and mask swapped": (volumes, swapped, r"ct_scans/103\.nii: values run from 0 to 0, expected HU of a head"),
    "not HU": (volumes, voxels(lambda found: np.abs(found)), r"049\.nii: values run from 30 to 1000, expected HU"),
    # The table of CT-ICH
    "table missing": (volumes, lambda raw: (raw / DIAGNOSIS).unlink(), f"{DIAGNOSIS}: not found; --raw must name"),
    "folder called table": (volumes, instead(Path.mkdir, DIAGNOSIS), f"{DIAGNOSIS}: is a folder, expected a file"),
    "table empty": (volumes, table(lambda text: ""), f"{DIAGNOSIS}: cannot be read as CSV"),
    "table without rows": (volumes, table(lambda text: broken.HEADER), f"{DIAGNOSIS}: has a header but no rows"),
    "column missing": (volumes, table(lambda text: text.replace(",Epidural", ",Epi")), "column for epidural missing"),
    "column doubled": (volumes, table(lambda text: text.replace("Subdural", "Epidural")),
        "epidural.* missing or doubled"),
    "column renamed": (volumes, table(lambda text: text.replace("PatientN", "N")), "column for patient missing"),
    "table with BOM": (volumes, table(str, "utf-8-sig"), ""),
    "table with semicolons": (volumes, table(lambda text: text.replace(",", ";")), ""),
    "table with CRLF": (volumes, table(lambda text: text.replace("\n", "\r\n")), ""),
    "table in UTF-16": (volumes, table(str, "utf-16"), f"{DIAGNOSIS}: is saved as UTF-16, expected UTF-8; save it as"),
    "table in Latin-1": (volumes, table(lambda text: text.replace("Sub", "Süb"), "latin-1"),
        "cannot be read as CSV.*utf-8"),
    "binary table": (volumes, lambda raw: (raw / DIAGNOSIS).write_bytes(b"\0\xff\xfe" * 99), f"{DIAGNOSIS}: "),
    "slice twice": (volumes, table(lambda text: text + "49,1,0,0,0,0,0,1,0\n"),
        "appear twice, the first is patient 049 sl"),
    "gap in slices": (volumes, table(lambda text: text.replace("49,3", "49,4")),
        "049 has 3 slices in the volume, 3 .*to 4"),
    "slice too many": (volumes, table(lambda text: text + "49,4,0,0,0,0,0,1,0\n"), "3 slices in the volume, 4 slices"),
    "slice too few": (volumes, table(lambda text: text.replace("49,3,0,0,0,0,0,1,0\n", "")),
        "3 slices in .*, 2 slices"),
    "patient without volume": (volumes, table(lambda text: text + "51,1,0,0,0,0,0,1,0\n"),
        r"051\.nii\[\.gz\]: not found"),
    "flag of 2": (volumes, table(lambda text: text.replace("49,2,0", "49,2,2")),
        "row 3, intraventricular is '2', expected"),
    "flag of 2 after empty lines": (volumes, table(
        lambda text: text.replace("49,1,", "\n ,,,,,,,,\n\n49,1,", 1).replace("49,2,0", "49,2,2")),
        "row 6, intraventricular is '2', expected"),
    "patient is a path": (volumes, table(lambda text: text.replace("103,1", "../1,1")), r"row 5, patient is '\.\./1'"),
    # NIfTI data sets of others
    "pairs whole": (nifti_pairs, nothing, ""),
    "pairs without dataset.json": (nifti_pairs, lambda raw: (raw / DATASET).unlink(), ""),
    "pairs and patients": (nifti_pairs, broken.patients_csv("id,patient", "a,1", "b.nii.gz,1"), ""),
    "pairs, a mask missing": (nifti_pairs, lambda raw: (raw / "labelsTr/a.nii.gz").unlink(),
        r"a_0000\.nii\.gz: its mask .*labelsTr/a\.nii\[\.gz\] is not there; add it"),
    "pairs, a scan missing": (nifti_pairs, lambda raw: (raw / "imagesTr/b_0000.nii.gz").unlink(),
        r"labelsTr/b\.nii\.gz: has no scan of this name in .*imagesTr; add it"),
    "pairs, no masks": (nifti_pairs, lambda raw: shutil.rmtree(raw / "labelsTr"), "there are no masks beside it; ex"),
    "pairs, no scans": (nifti_pairs, lambda raw: [each.unlink() for each in (raw / "imagesTr").iterdir()],
        "imagesTr: holds no NIfTI file"),
    "pairs of NRRD": (nifti_pairs, lambda raw: [each.rename(each.with_name(each.name[0] + ".nrrd"))
        for each in (raw / "imagesTr").iterdir()], r"holds no NIfTI file \(.*\) but \.nrrd"),
    "pairs of two channels": (nifti_pairs, lambda raw: shutil.copy(
        raw / "imagesTr/a_0000.nii.gz", raw / "imagesTr/a_0001.nii.gz"),
        r"a_0001\.nii\.gz: is a further channel of its scan \(1 such files\), expected one, the CT"),
    "pairs, a scan twice": (nifti_pairs, lambda raw: shutil.copy(
        raw / "imagesTr/a_0000.nii.gz", raw / "imagesTr/a.nii.gz"), r"is scan a, and so is a\.nii\.gz; remove one"),
    "pairs, both suffixes": (nifti_pairs, lambda raw: broken.save(raw / "labelsTr/a.nii", np.zeros(broken.SHAPE)),
        r"a\.nii\.gz: is there twice, as a\.nii and a\.nii\.gz; remove one"),
    "pairs of two shapes": (nifti_pairs, lambda raw: broken.save(raw / "labelsTr/a.nii.gz", np.zeros((20, 24, 4))),
        r"labelsTr/a\.nii\.gz: mask has shape \(20, 24, 4\), its CT has \(20, 24, 3\)"),
    "pairs, mask elsewhere": (nifti_pairs, lambda raw: broken.save(
        raw / "labelsTr/a.nii.gz", np.zeros(broken.SHAPE), AFFINE + np.eye(4, k=3) * 3),
        r"a\.nii\.gz: mask lies 3\.00 mm off its CT"),
    "pairs of probabilities": (nifti_pairs, lambda raw: broken.save(
        raw / "labelsTr/a.nii.gz", np.full(broken.SHAPE, 0.25)), r"a\.nii\.gz: mask has 0\.25, expected labels: whole"),
    "pairs, labels below 0": (nifti_pairs, lambda raw: broken.save(
        raw / "labelsTr/a.nii.gz", np.full(broken.SHAPE, -1, np.int16)), "mask has -1, expected labels: whole"),
    "pairs, unknown label": (nifti_pairs, lambda raw: broken.save(
        raw / "labelsTr/a.nii.gz", np.full(broken.SHAPE, 3, np.int16)), "mask has label 3, dataset.json names 1, 2"),
    "pairs, an image as mask": (nifti_pairs, several(lambda raw: (raw / DATASET).unlink(), lambda raw: broken.save(
        raw / "labelsTr/a.nii.gz", np.arange(1440.0).reshape(broken.SHAPE))),
        "mask has 1439 labels, expected 32 at most"),
    "dataset.json cut": (nifti_pairs, lambda raw: at(raw / DATASET, lambda text: text[:-9]), "json: is not valid JSON"),
    "dataset.json of a list": (nifti_pairs, dataset_json([1]), 'dataset.json: has no "labels" with their names'),
    "dataset.json, no labels": (nifti_pairs, dataset_json({"labels": {"background": 0}}), "names no label above 0"),
    "dataset.json, label of text": (nifti_pairs, dataset_json({"labels": {"blood": "one"}}), "label 'one' is blood"),
    "dataset.json, ignored": (nifti_pairs, dataset_json({"labels": {"blood": 1, "ignore": 2}}), "label 2 is 'ignore'"),
    "dataset.json, two channels": (nifti_pairs, dataset_json(
        {"modality": {"0": "CT", "1": "CTA"}, "labels": {"1": "a"}}),
        r"dataset\.json: names 2 channels \(CT, CTA\), expected one, the CT"),
    "scans' patients, id missing": (nifti_pairs, broken.patients_csv("id,patient", "a,1"), r"no row for b \(1 ids are"),
    "scans' patients, unknown id": (nifti_pairs, broken.patients_csv("id,patient", "a,1", "b,1", "c,1"),
        r"patients\.csv: id 'c' is no scan of this data set \(1 such ids\)"),
    "scans' patients, id twice": (nifti_pairs, broken.patients_csv("id,patient", "a,1", "b,1", "a,1"), "appears twice"),
    "scans' patients, spellings": (nifti_pairs, broken.patients_csv("id,patient", "a,P1", "b,p1"), "may be one person"),
    "no data set": (nifti_pairs, lambda raw: [shutil.rmtree(raw / name) for name in ("imagesTr", "labelsTr")],
        r"holds no known data set; expected CT-ICH \(ct_scans/.*nnU-Net or Decathlon \(imagesTr/"),
    "no folder": (nifti_pairs, shutil.rmtree, r"no such folder \(--raw\); expected CT-ICH"),
    "two data sets": (nifti_pairs, lambda raw: broken.write_raw(raw), "holds CT-ICH and imagesTr/, nothing says which"),
    # Own PNGs
    "own whole": (own_pngs, nothing, ""),
    "own names of a person": (own_pngs, rename_all, ""),
    "own patients": (own_pngs, broken.patients_csv("id,patient", *IDS), ""),
    "own patients, BOM, CRLF": (own_pngs, broken.patients_csv("id,patient", *IDS, encoding="utf-8-sig", end="\r\n"),
        ""),
    "own patients, semicolons": (own_pngs, broken.patients_csv("id;patient", "a;1"),
        r"patients\.csv: .*';', expected comm"),
    "own patients, UTF-16": (own_pngs, broken.patients_csv("id,patient", *IDS, encoding="utf-16"),
        "is saved as UTF-16"),
    "own patients, Latin-1": (own_pngs, broken.patients_csv("id,pätient", encoding="latin-1"),
        "patients.csv: cannot be read"),
    "own patients, no column": (own_pngs, broken.patients_csv("id,name", *IDS), "no column patient; found id, name"),
    "own patients, column twice": (own_pngs, broken.patients_csv("id,id,patient", "a,b,c"),
        "column id appears twice; remove"),
    "own patients, row too long": (own_pngs, broken.patients_csv("id,patient", "a,b,c"),
        r"patients\.csv: cannot be read"),
    "own patients, id missing": (own_pngs, broken.patients_csv("id,patient", *IDS[1:]), r"no row for p0_1 \(1 ids are"),
    "own patients, id twice": (own_pngs, broken.patients_csv("id,patient", *IDS, IDS[0]), "'p0_1' appears twice"),
    "own patients, empty": (own_pngs, broken.patients_csv("id,patient", *IDS[1:], "p0_1,"),
        "'p0_1' has no patient"),
    "own label missing": (own_pngs, unpaired, r"p1_1\.png: is in only one of .*expected pairs"),
    "own PNG cut": (own_pngs, lambda data: at(data / "image/p1_1.png", lambda raw: raw[:-20]),
        r"p1_1\.png: is not a readable PN"),
    "own PNG empty": (own_pngs, lambda data: at(data / "image/p1_1.png", lambda raw: b""),
        r"image/p1_1\.png: is not a readable PN"),
    "own JPEG called PNG": (own_pngs, lambda data: broken.png(data / "image/p1_1.png", np.zeros((20, 24)), ".jpg"),
                            r"image/p1_1\.png: is not a readable PNG \(it begins with.*save it as PNG"),
    "own PNG declares a lot": (own_pngs, lambda data: at(data / "image/p1_1.png", broken.declared_png(60_000)),
                               r"p1_1\.png: declares 60000 x 60000, expected at most 16,777,216 pixels"),
    "own mask of another shape": (
        own_pngs, lambda data: broken.png(data / "label/p1_2.png", np.zeros((24, 20), np.uint8)),
                                  r"label/p1_2\.png: mask has \(24, 20\) pixels .* its image .* has \(20, 24\)"),
    "own mask of classes": (own_pngs, lambda data: broken.png(data / "label/p1_2.png", np.uint8(np.tri(20, 24) + 1)),
                            r"p1_2\.png: mask values are 1, 2, expected 0 and one other"),
    "own folders empty": (own_pngs, lambda data: [path.unlink() for path in data.rglob("*.png")],
        "image: holds no PNG"),
    "own folder called PNG": (own_pngs, instead(Path.mkdir, "image/p1_1.png"),
        r"p1_1\.png: is a folder, expected a file"),
    # Scans to predict
    "scan whole": (nifti_scan, nothing, ""),
    "scan of an odd name": (nifti_scan, moved("head.nii", "=1+1 'ä'.NII"), ""),
    "scan of no name": (nifti_scan, moved("head.nii", "text.txt"), "holds no NIfTI file and no axial CT series"),
    "scan cut": (nifti_scan, lambda scans: at(scans / "head.nii", lambda raw: raw[:-1]), rf"head\.nii: {CUT}"),
    "series whole": (dicom_series, nothing, ""),
    "series with a text": (dicom_series, lambda folder: (folder / "notes.dcm").write_text("no DICOM"), ""),
    "series with a pipe": (dicom_series, lambda folder: os.mkfifo(folder / "pipe.dcm"), ""),
    "DICOM cut": (dicom_series, one(lambda raw: raw[:-500]), r"IM0\d+\.dcm: pixels cannot be read"),
    "DICOM of MR": (dicom_series, of(Modality="MR"), "no axial CT series .*modality MR, expected CT"),
    "DICOM without pixels": (dicom_series, without("PixelData"), r"IM0\d+\.dcm: pixels cannot be read"),
    "DICOM of several frames": (dicom_series, of(NumberOfFrames=2), "no axial CT series .*several frames in one file"),
    "DICOM in colour": (dicom_series, of(SamplesPerPixel=3), "no axial CT series .*colour image"),
    "DICOM of another syntax": (dicom_series, one(
        lambda raw: raw.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")), r"\.dcm: pixels cannot be read"),
    "DICOM deflated": (dicom_series, of(TransferSyntaxUID=DeflatedExplicitVRLittleEndian),
        "is deflated as a whole.*unpack"),
    "DICOM without a place": (dicom_series, without("ImagePositionPatient"), "no axial CT series .*no position"),
    "DICOM with a place of text": (dicom_series, of(PixelSpacing=[0, 0]), "no axial CT series .*no position"),
    "DICOM without slope": (dicom_series, without("RescaleSlope"), "no axial CT series .*so HU are unknown"),
    "DICOM of slope 0": (dicom_series, of(RescaleSlope=0), r"\.dcm: pixels cannot be read \(RescaleSlope is 0\.0"),
    "DICOM without ids": (dicom_series, every(lambda header: [delattr(header, name) for name in (
        "SeriesInstanceUID", "SOPInstanceUID", "StudyInstanceUID")]), ""),
    # RSNA: a file that can't be used is rejected alone, until too little is left
    "RSNA table empty": (rsna, lambda raw: (raw / "stage_2_train.csv").write_text(""),
        r"stage_2_train\.csv: .*expected the"),
    "RSNA table without rows": (rsna, lambda raw: (raw / "stage_2_train.csv").write_text("ID,Label\n"),
        "no rows; download"),
    "RSNA table a folder": (rsna, lambda raw: (raw / "stage_2_train.csv").mkdir(), r"stage_2_train\.csv: is a folder"),
    "RSNA files all cut": (rsna, lambda raw: [at(path, lambda _: b"DICM") for path in raw.rglob("*.dcm")],
        "patients .* too few"),
    "RSNA links all broken": (rsna, lambda raw: [instead(linked, str(path.relative_to(raw)))(raw)
                                                 for path in sorted(raw.rglob("*.dcm"))],
        "patients with classes are too few"),
    "RSNA patient in two spellings": (rsna, patients_called("7", "07", "b"),
        "patients '07' and '7' may be one person; .* PatientID of the DICOM files"),
    # A split that somebody edited
    "split whole": (split_of, nothing, READ_WELL),
    "slices with BOM and CRLF": (split_of, saved_as(SLICES, "utf-8-sig", "\r\n"), READ_WELL),
    "split with BOM and CRLF": (split_of, saved_as(KFOLD, "utf-8-sig", "\r\n"), READ_WELL),
    "split changed": (edited_split, cell(KFOLD, "True", "False"), "was changed after create_data_set.py wrote it"),
    "split with semicolons": (split_of, lambda data: at(data / KFOLD, lambda raw: raw.replace(b",", b";")),
        "expected commas"),
    "split in UTF-16": (split_of, saved_as(KFOLD, "utf-16"), r"kfold\.csv: is saved as UTF-16"),
    "split empty": (split_of, lambda data: at(data / KFOLD, lambda raw: b""), r"kfold\.csv: cannot be read as CSV"),
    "split a folder": (split_of, instead(Path.mkdir, KFOLD), r"kfold\.csv: is a folder, expected a file"),
    "split column renamed": (split_of, cell(KFOLD, "fold", "Faltung"), "no column fold; found id, .*Faltung"),
    "split of unknown slices": (split_of, cell(KFOLD, "049_001", "999_001"),
        "1 of its slices are not in slices.csv; run"),
    "slices twice": (split_of, cell(SLICES, "049_002,", "049_001,"), r"slices\.csv: row 3 .*appears twice; run step 1"),
    "slices of text": (split_of, cell(SLICES, "label/049_001.png,", "label/049_001.png,viele "), "must be numbers"),
    "run.json cut": (split_of, lambda data: at(data / "run.json", lambda raw: raw[:50]),
        r"run\.json: is not valid JSON .*delete"),
    "run.json of lists": (split_of, lambda data: at(data / "run.json", lambda raw: b"[" * 99_999), "is not valid JSON"),
    "run.json without a size": (split_of, cell("run.json", '"channels"', '"Kanäle"'),
        r"run\.json: step 1 did not end; run"),
    "audit lost": (edited_split, lambda data: at(data / "patient/run.json", lambda raw: b"{}"),
        "lacks '.*'; delete"),
    # Networks
    "network cut": (a_run, lambda run: at(run / "fold_01/last.keras", lambda raw: raw[:900]),
        r"fold_01/last\.keras: cannot be"),
    "network of text": (a_run, lambda run: at(run / "fold_01/last.keras", lambda raw: b"text"),
        r"last\.keras: cannot be loaded"),
    "network missing": (a_run, lambda run: (run / "fold_02/last.keras").unlink(), r"fold_02/last\.keras: (not|cannot)"),
    "network of another size": (a_run, network_of(64),
        r"last\.keras: its network takes slices of \(64, 64, 1\), here are"),
    "network of another kind": (a_run, other_network,
        r"fold_02/last\.keras: cannot be loaded .*run main_kfold\.py again"),
    "run of another size": (a_run, identity(image_size=64),
        "image_size is 32, that of .* is 64; they can't be compared"),
    "run without an identity": (a_run, lambda run: write_json(run / "fold_01/run.json", {}),
        "lacks 'identity'; delete"),
    "scores cut": (table_of, lambda run: at(run / "fold_01/valid_patients.csv", lambda raw: b""),
        "cannot be read as CSV"),
    "scores of text": (a_run, cell("fold_01/valid_operating.csv", ",9,0,1,90,", ",viel,0,1,90,"),
        r"valid_operating\.csv: row \d+, tp is"),
    # Flags
    "fold beyond k": (flags(main_kfold, "--fold", 3), nothing, "--fold 3: the split has folds 1 to 2; make another"),
    "no epochs": (flags(main, "--epochs", 0), nothing, "--epochs is 0, expected 1 to 100000"),
    "learning rate NaN": (flags(main, "--learning-rate", "nan"), nothing, "--learning-rate is nan, expected"),
    "learning rates below 0": (flags(rsna_train, "--learning-rates", "1e-3", "-1"), nothing,
        "--learning-rates is -1.0"),
    "images too small": (flags(rsna_train, "--image-size", 16), nothing, "--image-size is 16, expected 32 to 1024"),
    "threshold above 1": (flags(test_set, "--threshold", "1.5"), nothing, "--threshold is 1.5, expected 0.0 to 1.0"),
    "batch of text": (flags(main, "--batch-size", "all"), nothing, "--batch-size: invalid int value: 'all'.*--help"),
    "unknown model": (flags(main, "--model", "resnet"), nothing,
        r"model 'resnet': not in models\.MODELS, expected one of"),
    "run name a path": (flags(main, "--run", "../mine"), nothing, r"--run '\.\./mine': expected the name of a folder"),
    "unknown run": (flags(test_set, "--run", "mine"), nothing, r"mine: no finished fold; runs are: none"),
    "unknown variant": (flags(rsna_preprocess, "--variants", "7_all"), nothing,
        "'7_all' is not a variant; expected all, or"),
    "weights of another network": (flags(main, "--init-weights", "HERE/w.keras", "--models", "dunet=2"),
                                   lambda root: bright_is_blood(1).save(root / "w.keras"),
        r"w\.keras: its weights do not fit"),
    "weights of text": (flags(main, "--init-weights", "HERE/w.keras", "--models", "dunet=2"),
                        lambda root: (root / "w.keras").write_text("text"),
        r"w\.keras: its weights do not fit this network"),
    "weights a folder": (flags(main, "--init-weights", "HERE"), nothing, r": not found \(--init-weights\)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Path:
    """One whole input of each kind."""
    folder, made = tmp_path_factory.mktemp("templates"), phantom()
    broken.write_raw(folder / "raw")
    broken.write_pairs(folder / "pairs")
    broken.write_own(folder / "own")
    write_nifti(folder / "scan" / "head.nii", made.hu, made.affine)
    broken.series(folder / "series", made)
    healthy = sorted((project.root / "rsna" / "classes" / "healthy").glob("0*.dcm"))
    (folder / "rsna" / "healthy").mkdir(parents=True)
    for path in healthy[:3]:
        shutil.copy(path, folder / "rsna" / "healthy")
    write_run(folder / "runs", [bright_is_blood(150), bright_is_blood(200)])
    prints = split_fingerprints(settings.Tests(data=project.data), "kfold")
    identity(**{**IDENTITY, **prints})(folder / "runs" / "patient" / "dunet")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions without a network, no contact sheet, small networks, and the tests' own signals."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("create_data_set.pictures.preview", lambda *_: None)
    monkeypatch.setattr(models, "LEVELS", 2)
    none = lambda planes: np.zeros(planes.shape, np.float32)  # noqa: E731
    monkeypatch.setattr("ich.predict.networks.prepare", lambda config: job(config.out, METHOD, none))


def call(step: ModuleType, given: Sequence[object]) -> int:
    """The exit status of a script."""
    with pytest.raises(SystemExit) as stop:
        script.run(lambda: step.main([*map(str, given), "--quiet"]))
    return stop.value.code


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("given", "change", "line"), CASES.values(), ids=CASES.keys())
def test_input(
    given: Given, change: Change, line: str, tmp_path: Path, project: Project, templates: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    step, flags = given(Place(tmp_path, project, templates), change)
    status = call(step, flags)
    error = [text for text in capfd.readouterr().err.splitlines() if text.startswith("error: ")]
    assert status == (2 if line else 0), error
    assert len(error) == bool(line)
    if line:
        assert re.search(line, error[0]), error[0]
        left = {path.name for path in (tmp_path / "out").rglob("*") if not _says_unfinished(path)}
        assert not left & {paths.RUN, paths.SLICES, "holdout.csv", "volumes.csv"}


def test_all_bad_pngs_are_named_in_one_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = broken.write_own(tmp_path)
    for name in ("image/p0_1.png", "label/p1_2.png", "label/p2_3.png"):
        (data / name).write_bytes(b"no picture")
    assert call(create_data_set, ["--data", data, "--image-size", 16, "--folds", 2]) == 2
    out, err = capsys.readouterr()
    assert re.findall(r"problem: .*(p\d_\d)\.png", out) == ["p0_1", "p1_2"]
    assert re.search(r"p2_3\.png: .*3 problems found; fix them all and rerun", err)
    assert not (data / "slices.csv").exists()


def _says_unfinished(path: Path) -> bool:
    return path.name == paths.RUN and "unfinished" in read_json(path)


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 60
