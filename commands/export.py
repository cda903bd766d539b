"""`make export`: what may leave this machine, as one bundle; pixels only where the licence allows it."""

from collections.abc import Sequence
from pathlib import Path

from assets.audit import gather_evidence
from commands.work import open_graph
from pipeline.errors import SettingsError
from resources.console import say


def run_export(target: str, pixels: Sequence[str] | None = None) -> int:
    """Write the bundle of the present profile's curated tables.

    Args:
        target: a folder that does not exist yet, or a file that ends in `.zip`.
        pixels: collections whose pixels go along; None for all whose licence allows it.

    Raises:
        SettingsError: no target is given.
        LicenceError: pixels are asked for that may not leave.
    """
    from pipeline.audit.export import export_bundle
    from pipeline.audit.gathering import gather_facts

    if not target:
        raise SettingsError(
            "TARGET is not set: make export TARGET=falx.zip, or a folder that is not there yet"
        )
    with open_graph("make export") as (graph, _settings):
        say(graph.refresh("curate").describe())
        evidence = gather_evidence(graph.lake, graph.raw_store)
        found = export_bundle(
            evidence,
            Path(target),
            facts=gather_facts(evidence),
            pixels=pixels,
            variants=(part[part["image"].notna()] for part in graph.lake.read_parts("variants")),
            folders=graph.raw_store.folders() if pixels else None,
        )
    say(f"{found.target}: every row with hashes, labels, patients and splits")
    say(
        f"  pixels of {', '.join(found.pixels) or 'no collection'}: {found.thumbnails:,} thumbnails, "
        f"{found.variants:,} variants, {found.originals:,} originals"
    )
    say(f"  pixels of {found.withheld:,} images stay here, as their licence says")
    return 0
