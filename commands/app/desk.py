"""What the page works with: the home's tables, the registered models, and one read of each slice.

Models and measured pictures are kept for all visitors of this process. What a visitor uploads, and what was
said of it, is kept in that visitor's session alone, in memory, and goes with it.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import streamlit as st

from assets.trainings import digest_rows
from pipeline.app.examples import Example, choose_examples
from pipeline.app.exposure import Atlas, draw_atlas, find_parts
from pipeline.app.heat import draw_slice_heat
from pipeline.app.readings import Reading, read_image
from pipeline.app.scores import Score, find_score
from pipeline.collections.files import read_whole
from pipeline.curation.lookup import Match, PictureIndex
from pipeline.curation.thumbnails import SIDE
from pipeline.errors import DecodeError, SourceError, TableError
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.protocols import protocol_path, split_table
from pipeline.serving.predictor import Predictor
from resources.connect import connect_resources
from resources.lake import Lake
from resources.raw import RawStore
from resources.served import ServedModel, ServedModels
from resources.settings import Settings, load_settings
from resources.tracking import Tracking

KNOWN = ("thumbnails", "images", "pictures", "groups")
LOADED = 6  # models kept in memory; the one that was used least recently goes
REMEMBERED = 64  # results a session keeps

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True)
class Slice:
    """One file to be read: `example` is where it lies in the lake, None for an upload."""

    name: str
    data: bytes
    example: Example | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and the lock of whoever runs its network: a heat map puts hooks into it."""

    predictor: Predictor
    alone: threading.Lock


class Desk:
    """All that the page asks for, under the present settings."""

    def __init__(self, settings: Settings) -> None:
        resources = connect_resources(settings)
        lake, store, tracking = (resources[name] for name in ("lake", "raw_store", "tracking"))
        assert isinstance(lake, Lake) and isinstance(store, RawStore) and isinstance(tracking, Tracking)
        self.settings, self.lake, self.store, self._tracking = settings, lake, store, tracking
        self._place = f"{settings.home} {settings.mlflow_uri}"

    @classmethod
    def open(cls) -> "Desk":
        """The desk of the settings in the environment.

        Raises:
            SettingsError: they cannot be used.
        """
        return cls(load_settings())

    def list_models(self) -> list[ServedModel]:
        """The registered models, as they were when somebody last looked."""
        return _list_models(self._place, self._tracking)

    def load(self, model: ServedModel) -> Predictor:
        """A registered model, ready to answer.

        Raises:
            ServingError: its package breaks its contract.
        """
        return self._load(model).predictor

    def _load(self, model: ServedModel) -> "Loaded":
        return _load_model(self._place, model.model_id, self, model)

    def fetch(self, model: ServedModel) -> Path:
        """Folder of a model's package."""
        with self._tracking.connected() as connection:
            return ServedModels(connection, Path(self.settings.home, "cache", "served")).fetch(model)

    def read(self, slice_: Slice, model: ServedModel) -> Reading:
        """What a model says of a slice; remembered in this session."""
        loaded = self._load(model)

        def answer() -> Reading:
            with loaded.alone:
                return read_image(loaded.predictor, slice_.data)

        return _remember(("reading", slice_.digest, model.model_id), answer)

    def draw_heat(self, slice_: Slice, model: ServedModel, label: str, method: str) -> Pixels:
        """A slice with a model's heat map for a label over it, RGB; remembered in this session.

        Raises:
            ExplanationError: the network has nothing that the method could look at.
        """
        loaded = self._load(model)

        def draw() -> Pixels:
            with loaded.alone:
                return draw_slice_heat(loaded.predictor, slice_.data, label, method)

        return _remember(("heat", slice_.digest, model.model_id, label, method), draw)

    def find_matches(self, slice_: Slice) -> list[Match]:
        """The known images that are most like a slice; remembered in this session.

        Raises:
            DecodeError: there is no image in it.
            TableError: the lake has no pictures to compare with.
        """
        thumbnail = resize_grey(decode_image(slice_.data).pixels, SIDE)
        known = self.lake.digest("thumbnails")

        def look() -> list[Match]:
            return _measure_index(self._place, known, self).find(thumbnail)

        return _remember(("matches", slice_.digest, known), look)

    def draw_atlas(self) -> Atlas:
        """The known images by id.

        Raises:
            TableError: a table is missing.
        """
        digests = tuple(self.lake.digest(name) for name in KNOWN)
        return _draw_atlas(self._place, digests, self)

    def find_parts(self, predictor: Predictor) -> Mapping[str, str] | None:
        """Where each image lies for a model; None where the lake's split is not the one it was trained on."""
        card, recipe = predictor.card, predictor.recipe
        name = split_table(card.protocol)
        if self.lake.manifest(name) is None:
            return None
        split = self.lake.read(name)
        kept = len(card.data_digest)  # a card keeps the head of it
        if digest_rows(split, recipe, card.protocol)[:kept] != card.data_digest:
            return None
        return find_parts(split, recipe.data, card.protocol)

    def find_score(self, predictor: Predictor) -> Score | None:
        """The score of a model on its test part; None where it was not evaluated."""
        card = predictor.card
        names = f"metrics/{protocol_path(card.protocol)}/{card.recipe}", "leaderboard"
        metrics, leaderboard = (self.lake.read(name) if self.lake.manifest(name) else None for name in names)
        return find_score(metrics, leaderboard, card)

    def list_examples(self) -> list[Example]:
        """Test images of `patient` to try; empty where nothing is curated yet."""
        name = split_table("patient")
        return choose_examples(self.lake.read(name)) if self.lake.manifest(name) else []

    def open_example(self, example: Example) -> Slice:
        """The bytes of an example, from the raw folder.

        Raises:
            SourceError: the file is gone or was changed since it was curated.
        """
        folder = self.store.folders().get(example.collection)
        path = folder / example.path if folder else Path(example.collection, example.path)
        try:
            data = read_whole(path)
        except DecodeError as error:
            raise SourceError(
                f"{path} cannot be read ({error}); materialise the group `raw` again"
            ) from error
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != example.image_id:
            raise SourceError(f"{path} was changed since it was curated; run `make curate` again")
        return Slice(example.path.rpartition("/")[2], data, example)

    def show_thumbnail(self, image_id: str) -> Pixels:
        """A known image, uint8 [128, 128]."""
        rows = self.lake.pick("thumbnails", [image_id])
        if rows.empty:
            raise TableError(f"thumbnails hold no image {image_id}; materialise thumbnails again")
        return np.frombuffer(rows["pixels"].iloc[0], np.uint8).reshape(SIDE, SIDE)


def forget_models() -> None:
    """Look at the registry again, the next time that models are listed."""
    _list_models.clear()


@st.cache_data(show_spinner="Looking at the registry …")
def _list_models(place: str, _tracking: Tracking) -> list[ServedModel]:
    with _tracking.connected() as connection:
        return ServedModels(connection, Path()).list_models()


@st.cache_resource(show_spinner="Loading the model …", max_entries=LOADED)
def _load_model(place: str, model_id: str, _desk: Desk, _model: ServedModel) -> Loaded:
    import torch

    torch.set_num_threads(_desk.settings.threads_each)
    return Loaded(Predictor.open(_desk.fetch(_model)), threading.Lock())


@st.cache_resource(show_spinner="Measuring the known pictures, once …", max_entries=1)
def _measure_index(place: str, digest: str, _desk: Desk) -> PictureIndex:
    return PictureIndex(_desk.lake.read("thumbnails"), workers=_desk.settings.workers or _desk.settings.cores)


@st.cache_resource(show_spinner=False, max_entries=1)
def _draw_atlas(place: str, digests: tuple[str, ...], _desk: Desk) -> Atlas:
    return draw_atlas(*(_desk.lake.read(name) for name in KNOWN[1:]))


def _remember(key: tuple[Any, ...], make: Callable[[], T]) -> T:
    """A result of this session: made once, kept in memory, forgotten with the session or as the oldest."""
    kept: dict[tuple[Any, ...], Any] = st.session_state.setdefault("results", {})
    if key not in kept:
        while len(kept) >= REMEMBERED:
            kept.pop(next(iter(kept)))
        kept[key] = make()
    found: T = kept[key]
    return found
