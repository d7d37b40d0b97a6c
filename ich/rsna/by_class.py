"""Tables of each class, under every variant."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ich.rsna import scores
from ich.rsna.compare import Result
from ich.rsna.layouts import names_of


def per_class(results: Sequence[Result], task: str) -> pd.DataFrame:
    """One row per variant and class; means over trainings."""
    tables = {}
    for result in results:
        trainings = pd.concat([scores.per_class(training, names_of(task)) for training in result.trainings])
        tables[result.name] = trainings.groupby("class", sort=False).mean()
    return pd.concat(tables, names=["variant"]).reset_index().astype({"slices": int})


def confusion(results: Sequence[Result], task: str) -> dict[str, pd.DataFrame]:
    """By variant, slices of the first seed: true class by predicted class; in multilabel each label's four counts."""
    names = list(names_of(task))
    tables = {}
    for result in results:
        first = result.trainings[0]
        if first.multilabel:
            four = scores.counts(first.truth, first.decided, scores.once(len(first.truth)))
            columns = ["found", "false alarm", "missed", "correctly absent"]
            tables[result.name] = pd.DataFrame(np.vstack(four).T.astype(int), names, columns)
        else:
            tables[result.name] = pd.DataFrame(scores.confusion(first), names, names)
    return tables
