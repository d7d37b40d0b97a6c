"""The calibrated style of the phantoms: repeatable, varied, and near the figures of real scans."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import make_demo_data
from benchmarks import phantom_figures as figures
from ich.base.errors import InputError
from ich.phantom import style, trauma
from ich.phantom.blood import Plan, bubbles, swelling
from ich.phantom.ct_ich import write_ct_ich
from ich.phantom.head import blood_kinds, make_patient
from ich.phantom.render import Lesion, View, draw_blood, finish, join
from ich.phantom.series import unseen
from ich.phantom.shapes import Space
from ich.scans.nifti import Grid
from ich.scans.window import Window

SIZE, SEED, PATIENTS = 128, 11, 16
RSNA = ("--rsna-patients", "3", "--rsna-size", "32")


@pytest.fixture(scope="module")
def patients():
    return [make_patient(SEED, k, SIZE, "calibrated") for k in range(PATIENTS)]


def table_of(patients) -> dict[str, np.ndarray]:
    """Percentiles of the figures of phantoms, cut to slices as split_raw_data.py does."""
    rows = []
    for number, patient in enumerate(patients):
        grid = Grid(patient.hu.shape, patient.affine)
        for k in range(patient.hu.shape[2]):
            grey = grid.upright(Window(40, 120)(patient.hu[:, :, k]))
            blood = grid.upright(patient.mask[:, :, k]) > 0
            rows.append({"patient": str(number), "pixels": blood.sum(), **figures.measure(grey, blood)})
    return figures.percentiles(pd.DataFrame(rows))


def test_same_seed_same_head_and_plain_is_another():
    first, again = (make_patient(SEED, 3, 64, "calibrated") for _ in range(2))
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.hu, make_patient(SEED, 3, 64).hu)


def test_plain_draws_nothing():
    rng = np.random.default_rng(0)
    assert style.look("plain", 40, rng) == style.PLAIN
    assert rng.random() == np.random.default_rng(0).random()


def test_medians_lie_near_those_of_real_scans(patients):
    found = table_of(patients)
    for name, within in (("brain, median HU", 1.5), ("head width / frame", 0.03), ("skull thickness, px of 128", 1.0),
                         ("blood, median HU", 6), ("contrast, blood - ring, HU", 7)):  # fmt: skip
        assert found[name][2] == pytest.approx(figures.CT_ICH[name][2], abs=within), name


def test_brains_differ_more_than_plain_ones(patients):
    plain = [make_patient(SEED, k, SIZE) for k in range(8)]
    spreads = [np.ptp(table_of(heads)["brain, median HU"]) for heads in (patients, plain)]
    assert spreads[0] > 1.8 * spreads[1]


def test_drawn_numbers_have_the_percentiles_asked_for():
    rng, asked = np.random.default_rng(0), (1.0, 2.0, 4.0, 5.0, 9.0)
    drawn = [style.draw(rng, asked) for _ in range(4000)]
    assert np.percentile(drawn, (5, 25, 50, 75, 95)) == pytest.approx(asked, abs=0.25)
    assert min(drawn) >= 0.7
    assert max(drawn) <= 10.2


def test_children_have_thinner_skulls_and_smoother_brains():
    child, adult = (style.look("calibrated", age, np.random.default_rng(1)) for age in (5, 50))
    assert child.skull < adult.skull
    assert child.sulci < adult.sulci


def test_kinds_are_dealt_as_often_as_the_deck_has_them():
    first = [kinds[0] for k in range(4 * len(trauma.DECK)) if (kinds := blood_kinds(SEED, k, "calibrated"))]
    assert first.count("epidural") == len(first) / 2
    assert first.count("subarachnoid") == len(first) / 12


def test_blood_spreads_over_two_orders_of_magnitude_and_some_is_as_dark_as_brain():
    plans = [trauma.plan_trauma("epidural", np.random.default_rng(k)) for k in range(300)]
    area = np.array([plan.thick * plan.length for plan in plans])
    assert np.percentile(area, 95) > 30 * np.percentile(area, 5)
    assert 0.04 < np.mean([plan.hu < 35 for plan in plans]) < 0.2


def test_contusions_lie_below_the_skull():
    plans = [trauma.plan_trauma("intraparenchymal", np.random.default_rng(k)) for k in range(200)]
    contusions = [plan for plan in plans if plan.below < 6]
    assert 0.75 < len(contusions) / len(plans) < 0.98


def standing(center: tuple, **changes) -> Plan:
    """A bleeding at a place, of 10 mm."""
    return Plan("epidural", 1, center, (1.0, 0.0), 10.0, 10.0, 10.0, 60.0, **changes)


def line_of_space() -> Space:
    """Points every 10 mm from x = -100 to 100, in one slice."""
    x = np.arange(-100, 101, 10, dtype=np.float32)[None, None, :]
    return Space(x, np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, x.size), np.float32))


def test_the_scalp_swells_over_the_bleeding_only():
    swollen = swelling([standing((60, 0, 0), swelling=8.0), standing((-60, 0, 0))], line_of_space())
    assert swollen.argmax() == 16
    assert swollen.max() == pytest.approx(8, abs=0.1)
    assert swollen[0, 0, 4] < 0.01
    assert swelling([standing((60, 0, 0))], line_of_space()) is None


def test_air_lies_inside_the_skull():
    depth = np.full((1, 1, 21), 3, np.float32)
    space = line_of_space()._replace(y=np.full((1, 1, 1), -20, np.float32))
    air = [bubbles([standing((60, 0, 0), bubbles=True)], depth, space, np.random.default_rng(k)) for k in range(20)]
    assert max(field[0, 0, 16] for field in air) > 0
    assert max(field[0, 0, 4] for field in air) < 0
    outside = bubbles([standing((60, 0, 0), bubbles=True)], -depth, space, np.random.default_rng(0))
    assert outside.max() < 0
    assert bubbles([standing((60, 0, 0))], depth, space, np.random.default_rng(0)) is None


def test_a_loose_outline_is_larger_than_the_blood():
    y, x = np.mgrid[-32:32, -32:32].astype(np.float32)
    region = (10 - np.hypot(x, y))[None]
    areas, brains = [], []
    for loose in (0.0, 2.0):
        brain = np.full((64, 64), 30, np.float32)
        lesion = Lesion("epidural", region, "cavity", np.full_like(region, 60), loose=loose)
        areas.append((draw_blood(brain, lesion, 0, np.ones_like(brain), style.PLAIN) > 0.5).sum())
        brains.append(brain)
    assert areas[0] == pytest.approx(np.pi * 10**2, rel=0.03)
    assert areas[1] == pytest.approx(np.pi * 12**2, rel=0.03)
    assert np.array_equal(*brains)


def test_torn_blood_is_outlined_as_one_where_the_gap_is_small():
    fraction = np.zeros((40, 40), np.float32)
    fraction[10:30, 10:14] = fraction[10:30, 17:21] = fraction[10:30, 30:34] = 1
    whole = join(fraction, 5.0)
    assert whole[15:25, 10:21].min() == 1
    assert whole[:, 22:29].max() == 0


def test_some_bleedings_are_tiny():
    plans = [trauma.plan_trauma("epidural", np.random.default_rng(k)) for k in range(400)]
    tiny = [plan for plan in plans if plan.thick < 2]
    assert 0.03 < len(tiny) / len(plans) < 0.12


def test_a_head_that_moves_is_smeared():
    looks = [style.look("calibrated", 40, np.random.default_rng(k)) for k in range(300)]
    assert 0.05 < np.mean([look.moved_mm > 0 for look in looks]) < 0.16
    fields = {name: np.full((1, 64, 64), value, np.float32) for name, value in
              (("depth", -9), ("noise", 0), ("streaks", 0))}  # fmt: skip
    widths = []
    for moved in (0.0, 4.0):
        hu = np.zeros((64, 64), np.float32)
        hu[:, 30:34] = 100
        look, noise = replace(style.PLAIN, moved_mm=moved), np.ones_like(hu)
        noise[::2] = 0
        finish(hu, View(fields, 0, 64), noise, look, 1.0)
        widths.append(int((hu[32] > 1).sum()))
        assert hu[32].sum() == pytest.approx(400, rel=0.01)
    assert widths[1] == widths[0] + 4


def test_styles_are_not_mixed_in_one_folder(tmp_path):
    write_ct_ich(tmp_path, 1, 32, 0, "calibrated", workers=1, quiet=True)
    with pytest.raises(InputError, match="another folder"):
        write_ct_ich(tmp_path, 1, 32, 0, workers=1, quiet=True)


def test_the_unseen_head_bleeds():
    assert all(unseen(number, 32, SEED, "calibrated").mask.any() for number in (0, 7, 16))


def test_heads_unseen_head_and_sheet_of_the_script_follow_the_style(tmp_path):
    flags = ["--patients", "2", "--size", "32", *RSNA, "--quiet", "--style"]
    for name in ("plain", "calibrated"):
        make_demo_data.main(["--out", str(tmp_path / name), *flags, name])
    for part in ("ct-ich/ct_scans/049.nii", "unseen/scan.nii", "phantoms.png", "rsna/classes/*/049_*.dcm"):
        plain, calibrated = (min((tmp_path / style).glob(part)).read_bytes() for style in ("plain", "calibrated"))
        assert plain != calibrated, part


def test_scans_only_leaves_out_dicom_and_the_unseen_head(tmp_path):
    flags = ["--patients", "2", "--size", "32", *RSNA, "--quiet", "--out", str(tmp_path)]
    make_demo_data.main([*flags, "--scans-only"])
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["ct-ich", "phantoms.png"]
    made = (tmp_path / "ct-ich/ct_scans/049.nii").read_bytes()
    make_demo_data.main(flags)
    assert {"rsna", "unseen"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "ct-ich/ct_scans/049.nii").read_bytes() == made
