"""`make rollback`: the alias and the ledger follow, errors change nothing."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parents[1] / "pipeline" / "serving"))  # shades.py

from shades import make_package

from commands.__main__ import main
from commands.graph import RunFailedError
from commands.rollback import refresh_release, roll_back
from resources.lake import Lake
from resources.ledgers import append_row, read_rows
from resources.registry import CHAMPION, RELEASED, registered_name
from resources.settings import ROOT, Settings
from resources.tracking import Tracking


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("FALX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def release(home: Path, model_id: str, version: str, replaced: str) -> None:
    lake = Lake(home=str(home))
    row = {"number": len(read_rows(lake, "releases")) + 1, "action": "promotion", "model_id": model_id}
    row |= {"recipe": "shades", "seed": 0, "version": version, "replaced": replaced, "held": []}
    row |= {"data_digest": "d", "split_digest": "s", "code_commit": "c", "who": "rule", "why": "w", "at": "t"}
    append_row(lake, "releases", row)


def test_nothing_to_roll_back_to_is_said_and_starts_no_server(home, capsys):
    assert main(["rollback"]) == 1
    assert "nothing was released yet" in capsys.readouterr().err
    release(home, "one", "1", "")
    assert main(["rollback", "--version", "4"]) == 1
    assert (
        "VERSION=4: no version of `falx` was released as that; released: 1 (shades)"
        in capsys.readouterr().err
    )
    assert not (home / "mlflow").exists()


def test_a_server_that_is_down_changes_nothing(home, capsys, monkeypatch):
    monkeypatch.setenv("FALX_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    release(home, "one", "1", "")
    release(home, "two", "2", "one")
    assert main(["rollback"]) == 1
    assert "the MLflow server at http://127.0.0.1:9 failed or refused" in capsys.readouterr().err
    assert len(read_rows(Lake(home=str(home)), "releases")) == 2


def test_the_trained_models_are_held_and_a_table_that_cannot_follow_is_said(home, capsys, monkeypatch):
    """The rollback stands in the ledger even where the table of the release cannot be written anew."""
    specs = [SimpleNamespace(model_id=name) for name in ("two", "one")]
    monkeypatch.setattr("assets.candidates.list_trained", lambda *_: specs)
    moved, tagged = [], []
    registry = SimpleNamespace(set_alias=lambda *to: moved.append(to), tag=lambda *what: tagged.append(what))
    graph = SimpleNamespace(
        lake=Lake(home=str(home)),
        raw_store=None,
        trainer=None,
        tracking=SimpleNamespace(connected=lambda: nullcontext(registry)),
        refresh=lambda job: (_ for _ in ()).throw(RunFailedError(f"{job}: no space left on device")),
    )
    release(home, "one", "1", "")
    release(home, "two", "2", "one")
    target = read_rows(graph.lake, "releases").iloc[0].to_dict()
    roll_back(graph, target, "it drifts")
    refresh_release(graph)
    last = read_rows(graph.lake, "releases").iloc[-1]
    assert list(last["held"]) == ["one", "two"]
    assert (last["model_id"], last["replaced"], last["why"]) == ("one", "two", "it drifts")
    assert moved == [(RELEASED, CHAMPION, "1")]
    assert tagged[0][1] == "2"
    said = capsys.readouterr().out
    assert "the table `release` could not be written anew: promote: no space left on device" in said


def run_rollback(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, as people run it: Dagster takes standard output while it works."""
    command = [sys.executable, "-m", "commands", "rollback", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_the_champion_that_was_replaced_has_the_alias_again_and_the_ledger_says_who_and_why(home, tmp_path):
    tracking = Tracking(home=str(home))
    with tracking.connected() as mlflow:
        for number, model_id in enumerate(("one", "two"), 1):
            card = make_package(tmp_path / model_id, model_id=model_id)
            with mlflow.run(model_id, "shades") as run:
                version = mlflow.register(run.run_id, tmp_path / model_id / "package", card)
            released = mlflow.release(registered_name(card.recipe, "patient"), version)
            mlflow.set_alias(RELEASED, CHAMPION, released)
            release(home, model_id, released, "one" if number == 2 else "")
    done = run_rollback("--why", "misses small ones")
    assert done.returncode == 0, done.stderr
    assert "champion: version 1 of `falx`" in done.stdout
    with tracking.connected() as mlflow:
        assert mlflow.read_alias() == "1"
        assert "misses small ones" in mlflow.client.get_model_version("falx", "2").tags["rolled_back"]
    last = read_rows(Lake(home=str(home)), "releases").iloc[-1]
    assert (last["action"], last["model_id"], last["replaced"]) == ("rollback", "one", "two")
    assert (last["why"], bool(last["who"])) == ("misses small ones", True)
    done = run_rollback()
    assert done.returncode == 1
    assert "version 1 (shades) replaced no other" in done.stderr
    assert run_rollback("--version", "2").returncode == 0
