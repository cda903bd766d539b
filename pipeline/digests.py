"""Digests: identity comes from content, never from a path, an order or the clock."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def digest_bytes(data: bytes) -> str:
    """SHA-256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value` (sorted keys, no spaces, UTF-8).

    Raises:
        TypeError: `value` holds something that JSON cannot say.
        ValueError: `value` holds NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, in constant memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_tree(entries: Mapping[str, str]) -> str:
    """SHA-256 over the sorted `path<TAB>sha256<LF>` lines of a folder: path -> SHA-256."""
    lines = "".join(f"{path}\t{entries[path]}\n" for path in sorted(entries))
    return digest_bytes(lines.encode())


def digest_sources(paths: Iterable[Path]) -> str:
    """SHA-256 over source files, by folder, name and content: the code version of what they hold."""
    return digest_tree({f"{path.parent.name}/{path.name}": digest_file(path) for path in paths})


def seed_for(*parts: object) -> int:
    """A 63-bit seed that is a function of `parts` alone, the same on every machine.

    Used as `seed_for(seed, epoch, image_id)`: a draw then depends on neither order, worker nor process.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
