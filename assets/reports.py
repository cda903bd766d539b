"""Group `release`, the end: one page a model and one a release, with card and facts, each recomputable."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.audit import report_folder
from assets.materials import OWNER
from assets.partitions import split_grid_key
from assets.report_sources import (
    CODE,
    gather_model_sources,
    gather_release_sources,
    list_models,
    name_code,
    name_model_tables,
    name_release_tables,
)
from pipeline.atomic import write_text
from pipeline.protocols import protocol_path
from resources.lake import Lake
from resources.raw import RawStore
from resources.registry import registered_name
from resources.tracking import Connection, Tracking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.pages.markup import Html
    from pipeline.report.facts import Document

GROUP = "release"
RELEASE = "release"
SUFFIXES = (".html", ".md", ".json")
"""Of the files of a report; the facts are written last, and their presence means complete."""


def model_report_asset(grid: dg.MultiPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `model_report`, one partition a recipe and protocol."""

    @dg.asset(
        partitions_def=grid,
        group_name=GROUP,
        deps=["model", "predictions", "validations", "metrics", "evidence", "groups"],
        owners=[OWNER],
        kinds={"html", "mlflow"},
        tags={"falx/stage": "report"},
        code_version=CODE,
    )
    def model_report(
        context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore, tracking: Tracking
    ) -> dg.MaterializeResult[Any]:
        """One page that opens offline: the score, its optimism, every doubt that was measured; and a card.

        Every number on it is a fact in the JSON beside it; `make verify` counts them again.
        """
        from pipeline.report.model_facts import gather_model

        recipe, protocol = split_grid_key(context)
        place = name_place(recipe, protocol)
        sources = gather_model_sources(lake, raw_store, recipe, protocol)
        tables = digest_tables(lake, name_model_tables(lake, recipe, protocol))
        document = gather_model(sources, code=name_code(raw_store), tables=tables)
        files = write_report(raw_store, place, document, *render_files(lake, place, document))
        with tracking.connected() as mlflow:
            urls = [
                publish(mlflow, registered_name(recipe, protocol), model, files)
                for model in list_models(lake, recipe, protocol)
            ]
        return describe(document, files, urls)

    return model_report


@dg.asset(
    group_name=GROUP,
    deps=["release", "leaderboard", "comparisons", "robustness", "audit", "predictions"],
    owners=[OWNER],
    kinds={"html", "mlflow"},
    tags={"falx/stage": "report"},
    code_version=CODE,
)
def release_report(
    context: dg.AssetExecutionContext, lake: Lake, raw_store: RawStore, tracking: Tracking
) -> dg.MaterializeResult[Any]:
    """One page that opens offline: the champion and why, every score beside its optimism; and a card.

    Every number on it is a fact in the JSON beside it; `make verify` counts them again.
    """
    from pipeline.report.release_facts import gather_release

    sources = gather_release_sources(lake, raw_store)
    tables = digest_tables(lake, name_release_tables(lake, raw_store))
    document = gather_release(sources, code=name_code(raw_store), tables=tables)
    files = write_report(raw_store, RELEASE, document, *render_files(lake, RELEASE, document))
    urls = []
    chosen = sources.release[sources.release["champion"].astype(bool)]
    if len(chosen):
        row = chosen.iloc[0]
        with tracking.connected() as mlflow:
            urls.append(publish(mlflow, registered_name(row["recipe"], "patient"), row["model_id"], files))
    return describe(document, files, urls)


def name_place(recipe: str, protocol: str) -> str:
    """Where a model's report lies below the folder of reports, without suffix."""
    return f"models/{protocol_path(protocol)}/{recipe}"


def locate(raw_store: RawStore, place: str) -> dict[str, Path]:
    """Suffix -> path of a report's file; a recipe's name has no dot."""
    folder = report_folder(raw_store)
    return {suffix: folder / f"{place}{suffix}" for suffix in SUFFIXES}


def digest_tables(lake: Lake, names: list[str]) -> dict[str, str]:
    """Table -> its SHA-256."""
    return {name: lake.digest(name) for name in names}


def render_files(lake: Lake, place: str, document: "Document") -> tuple[str, str]:
    """Page and card of a document."""
    from pipeline.report.card import render_model_card, render_release_card
    from pipeline.report.model_page import render_model
    from pipeline.report.release_page import render_release

    facts = f"{place.rsplit('/', 1)[-1]}.json"
    if document.kind == "release":
        page = render_release(
            document,
            address=lambda recipe, protocol: f"{name_place(recipe, protocol)}.html",
            facts_file=facts,
        )
        return page, render_release_card(document)
    pictures = open_pictures(lake, document.lists["misses"])
    page = render_model(document, pictures, up="../" * place.count("/"), facts_file=facts)
    return page, render_model_card(document)


def open_pictures(lake: Lake, image_ids: list[str]) -> "Mapping[str, Html]":
    """Image id -> its thumbnail for a page."""
    if not image_ids:
        return {}
    from pipeline.pages.gallery import draw_tiles

    return draw_tiles(lake.pick("thumbnails", image_ids))


def write_report(
    raw_store: RawStore, place: str, document: "Document", page: str, card: str
) -> dict[str, Path]:
    """Write page, card and, last, facts; each whole or not at all. Returns suffix -> path."""
    from pipeline.report.facts import dump_document

    paths = locate(raw_store, place)
    paths[".json"].unlink(missing_ok=True)
    for suffix, text in ((".html", page), (".md", card), (".json", dump_document(document))):
        write_text(paths[suffix], text)
    return paths


def publish(mlflow: Connection, name: str, model_id: str, files: "Mapping[str, Path]") -> str:
    """Store the files of a report with the run of a model; the address that shows it there."""
    run_id = mlflow.find_run(name, model_id)
    kind = "release_report" if files[".html"].stem == RELEASE else "report"
    named = {".html": f"{kind}/{kind}.html", ".md": f"{kind}/model_card.md", ".json": f"{kind}/{kind}.json"}
    mlflow.log_files(run_id, {named[suffix]: path for suffix, path in files.items()})
    return mlflow.file_url(run_id, named[".html"])


def describe(document: "Document", files: "Mapping[str, Path]", urls: list[str]) -> dg.MaterializeResult[Any]:
    """Metadata of a report: its paths, the card, and the MLflow runs that hold it."""
    from pipeline.digests import digest_file

    shown: dict[str, Any] = {
        "report": dg.MetadataValue.path(str(files[".html"])),
        "card": dg.MetadataValue.md(files[".md"].read_text(encoding="utf-8")),
        "facts": len(document.facts),
        "size": f"{files['.html'].stat().st_size / 1e3:,.0f} kB",
    }
    for place, url in enumerate(urls):
        shown["in MLflow" if not place else f"in MLflow, model {place + 1}"] = dg.MetadataValue.url(url)
    return dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion(digest_file(files[".json"])))


def is_reported(lake: Lake, raw_store: RawStore, recipe: str = "", protocol: str = "") -> bool:
    """Whether a report is whole and made from the tables as they are now; unnamed, the release's."""
    from pipeline.errors import FalxError
    from pipeline.report.facts import read_document

    paths = locate(raw_store, name_place(recipe, protocol) if recipe else RELEASE)
    if not all(path.is_file() for path in paths.values()):
        return False
    try:
        document = read_document(paths[".json"].read_text(encoding="utf-8"), str(paths[".json"]))
        names = name_model_tables(lake, recipe, protocol) if recipe else name_release_tables(lake, raw_store)
        return document.tables == digest_tables(lake, names) and document.code == name_code(raw_store)
    except FalxError:
        return False


def find_reports(raw_store: RawStore) -> Iterator[str]:
    """Places of all reports, as `models/patient/slim64` or `release`: of those with any of their files."""
    folder = report_folder(raw_store)
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("models/**/*.*")}
    found |= {RELEASE} if any((folder / f"{RELEASE}{suffix}").is_file() for suffix in SUFFIXES) else set()
    yield from sorted(place for place in found if not Path(place).name.startswith("."))
