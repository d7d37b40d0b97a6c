"""The card of the shipped network, `weights/README.md`: what it learned from, how well it does, what it is not for.

python -m ich.predict.shipped_card WEIGHTS     (after benchmarks/weights.py --results WEIGHTS)
"""

import sys
from pathlib import Path

from ich.base import paths, record, script
from ich.base.errors import InputError
from ich.base.files import read_json, write_text
from ich.predict import hub_head

MEASURED = "weights.json"  # of benchmarks/weights.py
TEMPLATE = """{head}# The shipped network

**For research, not for diagnosis. It has never seen a patient: it was trained on phantoms, invented heads, alone.**

`python predict.py SCAN` uses it where no network is trained yet; `--run phantoms` asks for it by name.

* {model}, {filters} filters in the first level, {parameters:,} weights; sees a slice and its two neighbours; window
  {windows} HU, {size} px.
* Trained on {heads} phantom heads of style `{style}`, seed {seed}, {size} px, {training} slices in training and {valid}
  in validation (fold 1 of 10, by head): recipe `{recipe}`, {epochs} epochs, {minutes:.0f} minutes in {precision}.
* Command `{command}`, phantoms and training as of commit `{commit}`, {keras}.
* `last.keras` is stored with 14 bits of fraction, and packed: probabilities of phantom slices change by
  {difference:.1e} at most.
* License: that of the project. No patient data went into it.

## How well it does

Phantom heads of another seed ({check_seed}), predicted by `predict.py` at threshold {threshold:.2f}:

{rows}

It learned from the style `calibrated`, as it was at the commit above; it has seen no `plain` head. Phantoms are not
patients: only a test on real scans says how it does there. **On CT-ICH this network has not been measured.** Earlier
ones, trained on plain phantoms alone and tested on all slices of its 36 patients with blood: mean Dice 0.20 (n = 8,
96 px, 20 heads) and 0.29 (n = 16, 128 px, 400 heads; one clean slice in five had a false positive). Expect it to
miss small and thin bleeds and to mark bone edges, sinuses and calcium in some heads.

Training on your own scans goes on from it: [docs/recipes.md](../docs/recipes.md#fine-tuning).
"""


HEADER = (
    "| style | heads with blood | mean Dice (95 % interval) | median | found, of those with more than 5 ml | "
    "false positives in a clean head, mean (largest) | clean heads without any |\n|---|---|---|---|---|---|---|"
)


def write(weights: Path) -> None:
    """Write the card beside the run in `weights`. Raises InputError when the measurements are of another network."""
    training = paths.Training(weights / paths.shipped().folder.relative_to(paths.SHIPPED))
    facts, measured = read_json(training.run), read_json(weights / MEASURED, ("result", "config"))
    if measured["result"]["network"] != record.fingerprint(training.last):
        raise InputError(f"{weights / MEASURED}: is of another network; run benchmarks/weights.py --results {weights}")
    identity, phantoms = facts["identity"], facts["phantoms"]
    rows = measured["result"]["rows"]
    results = [_result(style, measured["config"]["seed"]) for style in rows]
    text = TEMPLATE.format(
        head=hub_head.head(f"ICH Detector, {identity['model']}", "mit", "keras", (hub_head.PHANTOM_TAG,), results),
        model=identity["model"], filters=identity["n_filters"], parameters=facts["parameters"],
        windows=" ".join(identity["windows"]), size=identity["image_size"], heads=phantoms["patients"],
        style=phantoms.get("style", "plain"), seed=phantoms["seed"], training=facts["training_slices"],
        valid=facts["valid_slices"], recipe=identity["recipe_name"], epochs=identity["recipe"]["epochs"],
        minutes=facts["training_seconds"] / 60, precision=facts["precision"], command=facts["command"],
        commit=(facts["git_commit"] or "unknown")[:7], keras=f"Keras {facts['packages'].get('keras')}",
        difference=facts["rounding_changes_probabilities_by"], check_seed=measured["config"]["seed"],
        threshold=measured["result"]["threshold"], rows="\n".join([HEADER, *map(_row, rows)]),
    )  # fmt: skip
    write_text(weights / "README.md", text)
    print(f"-> {weights / 'README.md'}")


def _result(style: dict, seed: int) -> hub_head.Result:
    """As in the table of the card."""
    dataset = f"phantom heads of style {style['style']}, seed {seed}, {style['heads_with_blood']} with blood"
    return hub_head.Result("phantoms", dataset, "mean Dice over heads with blood", round(style["dice_mean"], 2))


def _row(style: dict) -> str:
    return (
        f"| {style['style']} | {style['heads_with_blood']} | {style['dice_mean']:.2f} ({style['ci_low']:.2f} to "
        f"{style['ci_high']:.2f}) | {style['dice_median']:.2f} | {style['large_found']:.0%} of {style['large']} | "
        f"{style['clean_false_ml_mean']:.2f} ml ({style['clean_false_ml_largest']:.1f} ml) | "
        f"{style['clean_without_any']:.0%} of {style['clean_heads']} |"
    )


if __name__ == "__main__":
    script.run(lambda: write(Path(sys.argv[1])))
