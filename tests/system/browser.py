"""Headless Chromium, driven through its own debugging protocol: what a person sees, types and uploads."""

import base64
import contextlib
import itertools
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--force-device-scale-factor=1", "--disable-dev-shm-usage"),
)

# The middle of what is shown of an element with this text, or of this selector; the smallest of several.
FIND = """((what, css) => {
  const all = [...document.querySelectorAll(css ? what : 'button,label,p,li,span,summary,[role=option]')];
  const fits = all.filter(one => css || one.textContent.trim() === what)
    .map(one => [one, one.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
  if (!fits.length) return null;
  const [one] = fits.sort((a, b) => a[1].width * a[1].height - b[1].width * b[1].height)[0];
  one.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = one.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})"""


class Page:
    """One page of a running Chromium."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        for domain in ("Page", "Runtime", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        """What the page says."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait(self, *words: str, gone: bool = False, seconds: float = 90) -> str:
        """Wait until the page says all these words, or none of them; what it then says."""
        return self.wait_for(
            lambda text: (
                not any(word in text for word in words) if gone else all(word in text for word in words)
            ),
            seconds,
        )

    def wait_for(self, holds: Callable[[str], bool], seconds: float = 90) -> str:
        """Wait until the text of the page fulfils a condition, and the page no longer runs."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.text()
            running = self.evaluate(
                "!!document.querySelector('[data-testid=stStatusWidget],[data-testid=stSpinner],"
                "[data-stale=true]')"
            )
            if holds(text) and not running:
                return text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)

    def click(self, what: str, *, css: bool = False, seconds: float = 30) -> None:
        """Press the mouse on a text, or on a CSS selector, as soon as it is there."""
        deadline = time.monotonic() + seconds
        while (place := self.evaluate(f"{FIND}({json.dumps(what)}, {json.dumps(css)})")) is None:
            assert time.monotonic() < deadline, f"no {what!r} in: {self.text()}"
            time.sleep(0.2)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            x, y = place
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str, *, enter: bool = False) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)
        if enter:
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, **key)

    def upload(self, *files: Path) -> None:
        """Give files to the page's file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        assert node, "no file input"
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def photograph(self, target: Path) -> None:
        """Write what is seen as a PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        target.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def open_browser(program: str, profile: Path, *, width: int = 1200, height: int = 900) -> Iterator[Page]:
    """A page of a fresh Chromium, for the block."""
    command = [program, *QUIET, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_find_page(process, profile), max_size=None) as socket:
            page = Page(socket)
            page.resize(width, height)
            yield page
    finally:
        process.terminate()
        process.wait(20)


def _find_page(process: subprocess.Popen, profile: Path) -> str:
    deadline, marker = time.monotonic() + 60, profile / "DevToolsActivePort"
    while time.monotonic() < deadline:
        assert process.poll() is None, "Chromium ended"
        with contextlib.suppress(OSError, IndexError, ValueError):
            port = int(marker.read_text().splitlines()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.2)
    raise AssertionError("Chromium opened no page")
