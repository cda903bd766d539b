"""A body that arrives in pieces: it is continued only where both sides prove that it is still the same one.

Knows HTTP through requests, not whose API it is; imported only where something is downloaded.
"""

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from pipeline.archives import explaining_full_disk, require_space
from pipeline.atomic import write_text
from pipeline.errors import SourceError

Log = Callable[[str], None]

# Small, because what a cut connection had buffered of a chunk is lost.
CHUNK_BYTES = 1 << 16
PARTIAL = 206
UNSATISFIABLE = 416


class TransientError(Exception):
    """This try failed in a way that another one may mend.

    Args:
        reason: what happened, for a person; holds no address, since addresses of storage are signed.
        wait: seconds that the server asked for, None where it did not.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        self.reason = reason
        self.wait = wait
        super().__init__(reason)


class TimeoutAdapter(HTTPAdapter):
    """Gives every request of a session a timeout, per connection and per read, seconds."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__()

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with the session's timeout where the caller, as Kaggle's client, names none."""
        kwargs["timeout"] = kwargs.get("timeout") or self.timeout
        return super().send(request, *args, **kwargs)


@dataclass(frozen=True)
class Identity:
    """What tells one body from another: the same where all of it is equal and enough of it is known."""

    name: str
    size: int | None
    etag: str | None
    modified: str | None
    md5: str | None

    @classmethod
    def read(cls, name: str, headers: Mapping[str, str]) -> "Identity":
        """From a response's headers; a weak ETag promises less than equal bytes and counts as none."""
        encoded = headers.get("Content-Encoding", "identity") != "identity"
        size = headers.get("Content-Length", "")
        etag = headers.get("ETag", "")
        md5 = re.search(r"\bmd5=([^,\s]+)", headers.get("x-goog-hash", ""))
        return cls(
            name=name,
            size=int(size) if size.isdigit() and not encoded else None,
            etag=etag if etag.startswith('"') else None,
            modified=headers.get("Last-Modified"),
            md5=md5.group(1) if md5 else headers.get("Content-MD5"),
        )

    @property
    def validator(self) -> str | None:
        """What `If-Range` carries."""
        return self.etag or self.modified

    def continues(self, headers: Mapping[str, str], start: int) -> bool:
        """Whether a partial response is the rest, from `start`, of this very body."""
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
        here = Identity.read(self.name, headers).validator
        return span is not None and span.groups() == (str(start), str(self.size)) and here == self.validator


def receive(
    session: requests.Session, response: requests.Response, part: Path, name: str, *, log: Log
) -> None:
    """Bring the body that `response` begins into `part`, going on from what an earlier try left there.

    The bytes kept are continued only if their record (`part` with `.json`) equals the size and validator of
    the body offered now, and the rest is asked for with `If-Range`, so that a body that changes in between
    arrives whole. Whatever cannot be proven the same starts again: two versions are never spliced.

    Args:
        session: repeats the request of `response` with a range.
        response: a streaming answer to a request for the whole body.
        part: the file that grows; whole and checked on return.
        name: what was asked for; bytes kept under another name are not continued.

    Raises:
        TransientError: cut, changed behind the download, or not what its hash says; another try may mend it.
        SourceError: the disk has no room; `part` is removed.
        requests.HTTPError: the rest was refused.
    """
    identity = Identity.read(name, response.headers)
    kept = _count_kept(part, identity)
    if kept and kept != identity.size:
        response, identity, kept = _ask_rest(session, response, identity, kept, part)
    with contextlib.closing(response):
        if not kept or kept != identity.size:
            _store(response, identity, kept, part, log)
    _verify(part, identity)


def discard(part: Path) -> None:
    """Remove what was kept of a body, and its record."""
    part.unlink(missing_ok=True)
    _record(part).unlink(missing_ok=True)


def persist(
    action: Callable[[], None],
    *,
    what: str,
    attempts: int,
    longest_wait: float,
    sleep: Callable[[float], None],
    log: Log,
) -> None:
    """Call `action` until it succeeds, waiting 1, 2, 4, … seconds or as long as the server asks.

    Raises:
        SourceError: `attempts` tries failed, or the server asks for more than `longest_wait` seconds.
    """
    for attempt in range(1, attempts + 1):
        try:
            action()
        except TransientError as error:
            wait = min(2.0 ** (attempt - 1), longest_wait) if error.wait is None else error.wait
            if wait > longest_wait:
                raise SourceError(
                    f"{what}: {error.reason}, and asks to wait {wait:.0f} s. Run again after that: "
                    "what has arrived is continued"
                ) from None
            if attempt == attempts:
                raise SourceError(
                    f"{what}: given up after {attempts} tries; the last: {error.reason}. Check the network "
                    "and whether the service is up, then run again: what has arrived is continued"
                ) from None
            log(f"{what}: {error.reason}; try {attempt + 1} of {attempts} in {wait:.0f} s")
            sleep(wait)
        else:
            return


def read_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; None where it cannot be read."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return None


def _record(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _count_kept(part: Path, identity: Identity) -> int:
    """Bytes of `part` that provably begin the body offered; anything else is removed."""
    provable = identity.size is not None and identity.validator is not None
    try:
        record = json.loads(_record(part).read_bytes())
    except (OSError, ValueError):
        record = None
    kept = part.stat().st_size if part.is_file() else 0
    if provable and record == asdict(identity) and 0 < kept <= (identity.size or 0):
        return kept
    discard(part)
    return 0


def _ask_rest(
    session: requests.Session, response: requests.Response, identity: Identity, kept: int, part: Path
) -> tuple[requests.Response, Identity, int]:
    request = response.request.copy()
    response.close()
    request.headers["Range"] = f"bytes={kept}-"
    request.headers["If-Range"] = identity.validator or ""
    settings = session.merge_environment_settings(response.url, {}, True, None, None)
    rest = session.send(request, **settings)
    if rest.status_code == PARTIAL and identity.continues(rest.headers, kept):
        return rest, identity, kept
    discard(part)
    if rest.status_code in (PARTIAL, UNSATISFIABLE):
        rest.close()
        raise TransientError("the file changed behind the download, which starts again")
    rest.raise_for_status()
    return rest, Identity.read(identity.name, rest.headers), 0


def _store(response: requests.Response, identity: Identity, kept: int, part: Path, log: Log) -> None:
    what, folder, needed = f"downloading {identity.name}", part.parent, (identity.size or 0) - kept
    total = f"{identity.size / 1e6:,.1f} MB" if identity.size is not None else "size unknown"
    log(f"{what}: {total}" + (f", going on from {kept / 1e6:,.1f} MB" if kept else ""))
    try:
        require_space(folder, needed, what)
        with explaining_full_disk(folder, needed, what):
            if not kept:
                write_text(_record(part), json.dumps(asdict(identity)))
            with part.open("ab") as sink:
                for chunk in _iterate_chunks(response):
                    sink.write(chunk)
    except SourceError:
        # A part that fills the disk would take the rest of the machine along.
        discard(part)
        raise


def _iterate_chunks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK_BYTES)
    except requests.RequestException as error:
        raise TransientError(f"the connection was cut ({type(error).__name__})") from None


def _verify(part: Path, identity: Identity) -> None:
    size = part.stat().st_size
    if identity.size is not None and size < identity.size:
        raise TransientError(f"the connection was cut after {size:,} of {identity.size:,} bytes")
    if identity.md5 is None:
        return
    with part.open("rb") as stream:
        found = base64.b64encode(hashlib.file_digest(stream, "md5").digest()).decode()
    if found != identity.md5:
        discard(part)
        raise TransientError("the bytes do not match the hash that the server states")
