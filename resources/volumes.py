"""What a pod sees of the disks here: claims, and where they are mounted."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Volume:
    """A persistent volume claim, and the folder under which the pod sees it."""

    claim: str
    path: str
    read_only: bool = False


def read_volumes(text: str) -> tuple[Volume, ...]:
    """Volumes from `claim:/path,claim:/path:ro`.

    Raises:
        ValueError: an entry has another form; says which.
    """
    volumes = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        claim, _, rest = entry.partition(":")
        path, _, mode = rest.partition(":")
        named = re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", claim)
        if not named or not path.startswith("/") or mode not in ("", "ro"):
            raise ValueError(
                f"{entry!r} is no volume; write claim:/path, or claim:/path:ro, with commas between"
            )
        volumes.append(Volume(claim, path.rstrip("/") or "/", mode == "ro"))
    return tuple(volumes)
