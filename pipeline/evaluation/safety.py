"""How safe a score is from copies: patient-safe, picture-safe, image-level only, or not at all."""

import pandas as pd

from pipeline.errors import TableError
from pipeline.protocols import is_guarded

PUBLISHED = "published"


def tell_safety(protocol: str, tested: pd.DataFrame, groups: pd.DataFrame) -> str:
    """One line on what may not lie on both sides of the split that a score was measured on.

    Behind a guarded protocol an image of a known patient is patient-safe: no image of the patient is in
    training. Where the patient is unknown it is picture-safe: no copy of it that was found is in training,
    another slice of the same head may be.

    Args:
        protocol: how the test set was chosen.
        tested: rows of the predictions table under this protocol; each image counts once.
        groups: table `groups`.

    Raises:
        TableError: no row, or a tested image is in no group.
    """
    images = tested["image_id"].drop_duplicates()
    if images.empty:
        raise TableError(f"safety: no image was tested under {protocol}; materialise predictions first")
    if not is_guarded(protocol):
        return _tell_open(protocol, len(images))
    known = images.map(groups.set_index("image_id")["safety"])
    if known.isna().any():
        raise TableError(
            f"safety: {int(known.isna().sum())} of {len(images)} images tested under {protocol} are in no "
            f"group, the first is {images[known.isna()].iloc[0]}; materialise groups and predictions again"
        )
    safe = int((known == "patient").sum())
    if safe == len(images):
        return f"patient-safe: no patient of the {safe:,} test images is in training"
    if not safe:
        return (
            f"picture-safe: no known copy of the {len(images):,} test images is in training; patients may be"
        )
    return (
        f"patient-safe for {safe:,} of {len(images):,} test images; the patients of the others are unknown, "
        "and they are picture-safe: no known copy of them is in training"
    )


def _tell_open(protocol: str, images: int) -> str:
    if protocol == PUBLISHED:
        return f"not safe: byte-identical files of the {images:,} test images may be in training"
    return f"image-level only: pictures and patients of the {images:,} test images may be in training"
