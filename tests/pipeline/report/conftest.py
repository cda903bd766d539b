"""Sources of made-up reports: two recipes under three protocols, answered by dice."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.audit.facts import CollectionFact
from pipeline.catalog import load_catalog
from pipeline.evaluation.contests import compare_recipes
from pipeline.evaluation.evidence import fit_on_val, weigh_evidence
from pipeline.evaluation.leaderboard import rank_recipes
from pipeline.evaluation.metrics import score_predictions
from pipeline.evaluation.robustness import measure_robustness
from pipeline.labels import LABELS, PROTOCOLS
from pipeline.pages.markup import Html
from pipeline.report.sources import ModelSources, ReleaseSources
from pipeline.schemas import TABLES
from pipeline.serving.card import Conformal, write_card
from pipeline.training.spec import TrainingResult

RECIPES, DRAWS = ("slim64", "cnn3"), 60
VARIANTS = ("clean", "jpeg:1", "jpeg:2", "gaussian_blur:1")


def answer(recipe, protocol, *, part="test", variants=("clean",), seed=0, skill=2.0, images=48):
    """Answers of a made-up model; the images of a group are three, of one class."""
    frames = []
    for variant in variants:
        random = np.random.default_rng([seed, len(recipe), len(protocol), len(variant), len(part)])
        truth = np.arange(images) // 3 % 4
        logits = random.normal(0, 1, (images, 4))
        logits[np.arange(images), truth] += skill if variant == "clean" else skill / 2
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        frame = pd.DataFrame({"image_id": [f"{part}-{protocol}-{index:02d}" for index in range(images)]})
        frame = frame.assign(path=[f"{one}.png" for one in frame["image_id"]], variant=variant)
        frame["collection"] = np.where(np.arange(images) % 2, "web_a", "web_b")
        frame["label"] = [LABELS[code] for code in truth]
        frame["group_id"] = [f"g{part}{index // 3:02d}" for index in range(images)]
        frame = frame.assign(
            model_id=f"{recipe}-{protocol}-{seed}", recipe=recipe, protocol=protocol, seed=seed
        )
        frames.append(frame.assign(**{f"p_{label}": scores[:, code] for code, label in enumerate(LABELS)}))
    return pd.concat(frames, ignore_index=True)[TABLES["predictions"].names]


def describe(name):
    return CollectionFact(
        name=name, title=f"Collection {name} & <co>", description="made up", address="", version="version 3",
        files=120, bytes=9, digest="d" * 64, licence="none <stated>", redistribute="unknown",
        citation="Somebody 2020.", reference=False, labels={},
    )  # fmt: skip


def imagine(protocol="patient", *, recipe="slim64", skill=2.0, seeds=(0,)):
    """`ModelSources` whose figures are counted from dice."""
    known = load_catalog().recipes[recipe]
    patient = protocol == "patient"
    whole = answer(recipe, protocol, variants=VARIANTS if patient else ("clean",), skill=skill)
    val = answer(recipe, protocol, part="val", skill=skill)
    clean = whole[whole["variant"] == "clean"].reset_index(drop=True)
    others = [answer(recipe, one, seed=seed, skill=skill) for one in PROTOCOLS for seed in seeds]
    board = rank_recipes(others, dict.fromkeys(PROTOCOLS, ""), draws=DRAWS)
    parts = {"test": clean, "val": val, "train": val}
    used = pd.concat([frame.assign(split=part) for part, frame in parts.items()], ignore_index=True)
    used = used[["image_id", "collection", "path", "label", "split"]]
    shown = pd.concat([clean, val])[["image_id", "group_id"]]
    robust = pd.DataFrame(columns=TABLES["robustness"].names)
    if patient:
        robust = measure_robustness(whole, fit_on_val(val).temperature, draws=DRAWS)
    result = TrainingResult(
        model_id=str(clean["model_id"].iloc[0]), recipe=recipe, protocol=protocol, seed=0, identity="i",
        best_epoch=2, epochs=3, monitor="val_macro_f1", monitor_value=0.75, val={"macro_f1": 0.75},
        parameters=12345, trainable_parameters=12000, n_train=48, n_val=48, device="cpu", precision="fp32",
        why={}, seconds=1.0,
    )  # fmt: skip
    rows = [(1, 1.4, 1.5, 0.3), (2, 0.9, 1.1, 0.75), (3, 0.5, 1.2, 0.7)]
    history = [
        dict(zip(("epoch", "train_loss", "val_loss", "val_macro_f1"), row, strict=True)) for row in rows
    ]
    card = write_card(
        known, protocol=protocol, seed=0, model_id=result.model_id, data_digest="a" * 32,
        gate="passed" if patient else "leaks: 12 shared_picture", val={"macro_f1": 0.75},
    )  # fmt: skip
    return ModelSources(
        recipe=known,
        protocol=protocol,
        gate=card.gate,
        answers=clean,
        metrics=score_predictions(clean, draws=DRAWS),
        evidence=weigh_evidence(clean, val, draws=DRAWS),
        robustness=robust,
        board=board,
        used=used,
        groups=shown.assign(safety=np.where(shown["group_id"].str.endswith("1"), "patient", "picture")),
        patients=shown[["image_id"]].assign(
            patient_id=shown["group_id"].where(shown["group_id"].str.endswith("1"))
        ),
        collections=[describe(name) for name in ("web_a", "web_b")],
        result=result,
        history=history,
        card=card.model_copy(
            update={"temperature": 1.25, "conformal": Conformal(coverage=0.9, threshold=0.125)}
        ),
        place=f"{protocol}/{recipe}",
    )


def weigh(*, recipes=RECIPES, openings=None, tested=None):
    """`ReleaseSources` of the same dice."""
    whole = [answer(one, protocol, variants=VARIANTS) for one in recipes for protocol in PROTOCOLS]
    clean = [frame[frame["variant"] == "clean"] for frame in whole]
    verdicts = {
        "published": "leaks: 12 shared_md5",
        "stratified": "leaks: 3 shared_picture",
        "patient": "passed",
    }
    val = pd.concat([answer(one, "patient", part="val") for one in recipes])
    best = max(recipes, key=len)
    candidates = [
        (f"{one}-patient-0", one, 0, 0.5 + len(one) / 100, "passed", one == best, one == best, "by the rule")
        for one in recipes
    ]
    degraded = [frame for frame in whole if frame["protocol"].iloc[0] == "patient"]
    none = pd.DataFrame(columns=TABLES["openings"].names)
    leaks = {
        "test_files": 70,
        "any_twin": 60,
        "any_twin_anywhere": 63,
        "byte_identical": 5,
        "same_picture": 30,
    }
    leaks |= {"same_picture_only_mirrored": 7, "same_patient": 40}
    audit = pd.DataFrame(
        [("leaks", "web_a", name, value, 70) for name, value in leaks.items()],
        columns=TABLES["audit"].names,
    )
    return ReleaseSources(
        release=pd.DataFrame(candidates, columns=TABLES["release"].names),
        board=rank_recipes(clean, verdicts, draws=DRAWS),
        comparisons=compare_recipes(clean, draws=DRAWS),
        robustness=pd.concat(
            [measure_robustness(frame, 1.0, degraded[0], draws=DRAWS) for frame in degraded]
        ),
        audit=audit,
        exams=score_predictions(val, draws=DRAWS),
        openings=none if openings is None else openings,
        tested=frozenset(row[0] for row in candidates) if tested is None else frozenset(tested),
    )


def shuffle(sources, seed=5):
    """The same sources with the rows of every table in another order."""
    tables = {
        name: value.sample(frac=1, random_state=seed)
        for name, value in vars(sources).items()
        if isinstance(value, pd.DataFrame)
    }
    return replace(sources, **tables)


@pytest.fixture(scope="session")
def dice():
    """What tests build with; a fixture, since test modules cannot import a conftest safely."""
    picture = Html('<img src="data:image/webp;base64,AAAA" width="96" height="96" alt="">')
    return SimpleNamespace(answer=answer, imagine=imagine, weigh=weigh, shuffle=shuffle, picture=picture)


@pytest.fixture(scope="session")
def model(dice):
    """Document of a model under `patient`."""
    from pipeline.report.model_facts import gather_model

    return gather_model(dice.imagine(), code="c", tables={"predictions/patient/slim64": "ab" * 32})


@pytest.fixture(scope="session")
def release(dice):
    """Document of a release."""
    from pipeline.report.release_facts import gather_release

    return gather_release(dice.weigh(), code="c", tables={"release": "cd" * 32})


@pytest.fixture(scope="session")
def page(model, dice):
    """Its page."""
    from pipeline.report.model_page import render_model

    pictures = dict.fromkeys(model.lists["misses"], dice.picture)
    return render_model(model, pictures, up="../../", facts_file="slim64.json")


@pytest.fixture(scope="session")
def release_page(release):
    """The page of the release."""
    from pipeline.report.release_page import render_release

    return render_release(
        release,
        address=lambda recipe, protocol: f"models/{protocol}/{recipe}.html",
        facts_file="release.json",
    )
