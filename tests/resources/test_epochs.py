"""Epoch figures: once each, in order, through outages; a training is never stopped by them."""

import http.server
import math
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from resources.epochs import EpochLogger, Refusal, RestClient, SystemLoad, to_json


def history(connection, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in connection.client.get_metric_history(run_id, key)]


@pytest.fixture
def run_id(connection) -> str:
    return connection.open_run("epochs", "epochs").run_id


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def forwarded(port: int, uri: str) -> Iterator[None]:
    """The server behind `uri`, reachable on `port` while the block lasts."""
    target = urlsplit(uri)

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((target.hostname or "", target.port or 0)) as server:
                server.settimeout(20)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += self.request.recv(65536)
                head, _, body = request.partition(b"\r\n\r\n")
                sizes = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                while sizes and len(body) < int(sizes[0].split(b":")[1]):
                    body += self.request.recv(65536)
                server.sendall(head + b"\r\n\r\n" + body)
                while data := server.recv(65536):
                    self.request.sendall(data)

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), Forward) as bridge:
        threading.Thread(target=bridge.serve_forever, daemon=True).start()
        yield
        bridge.shutdown()


def test_an_epoch_is_one_point_a_figure(connection, run_id: str):
    logger = EpochLogger(connection.uri, run_id)
    for epoch in (1, 2, 3):
        assert logger.log(epoch, {"train/loss": 1 / epoch, "val/macro_f1": epoch / 4}) == ""
    assert logger.close() == ""
    assert history(connection, run_id, "train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history(connection, run_id, "val/macro_f1") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    names = set(connection.client.get_run(run_id).data.metrics)
    assert {"system/cpu_utilization_percentage", "system/process_memory_megabytes"} <= names


def test_a_resumed_training_repeats_no_epoch(connection, run_id: str):
    first = EpochLogger(connection.uri, run_id, system=False)
    for epoch in (1, 2):
        first.log(epoch, {"train/loss": float(epoch)})
    second = EpochLogger(connection.uri, run_id, system=False)
    for epoch in (2, 3):
        assert second.log(epoch, {"train/loss": 9.0}) == ""
    assert history(connection, run_id, "train/loss") == [(1, 1.0), (2, 2.0), (3, 9.0)]


def test_what_is_no_number_arrives_as_such(connection, run_id: str):
    assert EpochLogger(connection.uri, run_id).log(1, {"a": math.nan, "b": math.inf, "c": -math.inf}) == ""
    found = connection.client.get_run(run_id).data.metrics
    assert math.isnan(found["a"])
    assert found["b"] > 1e308
    assert found["c"] < -1e308
    assert [to_json(value) for value in (1, math.nan, math.inf, -math.inf)] == [
        1,
        "NaN",
        "Infinity",
        "-Infinity",
    ]


def test_epochs_wait_for_a_server_that_is_away(connection, run_id: str):
    port = free_port()
    logger = EpochLogger(f"http://127.0.0.1:{port}", run_id, system=False)
    assert "1 epochs wait" in logger.log(1, {"loss": 3.0})
    assert "2 epochs wait" in logger.log(2, {"loss": 2.0})
    with forwarded(port, connection.uri):
        assert logger.log(3, {"loss": 1.0}) == ""
    assert "1 epochs wait" in logger.log(4, {"loss": 0.5})
    with forwarded(port, connection.uri):
        assert logger.close() == ""
    assert history(connection, run_id, "loss") == [(1, 3.0), (2, 2.0), (3, 1.0), (4, 0.5)]


def test_what_never_arrives_is_named_at_the_end():
    logger = EpochLogger(f"http://127.0.0.1:{free_port()}", "0" * 32)
    logger.log(1, {"loss": 3.0})
    logger.log(2, {"loss": 2.0})
    note = logger.close(seconds=0.6)
    assert "lacks the figures of epochs 1, 2; history.jsonl has them" in note
    assert "refused" in note
    assert logger.lost == [1, 2]


def test_a_refused_epoch_does_not_hold_up_the_rest(connection, run_id: str):
    logger = EpochLogger(connection.uri, run_id, system=False)
    logger.log(1, {"loss": 1.0})
    assert "refused epoch 2" in logger.log(2, {"loss (%)": 1.0})
    assert logger.log(3, {"loss": 3.0}) == ""
    assert history(connection, run_id, "loss") == [(1, 1.0), (3, 3.0)]
    assert "epochs 2" in logger.close(seconds=0)


def test_a_deleted_run_stops_nothing(connection):
    logger = EpochLogger(connection.uri, "f" * 32)
    assert "refused epoch 1" in logger.log(1, {"loss": 1.0})


def test_an_answer_that_is_no_json_stops_nothing():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a proxy's page</html>")

        def log_message(self, *args: Any) -> None:
            pass

    with answering(Page) as uri:
        logger = EpochLogger(uri, "0" * 32)
        assert "does not answer" in logger.log(1, {"loss": 1.0})


@contextmanager
def answering(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "Basic dTpw"),
    ],
)
def test_credentials_are_those_of_mlflows_own_client(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], header: str | None
):
    seen: list[str | None] = []

    class Gate(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(401 if header is None else 200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with answering(Gate) as uri:
        client = RestClient(uri, 5)
        if header is None:
            with pytest.raises(Refusal, match="401"):
                client.ask("runs/log-batch", body={})
        else:
            assert client.ask("runs/log-batch", body={}) == {}
    assert seen == [header]


def test_the_load_is_in_range():
    load = SystemLoad().sample()
    assert 0 <= load["system/cpu_utilization_percentage"] <= 100
    assert 0 < load["system/system_memory_usage_percentage"] <= 100
    assert load["system/process_memory_megabytes"] > 5


def test_a_training_process_pays_for_neither_mlflow_nor_dagster():
    heavy = {"mlflow", "dagster", "torch", "pandas"}
    code = f"import sys, resources.epochs; print(sorted({heavy} & set(sys.modules)))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "[]\n"
