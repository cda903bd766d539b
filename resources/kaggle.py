"""Kaggle: a pinned version of a dataset becomes a raw folder, through Kaggle's own client.

Of that client, `kagglesdk` (what the `kaggle` command itself stands on) signs in, speaks the API and resolves
the download; the bytes are received and unpacked by Falx. Why not the whole of it:

- `import kaggle` signs in while it is imported: over the network, without a timeout, printing where it fails.
- Its requests have no timeout, so that a silent server holds a run for ever.
- Its `download_file` goes on after a cut connection even where no validator proves that the file is the same,
  never compares the range that came back, checks no hash, and unpacks with `extractall` into the final
  folder, so that an interrupted run leaves half a collection. (Read in kaggle 2.2.4, kagglesdk 0.1.37.)
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field, field_validator

from pipeline.archives import unpack_archive
from pipeline.catalog import Collection
from pipeline.errors import ArchiveError, CredentialsError, LockError, SourceError
from pipeline.lock import LockEntry, check_counts, count_images, measure_folder, read_lock, trust_or_verify
from resources.credentials import HOW_TO_SIGN_IN, Credentials, find_credentials, require_plain

if TYPE_CHECKING:
    import requests

Log = Callable[[str], None]

PART = "archive.zip.part"
TOO_MANY_REQUESTS = 429


class KaggleSource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Downloads pinned versions of Kaggle datasets; a raw folder in place is verified, never written."""

    endpoint: str = Field("https://api.kaggle.com", description="address of Kaggle's API; https, or loopback")
    attempts: int = Field(6, ge=1, description="tries of a download, each going on where the last was cut")
    timeout_s: float = Field(60.0, gt=0, description="longest silence of a connection, seconds")
    longest_wait_s: float = Field(300.0, ge=0, description="longest Retry-After that is waited for, seconds")

    @field_validator("endpoint")
    @classmethod
    def _encrypted(cls, value: str) -> str:
        address = urlsplit(value)
        if address.scheme != "https" and address.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"{value}: credentials travel over https only, or to this machine")
        return value.rstrip("/")

    def ensure(
        self,
        collection: Collection,
        folder: Path,
        lock_path: Path,
        *,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
    ) -> tuple[LockEntry, str]:
        """Bring the pinned version of a collection into `folder`, or verify what lies there.

        New bytes are measured and compared with the lock file and the catalog's counts before they are put in
        place: a folder that is there has been trusted.

        Returns:
            its lock entry, and "downloaded" or "verified".

        Raises:
            LockError: the bytes are not those of the lock file, or not as many images as the catalog asserts.
            SourceError: as `download`, or the collection has no Kaggle source.
        """
        kaggle = collection.source.kaggle
        if kaggle is None:
            manual = collection.source.manual
            raise SourceError(
                f"{collection.name}: not on Kaggle. {manual.instructions if manual else ''}".strip()
            )
        if folder.is_dir():
            return _vouch(folder, collection, lock_path), "verified"
        with self._bring(kaggle.slug, kaggle.version, folder, log, sleep) as unpacked:
            entry = _vouch(unpacked, collection, lock_path)
        return entry, "downloaded"

    def download(
        self,
        slug: str,
        version: int,
        folder: Path,
        *,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Download version `version` of `slug`, unpack it, and put it in place as `folder` by one rename.

        Meanwhile `<folder>.download/` holds the part that has arrived; a failed run leaves at most that part,
        for the next to go on from. Nothing secret is logged or raised.

        Args:
            slug: owner/name.
            version: Kaggle's version number.
            folder: must not exist.
            log: takes a line for a person.
            sleep: waits between tries, seconds.

        Raises:
            CredentialsError: 401 or 403, or credentials that cannot be read.
            ArchiveError: the archive is broken or unsafe; it is removed; the next run fetches it anew.
            SourceError: 404, given up after `attempts`, no room on the disk, or `folder` exists.
        """
        with self._bring(slug, version, folder, log, sleep):
            pass

    @contextlib.contextmanager
    def _bring(
        self, slug: str, version: int, folder: Path, log: Log, sleep: Callable[[float], None]
    ) -> Iterator[Path]:
        """Yield the unpacked folder, to be looked at; it is put in place unless the looker raises."""
        from resources.download import discard, persist

        what = f"{slug} version {version}"
        with _claim(folder) as place:
            part, unpacked = place / PART, place / "unpacked"
            persist(
                lambda: self._fetch(slug, version, part, log),
                what=what,
                attempts=self.attempts,
                longest_wait=self.longest_wait_s,
                sleep=sleep,
                log=log,
            )
            log(f"{what}: unpacking {part.stat().st_size / 1e6:,.1f} MB")
            try:
                unpack_archive(part, unpacked)
            except ArchiveError as error:
                discard(part)
                raise ArchiveError(f"{what}: {error}") from error
            yield unpacked
            unpacked.rename(folder)
            discard(part)

    def _fetch(self, slug: str, version: int, part: Path, log: Log) -> None:
        """One try; each asks the API anew, since the address of the storage is signed for a short time."""
        import requests

        from resources.download import TransientError, receive

        credentials = find_credentials()
        try:
            with self._open_client(credentials) as (client, session):
                response = _request_download(client, slug, version)
                receive(session, response, part, f"{slug} version {version}", log=log)
        except requests.HTTPError as error:
            with contextlib.closing(cast("requests.Response", error.response)) as refusal:
                raise self._explain(refusal, slug, version, credentials) from None
        except requests.RequestException as error:
            # The text of the error would carry a signed address.
            url = error.request.url if error.request is not None else None
            host = urlsplit(str(url or self.endpoint)).hostname
            raise TransientError(f"no answer from {host} ({type(error).__name__})") from None

    @contextlib.contextmanager
    def _open_client(self, credentials: Credentials) -> Iterator[tuple[Any, "requests.Session"]]:
        from kagglesdk.kaggle_client import KaggleClient
        from kagglesdk.kaggle_creds import KaggleCredentials
        from kagglesdk.kaggle_env import KaggleEnv

        from resources.download import TimeoutAdapter

        client = KaggleClient(
            env=KaggleEnv.PROD,
            username=credentials.username,
            password=credentials.key,
            api_token=credentials.token,
            user_agent="falx",
        )
        http = client.http_client()
        # The client has no setting for another address or a timeout; both are its own attributes.
        http._endpoint = self.endpoint
        with client:
            session = http._session
            for scheme in ("https://", "http://"):
                session.mount(scheme, TimeoutAdapter(self.timeout_s))
            # Lengths, ranges and hashes are about the bytes as stored.
            session.headers["Accept-Encoding"] = "identity"
            stored = KaggleCredentials.load(client) if session.auth is None else None
            if stored is not None:
                token = require_plain(credentials.origin, stored.get_access_token())
                session.auth = http.BearerAuth(token)
            yield client, session

    def _explain(
        self, response: "requests.Response", slug: str, version: int, credentials: Credentials
    ) -> Exception:
        """What an HTTP status means here and what to do; a TransientError where trying again may help."""
        from resources.download import TransientError, read_wait

        code, what = _read_code(response), f"{slug} version {version}"
        page = f"https://www.kaggle.com/datasets/{slug}"
        if code == TOO_MANY_REQUESTS or code >= 500:
            return TransientError(f"the server answers {code}", read_wait(response.headers))
        if urlsplit(response.url).netloc != urlsplit(self.endpoint).netloc:
            return TransientError(f"the storage of Kaggle answers {code}")
        if code == 401:
            origin = credentials.origin or "none were found"
            return CredentialsError(
                f"{what}: Kaggle refuses the credentials ({origin}; 401). {HOW_TO_SIGN_IN}"
            )
        if code == 403:
            sign_in = "" if credentials.origin else f" No credentials were found: {HOW_TO_SIGN_IN}."
            return CredentialsError(
                f"{what}: Kaggle forbids the download (403).{sign_in} Open {page} signed in, accept "
                "the rules that it shows, then run again; a private or misspelt dataset is answered alike"
            )
        if code == 404:
            return SourceError(
                f"{what}: not on Kaggle (404): slug or version is wrong, or it was withdrawn. Compare "
                f"with the versions on {page} and correct source.kaggle in the collection's YAML file"
            )
        return SourceError(f"{what}: Kaggle answers {code}; open {page}, and try the download there")


def _request_download(client: Any, slug: str, version: int) -> "requests.Response":
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = slug.split("/")
    request.dataset_version_number = version
    response: requests.Response = client.datasets.dataset_api_client.download_dataset(request)
    return response


def _read_code(response: "requests.Response") -> int:
    """The status, or the code in the body where the client raised for an answer of 200."""
    if response.status_code >= 400:
        return response.status_code
    return int(response.json()["code"])


def _vouch(folder: Path, collection: Collection, lock_path: Path) -> LockEntry:
    entry = measure_folder(folder, collection, fetched=True)
    if collection.name not in read_lock(lock_path):
        differences = check_counts(collection, count_images(folder, collection))
        if differences:
            raise LockError(
                " ".join(differences) + " These bytes were not trusted: compare the pinned version with the "
                f"dataset's page, and correct version or counts in catalog/datasets/{collection.name}.yaml"
            )
    trust_or_verify(lock_path, collection.name, entry)
    return entry


@contextlib.contextmanager
def _claim(folder: Path) -> Iterator[Path]:
    """`<folder>.download`, for this process alone, holding nothing but a part; gone if nothing is left."""
    place = folder.with_name(folder.name + ".download")
    with contextlib.ExitStack() as stack:
        _lock_folder(place, stack)
        stack.callback(_remove_if_empty, place)
        stack.callback(_sweep, place)
        if os.path.lexists(folder):
            raise SourceError(
                f"{folder} exists already and is never written over; move it away, then run again"
            )
        _sweep(place)
        yield place


def _lock_folder(place: Path, stack: contextlib.ExitStack) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)
        stack.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SourceError(f"another process downloads into {place}; wait for it, then run again") from None
    except OSError as error:
        raise SourceError(
            f"{place}: cannot be made: {error.strerror}; set FALX_HOME to a folder that can be written"
        ) from error


def _sweep(place: Path) -> None:
    """Remove what a killed or failed run left beside the part."""
    for path in place.iterdir():
        if not path.name.startswith(PART):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove_if_empty(place: Path) -> None:
    with contextlib.suppress(OSError):
        place.rmdir()
