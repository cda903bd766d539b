"""The package: three files that belong together, or a refusal."""

import json
from pathlib import Path

import pytest
from shades import make_card, make_package, make_recipe, write_weights

from pipeline.digests import digest_file, digest_json
from pipeline.errors import ServingError
from pipeline.serving.card import Conformal
from pipeline.serving.package import (
    CALIBRATION,
    CARD,
    RECIPE,
    REFERENCE,
    WEIGHTS,
    read_package,
    write_package,
)


def paths(folder: Path) -> tuple[Path, Path, Path]:
    return folder / WEIGHTS, folder / CARD, folder / RECIPE


def test_a_package_is_read_as_it_was_written(tmp_path: Path):
    card = make_package(tmp_path)
    assert read_package(*paths(tmp_path / "package")) == (card, make_recipe())
    assert card.weights_digest == digest_file(tmp_path / "work" / WEIGHTS)
    assert sorted(path.name for path in (tmp_path / "package").iterdir()) == [WEIGHTS, CARD, RECIPE]


def test_writing_again_gives_the_same_bytes(tmp_path: Path):
    make_package(tmp_path)
    before = [path.read_bytes() for path in paths(tmp_path / "package")]
    make_package(tmp_path)
    assert [path.read_bytes() for path in paths(tmp_path / "package")] == before


def test_a_calibration_that_the_training_left_is_in_the_card(tmp_path: Path):
    write_weights(tmp_path / "work")
    left = {"temperature": 1.5, "conformal": {"coverage": 0.9, "threshold": 0.2}, "val_images": 99}
    (tmp_path / "work" / CALIBRATION).write_text(json.dumps(left))
    card = write_package(tmp_path / "package", tmp_path / "work", make_recipe(), make_card())
    assert card.temperature == 1.5
    assert card.conformal == Conformal(coverage=0.9, threshold=0.2)


def test_a_damaged_calibration_is_refused_and_nothing_is_packaged(tmp_path: Path):
    write_weights(tmp_path / "work")
    (tmp_path / "work" / CALIBRATION).write_text('{"temperature": 0}')
    with pytest.raises(ServingError, match=r"(?s)holds no calibration.*materialise the asset"):
        write_package(tmp_path / "package", tmp_path / "work", make_recipe(), make_card())
    assert not (tmp_path / "package" / CARD).exists()


def test_without_weights_nothing_is_packaged(tmp_path: Path):
    with pytest.raises(ServingError, match="train it first"):
        write_package(tmp_path / "package", tmp_path, make_recipe(), make_card())
    assert not (tmp_path / "package").exists()


def test_a_card_of_another_recipe_is_not_packaged(tmp_path: Path):
    write_weights(tmp_path)
    other = make_recipe().model_copy(update={"title": "Another"})
    with pytest.raises(ServingError, match="Package it again"):
        write_package(tmp_path / "package", tmp_path, other, make_card())


@pytest.mark.parametrize("name", [WEIGHTS, CARD, RECIPE])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    make_package(tmp_path)
    (tmp_path / "package" / name).unlink()
    with pytest.raises(ServingError, match=name):
        read_package(*paths(tmp_path / "package"))


def test_other_weights_are_refused(tmp_path: Path):
    make_package(tmp_path)
    weights = tmp_path / "package" / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ServingError, match="does not hold the weights"):
        read_package(*paths(tmp_path / "package"))


def test_a_reference_goes_along_and_the_card_says_what_is_far(tmp_path: Path):
    card = make_package(tmp_path, reference=True)
    reference = tmp_path / "package" / REFERENCE
    assert card.distance is not None
    assert card.distance.digest == digest_file(reference) == digest_file(tmp_path / "work" / REFERENCE)
    assert (card.distance.train_images, card.distance.val_images, card.distance.quantile) == (32, 32, 0.99)
    assert read_package(*paths(tmp_path / "package"), reference) == (card, make_recipe())


def test_a_reference_that_is_gone_does_not_stay_in_the_package(tmp_path: Path):
    make_package(tmp_path, reference=True)
    (tmp_path / "work" / REFERENCE).unlink()
    assert make_package(tmp_path).distance is None
    assert not (tmp_path / "package" / REFERENCE).exists()


@pytest.mark.parametrize("change", ["other bytes", "missing", "not given"])
def test_without_its_reference_a_package_is_refused(tmp_path: Path, change: str):
    make_package(tmp_path, reference=True)
    reference: Path | None = tmp_path / "package" / REFERENCE
    if change == "other bytes":
        reference.write_bytes(reference.read_bytes()[:-1] + b"!")
    elif change == "missing":
        reference.unlink()
    else:
        reference = None
    with pytest.raises(ServingError, match=r"does not hold the reference .* Package the training again"):
        read_package(*paths(tmp_path / "package"), reference)


def test_an_edited_recipe_is_refused(tmp_path: Path):
    make_package(tmp_path)
    recipe = tmp_path / "package" / RECIPE
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"batch_size": 3}))
    with pytest.raises(ServingError, match="Package it again"):
        read_package(*paths(tmp_path / "package"))


def test_a_package_from_before_recipes_gained_a_field_is_still_read(tmp_path: Path):
    make_package(tmp_path)
    card, recipe = tmp_path / "package" / CARD, tmp_path / "package" / RECIPE
    older = json.loads(recipe.read_text())
    del older["pretraining"], older["model"]["pool"]
    recipe.write_text(json.dumps(older))
    with pytest.raises(ServingError, match="Package it again"):
        read_package(*paths(tmp_path / "package"))
    card.write_text(json.dumps(json.loads(card.read_text()) | {"recipe_digest": digest_json(older)}))
    assert read_package(*paths(tmp_path / "package"))[1] == make_recipe()
