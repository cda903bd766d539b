"""The part of the page that says whether a slice was in training, and shows the nearest training pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from commands.app.desk import Desk, Slice
from commands.app.drawing import draw_notes
from pipeline.app.exposure import Atlas, Exposure, Neighbour, Parts, find_exposure, list_neighbours
from pipeline.app.readings import NAMES
from pipeline.curation.lookup import Match, tell_orientation
from pipeline.errors import DecodeError, TableError

NEIGHBOURS = 4
THUMBNAIL = 192  # pixels


@dataclass(frozen=True)
class Lookup:
    """What the search for a slice among the known images gave; without an atlas, why it could not be made."""

    matches: Sequence[Match] = ()
    atlas: Atlas | None = None
    trouble: str = ""

    def expose(self, parts: Parts | None) -> Exposure | None:
        """What a model has seen of the slice; None where that cannot be told."""
        if self.atlas is None or parts is None:
            return None
        return find_exposure(self.matches, self.atlas, parts)


def look_for_copies(desk: Desk, slice_: Slice) -> Lookup:
    """Search the known images for a slice."""
    try:
        return Lookup(desk.find_matches(slice_), desk.draw_atlas())
    except DecodeError:
        return Lookup(trouble="There is no picture in this file to compare with others.")
    except TableError as error:
        return Lookup(trouble=f"Training pictures cannot be compared with: {error}")


def show_exposure(exposure: Exposure | None) -> None:
    """What a model has seen of the slice."""
    if exposure is None:
        st.caption("Whether this slice was in training is not known here.")
    elif exposure.kind in ("train", "patient", "review"):
        st.warning(exposure.text, icon=":material/content_copy:")
    else:
        st.caption(exposure.text)


def show_neighbours(desk: Desk, lookup: Lookup, parts: Mapping[str, Parts | None]) -> None:
    """The nearest training pictures of the chosen models."""
    st.subheader("Nearest training pictures")
    known = {name: held for name, held in parts.items() if held is not None}
    if lookup.atlas is None:
        st.info(lookup.trouble)
        return
    if not known:
        st.info("No chosen model was trained on the splits of this lake: its pictures are unknown.")
        return
    found = list_neighbours(lookup.matches, lookup.atlas, known, most=NEIGHBOURS)
    if not found:
        st.caption("No training picture is alike enough to be compared closely.")
    for column, one in zip(st.columns(NEIGHBOURS), found, strict=False):
        with column:
            st.image(desk.show_thumbnail(one.image_id), width=THUMBNAIL)
            st.html(draw_notes(_tell_neighbour(one, several=len(known) > 1)))
    st.html(
        draw_notes(
            [
                "Likeness is local correlation after alignment, −1 to 1; 0.88 and more proves a copy, "
                "mirrored, turned, cropped or filtered. One cropped by more than a fifth may be missed. "
                "Where the comparison ended early, at 32 pixels, the figure is higher than in the end."
            ]
        )
    )


def _tell_neighbour(one: Neighbour, *, several: bool) -> list[str]:
    verdicts = {"copy": "The same picture", "review": "Perhaps the same picture"}
    way = tell_orientation(one.match.mirrored, one.match.turned) if one.match.verdict == "copy" else ""
    head = f"{verdicts.get(one.match.verdict, 'Another picture')}{f', {way}' if way else ''}"
    coarse = ", at 32 pixels" if one.match.evidence == "coarse" else ""
    lines = [
        f"{head}: {one.match.score:.2f}{coarse}",
        f"{NAMES.get(one.label, one.label)} · {one.collection}",
    ]
    return [*lines, one.path, *([f"trained on by {', '.join(one.trained)}"] if several else [])]
