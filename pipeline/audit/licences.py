"""Whose pixels may leave: only those of bytes that every collection holding them allows to pass on."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.catalog import Collection
from pipeline.errors import LicenceError


def list_permitting(collections: Mapping[str, Collection]) -> list[str]:
    """Collections whose stated licence allows passing pixels on, sorted; unknown counts as no."""
    return sorted(name for name, one in collections.items() if one.licence.redistribute == "yes")


def require_permission(names: Sequence[str], collections: Mapping[str, Collection]) -> None:
    """Refuse pixels of collections that do not allow it.

    Raises:
        LicenceError: naming each such collection with its licence, or one that is not in the catalog.
    """
    unknown = sorted(set(names) - set(collections))
    if unknown:
        raise LicenceError(
            f"pixels of {', '.join(unknown)} were asked for, which the catalog does not know; known: "
            f"{', '.join(collections)}"
        )
    allowed = list_permitting(collections)
    refused = [name for name in sorted(set(names)) if name not in allowed]
    if refused:
        said = "; ".join(
            f"{name} states “{collections[name].licence.stated}” (redistribute: "
            f"{collections[name].licence.redistribute})"
            for name in refused
        )
        raise LicenceError(
            f"pixels may not leave: {said}. Allowed are those of: {', '.join(allowed) or 'none'}. Leave "
            "these collections out of the request: their hashes, labels and splits are exported all the "
            "same. If the licence does allow it, say so in catalog/datasets/<name>.yaml, licence.redistribute"
        )


def find_free_images(files: pd.DataFrame, allowed: Sequence[str]) -> set[str]:
    """Image ids (MD5) whose every file, set aside or not, lies in an allowed collection.

    Bytes that a collection of unknown licence holds too stay here: which of the two had the right to them is
    not known.
    """
    known = files[files["md5"].notna()]
    barred = set(known.loc[~known["collection"].isin(list(allowed)), "md5"])
    return set(known["md5"]) - barred
