"""Settings: every mistake names its variable; one home never mixes profiles."""

import pytest

from pipeline.errors import SettingsError
from resources.settings import ROOT, Settings, claim_home, describe_settings, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_default_is_the_demo_in_its_own_home():
    settings = load_settings()
    assert settings.profile == "demo"
    assert settings.home == ROOT / ".falx" / "demo"


def test_each_profile_has_its_own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("FALX_PROFILE", "folder")
    monkeypatch.setenv("FALX_DATASETS", str(tmp_path))
    assert load_settings().home == ROOT / ".falx" / "folder"


def test_the_demo_trains_a_model_a_core_on_one_thread_each(monkeypatch):
    monkeypatch.setattr(Settings, "cores", 4)
    assert (load_settings().at_once, load_settings().threads_each) == (4, 1)
    monkeypatch.setattr(Settings, "cores", 64)
    assert (load_settings().at_once, load_settings().threads_each) == (6, 1)


def test_other_profiles_train_one_model_on_all_cores_unless_told(monkeypatch, tmp_path):
    monkeypatch.setattr(Settings, "cores", 4)
    monkeypatch.setenv("FALX_PROFILE", "folder")
    monkeypatch.setenv("FALX_DATASETS", str(tmp_path))
    assert (load_settings().at_once, load_settings().threads_each) == (1, 4)
    monkeypatch.setenv("FALX_TRAININGS", "3")
    assert (load_settings().at_once, load_settings().threads_each) == (3, 1)
    monkeypatch.setenv("FALX_THREADS", "2")
    assert load_settings().threads_each == 2


def test_a_relative_home_is_taken_from_where_the_command_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("FALX_HOME", "state")
    assert load_settings().home == tmp_path / "state"


def test_all_mistakes_are_named_together(monkeypatch):
    monkeypatch.setenv("FALX_PROFILE", "demos")
    monkeypatch.setenv("FALX_MLFLOW_PORT", "0")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert "FALX_PROFILE" in text
    assert "'demo', 'kaggle' or 'folder'" in text
    assert "FALX_MLFLOW_PORT" in text


def test_the_folder_profile_needs_a_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FALX_PROFILE", "folder")
    with pytest.raises(SettingsError, match="FALX_DATASETS is not set"):
        load_settings()
    monkeypatch.setenv("FALX_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match="is no folder"):
        load_settings()


def test_a_home_belongs_to_one_profile(tmp_path):
    claim_home(tmp_path / "home", "demo")
    claim_home(tmp_path / "home", "demo")
    with pytest.raises(SettingsError, match="profile 'demo', not 'folder'"):
        claim_home(tmp_path / "home", "folder")


def test_a_home_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsError, match="cannot be written"):
        claim_home(tmp_path / "file" / "home", "demo")


def test_every_setting_says_what_it_means():
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_lists_the_settings():
    assert describe_settings() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    for name in ("PROFILE", "DATASETS", "HOME", "CATALOG", "THREADS"):
        monkeypatch.setenv(f"FALX_{name}", "")
    assert load_settings() == Settings()
    monkeypatch.setenv("FALX_PROFILE", "folder")
    with pytest.raises(SettingsError, match="FALX_DATASETS is not set"):
        load_settings()


def test_a_dot_is_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("FALX_HOME", ".")
    monkeypatch.setenv("FALX_DATASETS", ".")
    settings = load_settings()
    assert (settings.home, settings.datasets) == (tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PROCESSES": "2"}, "FALX_PROCESSES=2 needs FALX_LAUNCHER=torchrun or kubernetes"),
        ({"LAUNCHER": "slurm"}, "'local', 'torchrun' or 'kubernetes'"),
        ({"LAUNCHER": "kubernetes"}, "needs FALX_POD_IMAGE: a pod has nothing of this machine"),
        ({"LAUNCHER": "kubernetes", "POD_IMAGE": "i"}, "needs FALX_MLFLOW_URI"),
        (
            {"LAUNCHER": "kubernetes", "POD_IMAGE": "i", "MLFLOW_URI": "http://m", "POD_VOLUMES": "home"},
            "FALX_POD_VOLUMES: 'home' is no volume; write claim:/path",
        ),
        (
            {
                "LAUNCHER": "kubernetes",
                "POD_IMAGE": "i",
                "MLFLOW_URI": "http://m",
                "PROCESSES": "4",
                "POD_GPUS": "2",
            },
            "FALX_PROCESSES=4 need a GPU each; FALX_POD_GPUS=2",
        ),
    ],
)
def test_launchers_that_cannot_work_are_refused(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(f"FALX_{name}", value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_the_settings_of_a_launcher_reach_the_trainer(monkeypatch):
    from resources.connect import connect_resources

    values = {"LAUNCHER": "kubernetes", "POD_IMAGE": "i", "MLFLOW_URI": "http://m", "PROCESSES": "2"}
    values |= {"POD_GPUS": "2", "POD_NAMESPACE": "n", "POD_VOLUMES": "a:/b", "THREADS": "3"}
    for name, value in values.items():
        monkeypatch.setenv(f"FALX_{name}", value)
    launcher = connect_resources(load_settings())["trainer"].choose_launcher()
    assert (launcher.image, launcher.namespace, launcher.gpus, launcher.processes) == ("i", "n", 2, 2)
    assert (launcher.threads, launcher.volumes[0].claim) == (3, "a")


def test_processes_share_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(Settings, "cores", 8)
    values = {"PROFILE": "folder", "DATASETS": str(tmp_path), "LAUNCHER": "torchrun", "PROCESSES": "2"}
    for name, value in values.items():
        monkeypatch.setenv(f"FALX_{name}", value)
    assert load_settings().threads_each == 4
