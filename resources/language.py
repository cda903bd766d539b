"""Language models that put a result into words: Gemini by its official client, or any server that speaks
OpenAI's chat completions, such as one on this machine.

A key comes from the environment alone and is never shown. Without one nothing is sent anywhere.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pipeline.app.prompt import Turn
from pipeline.errors import LanguageError

KEYS = {"gemini": "GEMINI_API_KEY", "openai": "OPENAI_API_KEY"}
MODELS = {"gemini": "gemini-flash-latest"}
ADDRESSES = {"openai": "https://api.openai.com/v1"}
TITLES = {"gemini": "Gemini", "openai": "the OpenAI-compatible server"}
TIMEOUT = 60.0
MOST_TOKENS = 2048

Kind = Literal["gemini", "openai"]
Choice = Literal["auto", "gemini", "openai", "off"]


class Speaker(Protocol):
    """Something that answers in words."""

    name: str

    def answer(self, instructions: str, turns: Sequence[Turn], *, picture: bytes | None = None) -> str:
        """The next turn of a conversation.

        Args:
            instructions: rules and report, which stand above the conversation.
            turns: the conversation, the user's turn last.
            picture: a PNG that goes along with the first turn; nothing but text is sent without one.

        Raises:
            LanguageError: the provider refused, failed, or answered no words; says what to do.
        """


@dataclass(frozen=True)
class Provider:
    """Where words come from, as the settings say; the key is never shown.

    Attributes:
        kind: None where words are off.
        why: in a sentence, for a person.
    """

    kind: Kind | None
    why: str
    model: str = ""
    address: str = ""
    key: str = field(default="", repr=False)

    def connect(self, timeout: float = TIMEOUT) -> "Speaker":
        """The speaker.

        Raises:
            LanguageError: words are off, or the client is not installed.
        """
        if self.kind is None:
            raise LanguageError(self.why)
        return Gemini(self, timeout) if self.kind == "gemini" else Compatible(self, timeout)


def choose_provider(choice: Choice, model: str = "", address: str = "") -> Provider:
    """The provider that settings and keys allow; Gemini before others.

    Args:
        choice: auto takes the first provider with a key.
        model: the provider's name of the model; empty for its default.
        address: base URL; empty for the provider's own.

    Raises:
        LanguageError: the settings contradict each other; names them.
    """
    if choice == "off":
        return Provider(None, "Off: FALX_WORDS is off.")
    kinds: tuple[Kind, ...] = ("gemini", "openai") if choice == "auto" else (choice,)
    # A server of one's own needs no key, so an address will do where that provider was asked for by name.
    found = [kind for kind in kinds if os.environ.get(KEYS[kind]) or (choice == "openai" and address)]
    if not found:
        needed = " or ".join(KEYS[kind] for kind in kinds)
        return Provider(None, f"Off: there is no key. Set {needed} in the environment and start again.")
    kind = found[0]
    chosen = model or MODELS.get(kind, "")
    if not chosen:
        raise LanguageError(f"FALX_WORDS={kind} needs FALX_WORDS_MODEL: the name of a model that it offers")
    where = (address or ADDRESSES.get(kind, "")).rstrip("/")
    why = f"{chosen} through {TITLES[kind]}{f' at {where}' if where else ''}"
    return Provider(kind, why, chosen, where, os.environ.get(KEYS[kind], ""))


class Gemini:
    """Google's official client."""

    def __init__(self, provider: Provider, timeout: float = TIMEOUT) -> None:
        try:
            from google import genai
            from google.genai import types
        except ImportError as error:
            raise LanguageError(
                f"Gemini needs the package google-genai ({error}); install it with "
                "`pip install -c constraints.txt -e '.[words]'`"
            ) from error
        self.name = provider.why
        self._model, self._types = provider.model, types
        options = types.HttpOptions(base_url=provider.address or None, timeout=int(timeout * 1000))
        self._client = genai.Client(api_key=provider.key, vertexai=False, http_options=options)

    def answer(self, instructions: str, turns: Sequence[Turn], *, picture: bytes | None = None) -> str:
        """As `Speaker` says."""
        types = self._types
        contents = [
            types.Content(role=turn.role, parts=[types.Part.from_text(text=turn.text)]) for turn in turns
        ]
        if picture is not None:
            parts = [types.Part.from_bytes(data=picture, mime_type="image/png"), *(contents[0].parts or [])]
            contents[0] = types.Content(role=turns[0].role, parts=parts)
        config = types.GenerateContentConfig(
            system_instruction=instructions, max_output_tokens=MOST_TOKENS, temperature=0.2
        )
        try:
            answer = self._client.models.generate_content(model=self._model, contents=contents, config=config)
            text = answer.text
        except Exception as error:  # the client passes on what its transport raises, unwrapped
            raise _explain(error, "Gemini", KEYS["gemini"], self._model) from error
        if not text:
            reason = answer.candidates[0].finish_reason if answer.candidates else "no candidate"
            raise LanguageError(f"Gemini answered without words ({reason}); ask again, or otherwise")
        return str(text)


class Compatible:
    """A server that speaks OpenAI's chat completions."""

    def __init__(self, provider: Provider, timeout: float = TIMEOUT) -> None:
        self.name = provider.why
        self._provider, self._timeout = provider, timeout

    def answer(self, instructions: str, turns: Sequence[Turn], *, picture: bytes | None = None) -> str:
        """As `Speaker` says."""
        import requests

        roles = {"user": "user", "model": "assistant"}
        messages: list[dict[str, Any]] = [{"role": "system", "content": instructions}]
        messages += [{"role": roles[turn.role], "content": turn.text} for turn in turns]
        if picture is not None:
            shown = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
            words = {"type": "text", "text": turns[0].text}
            messages[1]["content"] = [words, {"type": "image_url", "image_url": {"url": shown}}]
        headers = {"Authorization": f"Bearer {self._provider.key}"} if self._provider.key else {}
        try:
            answer = requests.post(
                f"{self._provider.address}/chat/completions",
                json={"model": self._provider.model, "messages": messages, "max_tokens": MOST_TOKENS},
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
            answer.raise_for_status()
            text = answer.json()["choices"][0]["message"]["content"]
        except (requests.RequestException, ValueError, LookupError, TypeError) as error:
            raise _explain(error, "The server", KEYS["openai"], self._provider.model) from error
        if not isinstance(text, str) or not text.strip():
            raise LanguageError("The server answered without words; ask again, or otherwise")
        return text


def _explain(error: Exception, who: str, variable: str, model: str) -> LanguageError:
    """What went wrong and what to do, without a word of the error's own that could hold the key."""
    response = getattr(error, "response", None)
    code = getattr(error, "code", None) or getattr(response, "status_code", None)
    known = {
        400: f"{who} did not take the request (400): see that {variable} holds a key of this provider, and "
        f"FALX_WORDS_MODEL={model} a model of it",
        401: f"{who} did not accept the key (401): set {variable} to a valid one",
        403: f"{who} does not allow this (403): the key in {variable} may not use {model}",
        404: f"{who} does not know the model {model} (404): set FALX_WORDS_MODEL to one that it offers",
        429: f"{who} has had enough for now (429): wait a minute, or raise the quota of the key",
    }
    if code in known:
        return LanguageError(known[code])
    if isinstance(code, int) and code >= 500:
        return LanguageError(f"{who} failed ({code}): try again in a minute")
    if isinstance(code, int) and code >= 300:
        return LanguageError(f"{who} answered with HTTP {code}: see the address in FALX_WORDS_URL")
    kind = type(error).__name__
    if "timeout" in kind.lower():
        return LanguageError(f"{who} did not answer in time: try again, or choose a faster model")
    if "connect" in kind.lower():
        return LanguageError(f"{who} cannot be reached: see the network, or the address in FALX_WORDS_URL")
    return LanguageError(f"{who} answered something that is no answer ({kind}): see FALX_WORDS_URL")
