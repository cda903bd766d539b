"""Images that are no brain MR slice, found by cheap statistics, set aside with the reason, for review.

Conservative on purpose: an image is foreign only where a statistic lies beyond everything that was measured
on the 12,655 MR images of three real collections. A person's `keep` overrules it.

| kind | rule, first match first | farthest MR slice |
|---|---|---|
| blank | 1st to 99th percentile at most 24 grey levels apart | 74 |
| noise | some averaging of 2 × 2 pixels keeps at most 0.62 of the contrast | 0.68 |
| screenshot | 14 straight edges or more, and 0.3 of the pixels even, not black | 9 edges |
| photograph | the three colours differ by 10 grey levels or more on average | 5.5 |
| screenshot | 0.25 of the pixels even and light, as far as the rim | 0.08 |
| ct | a plateau around half of the head, with sharp edges and brain right inside it | see below |

The CT rule finds 80 of the 85 CT images there (27 of 29 pictures; every one looked at) and no other image.
It needs a plateau of 0.06 of what is brighter than the ground, where these CT have 0.082 and more.
Nearest to it comes a T1 slice that a contrast-filled meningioma darkens: its thin ring of fat has levels of
at most 0.74 of the brain's right inside it, where CT has 0.76 and more. What is not found: photographs
without colour (a tight crop of an MR slice looks alike to such statistics), CT whose ring is thinner than
1.5 of 128 pixels or that shows much calcium, CT in other planes than axial.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.curation.skull import measure_ring
from pipeline.curation.textures import Texture
from pipeline.curation.thumbnails import open_thumbnails
from pipeline.errors import TableError
from pipeline.tables import find_table, list_rows, map_cells

KINDS = ("blank", "noise", "photograph", "screenshot", "ct")

BLANK_EXTENT = 24.0
NOISE_COARSENESS = 0.62
COLOUR = 10.0
SCREEN_LINES = 14
SCREEN_FLAT = 0.30
SCREEN_LIGHT = 0.25
SCREEN_BORDER = 0.2
"""Of the outline, not dark: a page is light to its rim, an overexposed head is not."""
CT_RAYS = 0.5
CT_SHARPNESS = 0.45
CT_INSIDE = 0.52
CT_SPREAD = 0.42
CT_WIDTH = 3.7
CT_BENEATH = 0.75
"""A ring thinner than `CT_WIDTH` must have brain right inside it: the darkest level there, of the median."""

Pixels = npt.NDArray[np.uint8]
Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class _Look:
    """One image. Its rules ask for what is cheap first: hardly an image needs all statistics."""

    colour: float
    texture: Texture
    pixels: Pixels


def judge_looks(
    looks: pd.DataFrame, thumbnails: pd.DataFrame, files: pd.DataFrame, decisions: pd.DataFrame
) -> pd.DataFrame:
    """The table `foreign`: the images that do not look like a brain MR slice, and why.

    Deterministic; row order does not matter.

    Args:
        looks: table `looks`; its `colour` is used.
        thumbnails: table `thumbnails`, the same image_ids.
        files: table `scan` or `files`, which tell where the images lie (the first file by collection and
            path that is not set aside), or table `images`.
        decisions: table `decisions`; `keep` marks an image as kept.

    Raises:
        TableError: the tables hold different images, or a thumbnail has the wrong size.
    """
    colours = map_cells(looks, "image_id", "colour")
    places = _find_places(files)
    ordered = thumbnails.sort_values("image_id")
    ids = list(ordered["image_id"])
    for name, held in (("looks", set(colours)), ("files", set(places))):
        missing = [one for one in ids if one not in held]
        if missing:
            raise TableError(
                f"{len(missing)} images of thumbnails are not in {name}, the first is {missing[0]}; "
                "materialise scan, thumbnails and looks again, in one run"
            )
    kept = set(decisions.loc[decisions["action"] == "keep", "first"])
    rows = []
    for image_id, pixels in zip(ids, open_thumbnails(ordered), strict=True):
        verdict = judge_pixels(pixels, float(colours[image_id]))
        if verdict:
            rows.append((image_id, *places[image_id], *verdict, image_id in kept))
    return pd.DataFrame(rows, columns=find_table("foreign").names)


def judge_pixels(pixels: Pixels, colour: float = 0.0) -> tuple[str, str] | None:
    """Kind and detail of a foreign image; None for what may be a brain MR slice.

    Args:
        pixels: uint8 [128, 128], grey.
        colour: mean over pixels of the spread of red, green and blue, 0 to 255.
    """
    look = _Look(round(colour, 6), Texture(pixels), pixels)
    for kind, rule in _RULES:
        detail = rule(look)
        if detail:
            return kind, detail
    return None


def _is_blank(look: _Look) -> str | None:
    extent = look.texture.extent
    if extent > BLANK_EXTENT:
        return None
    return f"98 % of its pixels lie within {extent:.0f} grey levels (at most {BLANK_EXTENT:.0f})"


def _is_noise(look: _Look) -> str | None:
    if look.texture.is_coarse(NOISE_COARSENESS):
        return None
    coarse = look.texture.coarse
    return f"averaging 2 × 2 pixels leaves {coarse:.2f} of its contrast (at most {NOISE_COARSENESS})"


def _is_screen(look: _Look) -> str | None:
    texture = look.texture
    if texture.flat < SCREEN_FLAT or texture.lines < SCREEN_LINES:
        return None
    return (
        f"{texture.lines} straight edges (at least {SCREEN_LINES}) and {texture.flat:.2f} of it even "
        f"and not black (at least {SCREEN_FLAT})"
    )


def _is_coloured(look: _Look) -> str | None:
    if look.colour < COLOUR:
        return None
    return f"red, green and blue differ by {look.colour:.1f} grey levels on average (at least {COLOUR:.0f})"


def _is_page(look: _Look) -> str | None:
    texture = look.texture
    if texture.border < SCREEN_BORDER or texture.light < SCREEN_LIGHT:
        return None
    return f"{texture.light:.2f} of it even and light (at least {SCREEN_LIGHT}), to the rim"


def _is_ct(look: _Look) -> str | None:
    ring = measure_ring(look.pixels, look.texture.at_most, inside=CT_INSIDE, spread=CT_SPREAD)
    plateau = ring.rays >= CT_RAYS and ring.sharpness >= CT_SHARPNESS
    brain = ring.inside <= CT_INSIDE and ring.spread <= CT_SPREAD
    if not (plateau and brain and (ring.width >= CT_WIDTH or ring.beneath >= CT_BENEATH)):
        return None
    return (
        f"a bright plateau of {ring.width:.1f} pixels of 128 around {ring.rays:.2f} of the head (at least "
        f"{CT_RAYS}), brain right inside it at {ring.inside:.2f} of its level (at most {CT_INSIDE})"
    )


_RULES: tuple[tuple[str, Callable[[_Look], str | None]], ...] = (
    ("blank", _is_blank),
    ("noise", _is_noise),
    ("screenshot", _is_screen),
    ("photograph", _is_coloured),
    ("screenshot", _is_page),
    ("ct", _is_ct),
)


def _find_places(files: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Collection and path of each image."""
    if "image_id" in files:
        rows: Iterable[Row] = list_rows(files)
        return {row["image_id"]: (row["collection"], row["path"]) for row in rows}
    kept = files[files["reason"].isna()].sort_values(["md5", "collection", "path"]).drop_duplicates("md5")
    return {row["md5"]: (row["collection"], row["path"]) for row in list_rows(kept)}
