"""Alerts: written down always, posted where an address is set, and a failed post is no silence."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.errors import SettingsError
from resources.alerts import Alerts
from resources.settings import load_settings


@pytest.fixture
def hook():
    """A webhook on loopback: its address, and the bodies that it was sent."""
    bodies: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            self.send_response(500 if body["text"] == "refuse" else 204)
            self.end_headers()

        def log_message(self, *_args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", bodies
    server.shutdown()
    server.server_close()
    thread.join()


def read(alerts: Alerts) -> list[dict]:
    return [json.loads(line) for line in alerts.path.read_text().splitlines()]


def test_an_alert_is_a_line_in_the_home(tmp_path):
    alerts = Alerts(home=str(tmp_path / "home"))
    assert alerts.send({"text": "one"}) == "written"
    alerts.send({"text": "two"})
    assert [line["text"] for line in read(alerts)] == ["one", "two"]


def test_an_alert_is_posted_where_an_address_is_set(tmp_path, hook):
    alerts = Alerts(home=str(tmp_path), url=hook[0])
    assert alerts.send({"text": "one", "job": "retrain"}) == "written and posted"
    assert hook[1] == [{"text": "one", "job": "retrain"}]


def test_a_post_that_fails_is_written_down_with_its_reason(tmp_path, hook):
    assert "HTTP Error 500" in Alerts(home=str(tmp_path), url=hook[0]).send({"text": "refuse"})
    gone = Alerts(home=str(tmp_path), url="http://127.0.0.1:9/")
    assert gone.send({"text": "x"}).startswith("written; not posted: 127.0.0.1: ")
    assert [line["outcome"][:19] for line in read(gone)] == ["written; not posted"] * 2


def test_an_address_that_http_cannot_say_is_written_down_without_what_may_be_a_key(tmp_path):
    alerts = Alerts(home=str(tmp_path), url="http://127.0.0.1:9/secret key")
    outcome = alerts.send({"text": "x"})
    assert outcome.startswith("written; not posted: 127.0.0.1: ")
    assert [line["text"] for line in read(alerts)] == ["x"]


def test_an_address_without_http_is_a_mistake_in_the_settings(monkeypatch):
    monkeypatch.setenv("FALX_ALERT_URL", "chat.example")
    with pytest.raises(SettingsError, match="FALX_ALERT_URL"):
        load_settings()
