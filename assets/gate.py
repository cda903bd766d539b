"""The gate: checks on the frozen split tables, and the verdict that a model carries.

Under `patient` the checks block and training refuses in its own code as well, since a Dagster check guards
only the run that it is part of. Under `published` and `stratified` leaks are what is measured: they warn.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.splits import split_key
from pipeline.catalog import Catalog
from pipeline.protocols import collection_of, is_guarded, list_protocols, split_table
from resources.lake import Lake

if TYPE_CHECKING:
    from pipeline.curation.gate import Finding

CHECKS = {
    "shared_md5": "no test image has a byte-identical twin in train or val",
    "shared_picture": "no test picture is shown by an image in train or val",
    "shared_patient": "no test patient has a slice in train or val",
    "counts_add_up": "every image is in exactly one split or listed as left out",
    "labels_mapped": "every image that is used has one of the four labels",
    "classes_present": "every label is in every split",
    "one_copy": "of the copies of a picture, one stands for it",
}
GATE_INPUTS = ("images", "pictures", "patients", "groups")


def inspect(lake: Lake, protocol: str) -> "list[Finding]":
    """Findings of all checks on one frozen split."""
    from pipeline.curation.gate import inspect_split

    split = lake.read(split_table(protocol))
    return inspect_split(split, *(lake.read(name) for name in GATE_INPUTS), protocol=protocol)


def pass_gate(lake: Lake, protocol: str) -> str:
    """The verdict of the gate, as text that travels with a model.

    Raises:
        GateError: under `patient`, if anything leaks or is lost; no training behind it.
    """
    from pipeline.curation.gate import enforce_gate

    return enforce_gate(inspect(lake, protocol), protocol)


def gate_checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """The checks of every protocol."""
    return [_gate_check(protocol) for protocol in list_protocols(catalog.collections)]


def _gate_check(protocol: str) -> dg.AssetChecksDefinition:
    key = split_key(protocol)
    # A refused external split fails its checks and trains nothing, but the rest of the graph goes on.
    fatal = is_guarded(protocol) and collection_of(protocol) is None

    @dg.multi_asset_check(
        name=f"gate_{protocol}".replace(":", "_"),
        specs=[
            dg.AssetCheckSpec(name, asset=key, additional_deps=GATE_INPUTS, description=text, blocking=fatal)
            for name, text in CHECKS.items()
        ],
        can_subset=True,
    )
    def gate(context: dg.AssetCheckExecutionContext, lake: Lake) -> Iterator[dg.AssetCheckResult]:
        selected = {check.name for check in context.selected_asset_check_keys}
        for finding in inspect(lake, protocol):
            if finding.check not in selected:
                continue
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=finding.check,
                passed=finding.passed,
                severity=dg.AssetCheckSeverity.ERROR if fatal else dg.AssetCheckSeverity.WARN,
                description=finding.detail,
                metadata=_describe(finding),
            )

    return gate


def _describe(finding: "Finding") -> dict[str, Any]:
    shown: dict[str, Any] = {"count": finding.count}
    if finding.examples:
        shown["examples"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in finding.examples))
    return shown


@dg.asset_check(
    asset="images",
    additional_deps=["files", "quarantine"],
    blocking=True,
    description="files = members of images + quarantine, to the file",
)
def accounts(lake: Lake) -> dg.AssetCheckResult:
    """Nothing is lost between the raw folders and the images."""
    from pipeline.curation.inventory import check_accounts
    from pipeline.errors import GateError

    files, quarantine, images = (lake.read(name) for name in ("files", "quarantine", "images"))
    members = int(images["members"].map(len).sum())
    counted = {"files": len(files), "members": members, "set aside": len(quarantine)}
    try:
        check_accounts(files, quarantine, images)
    except GateError as error:
        return dg.AssetCheckResult(passed=False, description=str(error), metadata=counted)
    return dg.AssetCheckResult(passed=True, description="every file is accounted for", metadata=counted)
