"""The asset `release`: promotion, refusal, rollback and ledgers, with the process and MLflow stood in for."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from test_training_assets import RESULT

from assets.candidates import digest_release, known_table, list_trained, read_reign
from assets.release import release
from assets.trainings import specify_all
from pipeline.catalog import DEFAULT_CATALOG
from pipeline.errors import ReleaseError
from pipeline.labels import LABELS
from pipeline.release.sitting import ExamSpec
from pipeline.serving.card import write_card
from pipeline.tables import find_table, to_arrow
from resources.ledgers import append_row, read_rows
from resources.trainer import Trainer

RECIPE = "resnet18d"
WRONG: dict[str, float] = {}
"""model_id -> share of wrong answers; a model that is not named breaks its contract."""
ASKED: list[ExamSpec] = []


class Scripted(Trainer):
    """Answers the exam as `WRONG` says, in place of the process."""

    seeds: int = 3

    def run(self, context, task, spec, **_) -> None:
        assert task == "examine"
        exam = ExamSpec.model_validate_json(Path(spec).read_bytes())
        ASKED.append(exam)
        frames = [answer(exam, one) for one in exam.sitters if one.model_id in WRONG]
        table = pd.concat(frames) if frames else pd.DataFrame(columns=find_table("exams").names)
        pq.write_table(to_arrow("exams", table), exam.output)
        breaches = {
            s.model_id: "" if s.model_id in WRONG else "ServingError: no weights" for s in exam.sitters
        }
        Path(exam.contracts).write_text(json.dumps(breaches))


def answer(exam: ExamSpec, sitter) -> pd.DataFrame:
    rows = pd.DataFrame([row.model_dump() for row in exam.rows])
    truth = rows["label"].map(LABELS.index).to_numpy()
    wrong = np.arange(len(rows)) < WRONG[sitter.model_id] * len(rows)
    scores = np.full((len(rows), 4), 0.1)
    scores[np.arange(len(rows)), np.where(wrong, (truth + 1) % 4, truth)] = 0.7
    named = rows.assign(model_id=sitter.model_id, recipe=sitter.recipe, seed=sitter.seed, protocol="patient")
    named = named.assign(**{f"p_{label}": scores[:, code] for code, label in enumerate(LABELS)})
    return pd.concat([named.assign(variant=variant) for variant in ("clean", "gaussian_blur:3")])


class Registry:
    """Stands in for MLflow: an alias, tags, and versions of `falx` in the order of release."""

    def __init__(self) -> None:
        self.alias, self.released, self.tags = "", [], {}

    def find_version(self, name: str, model_id: str) -> str:
        return model_id

    def release(self, name: str, version: str, *, tags: dict) -> str:
        if version not in self.released:
            self.released.append(version)
        self.tags[version] = dict(tags)
        return str(self.released.index(version) + 1)

    def tag(self, name: str, version: str, tags: dict) -> None:
        self.tags.setdefault(version, {}).update(tags)

    def read_alias(self) -> str:
        return self.alias

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.alias = version

    def fetch_package(self, name: str, version: str, folder: Path) -> Path:
        assert version in map(str, range(1, 1 + len(self.released)))
        return folder

    def model_url(self, name: str, version: str) -> str:
        return f"http://127.0.0.1:5000/{name}/{version}"


@pytest.fixture
def world(curated, make_store, tmp_path):
    """A curated store under an easier rule, three trained seeds to come, and a registry."""
    lake, _store = curated
    shutil.copytree(DEFAULT_CATALOG, tmp_path / "catalog")
    path = tmp_path / "catalog" / "promotion.yaml"
    clauses = {"macro_f1": {"limit": 0.4, "gain": 0.0}, "worst_class_recall": {"limit": 0.0}}
    exam = {"degradations": ["gaussian_blur"], "min_groups": 2}
    path.write_text(yaml.safe_dump({"exam": exam, "clauses": clauses, "retrain": [RECIPE]}))
    store = make_store(tmp_path, catalog_root=str(tmp_path / "catalog"))
    WRONG.clear()
    ASKED.clear()
    specs = specify_all(store.catalog.recipes[RECIPE], "patient", lake, store, Scripted())
    return SimpleNamespace(lake=lake, store=store, specs=specs, registry=Registry())


def finish(spec, wrong: float | None, gate: str = "passed") -> str:
    """Let a training have ended; how good it is shows in the exam."""
    work = Path(spec.work)
    (work / "package").mkdir(parents=True)
    (work / "result.json").write_text(json.dumps(RESULT))
    told = {"protocol": "patient", "seed": spec.seed, "model_id": spec.model_id, "data_digest": "d"}
    card = write_card(spec.recipe, **told, gate=gate, val={"loss": 1.0})
    (work / "package" / "card.json").write_text(card.model_dump_json())
    if wrong is not None:
        WRONG[spec.model_id] = wrong
    return spec.model_id


def materialise(world, *, raise_on_error: bool = True):
    @contextmanager
    def connected():
        yield world.registry

    return dg.materialize(
        [release],
        raise_on_error=raise_on_error,
        resources={
            "lake": world.lake,
            "raw_store": world.store,
            "trainer": Scripted(),
            "tracking": dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(connected=connected)),
        },
    )


def why(world) -> dict[str, str]:
    table = world.lake.read("release")
    return dict(zip(table["model_id"], table["why"], strict=True))


def roll_back(world, to: str) -> None:
    rows = read_rows(world.lake, "releases")
    target = rows[rows["model_id"] == to].iloc[-1].to_dict()
    held = [spec.model_id for spec in list_trained(world.lake, world.store, Scripted())]
    changed = {"number": len(rows) + 1, "action": "rollback", "replaced": read_reign(world.lake).model_id}
    append_row(world.lake, "releases", {**target, **changed, "held": held, "who": "ann", "why": "it drifts"})


def test_the_first_good_model_is_released_with_the_digests_and_results_that_led_there(world):
    first = finish(world.specs[0], 0.1)
    [made] = materialise(world).asset_materializations_for_node("release")
    tags = world.registry.tags[first]
    assert tags["data_digest"] == world.specs[0].data_digest[:32]
    assert tags["split_digest"] == world.lake.digest("splits/patient")[:32]
    assert tags["code_commit"]
    assert tags["check/shared_md5"] == tags["check/verdict"] == "passed"
    assert tags["clause/macro_f1/limit"].startswith("passed: macro-F1 on the settled val images: 0.")
    assert tags["promotion"] == "champion"
    assert world.registry.alias == "1"
    [row] = read_rows(world.lake, "releases").to_dict("records")
    assert (row["model_id"], row["action"], row["who"], row["version"]) == (first, "promotion", "rule", "1")
    assert set(world.lake.read(known_table(first))["split"]) == {"train", "val"}
    assert made.metadata["champion"].value == f"{RECIPE}, version 1"
    assert made.metadata["challengers"].value == 1
    assert "| passed |" in made.metadata["clauses"].value


def test_nothing_is_weighed_again_where_nothing_changed(world):
    finish(world.specs[0], 0.1)
    materialise(world)
    stored = world.lake.digest("release")
    materialise(world)
    assert len(ASKED) == 1
    assert world.lake.digest("release") == stored
    assert len(read_rows(world.lake, "releases")) == 1
    assert world.lake.manifest("release").inputs == digest_release(world.lake, world.store, Scripted())


def test_a_kill_before_the_alias_moves_leaves_the_ledger_right_and_the_next_run_moves_it(world, monkeypatch):
    first = finish(world.specs[0], 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_alias", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            materialise(world)
    assert (world.registry.alias, read_reign(world.lake).model_id) == ("", first)
    assert "promotion" not in world.registry.tags[first]
    materialise(world)
    assert world.registry.alias == "1"
    assert world.registry.tags[first]["promotion"] == "champion"
    assert len(read_rows(world.lake, "releases")) == 1


def test_a_worse_challenger_is_told_why_and_a_better_one_takes_the_place(world):
    first = finish(world.specs[0], 0.3)
    materialise(world)
    worse = finish(world.specs[1], 0.6)
    materialise(world)
    assert world.registry.alias == "1"
    assert world.registry.tags[worse]["promotion"] == "refused"
    assert "macro_f1 vs gain: " in world.registry.tags[worse]["promotion_why"]
    assert why(world)[first] == "the champion"
    better = finish(world.specs[2], 0.0)
    materialise(world)
    assert world.registry.alias == "2"
    assert world.registry.tags[first]["promotion"] == "replaced"
    assert world.registry.tags[better]["promotion"] == "champion"
    rows = read_rows(world.lake, "releases")
    assert rows[["model_id", "replaced"]].to_numpy().tolist() == [[first, ""], [better, first]]
    assert why(world)[first] == "the champion until now"


def test_test_answers_have_no_say_and_no_way_into_the_exam(world):
    first = finish(world.specs[0], 0.1)
    materialise(world)
    kept = world.lake.read("release"), world.lake.read("clauses"), world.lake.manifest("release").inputs
    for table in ("predictions", "metrics", "evidence"):
        path = world.lake.path(f"{table}/patient/{RECIPE}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"corrupt")
        path.with_suffix(".manifest.json").write_text("{}")
    world.lake.path("leaderboard").write_bytes(b"corrupt")
    world.lake.manifest_path("leaderboard").write_text("{}")
    world.lake.forget("release")
    world.lake.forget("releases")
    world.lake.path("releases").unlink()
    materialise(world)
    pd.testing.assert_frame_equal(world.lake.read("release"), kept[0])
    pd.testing.assert_frame_equal(world.lake.read("clauses"), kept[1])
    assert world.lake.manifest("release").inputs == kept[2]
    assert read_reign(world.lake).model_id == first
    split = world.lake.read("splits/patient")
    told = ASKED[-1].model_dump_json()
    assert all(one in told for one in split.loc[split["split"] == "val", "image_id"])
    assert not any(one in told for one in split.loc[split["split"].isin(["test", "train"]), "image_id"])
    deps = {key.to_user_string() for key in release.asset_deps[release.key]}
    assert not deps & {"predictions", "metrics", "leaderboard", "evidence", "robustness", "comparisons"}


def test_what_a_person_took_back_is_not_taken_again_until_another_comes(world):
    first, second = finish(world.specs[0], 0.3), finish(world.specs[1], 0.6)
    materialise(world)
    WRONG[second] = 0.1
    world.lake.forget("release")
    materialise(world)
    assert read_reign(world.lake).model_id == second
    roll_back(world, first)
    for _ in range(2):
        materialise(world)
        assert read_reign(world.lake).model_id == first
        assert why(world)[second].startswith("hold: taken back by ann in release no. 3: it drifts")
    assert world.registry.alias == "1", "the alias follows the ledger"
    states = [world.registry.tags[one]["promotion"] for one in (first, second)]
    assert states == ["champion", "replaced"]
    third = finish(world.specs[2], 0.0)
    materialise(world)
    assert read_reign(world.lake).model_id == third
    assert len(read_rows(world.lake, "releases")) == 4


def test_an_alias_that_was_moved_by_hand_is_moved_back(world, capfd):
    finish(world.specs[0], 0.1)
    materialise(world)
    world.registry.alias = "7"
    materialise(world)
    assert world.registry.alias == "1"
    assert (
        "the alias champion was on version 7, the ledger of releases says 1: moved there"
        in capfd.readouterr().err
    )


def test_a_leak_a_leaky_past_and_a_broken_contract_are_reported_and_never_released(world):
    past = finish(world.specs[0], 0.0, gate="leaks: 3 shared_picture")
    broken = finish(world.specs[1], None)
    materialise(world)
    assert why(world)[past] == "gate: now: passed; trained behind: leaks: 3 shared_picture"
    assert why(world)[broken] == "contract: ServingError: no weights"
    assert world.registry.alias == ""
    assert len(read_rows(world.lake, "releases")) == 0


def test_a_package_with_a_damaged_card_has_no_gate_to_show(world):
    one = finish(world.specs[0], 0.0)
    (Path(world.specs[0].work) / "package" / "card.json").write_text("{")
    materialise(world)
    assert "trained behind: unknown: " in why(world)[one]


def test_a_training_is_weighed_once_its_package_is_whole(world):
    one = finish(world.specs[0], 0.0)
    card = Path(world.specs[0].work) / "package" / "card.json"
    kept = card.read_text()
    card.unlink()
    materialise(world)
    assert why(world) == {}
    card.write_text(kept)
    materialise(world)
    assert read_reign(world.lake).model_id == one


def test_a_winner_that_is_not_registered_is_refused_with_what_to_do(world):
    finish(world.specs[0], 0.0)
    world.registry.find_version = lambda name, model_id: ""
    with pytest.raises(ReleaseError, match=rf"no version of falx-{RECIPE}-patient in MLflow.*make train"):
        materialise(world)
    assert read_reign(world.lake).model_id == ""


def test_without_trained_models_there_is_an_empty_table_and_no_champion(world):
    [made] = materialise(world).asset_materializations_for_node("release")
    assert made.metadata["champion"].value == "none"
    assert len(world.lake.read("release")) == len(world.lake.read("clauses")) == 0
    assert ASKED == []


def test_a_champion_whose_past_is_lost_says_what_to_do(world):
    first = finish(world.specs[0], 0.1)
    materialise(world)
    world.lake.forget(known_table(first))
    finish(world.specs[1], 0.0)
    with pytest.raises(
        ReleaseError, match=r"what the champion .* was trained on is not in the lake.*make rollback"
    ):
        materialise(world)


def test_a_champion_that_cannot_be_opened_here_stays_and_is_told(world):
    first = finish(world.specs[0], 0.1)
    materialise(world)
    wrong = WRONG.pop(first)
    finish(world.specs[1], 0.2)
    with pytest.raises(
        ReleaseError, match=r"cannot be opened here.*it stays: ServingError: no weights.*rollback"
    ):
        materialise(world)
    assert read_reign(world.lake).model_id == first
    WRONG[first] = wrong
    materialise(world)
    assert read_reign(world.lake).model_id == first
