"""A loopback server in place of a language-model provider: keeps what it is sent, answers as told."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def speak_gemini(text: str) -> dict[str, Any]:
    """What `generateContent` answers."""
    content = {"role": "model", "parts": [{"text": text}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}


def speak_openai(text: str) -> dict[str, Any]:
    """What `chat/completions` answers."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


@dataclass
class LanguageServer:
    """Set `status`, `body` and `delay` before asking; `requests` holds (path, headers, body) of each call."""

    address: str
    status: int = 200
    body: Any = None
    delay: float = 0.0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def sent(self) -> dict[str, Any]:
        """The JSON of the last call."""
        found: dict[str, Any] = json.loads(self.requests[-1][2])
        return found


@contextmanager
def serve_language() -> Iterator[LanguageServer]:
    """A server on a free port of 127.0.0.1, for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append((self.path, dict(self.headers), data))
            time.sleep(state.delay)
            answer = state.body if isinstance(state.body, bytes) else json.dumps(state.body).encode()
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # it was not waited for
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = LanguageServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
