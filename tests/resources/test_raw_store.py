"""Raw folders: where each profile keeps them, and what the disk should hold."""

import os
from collections.abc import Callable

import pytest

from pipeline.atomic import write_text
from pipeline.catalog import load_catalog
from pipeline.errors import LockError, SourceError
from pipeline.lock import forget, measure_folder, trust_or_verify
from resources.connect import connect_resources
from resources.raw import ABSENT, RawStore, sign_folder
from resources.settings import Settings

COLLECTIONS = load_catalog().collections
MANUAL, KAGGLE = COLLECTIONS["cheng_figshare"], COLLECTIONS["sartajbhuvaji"]


@pytest.fixture
def open_store(make_store, tmp_path) -> Callable[..., RawStore]:
    def make(profile: str, *, datasets: bool = False) -> RawStore:
        told = {} if datasets else {"datasets": ""}
        return make_store(tmp_path, profile=profile, phantom_scale=0.05, seed=7, **told)

    return make


def test_without_datasets_no_folder_depends_on_where_the_command_runs(open_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / MANUAL.name).mkdir()
    store = open_store("kaggle")
    assert store.folders() == {}
    assert store.folder(MANUAL) == tmp_path / "home" / "raw" / MANUAL.name


@pytest.mark.parametrize(
    ("datasets", "words"), [(False, "FALX_DATASETS is not set. "), (True, "no folder 'ch")]
)
def test_an_absent_collection_says_what_would_bring_it_in(open_store, datasets, words):
    assert words in open_store("kaggle", datasets=datasets).explain_absence(MANUAL)


@pytest.mark.parametrize(
    ("profile", "collection", "expected"),
    [
        ("kaggle", KAGGLE, None),
        ("kaggle", MANUAL, ABSENT),
        ("folder", KAGGLE, ABSENT),
        ("demo", MANUAL, None),
    ],
)
def test_a_folder_that_is_not_there_is_brought_or_known_to_be_absent(
    open_store, tmp_path, profile, collection, expected
):
    assert open_store(profile, datasets=True).expect_version(collection) == expected


def test_a_folder_is_expected_to_be_what_was_trusted(open_store):
    store = open_store("folder", datasets=True)
    folder = store.folder(KAGGLE) / "Training" / "no_tumor"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a")
    assert store.expect_version(KAGGLE) is None
    state = store.ensure(KAGGLE, log=print)
    assert store.expect_version(KAGGLE) == state.entry.digest


@pytest.mark.parametrize("change", ["another size", "another time", "one more", "one less"])
def test_a_folder_that_was_touched_is_measured_again_and_a_changed_one_is_refused(open_store, change):
    store = open_store("folder", datasets=True)
    folder = store.folder(KAGGLE) / "Training" / "no_tumor"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"a")
    digest = store.ensure(KAGGLE, log=print).entry.digest
    if change == "another size":
        (folder / "a.png").write_bytes(b"ab")
    elif change == "another time":
        os.utime(folder / "a.png", ns=(1, 1))
    elif change == "one more":
        (folder / "c.png").write_bytes(b"a")
    else:
        (folder / "b.png").unlink()
    assert store.expect_version(KAGGLE) is None
    if change == "another time":
        store.ensure(KAGGLE, log=print)
        assert store.expect_version(KAGGLE) == digest
        return
    with pytest.raises(LockError, match="the bytes are not those"):
        store.ensure(KAGGLE, log=print)
    assert store.expect_version(KAGGLE) is None


def test_a_folder_of_another_version_than_the_catalogs_is_work_to_do(open_store):
    store = open_store("kaggle")
    folder = store.folder(KAGGLE) / "Training" / "no_tumor"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a")
    entry = measure_folder(store.folder(KAGGLE), KAGGLE, fetched=True)
    for version, expected in ((entry.version, entry.digest), (entry.version + 1, None)):
        forget(store.lock_path, KAGGLE.name)
        trust_or_verify(store.lock_path, KAGGLE.name, entry.model_copy(update={"version": version}))
        write_text(store._sign_path(KAGGLE.name), sign_folder(store.folder(KAGGLE)))
        assert store.expect_version(KAGGLE) == expected


def test_what_cannot_be_understood_is_not_pinned_and_may_be_put_right(open_store):
    store = open_store("folder", datasets=True)
    deep = store.folder(KAGGLE) / "archive" / "Training" / "no_tumor"
    deep.mkdir(parents=True)
    (deep / "a.png").write_bytes(b"a")
    with pytest.raises(SourceError, match="Unpack the archive"):
        store.ensure(KAGGLE, log=print)
    (store.folder(KAGGLE) / "archive" / "Training").rename(store.folder(KAGGLE) / "Training")
    (store.folder(KAGGLE) / "archive").rmdir()
    assert store.ensure(KAGGLE, log=print).status == "trusted"


def test_phantoms_are_drawn_once_with_a_lock_of_their_own(open_store):
    store, told = open_store("demo"), []
    states = [store.ensure(collection, log=told.append) for collection in COLLECTIONS.values()]
    assert states[0].status == "made"
    assert len(told) == 1
    assert store.lock_path.name == "phantoms-7-0.05.lock.json"
    assert [store.expect_version(one) for one in COLLECTIONS.values()] == [one.entry.digest for one in states]
    assert store.ensure(MANUAL, log=told.append).status == "verified"


def test_settings_reach_the_resources(tmp_path):
    settings = Settings(home=tmp_path, threads=3, workers=2, device="cpu", seed=5, mlflow_port=5999)
    resources = connect_resources(settings)
    assert (resources["trainer"].threads, resources["trainer"].workers, resources["trainer"].device) == (
        3,
        2,
        "cpu",
    )
    assert (resources["raw_store"].seed, resources["raw_store"].workers) == (5, 2)
    assert resources["tracking"].ui == "http://127.0.0.1:5999"
    default = Settings(home=tmp_path)
    trainer = connect_resources(default)["trainer"]
    assert (trainer.threads, trainer.workers) == (default.threads_each, default.cores)


def test_the_demo_tests_the_degradations_that_are_kept_as_pictures(open_store):
    everything = open_store("folder", datasets=True)
    assert everything.degradations == everything.catalog.degradations
    demo = open_store("demo")
    assert set(demo.degradations) == {"gaussian_noise", "gaussian_blur", "downsampling"}
    assert all(kind.stored for kind in demo.degradations.values())
