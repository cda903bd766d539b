"""Kaggle credentials: where they are looked for, as Kaggle's own client does; none is ever shown."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import CredentialsError

HOW_TO_SIGN_IN = (
    'Make a token at https://www.kaggle.com/settings/api ("Generate New Token"), then set KAGGLE_API_TOKEN '
    "to it or save it as ~/.kaggle/access_token; a legacy key goes into KAGGLE_USERNAME and KAGGLE_KEY "
    "or into ~/.kaggle/kaggle.json"
)


@dataclass(frozen=True)
class Credentials:
    """What signs in, and where it was found; `origin` is None where nothing was, and alone may be shown."""

    origin: str | None
    username: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def find_credentials() -> Credentials:
    """Credentials in the client's order: token, legacy key, the sign-in that `kaggle auth login` stored.

    Token and key are each looked for in the environment, then in a file. Without any, public datasets that
    ask for nothing can still be had. Reads neither network nor `.env`.

    Raises:
        CredentialsError: what was found cannot be used.
    """
    from kagglesdk.kaggle_creds import KaggleCredentials
    from kagglesdk.kaggle_env import get_access_token_from_env

    token, origin = get_access_token_from_env()
    if token:
        return Credentials(f"token from {origin}", token=require_plain(origin, token))
    username, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
    if username and key:
        origin = "KAGGLE_USERNAME and KAGGLE_KEY"
        return Credentials(origin, require_plain(origin, username), require_plain(origin, key))
    path = next((path for path in _list_key_files() if path.is_file()), None)
    if path is not None:
        return _read_key_file(path)
    stored = Path(KaggleCredentials.DEFAULT_CREDENTIALS_FILE).expanduser()
    return Credentials(str(stored) if stored.is_file() else None)


def require_plain(origin: str | None, value: str | None) -> str:
    """`value`, if a header can carry it; the errors of HTTP libraries would quote it.

    Raises:
        CredentialsError: it is missing, or not printable ASCII.
    """
    if not value or not value.isascii() or not value.isprintable():
        raise CredentialsError(f"{origin}: missing, or holds characters that no key has. {HOW_TO_SIGN_IN}")
    return value


def _list_key_files() -> list[Path]:
    folder = os.environ.get("KAGGLE_CONFIG_DIR")
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folders = [folder] if folder else ["~/.kaggle", f"{config}/kaggle"]
    return [Path(name).expanduser() / "kaggle.json" for name in folders]


def _read_key_file(path: Path) -> Credentials:
    try:
        data = json.loads(path.read_bytes())
        username, key = str(data["username"]), str(data["key"])
    except (OSError, ValueError, KeyError, TypeError):
        # The cause could quote the key.
        raise CredentialsError(
            f"{path}: not readable as JSON with username and key. {HOW_TO_SIGN_IN}"
        ) from None
    return Credentials(str(path), require_plain(str(path), username), require_plain(str(path), key))
