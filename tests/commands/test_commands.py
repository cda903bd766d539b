"""Commands: help, exit codes, and errors that say what to do."""

import os
import socket
import subprocess
import sys

import pytest

from commands.__main__ import main
from commands.doctor import examine
from commands.ui import require_free_port
from pipeline.errors import SettingsError
from resources.settings import ROOT, Settings


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
    with pytest.raises(SystemExit) as caught:
        main(["train", "--recipe", "cnn3", "--protocol", "random"])
    assert caught.value.code == 2
    assert "'published', 'stratified', 'patient'" in capsys.readouterr().err


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
