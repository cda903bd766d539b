"""Words: off without a key, the real clients against a loopback server, errors that say what to do."""

import base64
import builtins
import json
from collections.abc import Iterator

import pytest
from language_server import LanguageServer, serve_language, speak_gemini, speak_openai

from pipeline.app.prompt import Turn
from pipeline.errors import LanguageError
from resources.language import Speaker, choose_provider

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
TALK = [Turn("user", "Why?"), Turn("model", "Because."), Turn("user", "And then?")]
SPEAK = {"gemini": speak_gemini, "openai": speak_openai}
KINDS = list(SPEAK)


@pytest.fixture(autouse=True)
def without_keys(monkeypatch) -> None:
    for name in ("GEMINI_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[LanguageServer]:
    with serve_language() as state:
        yield state


@pytest.fixture
def connect(server, monkeypatch):
    """Gives a speaker of a kind that talks to the loopback server."""

    def make(kind: str, timeout: float = 20.0) -> Speaker:
        monkeypatch.setenv(f"{kind.upper()}_API_KEY", "secret-key")
        return choose_provider(kind, "some-model", server.address).connect(timeout)

    return make


def test_without_a_key_words_are_off_and_say_why():
    provider = choose_provider("auto")
    assert provider.kind is None
    assert provider.why == (
        "Off: there is no key. Set GEMINI_API_KEY or OPENAI_API_KEY in the environment and start again."
    )
    with pytest.raises(LanguageError, match="there is no key"):
        provider.connect()


def test_they_can_be_switched_off_with_a_key(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "secret-key")
    assert choose_provider("off").why == "Off: FALX_WORDS is off."


def test_gemini_comes_first_and_no_key_is_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setenv("GEMINI_API_KEY", "secret-key")
    provider = choose_provider("auto")
    assert (provider.kind, provider.model) == ("gemini", "gemini-flash-latest")
    assert provider.why == "gemini-flash-latest through Gemini"
    assert "secret" not in repr(provider)


def test_a_server_of_ones_own_needs_no_key_but_a_model(server):
    server.body = speak_openai("Hello.")
    with pytest.raises(LanguageError, match="FALX_WORDS=openai needs FALX_WORDS_MODEL"):
        choose_provider("openai", "", server.address)
    speaker = choose_provider("openai", "own", server.address).connect()
    assert speaker.answer("Rules.", TALK[:1]) == "Hello."
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize("kind", KINDS)
def test_rules_and_conversation_are_sent_and_the_answer_comes_back(connect, server, kind):
    server.body = SPEAK[kind]("It is a figure.")
    assert connect(kind).answer("Rules and figures 0.712.", TALK) == "It is a figure."
    path, headers, body = server.requests[0]
    assert "some-model" in path + body.decode()
    assert "secret-key" in str(headers)
    assert all(
        words in body.decode() for words in ("Rules and figures 0.712.", "Why?", "Because.", "And then?")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_picture_leaves_unless_it_is_given(connect, server, kind):
    server.body = SPEAK[kind]("Yes.")
    speaker = connect(kind)
    speaker.answer("Rules.", TALK)
    plain = server.requests[-1][2].decode()
    assert not [word for word in ("inlineData", "image", "base64") if word in plain]
    speaker.answer("Rules.", TALK, picture=PICTURE)
    sent = server.requests[-1][2].decode().replace("-", "+").replace("_", "/")
    assert base64.b64encode(PICTURE).decode() in sent
    assert len(server.requests) == 2


def test_the_picture_goes_with_the_first_turn(connect, server):
    server.body = speak_gemini("Yes.")
    connect("gemini").answer("Rules.", TALK, picture=PICTURE)
    parts = [list(part) for part in server.sent["contents"][0]["parts"]]
    assert [sorted(part) for part in parts] == [["inlineData"], ["text"]]
    assert [turn["role"] for turn in server.sent["contents"]] == ["user", "model", "user"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "did not take the request"),
        (401, "did not accept the key"),
        (403, "does not allow this"),
        (404, "does not know the model some-model"),
        (429, "has had enough for now"),
        (418, "answered with HTTP 418"),
        (500, r"failed \(500\)"),
        (503, r"failed \(503\)"),
    ],
)
def test_what_a_provider_refuses_is_said_with_the_remedy(connect, server, kind, status, words):
    server.status = status
    server.body = {"error": {"code": status, "message": "no: secret-key", "status": "NO"}}
    with pytest.raises(LanguageError, match=words) as caught:
        connect(kind).answer("Rules.", TALK)
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"choices": 3, "candidates": 4}', b"null"])
def test_garbage_is_no_answer(connect, server, kind, body):
    server.body = body
    with pytest.raises(LanguageError, match=r"answered (something that is no answer|without words)"):
        connect(kind).answer("Rules.", TALK)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_words_says_so(connect, server, kind):
    server.body = SPEAK[kind]("")
    with pytest.raises(LanguageError, match="answered without words"):
        connect(kind).answer("Rules.", TALK)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_provider_is_not_waited_for(connect, server, kind):
    server.body, server.delay = SPEAK[kind]("Late."), 2.0
    with pytest.raises(LanguageError, match="did not answer in time"):
        connect(kind, timeout=0.4).answer("Rules.", TALK)


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_that_is_not_there_is_said(kind, monkeypatch):
    monkeypatch.setenv(f"{kind.upper()}_API_KEY", "secret-key")
    with pytest.raises(LanguageError, match="cannot be reached"):
        choose_provider(kind, "some-model", "http://127.0.0.1:9").connect().answer("Rules.", TALK)


def test_a_missing_client_says_how_to_install_it(connect, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.startswith("google"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(LanguageError, match=r"pip install -c constraints.txt -e '.\[words\]'"):
        connect("gemini")


def test_the_body_is_json(connect, server):
    server.body = speak_openai("Yes.")
    connect("openai").answer("Rules.", TALK)
    roles = [message["role"] for message in json.loads(server.requests[0][2])["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
