"""Commands: help, exit codes, and errors that say what to do."""

import json
import os
import socket
import subprocess
import sys

import dagster as dg
import pytest

from commands.__main__ import main
from commands.doctor import examine
from commands.ui import require_free_port
from commands.work import connect_graph
from pipeline.errors import SettingsError
from resources.instance import open_instance
from resources.settings import ROOT, Settings, load_settings


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    monkeypatch.setenv("FALX_HOME", str(tmp_path / "home"))


def test_a_falx_error_is_one_clear_message_and_exit_code_1(monkeypatch, capsys):
    monkeypatch.setenv("FALX_PROFILE", "hospital")
    assert main(["curate"]) == 1
    assert "FALX_PROFILE" in capsys.readouterr().err


def test_an_unknown_recipe_lists_the_known_ones(capsys):
    assert main(["train", "--recipe", "cnn33", "--protocol", "patient"]) == 1
    error = capsys.readouterr().err
    assert "RECIPE=cnn33" in error
    assert "cnn3" in error


def test_an_unknown_protocol_lists_the_allowed_ones(capsys):
    assert main(["train", "--recipe", "cnn3", "--protocol", "random"]) == 1
    error = capsys.readouterr().err
    assert "PROTOCOL=random: no such protocol" in error
    assert "known: published, stratified, patient, fold:1" in error
    assert "external:cheng_figshare" in error


def test_weights_that_are_not_to_be_had_are_refused_before_anything_is_curated(monkeypatch, capsys, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("FALX_WEIGHTS", str(tmp_path))
    assert main(["train", "--recipe", "vgg16_baseline", "--protocol", "patient"]) == 1
    assert f"put the file here as {tmp_path}/vgg16.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "home" / "lake").exists()


@pytest.mark.parametrize(
    ("recipe", "protocol", "message"),
    [
        ("cnn33", "patient", "RECIPE=cnn33: no such recipe; known: cnn3"),
        ("cnn3", "random", "PROTOCOL=random: no such protocol; known: published"),
        ("cnn3", "patient", "train it first: make train RECIPE=cnn3 PROTOCOL=patient"),
    ],
)
def test_only_what_is_trained_can_become_an_onnx_file(capsys, tmp_path, recipe, protocol, message):
    assert main(["onnx", "--recipe", recipe, "--protocol", protocol]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "home" / "onnx").exists()


def test_only_what_there_is_can_be_explained(capsys, tmp_path):
    assert main(["explain", "--recipe", "cnn33", "--protocol", "patient"]) == 1
    assert "RECIPE=cnn33: no such recipe; known: cnn3" in capsys.readouterr().err
    assert main(["explain", "--recipe", "cnn3", "--protocol", "random"]) == 1
    assert "PROTOCOL=random: no such protocol; known: published" in capsys.readouterr().err
    assert not (tmp_path / "home" / "lake").exists()


def test_without_a_scored_model_there_is_nothing_to_report(capsys, tmp_path):
    assert main(["report"]) == 1
    error = capsys.readouterr().err
    assert "ReportError: no model has answers and figures in the lake yet" in error
    assert "nothing to report; make train RECIPE=… PROTOCOL=… first, or make demo" in error
    assert not (tmp_path / "home" / "mlflow" / "mlflow.db").exists()


def test_an_unknown_collection_cannot_be_trusted(capsys):
    assert main(["trust", "--collection", "nobody"]) == 1
    assert "COLLECTION=nobody" in capsys.readouterr().err


def test_a_taken_port_names_the_port_and_the_setting():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} .*FALX_DAGSTER_PORT={port + 1} make ui"):
            require_free_port(port, "Dagster", "FALX_DAGSTER_PORT")


def test_a_free_port_is_no_error():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    require_free_port(port, "Dagster", "FALX_DAGSTER_PORT")


def test_the_doctor_finds_this_machine_fit():
    findings = list(examine())
    assert {finding.subject for finding in findings} >= {
        "python",
        "torch",
        "profile",
        "disk",
        "device",
        "kaggle",
    }
    assert [finding for finding in findings if finding.mark == "FAIL"] == []
    assert all(finding.fix for finding in findings if finding.mark == "note")


def kaggle_finding():
    return next(finding for finding in examine() if finding.subject == "credentials")


def test_the_doctor_says_how_to_sign_in_to_kaggle(monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert kaggle_finding().mark == "note"
    assert "KAGGLE_API_TOKEN" in kaggle_finding().fix
    (tmp_path / "kaggle.json").write_text("{")
    assert kaggle_finding().mark == "FAIL"


def test_the_doctor_refuses_a_foreign_home(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profile").write_text("folder\n")
    failed = [finding for finding in examine() if finding.mark == "FAIL"]
    assert [finding.subject for finding in failed] == ["home"]


def test_the_doctor_shows_catalog_mistakes(monkeypatch, tmp_path):
    (tmp_path / "catalog").mkdir()
    monkeypatch.setenv("FALX_CATALOG", str(tmp_path / "catalog"))
    failed = [finding for finding in examine() if finding.mark == "FAIL"]
    assert failed[0].subject == "catalog"


@pytest.mark.slow
def test_the_module_runs_as_the_makefile_runs_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "commands", "doctor"],
        cwd=ROOT,
        env={**os.environ, "FALX_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything that is needed is here" in done.stdout


def test_the_demo_refuses_another_profile_before_it_starts(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FALX_PROFILE", "folder")
    monkeypatch.setenv("FALX_DATASETS", str(tmp_path))
    assert main(["demo"]) == 1
    assert "`make demo` sets FALX_PROFILE=demo" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("commands.doctor.run_doctor", interrupted)
    assert main(["doctor"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_the_doctor_stops_at_a_missing_package(monkeypatch):
    monkeypatch.setattr("commands.doctor.PACKAGES", ("dagster", "no-such-package"))
    last = list(examine())[-1]
    assert (last.mark, last.subject, last.fix) == ("FAIL", "no-such-package", "run `make install`")


def test_the_doctor_refuses_a_home_that_is_a_file(tmp_path):
    (tmp_path / "home").write_text("in the way")
    failed = [finding for finding in examine() if finding.mark == "FAIL"]
    assert [finding.subject for finding in failed] == ["disk"]
    assert "is no folder" in failed[0].found


def trust(monkeypatch, tmp_path, profile: str) -> dict:
    """The lock entry of a collection whose bytes changed and were then trusted by command."""
    place = tmp_path / ("home/raw" if profile == "kaggle" else "datasets") / "sartajbhuvaji" / "Training"
    place.mkdir(parents=True)
    monkeypatch.setenv("FALX_PROFILE", profile)
    if profile == "folder":
        monkeypatch.setenv("FALX_DATASETS", str(tmp_path / "datasets"))
    for name in ("a", "b"):
        (place / name).write_text(name)
        assert main(["trust", "--collection", "sartajbhuvaji"]) == 0
    return json.loads((tmp_path / "home" / "raw.lock.json").read_text())["sartajbhuvaji"]


def test_changed_bytes_can_be_trusted(monkeypatch, tmp_path, capsys):
    entry = trust(monkeypatch, tmp_path, "folder")
    assert (entry["files"], entry["slug"], entry["version"]) == (2, "sartajbhuvaji", None)
    assert "2 files" in capsys.readouterr().out


def test_trust_keeps_the_pinned_version_of_a_download(monkeypatch, tmp_path):
    entry = trust(monkeypatch, tmp_path, "kaggle")
    assert "/" in entry["slug"]
    assert entry["version"] >= 1


def test_bytes_of_another_version_than_the_catalogs_are_not_trusted_as_that_one(
    monkeypatch, tmp_path, capsys
):
    trust(monkeypatch, tmp_path, "kaggle")
    lock = tmp_path / "home" / "raw.lock.json"
    pinned = json.loads(lock.read_text())
    pinned["sartajbhuvaji"]["version"] += 1
    lock.write_text(json.dumps(pinned))
    assert main(["trust", "--collection", "sartajbhuvaji"]) == 1
    said = capsys.readouterr().err
    assert "these bytes are not that version. Move the folder away and run make curate" in said
    assert json.loads(lock.read_text()) == pinned


def test_a_command_works_in_the_home_of_its_settings_whatever_was_imported_before(tmp_path):
    import definitions

    settings = load_settings().model_copy(update={"home": tmp_path / "home"})
    with open_instance(settings.home, at_once=1) as instance:
        graph = connect_graph(settings, instance, "make test")
        assert graph.defs is not definitions.defs
        graph._run("curate", [dg.AssetKey("decisions")], None, "")
        assert graph.lake.manifest("decisions") is not None
