"""Worlds for the tests of release: splits, groups, and what a model answers."""

import numpy as np
import pandas as pd

from pipeline.labels import LABELS
from pipeline.tables import find_table


def split_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """A table `splits`: (image, split, label) each; a picture is an image's name less its last letter."""
    frame = pd.DataFrame(rows, columns=["image_id", "split", "label"])
    frame = frame.assign(collection="c", path=frame["image_id"] + ".png", why="w")
    frame = frame.assign(picture_id=frame["image_id"].str[:-1], copy_rank=0)
    return frame[find_table("splits").names]


def groups_of(**groups: str) -> pd.DataFrame:
    rows = [(image, group, "patient") for image, group in groups.items()]
    return pd.DataFrame(rows, columns=find_table("groups").names)


def answers_of(
    model_id: str, *, wrong: float, groups: int = 24, new: int = 0, confident: float = 0.7, seed: int = 0
) -> pd.DataFrame:
    """A table `exams` of one model: two images a group, a share of them wrong, `new` groups of newcomers."""
    rng = np.random.default_rng(seed)
    rows = []
    for group in range(groups + new):
        for index in range(2):
            truth = group % len(LABELS)
            for variant in ("clean", "gaussian_blur:3"):
                called = (truth + 1) % len(LABELS) if rng.random() < wrong else truth
                scores = np.full(len(LABELS), (1 - confident) / 3)
                scores[called] = confident
                image = f"{group:03d}{index}"
                rows.append(
                    {
                        "model_id": model_id,
                        "recipe": model_id,
                        "protocol": "patient",
                        "seed": 0,
                        "image_id": image,
                        "collection": "c",
                        "path": image,
                        "variant": variant,
                        "label": LABELS[truth],
                        "group_id": f"g{group:03d}",
                        "part": "settled" if group < groups else "newcomer",
                        **dict(zip([f"p_{label}" for label in LABELS], scores, strict=True)),
                    }
                )
    frame = pd.DataFrame(rows)[find_table("exams").names]
    return frame[~((frame["part"] == "newcomer") & (frame["variant"] != "clean"))].reset_index(drop=True)
