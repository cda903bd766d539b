"""`make ui` over a real demo: both servers answer, pages show what was materialised, one Ctrl-C ends both."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from resources.settings import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("system")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ui(demo, tmp_path_factory):
    """(process, Dagster's address, MLflow's address) of a running `make ui`."""
    environment, _home, _output = demo
    dagster, mlflow = free_port(), free_port()
    log = tmp_path_factory.mktemp("ui") / "out"
    ports = {"FALX_DAGSTER_PORT": str(dagster), "FALX_MLFLOW_PORT": str(mlflow)}
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "ui"],
            cwd=ROOT,
            env={**environment, **ports},
            stdout=stream,
            stderr=stream,
        )
    deadline = time.monotonic() + 150
    while "Ctrl-C ends both" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)
    yield process, f"http://127.0.0.1:{dagster}", f"http://127.0.0.1:{mlflow}"
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def ask_dagster(address: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def render(address: str, profile) -> str:
    """The page's DOM after its scripts ran, in headless Chromium."""
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    command = [CHROMIUM, "--headless", "--no-sandbox", *quiet, "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_dagster_shows_the_materialised_graph(ui):
    nodes = ask_dagster(ui[1], "{assetNodes {assetKey {path} assetMaterializations(limit: 1) {runId}}}")
    made = {
        "/".join(node["assetKey"]["path"]) for node in nodes["assetNodes"] if node["assetMaterializations"]
    }
    assert {"raw/cheng_figshare", "files", "splits/patient", "audit", "leaderboard", "release"} <= made


def test_mlflow_answers(ui):
    with urllib.request.urlopen(f"{ui[2]}/health", timeout=30) as answer:
        assert answer.status == 200


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: pages are not rendered")
@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("assets/audit?view=overview", ["How many published test images are in training", "Row count"]),
        ("assets/splits/patient?view=checks", ["shared_picture", "blocking"]),
    ],
)
def test_an_asset_page_renders(ui, tmp_path, page, words):
    text = render(f"{ui[1]}/{page}", tmp_path)
    assert [word for word in words if word not in text] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: pages are not rendered")
def test_the_run_table_of_mlflow_renders(ui, tmp_path):
    text = render(f"{ui[2]}/#/experiments/1/runs?workflowType=machine_learning", tmp_path)
    assert "tiny · patient · seed 0" in text


def test_one_interrupt_ends_both(ui):
    process = ui[0]
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    _gone, left = psutil.wait_procs(children, timeout=20)
    assert left == []
