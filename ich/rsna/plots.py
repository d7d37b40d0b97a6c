"""Pictures of the preprocessing, training curves, confusion matrices, and the one plot that answers the question."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ich.base.paths import Rsna
from ich.draw.colours import BLACK, GREY, HIT, MISS, css
from ich.draw.pictures import TILE, contact_sheet
from ich.draw.plots import TRAINING, VALIDATION, layout, new_figure, save, whole_epochs
from ich.rsna.layouts import CLASSES
from ich.rsna.scores import LOWER_IS_BETTER
from ich.rsna.variants import BASELINE, MEANING, NEIGHBOURS
from ich.rsna.verdict import QUESTIONS
from ich.scans.png import read_image

SHOWN = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "auroc": "AUROC",
         "log_loss": "log loss"}  # fmt: skip
BETTER, WORSE, UNCLEAR = css(HIT), css(MISS), BLACK  # right and wrong
VOID = GREY  # whatever its interval


def preview(files: Rsna, table: pd.DataFrame, names: Sequence[str]) -> None:
    """One row per variant, one column per class; of each class the slice in the middle of its list."""
    parts = {name: table.loc[table["class"] == name, "id"] for name in CLASSES}
    shown = {name: ids.iloc[len(ids) // 2] for name, ids in parts.items() if len(ids)}
    rows = {
        variant: [(read_image(files.png(variant, one), 1, TILE)[:, :, 0], name) for name, one in shown.items()]
        for variant in names
    }
    contact_sheet(files.preview, rows, "The same slices under each preprocessing")


def loss_accuracy(path: Path, history: pd.DataFrame, title: str) -> None:
    """Loss and accuracy by epoch, training and validation; the epoch whose weights are scored is marked."""
    figure, panels = new_figure(10, 4, 2)
    best = history.loc[history["val_loss"].idxmin(), "epoch"]
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        axes.plot(history["epoch"], history[name], marker=".", **TRAINING)
        axes.plot(history["epoch"], history[f"val_{name}"], marker=".", **VALIDATION)
        axes.axvline(best, color=GREY, linestyle=":", label=f"lowest validation loss: epoch {best:.0f}")
        axes.set(title=f"{title}: {name}", xlabel="epoch", ylabel=name)
        whole_epochs(axes)
        axes.legend()
    panels[1].set_ylim(0, 1)
    save(figure, path)


def answer(
    path: Path, table: pd.DataFrame, differences: pd.DataFrame, subtitle: str, no_answer: Mapping[str, str],
    by_seed: Mapping[str, pd.DataFrame],
) -> None:  # fmt: skip
    """One panel per measure: each variant's difference from BASELINE with its interval, coloured by whether it helps.

    Grey: the variants in `no_answer`, which has the reasons. `by_seed`: of each variant one row per seed, small dots.
    """
    figure, panels = new_figure(15, 0.55 * len(table) + 2.2, len(SHOWN))
    by_name = table.set_index("variant")
    names = [variant if minus == BASELINE else f"{variant}\nminus {minus}"
             for variant, minus in zip(differences["variant"], differences["minus"], strict=True)]  # fmt: skip
    for axes, name in zip(panels, SHOWN, strict=True):
        axes.axvline(0, color=BLACK, linewidth=1)
        for line, row in enumerate(differences.itertuples()):
            value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
            is_open = row.variant in no_answer
            colour = VOID if is_open else _verdict(low, high, name)
            axes.plot([low, high], [line, line], color=colour, linewidth=2, linestyle=":" if is_open else "-")
            axes.plot(value, line, "o", color=colour)
            if len(seeds := by_seed[row.variant][name]) > 1:
                axes.plot(seeds, np.full(len(seeds), line + 0.25), ".", color=colour, markersize=4)
        better = "left is better" if name == LOWER_IS_BETTER else "right is better"
        base = f"\n{BASELINE}: {by_name.loc[BASELINE, name]:.3f}" if BASELINE in by_name.index else ""
        axes.set(title=f"{SHOWN[name]}{base}", xlabel=f"difference ({better})")
        axes.set_yticks(range(len(differences)), names if axes is panels[0] else [""] * len(names))
        axes.set_ylim(len(differences) - 0.5, -0.5)
    verdicts = {"no answer": VOID} if no_answer else {}
    if not set(differences["variant"]) <= set(no_answer):
        verdicts |= {"interval on the better side": BETTER, "on the worse side": WORSE, "across zero": UNCLEAR}
    handles = [panels[0].plot([], [], color=colour, marker="o", label=label)[0] for label, colour in verdicts.items()]
    meaning = "; ".join(f"{step}: {text}" for step, text in MEANING.items())
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title=meaning, title_fontsize=9)
    asked = {name.endswith(NEIGHBOURS) for name in differences["variant"]}
    questions = " ".join(text for is_neighbours, text in QUESTIONS.items() if is_neighbours in asked)
    base = "the same variant without neighbours" if asked == {True} else BASELINE
    base += ", or from what is named" * (len(asked) > 1)
    figure.suptitle(f"{questions} Difference from {base}, 95 % interval over patients\n{subtitle}")
    save(figure, path)


def _verdict(low: float, high: float, measure: str) -> str:
    if not (low > 0 or high < 0):  # NaN too
        return UNCLEAR
    return BETTER if (low > 0) != (measure == LOWER_IS_BETTER) else WORSE


def scans(path: Path, table: pd.DataFrame, subtitle: str, unsure: Collection[str]) -> None:
    """One panel per type: AUROC over whole scans of each variant with its interval; `table` as of per_scan.table.

    Grey: the variants that are `unsure`.
    """
    types, names = list(dict.fromkeys(table["type"])), list(dict.fromkeys(table["variant"]))
    figure, panels = new_figure(15, 0.4 * len(names) + 2, len(types))
    for axes, kind in zip(panels, types, strict=True):
        axes.axvline(0.5, color=GREY, linestyle=":")
        rows = table[table["type"] == kind].reset_index(drop=True)
        for line, row in rows.iterrows():
            colour = VOID if row["variant"] in unsure else BLACK
            axes.plot([row["auroc_low"], row["auroc_high"]], [line, line], color=colour, linewidth=2)
            axes.plot(row["auroc"], line, "o", color=colour)
        counts = f"{rows['with_it'].iloc[0]} of {rows['scans'].iloc[0]} scans"
        axes.set(title=f"{kind}\n{counts}", xlabel="AUROC", xlim=(0, 1))
        axes.set_yticks(range(len(names)), names if axes is panels[0] else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
    grey = "; grey: no answer" * bool(unsure)
    figure.suptitle("Is it in the scan? The highest probability of its slices; 95 % interval over patients; 0.5 is "
                    f"chance{grey}\n{subtitle}")  # fmt: skip
    save(figure, path)


def confusion(path: Path, tables: dict[str, pd.DataFrame], subtitle: str) -> None:
    """One panel per variant: slices in numbers, share of the row as colour."""
    columns = min(4, len(tables))
    lines = -(-len(tables) // columns)
    figure, _ = new_figure(4.1 * columns, 4 * lines + 0.6)
    figure.clear()
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in grid[len(tables) :]:
        axes.axis("off")
    for axes, (name, table) in zip(grid, tables.items(), strict=False):
        counts = table.to_numpy()
        share = counts / counts.sum(1, keepdims=True).clip(1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), number in np.ndenumerate(counts):
            dark = share[row, column] > 0.5
            axes.text(column, row, number, ha="center", va="center", color="white" if dark else "black", fontsize=8)
        axes.set_title(name)
        axes.set_xticks(range(table.shape[1]), table.columns, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(table.shape[0]), table.index, fontsize=8)
        axes.grid(visible=False)
    layout(figure).set(h_pad=0.12)  # inches
    square = all(list(table.index) == list(table.columns) for table in tables.values())
    axes_are = "Rows: truth; columns: prediction" if square else "Rows: labels; columns: decisions at 0.5"
    figure.suptitle(f"{axes_are}; numbers of slices, colour: share of the row\n{subtitle}")
    save(figure, path)
