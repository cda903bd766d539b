"""What a model has seen: by picture and group, through any copy; train before val before test."""

import pandas as pd
import pytest

from pipeline.app.exposure import draw_atlas, find_exposure, find_parts, list_neighbours
from pipeline.curation.lookup import Match
from pipeline.recipe import DataSpec

# a and b show one picture, c another of the same patient, d is alone.
PICTURES = {"a": "P", "b": "P", "c": "Q", "d": "R"}
GROUPS = {"a": "G", "b": "G", "c": "G", "d": "H"}


@pytest.fixture(scope="module")
def atlas():
    images = pd.DataFrame(
        {
            "image_id": list(PICTURES),
            "collection": "masoudnickparvar",
            "path": [f"Training/{name}.jpg" for name in PICTURES],
            "label": ["glioma", "glioma", "glioma", None],
        }
    )
    pictures = pd.DataFrame({"image_id": list(PICTURES), "picture_id": list(PICTURES.values())})
    groups = pd.DataFrame({"image_id": list(GROUPS), "group_id": list(GROUPS.values())})
    return draw_atlas(images, pictures, groups)


def match(image_id: str, verdict: str = "copy", score: float = 0.95, **changes) -> Match:
    fields = {"worst": 0.9, "mirrored": False, "turned": 0, "evidence": "aligned", "why": ""}
    return Match(image_id=image_id, verdict=verdict, score=score, **(fields | changes))


def test_a_copy_of_a_training_image_was_in_training(atlas):
    found = find_exposure([match("a", mirrored=True)], atlas, {"a": "train", "d": "train"})
    assert (found.kind, found.image_id) == ("train", "a")
    assert (
        "This very picture was in the training data: masoudnickparvar/Training/a.jpg, mirrored" in found.text
    )


def test_it_counts_when_another_copy_was_trained_on(atlas):
    found = find_exposure([match("a")], atlas, {"b": "train"})
    assert (found.kind, found.image_id) == ("train", "b")
    assert "of which a copy was compared" in found.text


def test_training_counts_before_test(atlas):
    assert find_exposure([match("a")], atlas, {"a": "test", "b": "train"}).kind == "train"


def test_a_copy_in_val_does_not_hide_another_copys_patient(atlas):
    matches = [match("d"), match("a")]
    assert find_exposure(matches, atlas, {"d": "val", "c": "train"}).kind == "patient"


def test_a_grey_match_counts_for_every_copy_of_the_picture(atlas):
    found = find_exposure([match("a", verdict="review")], atlas, {"b": "train"})
    assert (found.kind, found.image_id) == ("review", "a")


def test_another_picture_of_the_patient_is_told(atlas):
    found = find_exposure([match("a")], atlas, {"a": "test", "c": "train"})
    assert found.kind == "patient"
    assert "1 other picture of the same patient or group was in the training data" in found.text
    assert find_exposure([match("a")], atlas, {"c": "train"}).kind == "patient"


@pytest.mark.parametrize("part", ["val", "test"])
def test_val_and_test_are_told(atlas, part):
    found = find_exposure([match("a")], atlas, {"a": part, "d": "train"})
    assert found.kind == part
    assert f"in the {part} part" in found.text


def test_the_grey_band_is_for_a_person(atlas):
    found = find_exposure([match("d", "review", 0.85)], atlas, {"d": "train"})
    assert found.kind == "review"
    assert "a person has to decide" in found.text


def test_what_is_not_found_is_counted_against(atlas):
    found = find_exposure([match("d", "rejected", 0.4)], atlas, {"a": "train", "d": "train"})
    assert found.text == "No copy of this slice was found among the 2 training images of this model."


def test_a_known_image_that_the_model_does_not_use(atlas):
    found = find_exposure([match("d")], atlas, {"a": "train"})
    assert found.kind == "unseen"
    assert found.text.endswith("It is known here, but this model does not use it.")


def test_neighbours_are_training_pictures_each_once(atlas):
    matches = [match("a"), match("b"), match("d", "rejected", 0.4), match("c", "rejected", 0.3)]
    parts = {"one": {"b": "train", "d": "train", "c": "test"}, "two": {"d": "train", "a": "val"}}
    found = list_neighbours(matches, atlas, parts, most=4)
    assert [(one.image_id, one.trained) for one in found] == [("b", ("one",)), ("d", ("one", "two"))]
    assert found[1].label == "unknown"
    assert len(list_neighbours(matches, atlas, parts, most=1)) == 1


def test_parts_are_those_that_the_recipe_uses():
    split = pd.DataFrame(
        {
            "image_id": ["a", "a", "b", "c", "d"],
            "collection": ["one", "one", "one", "two", "one"],
            "path": ["1", "2", "3", "4", "5"],
            "label": "glioma",
            "split": ["test", "train", "val", "train", "left_out"],
            "picture_id": None,
            "copy_rank": None,
        }
    )
    assert find_parts(split, DataSpec(collections=("one",)), "published") == {"a": "train", "b": "val"}
