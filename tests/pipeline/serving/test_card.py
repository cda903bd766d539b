"""The card: complete, readable, and refused where it does not fit the code that reads it."""

from pathlib import Path

import pytest
from shades import make_card, make_recipe

from pipeline.errors import ServingError
from pipeline.labels import LABELS
from pipeline.serving import card as cards
from pipeline.serving.card import ModelCard, check_card, digest_recipe, installed_versions, read_card


def test_a_card_says_what_a_person_must_know():
    card = make_card(gate="leaks: 12 shared_picture")
    assert card.classes == LABELS
    assert (card.size, card.channels, card.normalise) == (16, 1, "unit")
    assert card.gate == "leaks: 12 shared_picture"
    assert "not a medical device" in card.disclaimer
    assert card.recipe_digest == digest_recipe(make_recipe())
    assert {"torch", "timm", "pillow", "mlflow"} <= set(card.versions)


def test_every_field_is_described_or_carries_its_text():
    texts = {"card_version", "intended_use", "limits", "disclaimer"}
    bare = {name for name, field in ModelCard.model_fields.items() if not field.description}
    assert bare == texts


def test_a_card_survives_the_file(tmp_path: Path):
    path = tmp_path / "card.json"
    path.write_text(make_card().model_dump_json())
    assert read_card(path) == make_card()


def test_versions_carry_no_build_tag():
    assert not [text for text in installed_versions().values() if "+" in text]


@pytest.mark.parametrize(
    ("content", "named"),
    [("not json", "Invalid JSON"), ("{}", "model_id"), (None, "No such file")],
)
def test_an_unreadable_card_is_refused(tmp_path: Path, content: str | None, named: str):
    path = tmp_path / "card.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ServingError, match=named):
        read_card(path)


def test_another_class_order_is_refused():
    swapped = make_card().model_copy(update={"classes": tuple(reversed(LABELS))})
    with pytest.raises(ServingError, match="no_tumor, pituitary, meningioma, glioma"):
        check_card(swapped, make_recipe())


def test_another_recipe_is_refused():
    other = make_recipe().model_copy(update={"batch_size": 8})
    with pytest.raises(ServingError, match="Package it again"):
        check_card(make_card(), other)


@pytest.mark.parametrize(
    ("there", "here", "fits"),
    [("2.15.0", "2.15.3", True), ("2.14.0", "2.15.0", False), ("3.15.0", "2.15.0", False)],
)
def test_torch_may_differ_in_the_patch_alone(
    monkeypatch: pytest.MonkeyPatch, there: str, here: str, fits: bool
):
    card = make_card()
    card = card.model_copy(update={"versions": card.versions | {"torch": there}})
    monkeypatch.setattr(cards, "installed_versions", lambda: {"torch": here})
    if fits:
        check_card(card, make_recipe())
        return
    with pytest.raises(ServingError, match=rf"torch {there}, found torch {here}"):
        check_card(card, make_recipe())
