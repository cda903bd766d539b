"""Kaggle on 127.0.0.1: the API's real path and its storage behind a redirect, with faults on demand.

The API answers `POST /v1/datasets.DatasetApiService/DownloadDataset` with a redirect to a signed address on
another host name (`localhost`), as Kaggle redirects to Google Cloud Storage; the storage knows ranges,
`If-Range`, ETag, Last-Modified and `x-goog-hash`.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

DOWNLOAD = "/v1/datasets.DatasetApiService/DownloadDataset"
RENEW = "/v1/users.AccountService/GenerateAccessToken"
SIGNATURE = "X-Goog-Signature=5167ed5167ed"
TOKEN = "KGAT_good_token"
BASIC = ("somebody", "0123456789key")


@dataclass
class Blob:
    """A stored archive and what the storage says about it."""

    data: bytes
    etag: str | None = "auto"
    modified: str | None = "Mon, 02 Nov 2026 10:00:00 GMT"
    hashed: bool = True

    def headers(self) -> dict[str, str]:
        md5 = hashlib.md5(self.data).digest()
        etag = f'"{md5.hex()}"' if self.etag == "auto" else self.etag
        found = {"ETag": etag, "Last-Modified": self.modified}
        if self.hashed:
            found["x-goog-hash"] = f"crc32c=AAAAAA==, md5={base64.b64encode(md5).decode()}"
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class Fault:
    """An answer in place of the right one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"code": 0, "message": "fault"}'
    times: int = 1


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class KaggleServer:
    """Serves until the `with` block ends; attributes may be changed meanwhile.

    Attributes:
        blobs: (owner/name, version) -> what is stored.
        faults: answers of the API that come first, in order.
        storage_faults: the same for the storage.
        cuts: bytes of body after which each answer of the storage in turn is cut; None = not cut.
        after_cut: called after each cut, before the next request can come.
        ignore_if_range: answer ranges from whatever is stored now.
        direct: answer the API's request with the bytes themselves instead of a redirect.
        anonymous: let requests without credentials pass.
        silent: take requests and never answer.
    """

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, int], Blob] = {}
        self.faults: list[Fault] = []
        self.storage_faults: list[Fault] = []
        self.cuts: list[int | None] = []
        self.after_cut: Callable[[], None] = lambda: None
        self.ignore_if_range = False
        self.direct = False
        self.anonymous = False
        self.silent = False
        self.seen: list[Seen] = []
        self._stop = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _make_handler(self))
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ranges(self) -> list[str | None]:
        """The range of each request to the storage."""
        return [seen.headers.get("Range") for seen in self.seen if seen.path.startswith("/storage/")]

    def wait(self) -> None:
        self._stop.wait(10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._http.shutdown()
        self._http.hang_up()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    """Hangs up at the end: a client may keep a connection for as long as its last error is looked at."""

    def __init__(self, *arguments: Any) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up is part of the tests; anything else is a mistake in them.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _make_handler(server: KaggleServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.seen.append(Seen("POST", self.path, dict(self.headers), body))
            if server.silent:
                server.wait()
                self.close_connection = True
            elif not self._spoil(server.faults):
                self._answer_api(json.loads(body))

        def do_GET(self) -> None:
            server.seen.append(Seen("GET", self.path, dict(self.headers), b""))
            if self._spoil(server.storage_faults):
                return
            match = re.fullmatch(r"/storage/(.+)/(\d+)\.zip\?" + SIGNATURE, self.path)
            if match is None:
                self._send(404, {}, b"no such object")
            else:
                self._send_blob(server.blobs[match[1], int(match[2])])

        def _spoil(self, faults: list[Fault]) -> bool:
            if not faults:
                return False
            fault = faults[0]
            fault.times -= 1
            if fault.times <= 0:
                faults.pop(0)
            self._send(fault.status, {"Content-Type": "application/json"} | fault.headers, fault.body)
            return True

        def _answer_api(self, asked: dict[str, Any]) -> None:
            basic = base64.b64encode(":".join(BASIC).encode()).decode()
            allowed = {f"Bearer {TOKEN}", f"Basic {basic}"} | ({None} if server.anonymous else set())
            if self.headers.get("Authorization") not in allowed:
                self._refuse(401)
                return
            key = (f"{asked['ownerSlug']}/{asked['datasetSlug']}", asked["datasetVersionNumber"])
            if self.path != DOWNLOAD or key not in server.blobs:
                self._refuse(404)
            elif server.direct:
                self._send_blob(server.blobs[key])
            else:
                address = f"http://localhost:{server.port}/storage/{key[0]}/{key[1]}.zip?{SIGNATURE}"
                self._send(302, {"Location": address}, b"")

        def _refuse(self, status: int) -> None:
            body = json.dumps({"code": status, "message": "refused"}).encode()
            self._send(status, {"Content-Type": "application/json"}, body)

        def _send_blob(self, blob: Blob) -> None:
            headers = {"Content-Type": "application/zip", "Accept-Ranges": "bytes"} | blob.headers()
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            known = self.headers.get("If-Range") in (headers.get("ETag"), headers.get("Last-Modified"))
            if match is None or not (known or server.ignore_if_range):
                self._send(200, headers, blob.data, cut=True)
            elif int(match[1]) >= len(blob.data):
                self._send(416, {"Content-Range": f"bytes */{len(blob.data)}"}, b"")
            else:
                start, size = int(match[1]), len(blob.data)
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
                self._send(206, headers, blob.data[start:], cut=True)

        def _send(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
            end = server.cuts.pop(0) if cut and server.cuts else None
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # Who asks for a range drops the whole body that was offered first.
            try:
                self.wfile.write(body if end is None else body[:end])
                self.wfile.flush()
                if end is not None:
                    self.close_connection = True
                    server.after_cut()
                    self.connection.shutdown(socket.SHUT_RDWR)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler
