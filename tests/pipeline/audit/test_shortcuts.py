"""Shortcuts: a planted one is found, none is found where there is none, and copies do not make one."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.audit.evidence import Evidence
from pipeline.audit.shortcuts import FEATURES, TOGETHER, measure_shortcuts
from pipeline.labels import LABELS


@pytest.fixture(scope="module")
def world(kit):
    """Two web collections, 30 images a class and collection, all of unknown patients."""
    made = kit.Builder()
    for k in range(240):
        made.add("web_a" if k % 2 else "web_b", f"{k}.jpg", LABELS[k // 2 % 4], split="train")
    return made.build()


def with_brightness(world: Evidence, values) -> Evidence:
    return replace(world, looks=world.looks.assign(brightness=values, contrast=30.0))


def find(evidence, name, others=()):
    features = {one: FEATURES[one] for one in ({*others} or {name})}
    found = measure_shortcuts(evidence, features)
    return next(one for one in found if (one.scope, one.features) == ("all", name))


def test_planted_shortcut_is_found(world):
    label = dict(zip(world.images["image_id"], world.images["label"], strict=True))
    rng = np.random.default_rng(0)
    planted = with_brightness(
        world, [50 * LABELS.index(label[one]) + rng.uniform(0, 60) for one in world.looks["image_id"]]
    )
    one = find(planted, "brightness")
    assert one.balanced_accuracy > 0.75
    assert one.chance == 0.25
    assert 0.1 < one.permuted < 0.4
    assert set(one.recall) == set(LABELS)
    assert find(planted, TOGETHER, ["brightness", "border"]).balanced_accuracy > 0.75


def test_noise_stays_at_chance(world):
    rng = np.random.default_rng(1)
    one = find(with_brightness(world, rng.uniform(0, 255, len(world.looks))), "brightness")
    assert 0.12 < one.balanced_accuracy < 0.38


def test_copies_are_no_shortcut(kit):
    """Each picture has its own brightness and four copies: learnt by heart it would predict the class."""
    made = kit.Builder()
    for k in range(80):
        for copy in range(4):
            made.add("web_b", f"{k}-{copy}.jpg", LABELS[k % 4], picture=f"p{k}")
    evidence = made.build()
    rng = np.random.default_rng(2)
    own = dict(zip(sorted(set(evidence.pictures["picture_id"])), rng.uniform(0, 255, 80), strict=True))
    shown = dict(zip(evidence.pictures["image_id"], evidence.pictures["picture_id"], strict=True))
    one = find(
        with_brightness(evidence, [own[shown[one]] for one in evidence.looks["image_id"]]), "brightness"
    )
    assert one.images == one.groups == 80
    assert one.balanced_accuracy < 0.45


def test_same_for_every_image_is_said(world):
    one = find(world, "colour")
    assert one.balanced_accuracy is None
    assert one.why_not == "the same for every image"
    assert one.recall == {}


def test_one_class_cannot_be_measured(kit):
    made = kit.Builder()
    for k in range(6):
        made.add("web_b", f"{k}.jpg", "glioma")
    assert find(made.build(), "brightness").why_not == "fewer than two classes here"


def test_one_group_cannot_be_measured(kit):
    made = kit.Builder()
    for k in range(6):
        made.add("web_b", f"{k}.jpg", "glioma" if k else "no_tumor")
    assert find(made.build(), "brightness").why_not == "fewer than two groups of a class here"


def test_collection_predicts_where_classes_differ(facts):
    one = next(one for one in facts.shortcuts if (one.scope, one.features) == ("all", "collection"))
    assert one.balanced_accuracy > one.chance  # the reference has no no_tumor
    assert not any(one.features == "collection" for one in facts.shortcuts if one.scope != "all")
