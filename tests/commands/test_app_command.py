"""`make app` before it serves: a taken port, a missing package, uploads that stay in memory."""

import asyncio
import builtins
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

from commands.__main__ import main
from commands.app import launch
from pipeline.errors import SettingsError
from resources.settings import Settings

EDGE = "edge"


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    monkeypatch.setenv("FALX_HOME", str(tmp_path / "home"))


def test_a_taken_port_names_the_setting(monkeypatch, capsys):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        monkeypatch.setenv("FALX_APP_PORT", str(port))
        assert main(["app"]) == 1
    error = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is taken, so the app cannot start there" in error
    assert f"FALX_APP_PORT={port + 1} make app" in error


def test_a_missing_streamlit_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.startswith("streamlit"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SettingsError, match=r"needs the package streamlit.*'.\[app,words\]'"):
        launch._require_streamlit()


def test_the_server_listens_on_this_machine_alone_and_tells_nobody():
    assert launch.OPTIONS["server.address"] == "127.0.0.1"
    assert launch.OPTIONS["browser.gatherUsageStats"] is False
    assert launch.OPTIONS["server.maxUploadSize"] == 32


def test_an_upload_of_megabytes_stays_in_memory(monkeypatch):
    monkeypatch.setattr(MultiPartParser, "spool_max_size", MultiPartParser.spool_max_size)
    assert not reaches_disk(1000)
    assert reaches_disk(5 << 20)
    launch.keep_uploads_in_memory()
    assert not reaches_disk(launch.UPLOAD_MEGABYTES << 20)


def reaches_disk(size: int) -> bool:
    """Whether the server's parser puts an upload of so many bytes into a temporary file."""
    head = f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()

    async def stream() -> AsyncIterator[bytes]:
        yield head
        yield bytes(size)
        yield f"\r\n--{EDGE}--\r\n".encode()

    async def parse():
        headers = Headers({"content-type": f"multipart/form-data; boundary={EDGE}"})
        form = await MultiPartParser(headers, stream()).parse()
        with form["file"].file as file:
            return bool(file._rolled)

    return asyncio.run(parse())
