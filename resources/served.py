"""The registered models, for readers: which there are, and the files of their packages."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.atomic import replacing_folder
from pipeline.errors import ServingError
from resources.mlflow_client import explained
from resources.registry import MODEL_ID, RELEASED
from resources.tracking import Connection

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class ServedModel:
    """One registered model.

    Attributes:
        name, version: as in the registry; the latest of its recipe, protocol and seed, or the champion.
        source: address of the logged model behind it.
        champion: whether `falx@champion` is this very model.
    """

    name: str
    version: str
    source: str
    model_id: str
    recipe: str
    protocol: str
    seed: int
    champion: bool

    @property
    def title(self) -> str:
        """A short name for people: recipe, protocol, and the seed where it is not the first."""
        seed = f" · seed {self.seed}" if self.seed else ""
        return f"{self.recipe} · {self.protocol}{seed}"


class ServedModels:
    """The registered models of one server, and a folder that keeps the packages that were fetched.

    Args:
        connection: to the server; nothing is ever written to it.
        folder: where packages are kept, one folder a model.
    """

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection, self._folder, self.uri = connection, folder, connection.uri

    @explained
    def list_models(self) -> list[ServedModel]:
        """Registered models that can be served, the champion first, then by name; without any, empty."""
        champion = self._find_champion()
        found: dict[tuple[str, int, bool], ServedModel] = {}
        for version in self._list_versions():
            tags = version.tags
            if version.name == RELEASED or MODEL_ID not in tags or str(version.status) != "READY":
                continue
            made = ServedModel(
                str(version.name),
                str(version.version),
                str(version.source),
                tags[MODEL_ID],
                tags["recipe"],
                tags["protocol"],
                int(tags.get("seed", 0)),
                tags[MODEL_ID] == champion,
            )
            # The champion stays in the list when its recipe has been trained anew.
            key = made.name, made.seed, made.champion
            if key not in found or int(made.version) > int(found[key].version):
                found[key] = made
        return sorted(found.values(), key=lambda one: (not one.champion, one.name, one.seed))

    @explained
    def fetch(self, model: ServedModel) -> Path:
        """Folder of a model's package; fetched from the server once, whole or not at all.

        Raises:
            ServingError: the registered model has no package that this code knows.
        """
        from pipeline.serving.package import CARD

        folder = self._folder / model.model_id
        with self._connection.alone("fetch"):
            if not folder.is_dir():
                with replacing_folder(folder) as temporary:
                    place = temporary / "fetched"
                    fetched = self._connection.fetch_package(model.name, model.version, place)
                    for file in sorted(fetched.glob("*")):
                        file.replace(temporary / file.name)
                    shutil.rmtree(place)
                    _require_card(temporary / CARD, model)
        return folder

    def _list_versions(self) -> "list[ModelVersion]":
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self._connection.client.search_model_versions(max_results=200, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return found

    def _find_champion(self) -> str:
        version = self._connection.read_alias()
        if not version:
            return ""
        return str(self._connection.client.get_model_version(RELEASED, version).tags.get(MODEL_ID, ""))


def _require_card(path: Path, model: ServedModel) -> None:
    if not path.is_file():
        raise ServingError(
            f"{model.name} version {model.version} has no package with a {path.name}; register it again: "
            f"make train RECIPE={model.recipe} PROTOCOL={model.protocol}"
        )
