"""Which answers are to the test part as it is now; others stand beside no score that is counted today.

A split changes as collections come and go. Until a model answers anew, its stored answers are to the images
that were the test part then, under the groups of then.
"""

from typing import TYPE_CHECKING

from assets.trainings import select_rows
from pipeline.protocols import list_protocols, protocol_path, split_table
from pipeline.recipe import Recipe
from resources.lake import Lake
from resources.raw import RawStore

if TYPE_CHECKING:
    import pandas as pd

Image = tuple[str, str, str, str]
"""Collection, path, label, and what its group is called here: its first member, since ids may change."""

_KNOWN: dict[tuple[str, ...], bool] = {}
"""By content of the tables and of the recipe's choice of data: an answer never changes."""


def find_predictions(lake: Lake, raw_store: RawStore) -> list[str]:
    """The predictions tables to be set beside one another, by name.

    Of recipes that the catalog still has, to the test part as it is now; controls are no rivals.
    """
    return sorted(
        name_table(recipe.name, protocol)
        for recipe, protocol in _list_cells(lake, raw_store)
        if is_answered(lake, recipe, protocol)
    )


def find_earlier(lake: Lake, raw_store: RawStore) -> list[tuple[str, str]]:
    """(recipe, protocol) of the answers that are to an earlier test part, in the catalog's order."""
    return [
        (recipe.name, protocol)
        for recipe, protocol in _list_cells(lake, raw_store)
        if not is_answered(lake, recipe, protocol)
    ]


def tell_earlier(lake: Lake, raw_store: RawStore) -> str:
    """A sentence on the answers that are left out, and what makes them anew; empty where there are none."""
    found = find_earlier(lake, raw_store)
    if not found:
        return ""
    named = ", ".join(f"{recipe} under {protocol}" for recipe, protocol in found)
    recipe, protocol = found[0]
    return (
        f"left out, since the test part has changed since they answered: {named}. Train them again, as "
        f"make train RECIPE={recipe} PROTOCOL={protocol}"
    )


def is_answered(lake: Lake, recipe: Recipe, protocol: str) -> bool:
    """Whether the stored answers of a recipe are to the test part as split and groups are now.

    Raises:
        TableError: the recipe has no answers under the protocol.
    """
    names = (name_table(recipe.name, protocol), split_table(protocol), "groups")
    if any(lake.manifest(name) is None for name in names[1:]):
        return False
    key = (*map(lake.digest, names), recipe.data.model_dump_json(), protocol)
    if key not in _KNOWN:
        _KNOWN[key] = _read_answered(lake, names[0]) == _read_test_part(lake, recipe, protocol)
    return _KNOWN[key]


def name_table(recipe: str, protocol: str) -> str:
    """The predictions table of a recipe under a protocol."""
    return f"predictions/{protocol_path(protocol)}/{recipe}"


def _list_cells(lake: Lake, raw_store: RawStore) -> list[tuple[Recipe, str]]:
    return [
        (recipe, protocol)
        for recipe in raw_store.catalog.recipes.values()
        for protocol in list_protocols(raw_store.catalog.collections)
        if not recipe.is_control and lake.manifest(name_table(recipe.name, protocol)) is not None
    ]


def _read_answered(lake: Lake, table: str) -> set[Image]:
    answers = lake.read(table)
    return _list_images(answers[answers["variant"] == "clean"])


def _read_test_part(lake: Lake, recipe: Recipe, protocol: str) -> set[Image]:
    used = select_rows(lake.read(split_table(protocol)), recipe, protocol)
    test = used[used["split"] == "test"].merge(lake.read("groups")[["image_id", "group_id"]], on="image_id")
    return _list_images(test)


def _list_images(rows: "pd.DataFrame") -> set[Image]:
    ordered = rows[["collection", "path", "label", "group_id"]].sort_values(["collection", "path"])
    first: dict[str, str] = {}
    return {
        (collection, path, label, first.setdefault(group, f"{collection}/{path}"))
        for collection, path, label, group in ordered.itertuples(index=False, name=None)
    }
