"""docs/reference.md: every field of the catalog, every table and every degradation, told by the code."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from pipeline.atomic import write_text
from pipeline.catalog import Catalog, Collection, Degradation, load_catalog
from pipeline.recipe import Recipe
from pipeline.release.rule import Promotion
from pipeline.schemas import TABLES, Table
from resources.settings import ROOT

PAGE = ROOT / "docs" / "reference.md"
PARTS: dict[str, type[BaseModel]] = {
    "A collection, `catalog/datasets/<name>.yaml`": Collection,
    "A recipe, `catalog/recipes/<name>.yaml`": Recipe,
    "The rule of promotion, `catalog/promotion.yaml`": Promotion,
    "A degradation, a row of `catalog/degradations.yaml`": Degradation,
}
NUMBERS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def write_reference() -> int:
    """Write the page anew; a test says when it is not what the code says."""
    write_text(PAGE, render_reference(load_catalog()))
    print(f"written: {PAGE}")
    return 0


def render_reference(catalog: Catalog) -> str:
    """The page as Markdown; a function of the code and of the catalog alone."""
    parts = ["# Reference", "Written by `make reference` from the code; do not edit by hand."]
    for title, model in PARTS.items():
        parts += [f"## {title}", (model.__doc__ or "").strip(), render_fields(model)]
    parts += ["## Degradations", render_degradations(catalog), "## Tables"]
    parts += ["Parquet files under `$FALX_HOME/lake`, written whole or not at all, checked both ways."]
    for table in TABLES.values():
        parts += [f"### `{table.name}`", _tell_row(table), render_columns(table)]
    return "\n\n".join(parts) + "\n"


def render_fields(model: type[BaseModel]) -> str:
    """Every field of a catalog file, nested ones with their path, as a Markdown table."""
    schema = model.model_json_schema()
    rows = list(_list_fields(schema, schema.get("$defs", {}), ""))
    return _render(("field", "allowed", "default", "meaning"), rows)


def render_degradations(catalog: Catalog) -> str:
    """Kinds, what the severities set, and their five values."""
    rows = [
        (f"`{kind.name}`", kind.title, f"{kind.parameter}, {kind.unit}", *map(_number, kind.severities))
        for kind in catalog.degradations.values()
    ]
    return _render(("name", "title", "what is set", "1", "2", "3", "4", "5"), rows)


def render_columns(table: Table) -> str:
    """The columns of a table, those of its key marked."""
    rows = [
        (
            f"`{c.name}`" + (" (key)" if c.name in table.key else ""),
            c.kind,
            "yes" if c.nullable else "",
            c.description,
        )
        for c in table.columns
    ]
    return _render(("column", "kind", "may be null", "meaning"), rows)


def _tell_row(table: Table) -> str:
    return f"A row is {table.row}."


def _list_fields(node: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[tuple[str, ...]]:
    required = node.get("required", [])
    for name, field in node.get("properties", {}).items():
        here = f"{path}{name}"
        inner, many = _find_model(field, definitions)
        if inner is None:
            yield _tell_field(here, field, name in required)
            continue
        whole = {**field, "description": field.get("description", inner.get("description", ""))}
        yield (
            f"`{here}`",
            "a list of" if many else "with",
            _tell_default(field, name in required),
            _words(whole),
        )
        yield from _list_fields(inner, definitions, f"{here}{'[].' if many else '.'}")


def _find_model(field: dict[str, Any], definitions: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """The nested model of a field, if it has one, and whether the field is a list of them."""
    for choice in (field, *field.get("anyOf", []), *field.get("allOf", [])):
        if "$ref" in choice:
            return definitions[choice["$ref"].rpartition("/")[2]], False
        if "$ref" in choice.get("items", {}):
            return definitions[choice["items"]["$ref"].rpartition("/")[2]], True
    return None, False


def _tell_field(path: str, field: dict[str, Any], required: bool) -> tuple[str, ...]:
    return f"`{path}`", _tell_allowed(field), _tell_default(field, required), _words(field)


def _tell_allowed(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_tell_allowed(choice) for choice in field["anyOf"])
    if values := field.get("enum") or [field[key] for key in ("const",) if key in field]:
        return ", ".join(map(str, values))
    if field.get("type") == "array":
        return _tell_list(field)
    if field.get("type") == "object":
        return f"names with {_tell_allowed(field.get('additionalProperties', {}))}"
    if "pattern" in field:
        return f"text like `{field['pattern'].replace('|', chr(92) + '|')}`"
    limits = " ".join(f"{sign} {_number(field[key])}" for key, sign in NUMBERS if key in field)
    kinds = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return f"{kinds.get(field.get('type', ''), 'null')} {limits}".strip()


def _tell_list(field: dict[str, Any]) -> str:
    if "prefixItems" in field:
        items = field["prefixItems"]
        return f"{len(items)} of: {_tell_allowed(items[0])}"
    return f"list of: {_tell_allowed(field.get('items', {}))}"


def _tell_default(field: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    if isinstance(value, dict) and value:
        return "as below"
    if value in ([], {}, None):
        return "none"
    return ", ".join(map(_number, value)) if isinstance(value, list) else _number(value)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(field: dict[str, Any]) -> str:
    return " ".join(str(field.get("description", "")).split("\n\n")[0].split()).replace("|", "\\|")


def _render(header: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
