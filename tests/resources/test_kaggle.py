"""Downloads from a Kaggle on loopback, through Kaggle's own client: all the ways in which they fail."""

import contextlib
import fcntl
import io
import json
import logging
import os
import resource
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from kaggle_server import BASIC, DOWNLOAD, RENEW, SIGNATURE, TOKEN, Blob, Fault, KaggleServer
from pydantic import ValidationError

import pipeline.archives
from pipeline.catalog import Collection
from pipeline.errors import ArchiveError, CredentialsError, LockError, SourceError
from pipeline.lock import read_lock
from resources.credentials import find_credentials
from resources.download import read_wait
from resources.kaggle import KaggleSource

SLUG = "owner/brain"
FILES = {f"Training/glioma/{number}.jpg": bytes([number]) + os.urandom(12_000) for number in range(20)} | {
    "Testing/glioma/脳.jpg": b"test"
}


def zip_files(files: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return sink.getvalue()


GOOD = zip_files(FILES)
# The same length and nearly the same bytes: only a check of identity can tell a splice of both.
CHANGED = zip_files({name: bytes(reversed(data)) for name, data in FILES.items()})


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith(("KAGGLE_", "XDG_CONFIG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)


@pytest.fixture
def server() -> Iterator[KaggleServer]:
    with KaggleServer() as running:
        running.blobs[SLUG, 1] = Blob(GOOD)
        yield running


class Desk:
    """A source at the loopback server, with what it logged and how long it waited."""

    def __init__(self, server: KaggleServer, root: Path, **settings: float) -> None:
        self.source = KaggleSource(endpoint=server.address, **settings)
        self.folder = root / "raw" / "brain"
        self.log: list[str] = []
        self.waits: list[float] = []

    def download(self, version: int = 1) -> None:
        self.source.download(SLUG, version, self.folder, log=self.log.append, sleep=self.waits.append)

    def ensure(self, collection: Collection) -> str:
        lock = self.folder.parent / "raw.lock.json"
        _, how = self.source.ensure(
            collection, self.folder, lock, log=self.log.append, sleep=self.waits.append
        )
        return how

    def leftovers(self) -> list[str]:
        root = self.folder.parent
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) if root.exists() else []

    def refuse(self, kind: type[SourceError], left: tuple[str, ...] = ()) -> str:
        """Demand an error of exactly this kind, that leaves no more than `left`, and shows nothing secret."""
        with pytest.raises(SourceError) as caught:
            self.download()
        assert type(caught.value) is kind
        assert self.leftovers() == sorted(left)
        shown = str(caught.value) + "".join(self.log)
        assert not [secret for secret in (TOKEN, BASIC[1], SIGNATURE) if secret in shown]
        return str(caught.value)

    def succeed(self) -> None:
        """Demand that running (again) brings the whole collection and leaves nothing else."""
        self.download()
        assert read_tree(self.folder) == FILES
        assert [path.name for path in self.folder.parent.iterdir()] == ["brain"]


PART = ("brain.download", "brain.download/archive.zip.part", "brain.download/archive.zip.part.json")


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def desk(server: KaggleServer, tmp_path: Path) -> Desk:
    return Desk(server, tmp_path)


# --- the way that it should go


def test_downloads_through_the_real_api(server: KaggleServer, desk: Desk) -> None:
    desk.succeed()
    asked, fetched = server.seen
    assert (asked.method, asked.path) == ("POST", DOWNLOAD)
    assert json.loads(asked.body) == {
        "ownerSlug": "owner",
        "datasetSlug": "brain",
        "datasetVersionNumber": 1,
    }
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert fetched.method == "GET"
    assert "Authorization" not in fetched.headers
    assert desk.waits == []


def test_downloads_where_the_api_answers_with_the_bytes(server: KaggleServer, desk: Desk) -> None:
    server.direct = True
    server.cuts = [100_000, None]
    desk.succeed()
    assert [seen.method for seen in server.seen] == ["POST"] * 3


def test_the_version_asked_for_is_the_one_that_comes(server: KaggleServer, desk: Desk) -> None:
    server.blobs[SLUG, 2] = Blob(CHANGED)
    desk.download(version=2)
    assert read_tree(desk.folder) != FILES


def test_never_writes_over_a_folder(server: KaggleServer, desk: Desk) -> None:
    desk.folder.mkdir(parents=True)
    assert "move it away" in desk.refuse(SourceError, left=("brain",))
    assert server.seen == []


# --- cut connections


def test_resumes_after_a_cut(server: KaggleServer, desk: Desk) -> None:
    server.cuts = [100_000]
    desk.succeed()
    assert desk.waits == [1.0]
    first, offered, rest = server.ranges
    assert (first, offered) == (None, None)
    assert rest is not None
    assert 30_000 < int(rest.removeprefix("bytes=").removesuffix("-")) <= 100_000


def test_resumes_in_another_run(server: KaggleServer, tmp_path: Path) -> None:
    hasty = Desk(server, tmp_path, attempts=1)
    server.cuts = [150_000]
    assert "run again" in hasty.refuse(SourceError, left=PART)
    Desk(server, tmp_path).succeed()
    assert str(server.ranges[-1]).startswith("bytes=")


def test_goes_on_from_cut_to_cut(server: KaggleServer, desk: Desk) -> None:
    server.cuts = [70_000, None, 70_000, None, 70_000]
    desk.succeed()
    starts = [int(span[6:-1]) for span in server.ranges if span]
    assert starts == sorted(starts)
    assert len(starts) == 3


@pytest.mark.parametrize("ignore_if_range", [False, True])
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("etag", ["auto", None])
@pytest.mark.parametrize("between", ["offer and range", "tries"])
def test_never_splices_two_versions(
    server: KaggleServer, desk: Desk, ignore_if_range: bool, hashed: bool, etag: str | None, between: str
) -> None:
    """The file changes behind a cut, before the next try or within it, whatever proof the storage gives."""
    old = "Sun, 01 Nov 2026 10:00:00 GMT"
    server.ignore_if_range = ignore_if_range
    server.blobs[SLUG, 1] = Blob(CHANGED, etag=etag, hashed=hashed, modified=old)
    assert len(CHANGED) == len(GOOD)

    def change() -> None:
        server.blobs[SLUG, 1] = Blob(GOOD, etag=etag, hashed=hashed)

    if between == "tries":
        server.after_cut = change
        server.cuts = [100_000]
    else:
        served: list[int] = []
        send = Blob.headers

        class Turning(Blob):
            def headers(self) -> dict[str, str]:
                served.append(1)
                if len(served) == 2:
                    change()
                return send(self)

        server.blobs[SLUG, 1] = Turning(CHANGED, etag=etag, hashed=hashed, modified=old)
        server.cuts = [100_000]
    desk.succeed()


def test_starts_again_where_nothing_proves_that_it_is_the_same_file(server: KaggleServer, desk: Desk) -> None:
    server.blobs[SLUG, 1] = Blob(GOOD, etag=None, modified=None, hashed=False)
    server.cuts = [100_000]
    desk.succeed()
    assert server.ranges == [None, None]


def test_a_weak_etag_proves_nothing(server: KaggleServer, desk: Desk) -> None:
    server.blobs[SLUG, 1] = Blob(GOOD, etag='W/"1"', modified=None)
    server.cuts = [100_000]
    desk.succeed()
    assert server.ranges == [None, None]


def test_a_part_of_another_version_is_not_continued(server: KaggleServer, tmp_path: Path) -> None:
    server.blobs[SLUG, 2] = Blob(CHANGED, etag='"same"', modified=None, hashed=False)
    server.blobs[SLUG, 1] = Blob(GOOD, etag='"same"', modified=None, hashed=False)
    hasty = Desk(server, tmp_path, attempts=1)
    server.cuts = [100_000]
    with pytest.raises(SourceError):
        hasty.download(version=2)
    hasty.succeed()


def test_bytes_that_do_not_match_their_hash_come_again(server: KaggleServer, desk: Desk) -> None:
    right = Blob(GOOD).headers()

    class Lying(Blob):
        def headers(self) -> dict[str, str]:
            server.blobs[SLUG, 1] = Blob(GOOD)
            return right

    server.blobs[SLUG, 1] = Lying(CHANGED)
    desk.succeed()
    assert "do not match the hash" in "".join(desk.log)


def test_a_range_that_cannot_be_satisfied_starts_again(server: KaggleServer, desk: Desk) -> None:
    server.cuts = [100_000]
    hits: list[int] = []
    send = Blob.headers

    class Shrinking(Blob):
        def headers(self) -> dict[str, str]:
            hits.append(1)
            if len(hits) == 2:
                server.storage_faults.append(Fault(416))
            return send(self)

    server.blobs[SLUG, 1] = Shrinking(GOOD)
    desk.succeed()
    assert "changed behind the download" in "".join(desk.log)


def test_a_body_that_stalls_is_continued(server: KaggleServer, tmp_path: Path) -> None:
    desk = Desk(server, tmp_path, timeout_s=0.3)
    server.cuts = [100_000]
    server.after_cut = server.wait
    desk.succeed()
    assert str(server.ranges[-1]).startswith("bytes=")


def test_cuts_for_ever_are_given_up(server: KaggleServer, tmp_path: Path) -> None:
    desk = Desk(server, tmp_path, attempts=3)
    server.blobs[SLUG, 1] = Blob(GOOD, etag=None, modified=None)
    server.cuts = [70_000] * 3
    assert "given up after 3 tries" in desk.refuse(SourceError, left=PART)
    assert desk.waits == [1.0, 2.0]
    desk.succeed()


# --- refusals


def test_401_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("KAGGLE_API_TOKEN", "KGAT_expired")
        message = desk.refuse(CredentialsError)
    assert "token from KAGGLE_API_TOKEN" in message
    assert "https://www.kaggle.com/settings/api" in message
    assert "KGAT_expired" not in message
    assert desk.waits == []
    desk.succeed()


def test_401_without_any_credentials(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("KAGGLE_API_TOKEN")
        assert "none were found" in desk.refuse(CredentialsError)
    desk.succeed()


def test_403_names_the_page_whose_rules_to_accept(server: KaggleServer, desk: Desk) -> None:
    server.faults = [Fault(403)]
    message = desk.refuse(CredentialsError)
    assert "https://www.kaggle.com/datasets/owner/brain" in message
    assert "accept the rules" in message
    desk.succeed()


def test_403_without_credentials_also_says_how_to_sign_in(
    server: KaggleServer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    server.anonymous = True
    server.faults = [Fault(403)]
    assert "No credentials were found" in desk.refuse(CredentialsError)
    desk.succeed()


def test_404_points_at_the_catalog(server: KaggleServer, desk: Desk) -> None:
    stored = server.blobs.pop((SLUG, 1))
    message = desk.refuse(SourceError)
    assert "owner/brain version 1: not on Kaggle (404)" in message
    assert "source.kaggle" in message
    server.blobs[SLUG, 1] = stored
    desk.succeed()


def test_an_error_in_an_answer_of_200_is_an_error(server: KaggleServer, desk: Desk) -> None:
    server.faults = [Fault(200, body=b'{"code": 404, "message": "gone"}')]
    assert "not on Kaggle" in desk.refuse(SourceError)
    desk.succeed()


def test_another_refusal_is_named(server: KaggleServer, desk: Desk) -> None:
    server.faults = [Fault(451)]
    assert "Kaggle answers 451" in desk.refuse(SourceError)
    desk.succeed()


def test_a_refusal_of_the_storage_is_no_question_of_rules(server: KaggleServer, desk: Desk) -> None:
    server.storage_faults = [Fault(403)]
    desk.succeed()
    assert "the storage of Kaggle answers 403" in "".join(desk.log)


# --- servers in trouble


def test_429_waits_as_long_as_it_is_told(server: KaggleServer, desk: Desk) -> None:
    server.faults = [Fault(429, {"Retry-After": "17"}), Fault(429)]
    desk.succeed()
    assert desk.waits == [17.0, 2.0]


def test_429_with_a_date(server: KaggleServer, desk: Desk) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.faults = [Fault(429, {"Retry-After": date})]
    desk.succeed()
    assert 60 < desk.waits[0] <= 90


def test_429_is_not_waited_for_all_day(server: KaggleServer, desk: Desk) -> None:
    server.faults = [Fault(429, {"Retry-After": "86400"})]
    assert "86400 s. Run again after that" in desk.refuse(SourceError)
    assert desk.waits == []
    desk.succeed()


@pytest.mark.parametrize(
    ("value", "wait"),
    [("5", 5.0), ("", None), ("soon", None), ("-3", None), ("Sun, 01 Nov 2020 10:00:00 GMT", 0.0)],
)
def test_reads_what_the_server_asks_for(value: str, wait: float | None) -> None:
    assert read_wait({"Retry-After": value}) == wait


@pytest.mark.parametrize("where", ["faults", "storage_faults"])
def test_5xx_then_success(server: KaggleServer, desk: Desk, where: str) -> None:
    setattr(server, where, [Fault(503), Fault(500), Fault(502)])
    desk.succeed()
    assert desk.waits == [1.0, 2.0, 4.0]


def test_5xx_for_ever(server: KaggleServer, tmp_path: Path) -> None:
    desk = Desk(server, tmp_path, attempts=4)
    server.faults = [Fault(503, times=4)]
    message = desk.refuse(SourceError)
    assert "given up after 4 tries; the last: the server answers 503" in message
    assert desk.waits == [1.0, 2.0, 4.0]
    desk.succeed()


def test_a_silent_server_is_given_up(server: KaggleServer, tmp_path: Path) -> None:
    server.silent = True
    desk = Desk(server, tmp_path, attempts=2, timeout_s=0.1)
    assert "no answer from 127.0.0.1 (ReadTimeout)" in desk.refuse(SourceError)
    server.silent = False
    Desk(server, tmp_path).succeed()


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with KaggleServer() as gone:
        pass
    desk = Desk(gone, tmp_path, attempts=2)
    assert "no answer from 127.0.0.1 (ConnectionError)" in desk.refuse(SourceError)


def test_nothing_secret_reaches_any_log(
    server: KaggleServer, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.cuts = [100_000]
    server.storage_faults = [Fault(500)]
    desk.succeed()
    shown = caplog.text + "".join(desk.log)
    assert not [secret for secret in (TOKEN, SIGNATURE) if secret in shown]


# --- bad archives


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GOOD[: len(GOOD) // 2], "Fetch it again"),
        (b"<html>Sign in</html>", "<html>"),
        (zip_files({"fine": b"1", "../evil": b"2"}), "`..`"),
        (zip_files({"/etc/evil": b"2"}), "absolute"),
        (zip_files({"link": b"/etc/passwd"}, stat.S_IFLNK | 0o777), "a link"),
        (zip_files({"zeros": bytes(5_000_000)}), "a bomb"),
    ],
    ids=["truncated", "page", "dots", "absolute", "link", "bomb"],
)
def test_a_bad_archive_leaves_nothing(server: KaggleServer, desk: Desk, data: bytes, reason: str) -> None:
    server.blobs[SLUG, 1] = Blob(data)
    message = desk.refuse(ArchiveError)
    assert reason in message
    assert "owner/brain version 1" in message
    server.blobs[SLUG, 1] = Blob(GOOD)
    desk.succeed()


# --- full disks


@contextlib.contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """The kernel refuses longer files meanwhile, as a quota or a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_hit_while_downloading_leaves_nothing(desk: Desk) -> None:
    with limit_file_size(100_000):
        message = desk.refuse(SourceError)
    assert f"{len(GOOD):,} bytes are needed" in message
    desk.succeed()


def test_a_limit_hit_while_unpacking_keeps_the_download(server: KaggleServer, desk: Desk) -> None:
    files = {"large.txt": b"text " * 40_000}
    server.blobs[SLUG, 1] = Blob(zip_files(files | {"noise": os.urandom(20_000)}))
    with limit_file_size(50_000):
        assert "220,000 bytes are needed" in desk.refuse(SourceError, left=PART)
    server.cuts = [1000]
    desk.download()
    assert (desk.folder / "large.txt").stat().st_size == 200_000
    assert server.cuts == []


def test_asks_for_room_before_the_first_byte(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        assert f"{len(GOOD):,} bytes are needed, 1,000 are free" in desk.refuse(SourceError)
    desk.succeed()


def test_a_folder_that_cannot_be_made_is_named(desk: Desk) -> None:
    desk.folder.parent.parent.mkdir(parents=True, exist_ok=True)
    desk.folder.parent.write_text("a file in the way")
    with pytest.raises(SourceError, match="FALX_HOME"):
        desk.download()
    desk.folder.parent.unlink()
    desk.succeed()


# --- other processes, and killed ones


def test_two_processes_do_not_share_a_part(desk: Desk) -> None:
    place = desk.folder.with_name("brain.download")
    place.mkdir(parents=True)
    handle = os.open(place, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert "another process downloads" in desk.refuse(SourceError, left=("brain.download",))
    os.close(handle)
    desk.succeed()


def test_what_a_killed_run_left_is_swept(desk: Desk) -> None:
    place = desk.folder.with_name("brain.download")
    (place / ".unpacked.0a0b.part" / "Training").mkdir(parents=True)
    (place / "unpacked").mkdir()
    (place / "unpacked" / "half.jpg").write_bytes(b"half")
    (place / "archive.zip.part").write_bytes(b"no record says whose")
    desk.succeed()


KILLED = """
import os, signal, sys
from pathlib import Path
import pipeline.archives
from resources.kaggle import KaggleSource

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(sys.modules[sys.argv[3]], sys.argv[4], die)
KaggleSource(endpoint=sys.argv[1]).download("owner/brain", 1, Path(sys.argv[2]), log=print)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [("pipeline.archives", "copy_exactly"), ("resources.kaggle", "unpack_archive"), ("os", "rename")],
)
def test_sigkill_at_any_moment_is_mended_by_the_next_run(
    server: KaggleServer, desk: Desk, moment: tuple[str, str]
) -> None:
    command = [sys.executable, "-c", KILLED, server.address, str(desk.folder), *moment]
    killed = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not desk.folder.exists()
    desk.succeed()


# --- credentials


def write_json(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))


KEY = {"username": BASIC[0], "key": BASIC[1]}


@pytest.mark.parametrize(
    ("prepare", "origin"),
    [
        (lambda patch, home: patch.setenv("KAGGLE_API_TOKEN", TOKEN), "token from KAGGLE_API_TOKEN"),
        (lambda patch, home: write_json(home / ".kaggle/access_token", TOKEN), "token from access_token"),
        (
            lambda patch, home: [
                patch.setenv("KAGGLE_USERNAME", BASIC[0]),
                patch.setenv("KAGGLE_KEY", BASIC[1]),
            ],
            "KAGGLE_USERNAME and KAGGLE_KEY",
        ),
        (lambda patch, home: write_json(home / ".kaggle/kaggle.json", KEY), ".kaggle/kaggle.json"),
        (
            lambda patch, home: write_json(home / ".config/kaggle/kaggle.json", KEY),
            ".config/kaggle/kaggle.json",
        ),
        (
            lambda patch, home: [
                patch.setenv("KAGGLE_CONFIG_DIR", str(home / "own")),
                write_json(home / "own/kaggle.json", KEY),
            ],
            "own/kaggle.json",
        ),
        (
            lambda patch, home: write_json(
                home / ".kaggle/credentials.json",
                {
                    "refresh_token": "r",
                    "access_token": TOKEN,
                    "access_token_expiration": "2999-01-01T00:00:00+00:00",
                },
            ),
            ".kaggle/credentials.json",
        ),
    ],
)
def test_signs_in_as_the_client_does(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    prepare: Callable[[pytest.MonkeyPatch, Path], object],
    origin: str,
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    prepare(monkeypatch, tmp_path / "home")
    found = find_credentials()
    assert str(found.origin).endswith(origin)
    assert TOKEN not in repr(found)
    assert BASIC[1] not in repr(found)
    desk.succeed()


def test_public_datasets_come_without_credentials(
    server: KaggleServer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    server.anonymous = True
    assert find_credentials().origin is None
    desk.succeed()


def test_an_expired_sign_in_that_cannot_be_renewed(
    server: KaggleServer, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    write_json(tmp_path / "home/.kaggle/credentials.json", {"refresh_token": "r"})
    server.faults = [Fault(401)]
    assert "credentials.json" in desk.refuse(CredentialsError)
    assert server.seen[-1].path == RENEW


@pytest.mark.parametrize("text", ["", "[]", '{"username": "somebody"}', "0123456789key"])
def test_an_unreadable_key_file_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    write_json(tmp_path / "home/.kaggle/kaggle.json", text)
    message = desk.refuse(CredentialsError)
    assert "kaggle.json: not readable as JSON with username and key" in message


@pytest.mark.parametrize("token", ["two\nlines", "ключ"])
def test_a_token_that_no_header_can_carry(desk: Desk, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    message = desk.refuse(CredentialsError)
    assert "holds characters that no key has" in message
    assert token not in message


@pytest.mark.parametrize("endpoint", ["http://api.kaggle.com", "ftp://127.0.0.1.evil.com", "api.kaggle.com"])
def test_credentials_travel_encrypted(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="over https only"):
        KaggleSource(endpoint=endpoint)


# --- ensure: download, count, trust, verify


def make_collection(version: int = 1, **counts: int) -> Collection:
    return Collection.model_validate(
        {
            "name": "brain",
            "title": "Brain",
            "description": "for tests",
            "source": {"kaggle": {"slug": SLUG, "version": version}},
            "licence": {"stated": "CC0-1.0", "redistribute": "yes"},
            "citation": "Somebody. Brain. 2026.",
            "layout": {
                "reader": "class_folders",
                "folders": [{"path": "Training", "split": "train"}, {"path": "Testing", "split": "test"}],
            },
            "labels": {"glioma": "glioma"},
            "counts": counts,
        }
    )


def test_downloads_once_and_verifies_ever_after(server: KaggleServer, desk: Desk) -> None:
    collection = make_collection(train=20, test=1, total=21)
    assert desk.ensure(collection) == "downloaded"
    requests = len(server.seen)
    entry = read_lock(desk.folder.parent / "raw.lock.json")["brain"]
    assert (entry.slug, entry.version, entry.files) == (SLUG, 1, 21)
    assert desk.ensure(collection) == "verified"
    assert len(server.seen) == requests


def test_a_changed_raw_folder_is_refused_and_left_as_it_is(desk: Desk) -> None:
    desk.ensure(make_collection())
    (desk.folder / "Testing/glioma/脳.jpg").write_bytes(b"tesT")
    with pytest.raises(LockError, match=r"1 changed: Testing/glioma/脳\.jpg"):
        desk.ensure(make_collection())
    assert (desk.folder / "Testing/glioma/脳.jpg").read_bytes() == b"tesT"


def test_bytes_that_the_lock_does_not_know_never_get_into_place(server: KaggleServer, desk: Desk) -> None:
    desk.ensure(make_collection())
    desk.folder.rename(desk.folder.with_name("away"))
    server.blobs[SLUG, 1] = Blob(zip_files(FILES | {"more.jpg": b"1"}))
    with pytest.raises(LockError, match=r"1 added: more.jpg"):
        desk.ensure(make_collection())
    assert not desk.folder.exists()
    assert not (desk.folder.with_name("brain.download") / "unpacked").exists()
    server.blobs[SLUG, 1] = Blob(GOOD)
    assert desk.ensure(make_collection()) == "downloaded"


def test_wrong_counts_are_never_trusted(server: KaggleServer, desk: Desk) -> None:
    with pytest.raises(LockError, match="20 training images found, where the catalog asserts 5,712"):
        desk.ensure(make_collection(train=5712))
    assert not desk.folder.exists()
    assert read_lock(desk.folder.parent / "raw.lock.json") == {}
    fetched = len(server.seen)
    assert desk.ensure(make_collection(train=20)) == "downloaded"
    # The archive had been kept: it is offered once more, and not sent.
    assert len(server.seen) == fetched + 2


def test_a_collection_that_is_not_on_kaggle_says_what_to_do(desk: Desk) -> None:
    data = make_collection().model_dump()
    data["source"] = {"manual": {"url": "https://example.org", "instructions": "Fetch it by hand."}}
    with pytest.raises(SourceError, match=r"not on Kaggle. Fetch it by hand."):
        desk.ensure(Collection.model_validate(data))


def test_loading_the_resource_signs_in_nowhere_and_stays_light() -> None:
    code = (
        "import sys, resources.kaggle; "
        "print(sorted({'kaggle', 'kagglesdk', 'requests', 'torch', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"
