"""What the columns of the tables mean in plain words: the page's headings, units and glossary."""

from typing import NamedTuple

from ich.data.table import TYPES


class Word(NamedTuple):
    """A column in plain words: short name, unit ("" without one), and what it is."""

    name: str
    unit: str = ""
    meaning: str = ""

    @property
    def heading(self) -> str:
        """Name and unit: `HD95, median (mm)`."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


MEASURES = {
    "dice": Word("Dice", "", "overlap of prediction and reference: 0 none, 1 the same pixels; one empty mask: 0"),
    "iou": Word("IoU", "", "overlap as intersection over union; always lower than Dice"),
    "precision": Word("Precision", "", "share of the predicted pixels that are blood"),
    "sensitivity": Word("Sensitivity", "", "share of the blood pixels that were found"),
    "nsd_2mm": Word("Surface Dice at 2 mm", "", "share of both surfaces within 2 mm of the other"),
    "lesion_slice_dice": Word("Dice of slices with blood", "", "each slice with blood counts once; a missed one is 0"),
    "paper_dice": Word("Dice as published", "", "soft, smoothed by 100, pooled over batches: too high"),
    "paper_iou": Word("IoU as published", "", "soft, smoothed by 100, pooled over batches: too high"),
}
AVERAGES = {"mean": ", mean", "sd": ", standard deviation", "median": ", median"}
SIZES = {"": "", "_under_1ml": " under 1 ml", "_1_to_10ml": " of 1 to 10 ml", "_over_10ml": " over 10 ml"}

WORDS: dict[str, Word] = {
    "run": Word("Network"),
    "fold": Word("Fold"),
    "folds": Word("Folds finished"),
    "repeats": Word("Trainings"),
    "repeat": Word("Repeat"),
    "seed": Word("Seed"),
    "patient": Word("Patient"),
    "patients": Word("Patients"),
    "part": Word("Part"),
    "patients_with_blood": Word("Patients with blood"),
    "lesion_slices": Word("Slices with blood"),
    "training_slices": Word("Slices in balanced training"),
    **{name: Word(name.capitalize()) for name in TYPES},
    "slices": Word("Slices"),
    **MEASURES,
    **{f"pooled_{name}": Word(f"{MEASURES[name].name} of all pixels pooled", "", "large bleeds weigh most")
       for name in ("dice", "iou", "precision", "sensitivity")},
    **{f"{name}_{kind}": Word(word.name + ending, word.unit, word.meaning)
       for name, word in MEASURES.items() for kind, ending in AVERAGES.items()},
    "dice_ci_low": Word("Dice, mean: lower end of the 95 % interval", "", "bootstrap over patients"),
    "dice_ci_high": Word("Dice, mean: upper end of the 95 % interval", "", "bootstrap over patients"),
    "dice_sd_seeds": Word("Dice, mean: standard deviation over seeds", "", "how much two trainings differ"),
    "n_patients": Word("Patients"),
    "n_with_blood": Word("Patients with blood"),
    "n_clean": Word("Patients without blood"),
    "n_empty": Word("Patients without blood in which nothing was marked"),
    "n_slices": Word("Slices"),
    "n_lesion_slices": Word("Slices with blood"),
    "n_empty_slices": Word("Slices without blood in which nothing was marked"),
    "scan_sensitivity": Word("Scans with blood found", "", "at least one pixel is marked, anywhere in the scan"),
    "scan_specificity": Word("Scans without blood left unmarked", "", "not a single pixel is marked"),
    "scan_auroc": Word("AUROC over scans", "", "by the highest probability; 0.5 is chance, 1 is perfect"),
    "slice_sensitivity": Word("Slices with blood found", "", "at least one pixel is marked, anywhere in the slice"),
    "slice_specificity": Word("Slices without blood left unmarked", "", "not a single pixel is marked"),
    "slice_auroc": Word("AUROC over slices", "", "by the highest probability; 0.5 is chance, 1 is perfect"),
    "hd95_mm": Word("HD95", "mm", "95th percentile of the distance between both surfaces; inf: one mask is empty"),
    "hd95_mm_median": Word("HD95, median", "mm", "distance of both surfaces; missed blood is infinite"),
    "n_hd95_undefined": Word("Patients with blood whose HD95 is infinite", "", "nothing was marked"),
    "volume_true_ml": Word("Volume, reference", "ml"),
    "volume_pred_ml": Word("Volume, predicted", "ml"),
    "volume_error_ml_median": Word("Volume error, median", "ml", "patients with blood: predicted against reference"),
    "false_positive_ml": Word("False-positive blood", "ml", "false-positive volume of a patient without blood"),
    "false_positive_ml_per_clean_patient": Word("False-positive blood per scan without blood", "ml",
                                                "mean false-positive volume"),
    **{f"lesions_true{size}": Word(f"Lesions{words}, reference") for size, words in SIZES.items()},
    **{f"lesions_found{size}": Word(f"Lesions{words}, found", "", "at least one pixel of it is marked")
       for size, words in SIZES.items()},
    **{f"lesion_sensitivity{size}": Word(f"Share of lesions{words} found") for size, words in SIZES.items()},
    "lesions_invented": Word("False-positive lesions", "", "marked, and touching no blood"),
    "score": Word("Highest probability"),
    "threshold": Word("Threshold", "", "a pixel is marked from this probability on"),
    "chosen_threshold": Word("Threshold chosen out of fold"),
    "min_lesion_mm3": Word("Smallest lesion kept", "mm³", "smaller predicted ones are removed; 0: none is"),
    "chosen_min_lesion_mm3": Word("Smallest lesion kept, chosen out of fold", "mm³"),
    "type": Word("Type"),
    "size_ml": Word("Size", "ml"),
    "dice_mean_of_patients": Word("Dice, mean over patients"),
    "slices_found": Word("Slices found", "", "at least one pixel of the blood is marked"),
    "measure": Word("Measure"),
    "test": Word("Test"),
    "n": Word("n"),
    "mean_difference": Word("Difference of the means"),
    "p_value": Word("p"),
    "p_holm": Word("p, corrected for the number of pairs"),
    "variant": Word("Variant"),
    "minus": Word("Compared with"),
    "class": Word("Class"),
    "accuracy": Word("Accuracy", "", "share of the decisions that are right: class of a slice, or each of its labels"),
    "balanced_accuracy": Word("Balanced accuracy", "", "mean over six classes of the share found (1/6 is chance), or "
                              "over labels of sensitivity and specificity (1/2 is chance)"),
    "macro_f1": Word("Macro F1", "", "mean over the classes of F1, which weighs precision against what was found"),
    "auroc": Word("AUROC", "", "mean over the classes; 0.5 is chance, 1 is perfect"),
    "log_loss": Word("Log loss", "", "penalizes confident wrong answers; lower is better"),
    "scans": Word("Scans"),
    "with_it": Word("Scans with it"),
    "figure": Word("Published figure"),
    "model": Word("Model"),
}  # fmt: skip


def heading(column: str) -> str:
    """A column in plain words, or its own name where none are known."""
    return WORDS[column].heading if column in WORDS else column


def meanings(columns: tuple[str, ...]) -> list[tuple[str, str]]:
    """(heading, what it is) of the columns that need to be explained."""
    return [(WORDS[name].heading, WORDS[name].meaning) for name in columns if WORDS[name].meaning]
