"""The YAML catalog as validated types: collections, recipes, degradations. Mistakes are shown together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.errors import CatalogError
from pipeline.labels import Label
from pipeline.recipe import Recipe, Strict
from pipeline.release.rule import Promotion

DEFAULT_CATALOG = Path(__file__).resolve().parent.parent / "catalog"

ModelT = TypeVar("ModelT", bound=Strict)


class KaggleSource(Strict):
    """A Kaggle dataset, pinned to a version: a slug alone names different bytes over time."""

    slug: str = Field(pattern=r"^[\w-]+/[\w-]+$", description="owner/name as in the dataset's address")
    version: int = Field(
        ge=1, description="Kaggle's version number; required, since a slug's content changes"
    )


class ManualSource(Strict):
    """A collection that a person downloads: the client has no way to it."""

    url: str = Field(description="the page where a person finds it")
    instructions: str = Field(description="what to do there, and where the files go")


class Source(Strict):
    """Where the bytes come from: exactly one of `kaggle`, `manual`."""

    kaggle: KaggleSource | None = None
    manual: ManualSource | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        if (self.kaggle is None) == (self.manual is None):
            raise ValueError("source: give exactly one of kaggle, manual")
        return self


class Licence(Strict):
    """The licence as the source states it; nothing is guessed."""

    stated: str = Field(description="the words of the source")
    redistribute: Literal["yes", "no", "unknown"] = Field(
        description="whether the statement allows passing pixels on"
    )


class ClassFolder(Strict):
    """A folder that holds one folder a class."""

    path: str = Field(description="relative to the collection's folder, `/` between parts")
    split: Literal["train", "test"] | None = Field(None, description="what the publisher uses it for")


class Layout(Strict):
    """How the files lie: which reader reads them, and where."""

    reader: Literal["class_folders", "figshare"] = Field(
        description="class_folders: one a class; figshare: the .mat files of the reference or its folders"
    )
    folders: tuple[ClassFolder, ...] = ()
    masks: str | None = Field(None, description="glob on file names that are masks, never images")
    sidecars: tuple[str, ...] = Field((), description="globs on paths of tables that describe the images")

    def is_mask(self, name: str) -> bool:
        """Whether a file name is that of a mask."""
        return self.masks is not None and fnmatch(name, self.masks)

    def is_sidecar(self, path: str) -> bool:
        """Whether a path is that of a table about the images."""
        return any(fnmatch(path, pattern) for pattern in self.sidecars)

    @model_validator(mode="after")
    def _folders_named(self) -> "Layout":
        if self.reader == "class_folders" and not self.folders:
            raise ValueError("layout.folders: class_folders needs at least one folder")
        return self


class Counts(Strict):
    """Image files that the pinned version must hold, masks left out; null = not asserted."""

    train: int | None = Field(None, ge=0, description="in folders that the publisher trains on")
    test: int | None = Field(None, ge=0, description="in folders that the publisher tests on")
    total: int | None = Field(None, ge=0, description="in all")


class Collection(Strict):
    """A published dataset: `name` is the file's name."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,39}$", description="what everything else calls it")
    title: str = Field(description="for a person")
    description: str = Field(description="what it holds, and its quirks")
    source: Source
    licence: Licence
    citation: str = Field(description="whom to cite")
    layout: Layout
    labels: dict[str, Label] = Field(min_length=1, description="label as spelled there -> our label")
    counts: Counts = Counts()
    reference: bool = Field(False, description="whether it names patients; copies inherit them")
    patient_suffix: str | None = Field(
        None, description="regular expression of a suffix that marks a repeat scan of one patient"
    )

    @field_validator("patient_suffix")
    @classmethod
    def _suffix_is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return value

    @field_validator("labels", mode="before")
    @classmethod
    def _spellings_are_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if any(isinstance(key, bool) for key in value):
            raise ValueError("a spelling is read as true or false; put yes, no, on, off in quotes")
        return {str(key): label for key, label in value.items()}


class Degradation(Strict):
    """One kind of degradation with five severities."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,39}$", description="what everything else calls it")
    title: str = Field(description="for a person")
    parameter: str = Field(description="name of the number that the severities set")
    unit: str = Field(description="of that number")
    severities: tuple[float, float, float, float, float] = Field(description="values for severity 1 to 5")
    source: str = Field(description="where the numbers come from")
    stored: bool = Field(
        False, description="whether `variants` holds the pictures; else they are made when a model is tested"
    )


@dataclass(frozen=True)
class Catalog:
    """Everything that people add to without touching code; each mapping is sorted by name."""

    collections: Mapping[str, Collection]
    recipes: Mapping[str, Recipe]
    degradations: Mapping[str, Degradation]
    promotion: Promotion


def load_catalog(root: Path = DEFAULT_CATALOG) -> Catalog:
    """Read and check `datasets/`, `recipes/`, `degradations.yaml` and `promotion.yaml` under `root`.

    Raises:
        CatalogError: with every mistake in every file, each naming file, field and what is allowed.
    """
    mistakes: list[str] = []
    collections = _load_folder(root / "datasets", Collection, mistakes)
    recipes = _load_folder(root / "recipes", Recipe, mistakes)
    degradations = _load_degradations(root / "degradations.yaml", mistakes)
    promotion = _load_promotion(root / "promotion.yaml", mistakes)
    known = sorted(_load_file(root / "degradations.yaml", []) or {})
    mistakes += _find_broken_references(
        recipes, sorted(path.stem for path in (root / "datasets").glob("*.yaml")), known
    )
    if promotion:
        mistakes += _find_unknown("promotion.yaml", "exam.degradations", promotion.exam.degradations, known)
        named = sorted(path.stem for path in (root / "recipes").glob("*.yaml"))
        mistakes += _find_unknown("promotion.yaml", "retrain", promotion.retrain, named)
    if mistakes or promotion is None:
        raise CatalogError(mistakes)
    return Catalog(collections, recipes, degradations, promotion)


def _load_promotion(path: Path, mistakes: list[str]) -> Promotion | None:
    if not path.is_file():
        mistakes.append(f"{path}: missing; it says when a model becomes the champion")
        return None
    data = _load_file(path, mistakes)
    return None if data is None else _parse(path, data, Promotion, mistakes, "promotion")


def _load_folder(folder: Path, kind: type[ModelT], mistakes: list[str]) -> dict[str, ModelT]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        mistakes.append(f"{folder}: no .yaml file; at least one is needed")
    found = ((path, _load_file(path, mistakes)) for path in paths)
    parsed = (
        (path, _parse(path, data, kind, mistakes, path.stem)) for path, data in found if data is not None
    )
    return {path.stem: value for path, value in parsed if value is not None}


def _load_degradations(path: Path, mistakes: list[str]) -> dict[str, Degradation]:
    if not path.is_file():
        mistakes.append(f"{path}: missing; it lists the degradations")
        return {}
    data = _load_file(path, mistakes) or {}
    entries = {
        name: _parse(path, entry, Degradation, mistakes, name, where=name)
        for name, entry in sorted(data.items())
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def _load_file(path: Path, mistakes: list[str]) -> dict[str, Any] | None:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        mistakes.append(f"{path}: not readable as YAML: {error}".replace("\n", " "))
        return None
    if not isinstance(data, dict):
        mistakes.append(f"{path}: holds {type(data).__name__}; a mapping of fields is needed")
        return None
    return {str(key): value for key, value in data.items()}


class _UniqueKeys(yaml.CSafeLoader):
    """YAML's safe loader, in C, which by itself lets the last of two equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        repeated = sorted({key for key in keys if isinstance(key, str) and keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(
                None, None, f"field {repeated[0]!r} is given twice; keep one", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _parse(
    path: Path, data: Any, kind: type[ModelT], mistakes: list[str], name: str, where: str = ""
) -> ModelT | None:
    fields = data if isinstance(data, dict) else {}
    if data and fields is not data:
        mistakes.append(f"{path}: {where}: holds {type(data).__name__}; a mapping of fields is needed")
        return None
    if fields.get("name", name) != name:
        mistakes.append(f"{path}: name: {fields['name']!r} differs from {name!r}; leave it out")
        return None
    try:
        return kind.model_validate({"name": name} | fields)
    except ValidationError as error:
        mistakes += [f"{path}: {line}" for line in _describe(error, kind, where)]
        return None


def _describe(error: ValidationError, kind: type[Strict], where: str) -> Iterable[str]:
    for item in error.errors():
        field = ".".join([part for part in [where, *map(str, item["loc"])] if part]) or "(file)"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"unknown field; allowed: {', '.join(_find_fields(kind, item['loc'][:-1]))}"
        if item["type"] == "model_type":
            message = f"a mapping is needed, with {', '.join(_find_fields(kind, item['loc']))}"
        if item["type"] == "missing" and item["loc"][-1] == "version":
            message = "missing; a slug without a version names different bytes over time: pin the version"
        yield f"{field}: {message} (found {_shorten(item.get('input'))})"


def _find_fields(kind: type[Strict], place: tuple[int | str, ...]) -> Iterable[str]:
    """The fields that may stand at `place`, a path of field names and list indices below `kind`."""
    for step in place:
        if step in kind.model_fields:
            kind = _find_model(kind.model_fields[str(step)].annotation) or kind
    return kind.model_fields


def _find_model(annotation: Any) -> type[Strict] | None:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    inside = (_find_model(part) for part in get_args(annotation))
    return next((model for model in inside if model), None)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _find_broken_references(
    recipes: Mapping[str, Recipe], collections: Sequence[str], degradations: Sequence[str]
) -> list[str]:
    """Names that recipes use and nobody gives; an entry with mistakes of its own still gives its name."""
    mistakes = []
    for recipe in recipes.values():
        for field, names, known in (
            ("data.collections", recipe.data.collections, collections),
            ("augment.degradations", recipe.augment.degradations, degradations),
            ("pretraining.augment.degradations", _list_views_degradations(recipe), degradations),
        ):
            mistakes += _find_unknown(f"recipes/{recipe.name}.yaml", field, names, known)
    return mistakes


def _list_views_degradations(recipe: Recipe) -> Sequence[str]:
    return recipe.pretraining.augment.degradations if recipe.pretraining else ()


def _find_unknown(file: str, field: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in known]
    return [f"{file}: {field}: unknown {unknown}; known: {', '.join(known)}"] if unknown else []
