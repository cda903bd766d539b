"""In which groups the wrong answers lie: one patient with many slices can cost more than all others."""

import pandas as pd

from pipeline.evaluation.predictions import read_answers, take_variant
from pipeline.labels import LABELS

COLUMNS = ["group_id", "label", "called", "wrong", "images"]
SHOWN = 6


def list_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The groups of one model's clean test images that hold wrong answers, the one with most first.

    Returns:
        `COLUMNS`, a row for each group and true class: `called` is the most frequent wrong answer (of equals
        the first label), `wrong` counts all wrong answers, `images` all images. Empty where all are right.

    Raises:
        TableError: as `take_variant`.
    """
    rows = take_variant(predictions)
    called = pd.Series([LABELS[code] for code in read_answers(rows).predicted], index=rows.index)
    answers = rows[["group_id", "label"]].assign(called=called, wrong=called != rows["label"])
    found = [
        (group, label, _find_most(part.loc[part["wrong"], "called"]), int(part["wrong"].sum()), len(part))
        for (group, label), part in answers.groupby(["group_id", "label"], sort=True)
        if part["wrong"].any()
    ]
    table = pd.DataFrame(found, columns=COLUMNS)
    return table.sort_values(["wrong", "group_id", "label"], ascending=[False, True, True], ignore_index=True)


def _find_most(called: pd.Series) -> str:
    counts = called.value_counts()
    return max(LABELS, key=lambda label: counts.get(label, 0))
