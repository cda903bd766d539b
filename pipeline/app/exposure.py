"""Which pictures a model has seen: the nearest training pictures, and whether the slice itself is one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from pipeline.curation.lookup import Match, tell_orientation
from pipeline.recipe import DataSpec
from pipeline.training.selection import select_used

PARTS = ("train", "val", "test")
"""The one that says most about a model first: an image in several counts as the first of them."""

Kind = Literal["train", "patient", "review", "val", "test", "unseen"]
Parts = Mapping[str, str]
"""image_id -> train, val or test, for one model."""


@dataclass(frozen=True)
class Atlas:
    """The known images by id: their row of `images`, picture and group.

    Attributes:
        images: image_id -> (collection, path, label).
        pictures: image_id -> picture_id.
        groups: image_id -> group_id.
    """

    images: Mapping[str, tuple[str, str, str]]
    pictures: Mapping[str, str]
    groups: Mapping[str, str]


@dataclass(frozen=True)
class Neighbour:
    """A training picture that is like the slice.

    Attributes:
        image_id: the training image; of several copies the one that was compared, else the first by id.
        match: what came of the comparison with this image, or with the copy of it that was compared.
        collection, path, label: of the training image.
        trained: names of the models that have a copy of this picture in their training part.
    """

    image_id: str
    match: Match
    collection: str
    path: str
    label: str
    trained: tuple[str, ...]


@dataclass(frozen=True)
class Exposure:
    """What a model has seen of the picture that a slice shows.

    Attributes:
        kind: train (this very picture), patient (its group, another picture), review (a training picture
            in the grey band), val, test, or unseen.
        text: the same in a sentence.
        image_id: the image of the model's data that says so; None where there is none.
    """

    kind: Kind
    text: str
    image_id: str | None = None


def draw_atlas(images: pd.DataFrame, pictures: pd.DataFrame, groups: pd.DataFrame) -> Atlas:
    """The known images by id, from the tables of these names."""
    labels = images["label"].where(images["label"].notna(), "unknown")
    rows = zip(images["collection"], images["path"], labels, strict=True)
    return Atlas(
        dict(zip(images["image_id"], rows, strict=True)),
        dict(zip(pictures["image_id"], pictures["picture_id"], strict=True)),
        dict(zip(groups["image_id"], groups["group_id"], strict=True)),
    )


def find_parts(split: pd.DataFrame, data: DataSpec, protocol: str) -> dict[str, str]:
    """Where each image lies that a recipe uses under a protocol; train counts before val, val before test.

    Args:
        split: table `splits` of `protocol`.
        data: the recipe's `data`.
    """
    found: dict[str, str] = {}
    used = select_used(split, data, PARTS, protocol=protocol)
    for part in reversed(PARTS):
        found |= dict.fromkeys(used.loc[used["split"] == part, "image_id"], part)
    return found


def list_neighbours(
    matches: Sequence[Match], atlas: Atlas, parts: Mapping[str, Parts], *, most: int
) -> list[Neighbour]:
    """The training pictures that are most like a slice, each once, in the order of `matches`.

    Args:
        matches: from `PictureIndex.find`.
        parts: of each model, by the name under which it is shown.
        most: how many.
    """
    trained = _copies_by_picture(atlas, parts)
    found: dict[str, Neighbour] = {}
    for match in matches:
        picture = _picture(match.image_id, atlas)
        copies = trained.get(picture, {})
        if picture in found or not copies:
            continue
        shown = match.image_id if match.image_id in copies else min(copies)
        models = sorted({name for names in copies.values() for name in names})
        found[picture] = Neighbour(shown, match, *atlas.images[shown], tuple(models))
        if len(found) == most:
            break
    return list(found.values())


def find_exposure(matches: Sequence[Match], atlas: Atlas, parts: Parts) -> Exposure:
    """What a model has seen of the picture that a slice shows.

    A proven copy of any known image counts for all copies of the same picture. Silence is no proof: a copy
    that the search cannot prove is not found.

    Args:
        matches: from `PictureIndex.find`.
        parts: of the model.
    """
    copies = [match for match in matches if match.verdict == "copy"]
    by_picture: dict[str, dict[str, list[str]]] = {}
    for image_id, part in parts.items():
        by_picture.setdefault(_picture(image_id, atlas), {}).setdefault(part, []).append(image_id)

    def find_held(match: Match, part: str) -> list[str]:
        return by_picture.get(_picture(match.image_id, atlas), {}).get(part, [])

    for match in copies:
        if held := find_held(match, "train"):
            return _tell_train(match, held, atlas)
    if relatives := {one for match in copies for one in _find_relatives(match, atlas, parts)}:
        return _tell_relatives(relatives)
    for part in ("val", "test"):
        for match in copies:
            if held := find_held(match, part):
                return _tell_other(part, match, held, atlas)
    for match in matches:
        if match.verdict == "review" and find_held(match, "train"):
            return _tell_review(match, atlas)
    count = sum(part == "train" for part in parts.values())
    known = " It is known here, but this model does not use it." if copies else ""
    text = f"No copy of this slice was found among the {count:,} training images of this model.{known}"
    return Exposure("unseen", text)


def _copies_by_picture(atlas: Atlas, parts: Mapping[str, Parts]) -> dict[str, dict[str, list[str]]]:
    """picture_id -> image_id of a training image -> names of the models that it was given to."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, held in parts.items():
        for image_id, part in held.items():
            if part == "train":
                found.setdefault(_picture(image_id, atlas), {}).setdefault(image_id, []).append(name)
    return found


def _find_relatives(match: Match, atlas: Atlas, parts: Parts) -> set[str]:
    """Training images of the same group as a matched one that show another picture."""
    group, picture = atlas.groups.get(match.image_id), _picture(match.image_id, atlas)
    if group is None:
        return set()
    return {
        image_id
        for image_id, part in parts.items()
        if part == "train" and atlas.groups.get(image_id) == group and _picture(image_id, atlas) != picture
    }


def _tell_train(match: Match, held: Iterable[str], atlas: Atlas) -> Exposure:
    shown = match.image_id if match.image_id in held else min(held)
    text = (
        f"This very picture was in the training data: {_name(shown, atlas)}{_tell_way(match, shown)}. "
        "The model's answer says nothing about pictures that it has not seen."
    )
    return Exposure("train", text, shown)


def _tell_other(part: str, match: Match, held: Iterable[str], atlas: Atlas) -> Exposure:
    shown = match.image_id if match.image_id in held else min(held)
    where = f"{_name(shown, atlas)}{_tell_way(match, shown)}"
    if part == "val":
        text = f"This picture is in the val part ({where}): not trained on, but the model was chosen on it."
        return Exposure("val", text, shown)
    return Exposure("test", f"This picture is in the test part ({where}): the model has not seen it.", shown)


def _tell_relatives(relatives: Iterable[str]) -> Exposure:
    count = len(set(relatives))
    noun = "picture" if count == 1 else "pictures"
    text = (
        f"Not this picture, but {count} other {noun} of the same patient or group was in the training data: "
        "the model knows this head."
    )
    return Exposure("patient", text.replace(" was ", " were ") if count > 1 else text, min(relatives))


def _tell_review(match: Match, atlas: Atlas) -> Exposure:
    text = (
        f"A training picture is so alike that a person has to decide whether it is the same: "
        f"{_name(match.image_id, atlas)}, similarity {match.score:.2f}."
    )
    return Exposure("review", text, match.image_id)


def _picture(image_id: str, atlas: Atlas) -> str:
    """The picture that an image shows; an image that is in none stands for itself."""
    return atlas.pictures.get(image_id, image_id)


def _name(image_id: str, atlas: Atlas) -> str:
    collection, path, _label = atlas.images[image_id]
    return f"{collection}/{path}"


def _tell_way(match: Match, shown: str) -> str:
    way = tell_orientation(match.mirrored, match.turned)
    copy = "" if match.image_id == shown else ", of which a copy was compared"
    return f"{f', {way}' if way else ''}{copy}, similarity {match.score:.3f}"
