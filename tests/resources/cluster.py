"""A cluster on 127.0.0.1: so much of Kubernetes' API as Dagster's Pipes client speaks, pods as processes.

A pod's command runs on this machine with the environment of its manifest; its log is what the process writes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from resources.settings import ROOT

CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "loopback",
    "contexts": [{"name": "loopback", "context": {"cluster": "loopback", "user": "nobody"}}],
    "users": [{"name": "nobody", "user": {}}],
}


class Pod:
    """A pod whose container is a process here."""

    def __init__(self, manifest: dict[str, Any], log: Path) -> None:
        self.manifest, self.log = manifest, log
        (self.container,) = manifest["spec"]["containers"]
        executable, *arguments = self.container["command"]
        assert executable == "python"
        given = {entry["name"]: entry["value"] for entry in self.container["env"]}
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **given},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def describe(self) -> dict[str, Any]:
        """The pod as the API shows it."""
        code = self.process.poll()
        state: dict[str, Any] = {"running": {}}
        if code is not None:
            ended = {
                "exitCode": code if code >= 0 else 128 - code,
                "reason": "Completed" if not code else "Error",
            }
            if code:
                ended["message"] = self.log.read_text()[-2000:]
            state = {"terminated": ended}
        status = {"name": self.container["name"], "ready": True, "restartCount": 0, "state": state}
        status |= {"image": self.container["image"], "imageID": ""}
        return {**self.manifest, "status": {"phase": "Running", "containerStatuses": [status]}}

    def follow(self) -> Iterator[bytes]:
        """The lines of the log, with the time before each, until the process has ended."""
        with self.log.open("rb") as stream:
            rest = b""
            while True:
                ended = self.process.poll() is not None
                rest += stream.read()
                *lines, rest = rest.split(b"\n")
                for line in [*lines, *([rest] if ended and rest else [])]:
                    yield datetime.now(UTC).isoformat().replace("+00:00", "Z").encode() + b" " + line + b"\n"
                if ended:
                    return
                time.sleep(0.05)

    def end(self) -> None:
        """What the kubelet does with a pod that is deleted."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                return


class Cluster:
    """The server; `made` holds all manifests that were posted, `deleted` the names of pods that are gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pods: dict[str, Pod] = {}
        self.made: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def config(self) -> Path:
        """A kubeconfig that leads here."""
        path = self.folder / "kubeconfig"
        server = {"name": "loopback", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        path.write_text(yaml.safe_dump(CONFIG | {"clusters": [server]}))
        return path

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods.values():
            pod.end()
        self._server.shutdown()
        self._server.server_close()


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            manifest = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = manifest["metadata"]["name"]
            cluster.made.append(manifest)
            cluster.pods[name] = Pod(manifest, cluster.folder / f"{name}.log")
            self.answer(manifest)

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query, parts = parse_qs(url.query), url.path.strip("/").split("/")
            if parts[-1] == "log":
                self.stream(cluster.pods[parts[-2]], follow="follow" in query)
            elif parts[-1] == "pods":
                wanted = query["fieldSelector"][0].removeprefix("metadata.name=")
                items = [pod.describe() for name, pod in cluster.pods.items() if name == wanted]
                self.answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
            else:
                self.answer({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pod = cluster.pods.pop(urlsplit(self.path).path.split("/")[-1])
            cluster.deleted.append(pod.manifest["metadata"]["name"])
            pod.end()
            self.answer(pod.describe())

        def answer(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, pod: Pod, *, follow: bool) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            lines = pod.follow() if follow else iter([pod.log.read_bytes()])
            for line in filter(None, lines):
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    return Handler
