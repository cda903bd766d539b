"""The home that a benchmark measures, opened as `make train` opens it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import SettingsError
from pipeline.protocols import list_protocols

if TYPE_CHECKING:
    from pipeline.recipe import Recipe
    from resources.lake import Lake
    from resources.raw import RawStore
    from resources.trainer import Trainer


def open_home(home: Path) -> "tuple[Lake, RawStore, Trainer]":
    """Lake, raw store and trainer of a curated home; all other settings come from the environment.

    Raises:
        SettingsError: the home is not curated, or belongs to another profile.
    """
    if not (home / "lake").is_dir():
        raise SettingsError(f"--home {home} holds no lake; run `make curate` with FALX_HOME={home} first")
    os.environ["FALX_HOME"] = str(home)
    from resources.connect import connect_resources
    from resources.settings import claim_home, load_settings

    settings = load_settings()
    claim_home(settings.home, settings.profile)
    resources = connect_resources(settings)
    return resources["lake"], resources["raw_store"], resources["trainer"]


def choose_recipe(raw: "RawStore", name: str, protocol: str) -> "Recipe":
    """A recipe of the catalog, to be trained under a protocol that there is.

    Raises:
        SettingsError: there is no such recipe or protocol; says which there are.
    """
    recipes, protocols = raw.catalog.recipes, list_protocols(raw.catalog.collections)
    if name not in recipes:
        raise SettingsError(f"there is no recipe {name!r}; there are {', '.join(sorted(recipes))}")
    if protocol not in protocols:
        raise SettingsError(f"there is no protocol {protocol!r}; there are {', '.join(protocols)}")
    return recipes[name]
