"""Examples: of test alone, of every label, the same whatever the order of the rows."""

from collections import Counter

import pandas as pd

from pipeline.app.examples import choose_examples
from pipeline.labels import LABELS


def split() -> pd.DataFrame:
    rows = [
        {
            "image_id": f"{label}-{part}-{number}",
            "collection": "one",
            "path": f"{label}/{part}{number}.jpg",
            "label": label,
            "split": part,
            "picture_id": f"{label}-{part}-{number // 2}",
            "copy_rank": number % 2,
        }
        for label in LABELS
        for part in ("train", "val", "test")
        for number in range(14)
    ]
    return pd.DataFrame(rows)


def test_examples_are_test_images_of_every_label_one_a_picture():
    chosen = choose_examples(split(), each=3)
    assert Counter(one.label for one in chosen) == dict.fromkeys(LABELS, 3)
    assert {one.image_id.split("-")[1] for one in chosen} == {"test"}
    assert {int(one.image_id.split("-")[2]) % 2 for one in chosen} == {0}


def test_the_labels_are_mixed_and_the_order_of_rows_changes_nothing():
    chosen = choose_examples(split(), each=3)
    assert [one.label for one in chosen] != sorted((one.label for one in chosen), key=LABELS.index)
    assert choose_examples(split().sample(frac=1, random_state=1), each=3) == chosen


def test_a_label_with_few_images_gives_those_that_it_has():
    few = split()
    few = few[(few["label"] != "glioma") | (few["image_id"] == "glioma-test-0")]
    assert Counter(one.label for one in choose_examples(few, each=3))["glioma"] == 1
