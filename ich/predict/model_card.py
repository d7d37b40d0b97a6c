"""The page that goes with exported networks: what they learnt from, how well they do, what they are not for."""

import math
from collections.abc import Sequence

from ich.base import paths
from ich.data import origin
from ich.predict import hub_head
from ich.predict.engines import INPUT, OUTPUT
from ich.report import folds
from ich.report.choice import Choice
from ich.score import metrics

CARD_PAGE = "MODEL_CARD.md"
TEMPLATE = """{head}# Model card: {model}, {networks}

**For research, not for diagnosis.**{banner}

## What it does

Segments intracranial hemorrhage on axial, non-contrast head CT, slice by slice.

* Input `{input}`: float32 (slices, rows, columns), Hounsfield units; anterior at the top, the patient's right on
  the left.
* Output `{output}`: float32, {shape}, 0 to 1. Blood is where it is >= **{threshold}**.
* Operating point: {choice}.{flip}{removal}
* Inside: window {windows} (level/width in HU, {windows_are}), padding to a square, area averaging
  to {size} x {size} pixels, the mean of {count} network(s), linear resampling to the input's pixels.

## In other programs

```python
import numpy as np, openvino
network = openvino.Core().compile_model("ich.onnx", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
hu = np.zeros(({example}, 512, 512), np.float32)  # {yours}
probability = network(hu)["{output}"]
blood = probability >= {threshold}
```

```python
import numpy as np, onnxruntime
network = onnxruntime.InferenceSession("ich.onnx", providers=["CPUExecutionProvider"])
hu = np.zeros(({example}, 512, 512), np.float32)  # {yours}
(probability,) = network.run(["{output}"], {{"{input}": hu}})
blood = probability >= {threshold}
```

Without the hint OpenVINO computes in bfloat16 where the CPU can: faster, and the masks differ a little.

## Training

* Network {model}, {filters} filters in the first level, recipe `{recipe}`, {epochs} epochs, `{weights}` weights;
  started from {starts_from}.
* Data: {origin}, fingerprint `{data}`, {slices} training slices in the first fold.
* Split by **{protocol}**: {protocol_note}

## Scores

{scores}

{scores_note}

## Use and limits

* For comparing methods and for teaching. Not a medical device; not tested on any clinical task.
* Adults' non-contrast axial CT, about 5 mm slices, from the scanners of the training data. Nothing is known about other
  scanners, children, contrast agent, surgery or metal.
* Small and thin bleedings are missed most often. A mask without blood does not mean a head without blood.
* License: `unknown` at the head of this page, until whoever publishes the networks chooses one that the data allow.
* Largest difference from Keras on phantom slices: {agreement}.
* In 8-bit integers (`ich_int8.xml`): {int8}.
"""
OUTPUT_BETWEEN = (
    "(slices - 2, rows, columns): each slice is\n  judged with the one below and the one above it, so the outermost "
    "two have no output.\n  For a whole scan, repeat its first and its last slice at the ends"
)
# Shape of the output, slices of the example, and what they are, by the neighbours that the networks see.
SEES = {
    0: ("the same shape", 1, "your slices, in HU"),
    1: (OUTPUT_BETWEEN, 3, "three slices one above the other, in HU; the middle one is judged"),
}
NOTES = {
    "patient": "no patient is in two parts, so scores are of unseen patients.",
    "assumed": "no patient is in two parts, assuming that each scan is from a different patient.",
    "unknown": "which slices are of one patient is unknown, so scores may be too high for new patients.",
    "slice": "slices of one patient are on both sides of the split: scores are too high; only to repeat a publication.",
}
FLIP = "\n  It is for the mean over each slice and its left-right mirror image, which the network takes inside."
REMOVAL = "\n  `predict.py` removes the components (3-D, 26-connected); the network itself does not."
SCORES_NOTE = (
    "Out-of-fold, at threshold 0.5: each slice is scored by a network that did not learn from it. "
    "The mean of several networks was not scored here; `tests.py` scores it on the held-out test set."
)

BEST_NOTE = " Scores, threshold and smallest lesion are those of the last weights, not of these, which were not scored."


def scores_of(run: folds.Run, members: Sequence[paths.Training]) -> dict[str, float]:
    """Out-of-fold scores of these trainings of a run: patients with blood when split by patient, otherwise slices.

    They are those of the last weights.
    """
    table = metrics.with_blood(run.table("patients" if run.identity()["protocol"] == "patient" else "slices"))
    table = table[table["fold"].isin([each.fold for each in members])]
    which = "patients" if "hd95_mm" in table else "slices"
    names = {"dice": "Dice", "iou": "IoU", "precision": "precision", "sensitivity": "sensitivity"}
    return {
        f"{which} with blood": len(table),
        **{f"mean {label} over {which} with blood": float(table[name].mean()) for name, label in names.items()},
    }


def _protocol_note(facts: dict) -> str:
    if facts["protocol"] == "patient" and not facts.get("patients_known", True):
        return NOTES["unknown"]
    return NOTES["assumed" if "patients_assumed" in facts else facts["protocol"]]


def _results(card: dict) -> list[hub_head.Result]:
    """What a hub may list: the out-of-fold Dice of patients that are known to be unseen; by slice it would flatter."""
    facts, scores = card["facts"], card["scores"]
    if facts["protocol"] != "patient" or not facts.get("patients_known", True):
        return []
    what = "mean Dice over patients with blood"
    source = facts.get("origin") or "unknown origin"
    dataset = f"{source}, {scores.get('patients with blood', 0)} with blood, split by patient"
    value = float(f"{scores.get(what, math.nan):.3g}")
    return [hub_head.Result(source.lower().replace(" ", "-"), dataset, f"{what}, single networks out of fold", value)]


def page(card: dict, choice: Choice) -> str:
    """The card in Markdown; `choice` is the operating point."""
    banner = origin.banner(source := card["facts"].get("origin", ""))
    shape, example, yours = SEES[card["neighbours"]]
    facts, count, int8 = card["facts"], len(card["facts"]["folds"]), card["int8_dice_with_float32"]
    return TEMPLATE.format(
        head=hub_head.head(facts["model"], "unknown", "onnx", ("onnx", *[hub_head.PHANTOM_TAG] * bool(banner)),
                           _results(card)),
        model=facts["model"], networks=f"mean of {count} networks" if count > 1 else "one network", count=count,
        shape=shape, example=example, yours=yours, input=INPUT, output=OUTPUT, threshold=card["threshold"],
        choice=choice.text(count), flip=FLIP * card["test_time_flip"],
        removal=REMOVAL * (choice.point.min_lesion_mm3 > 0), size=card["image_size"],
        windows=", ".join(f"{level:g}/{width:g}" for level, width in card["windows"]),
        windows_are=facts.get("windows_are", "those of the training"), filters=facts["n_filters"],
        recipe=facts["recipe"], epochs=facts["epochs"],
        starts_from=facts.get("starts_from", "random weights"), weights=facts["weights"], data=facts["data"],
        slices=facts["training_slices"], protocol=facts["protocol"], protocol_note=_protocol_note(facts),
        banner=f"\n\n**{banner}.**" if banner else "", origin=source or "of unknown origin",
        scores="\n".join(f"* {name}: {value:.3g}" for name, value in card["scores"].items()),
        scores_note=SCORES_NOTE + BEST_NOTE * (facts["weights"] == "best"),
        agreement=", ".join(f"{name} {value:.1e}" for name, value in card["largest_difference_from_keras"].items()),
        int8="not written" if int8 is None else f"masks of training slices have Dice {int8:.3f} with those of float32",
    )  # fmt: skip
