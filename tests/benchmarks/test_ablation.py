"""The ablation: each variant differs in one ingredient, results are kept, differences are paired."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import choose_variants, describe
from benchmarks.book import Book, identify, tabulate
from benchmarks.ingredients import BASE, INGREDIENTS, change_fields, list_variants, read_field
from pipeline.catalog import load_catalog
from pipeline.errors import SettingsError
from pipeline.labels import LABELS
from pipeline.recipe import Recipe
from pipeline.training.spec import TrainingSpec, flatten

RECIPES = load_catalog().recipes


def flat(recipe: Recipe) -> dict[str, Any]:
    return flatten(recipe.model_dump())


def make_spec(recipe: Recipe, seed: int, **changes: Any) -> TrainingSpec:
    fields = {"protocol": "patient", "split": "s", "folders": {}, "cache": "c", "work": "w"}
    fields |= {"data_digest": "d", "model_id": f"{recipe.name} {seed}"}
    return TrainingSpec(recipe=recipe, seed=seed, **(fields | changes))


@pytest.mark.parametrize("name", ["slim64", "slim128", "demo_careful", "vgg16_baseline", "cnn3"])
def test_each_variant_differs_in_one_ingredient(name: str) -> None:
    base = RECIPES[name]
    found, impossible = list_variants(base)
    assert found[BASE] == base
    assert len(found) - 1 + len(impossible) == len(INGREDIENTS)
    for one in INGREDIENTS:
        word = "without" if one.is_in(base) else "with"
        variant = found.get(f"{word} {one.name}")
        if variant is None:
            assert impossible[f"{word} {one.name}"]
            continue
        assert one.is_in(variant) != one.is_in(base)
        then, now = flat(base), flat(variant)
        changed = {field for field in {*then, *now} if then.get(field) != now.get(field)}
        named = {*one.on, *one.off}
        assert changed
        assert all(any(field == name or field.startswith(f"{name}.") for name in named) for field in changed)


def test_what_is_taken_away_and_what_is_added_to_slim64() -> None:
    found, impossible = list_variants(RECIPES["slim64"])
    assert not impossible
    assert {"without averaged weights", "without warm-up", "without degraded copies"} <= set(found)
    assert {"with mixup", "with stochastic depth", "with balanced sampling", "with gamma"} <= set(found)
    assert read_field(found["with mixup"], "augment.mixup") == 0.2


def test_a_variant_that_cannot_be_is_left_out_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    found = choose_variants(RECIPES["demo_careful"], 4, ["stochastic depth", "mixup"])
    assert list(found) == [BASE, "with mixup"]
    assert found[BASE].stopping.epochs == 4
    assert "left out: with stochastic depth: model.stochastic_depth: only slim" in capsys.readouterr().err


def test_an_unknown_ingredient_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"--only \['luck'\]: there are mirror, asking about both sides, rotation"
    ):
        choose_variants(RECIPES["slim64"], None, ["luck"])


def test_a_change_is_a_variant_of_its_own_beside_those_that_are_named() -> None:
    gentler = '{"augment.rotate": 5, "augment.brightness": 0.1}'
    found = choose_variants(RECIPES["slim64"], None, ["mixup"], [gentler])
    assert list(found) == [BASE, "with mixup", gentler]
    assert (found[gentler].augment.rotate, found[gentler].augment.brightness) == (5, 0.1)
    assert list(choose_variants(RECIPES["slim64"], None, [], [gentler])) == [BASE, gentler]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("augment.rotate=5", "Expecting value"),
        ("[5]", "cannot convert"),
        ('{"augment.luck": 5}', "luck"),
        ('{"luck.rotate": 5}', "luck"),
        ('{"augment.rotate": -5}', "greater than or equal to 0"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=r"(?s)--change .*give a JSON object of dotted fields") as caught:
        choose_variants(RECIPES["slim64"], None, [], [text])
    assert reason in str(caught.value)


@pytest.mark.parametrize("field", ["recipe", "protocol"])
def test_a_recipe_or_protocol_that_there_is_not_is_refused(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lake").mkdir()
    monkeypatch.setenv("FALX_HOME", str(tmp_path))
    home, out = ["--home", str(tmp_path)], ["--out", str(tmp_path / "out.json")]
    monkeypatch.setattr("sys.argv", ["ablation", *home, *out, f"--{field}", "luck"])
    assert ablation.main() == 2
    assert f"SettingsError: there is no {field} 'luck'; there are " in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def make_answer(images: list[list[str]], wrong: set[int]) -> dict[str, Any]:
    truth = np.array([LABELS.index(label) for _, label, _ in images])
    answered = (truth + np.isin(np.arange(len(images)), list(wrong))) % len(LABELS)
    return {"seconds": 1.0, "epochs": 1, "probabilities": np.eye(len(LABELS))[answered].tolist()}


@pytest.fixture
def images() -> list[list[str]]:
    return [[f"image {place:03d}", LABELS[place % 4], f"group {place // 4}"] for place in range(80)]


def test_results_are_kept_and_only_what_is_missing_or_changed_is_lacking(
    tmp_path: Path, images: list[list[str]]
) -> None:
    recipe, path = RECIPES["slim64"], tmp_path / "out.json"
    book, spec = Book.open(path, "slim64", "patient", images), make_spec(recipe, 0)
    assert book.lacks(BASE, spec)
    book.add(BASE, spec, "code", make_answer(images, {1}))
    again = Book.open(path, "slim64", "patient", images)
    assert again == book
    assert not again.lacks(BASE, spec)
    assert not again.lacks(BASE, make_spec(recipe, 0, model_id="of other code", work="elsewhere"))
    changed = change_fields(recipe, {"stopping.epochs": 7})
    for other in (make_spec(recipe, 1), make_spec(recipe, 0, data_digest="e"), make_spec(changed, 0)):
        assert again.lacks(BASE, other) and identify(other) != identify(spec)
        assert not again.choose([(BASE, other)]).results
    assert again.choose([(BASE, spec)]).results == book.results


def test_other_degradations_and_other_weights_under_the_same_path_are_other_trainings(tmp_path: Path) -> None:
    known = load_catalog().degradations["jpeg"]
    milder = known.model_copy(update={"severities": tuple(reversed(known.severities))})
    specs = [make_spec(RECIPES["slim64"], 0, degradations={"jpeg": kind}) for kind in (known, milder)]
    assert identify(specs[0]) != identify(specs[1])
    weights = tmp_path / "best.safetensors"
    spec = make_spec(change_fields(RECIPES["slim64"], {"model.weights": str(weights)}), 0)
    weights.write_bytes(b"one")
    before = identify(spec)
    weights.write_bytes(b"other")
    assert identify(spec) != before


def test_a_field_that_a_recipe_leaves_at_its_default_is_no_part_of_its_identity() -> None:
    recipe = RECIPES["slim64"]
    assert "mirror" not in recipe.model_dump(exclude_defaults=True)["model"]
    assert identify(make_spec(recipe, 0)) == identify(
        make_spec(change_fields(recipe, {"model.mirror": False}), 0)
    )


def test_results_of_another_recipe_or_on_other_images_are_refused(
    tmp_path: Path, images: list[list[str]]
) -> None:
    path = tmp_path / "out.json"
    Book.open(path, "slim64", "patient", images).add(
        BASE, make_spec(RECIPES["slim64"], 0), "c", make_answer(images, {1})
    )
    others = (
        ("slim128", "patient", images),
        ("slim64", "patient", images[1:]),
        ("slim64", "published", images),
    )
    for recipe, protocol, seen in others:
        with pytest.raises(SettingsError, match=r"not of .* under .* on these .*; give another --out"):
            Book.open(path, recipe, protocol, seen)


def test_an_image_counts_once_for_each_of_its_files(tmp_path: Path, images: list[list[str]]) -> None:
    twice = [*images, images[0], images[1]]
    book = Book.open(tmp_path / "out.json", "slim64", "published", twice)
    book.add(BASE, make_spec(RECIPES["slim64"], 0, protocol="published"), "code", make_answer(twice, {0, 80}))
    (row,) = tabulate(book, draws=100)
    assert row["mean"] == pytest.approx(1 - 2 / len(twice), abs=0.002)
    assert next(describe(book, [row])) == "Macro-F1 on val under `published`, 82 images in 20 groups."


def test_differences_are_paired_over_the_seeds_that_both_have(
    tmp_path: Path, images: list[list[str]]
) -> None:
    book, recipe = Book.open(tmp_path / "out.json", "slim64", "patient", images), RECIPES["slim64"]
    wrong = {(BASE, 0): {0, 5, 10, 15}, (BASE, 1): {0, 5, 10, 15, 20, 25, 30, 35}}
    wrong |= {("with luck", seed): rows | {41, 46, 51, 56} for (_, seed), rows in wrong.items()}
    wrong |= {("with sense", 1): set(), ("with care", 0): wrong[BASE, 0], ("with hope", 7): set()}
    for (variant, seed), rows in wrong.items():
        code = "old" if variant == "with luck" else "new"
        book.add(variant, make_spec(recipe, seed), code, make_answer(images, rows))
    found = {row["variant"]: row for row in tabulate(book, draws=400)}
    assert list(found) == [BASE, "with sense", "with care", "with luck", "with hope"]
    assert found["with care"]["difference"] == found["with care"]["low"] == found["with care"]["high"] == 0
    assert found[BASE]["mean"] == pytest.approx((0.95 + 0.9) / 2, abs=0.002)
    assert found[BASE]["spread"] == pytest.approx(0.05 / 2**0.5, abs=0.002)
    sense, luck = found["with sense"], found["with luck"]
    assert (sense["paired"], sense["difference"]) == (1, pytest.approx(0.1, abs=0.002))
    assert sense["low"] > 0 > luck["high"]
    assert luck["difference"] == pytest.approx(-0.05, abs=0.005)
    told = list(describe(book, list(found.values())))
    assert told[0] == "Macro-F1 on val under `patient`, 80 images in 20 groups."
    assert all(line.count("|") == 7 for line in told[2:-1])
    assert told[-1].strip().startswith("The results come from 2 versions of the code")
    assert np.isnan(found["with sense"]["spread"]) and "| – |" in told[5]
    stored = json.loads((tmp_path / "out.json").read_text())
    assert [(row["variant"], row["seed"]) for row in stored["results"]] == sorted(wrong)
