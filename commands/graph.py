"""Running the graph from the command line: what is missing or stale, as runs of the persistent instance."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import dagster as dg

from assets.candidates import digest_release
from assets.evaluation import digest_comparisons, digest_leaderboard
from assets.pooled import digest_pooled
from assets.reports import is_reported
from assets.robustness import digest_robustness
from assets.scan import digest_decisions
from assets.trainings import is_trained, name_models, specify_all
from pipeline.errors import FalxError
from pipeline.protocols import protocol_path
from resources.console import say
from resources.instance import (
    COMMAND,
    POOL,
    PROCESS,
    WANTS,
    free_dead_slots,
    name_process,
    take_turn,
)
from resources.lake import Lake
from resources.raw import RawStore
from resources.tracking import Tracking
from resources.trainer import Trainer

INTERRUPTED = "DagsterExecutionInterruptedError"


@dataclass(frozen=True)
class Outcome:
    """What one job did: assets that were materialised, assets that were current, and seconds."""

    job: str
    partition: str
    made: list[str]
    reused: list[str]
    seconds: float

    def describe(self) -> str:
        """One line for a person."""
        name = f"{self.job} {self.partition}".strip()
        if not self.made:
            return f"{name}: unchanged, {len(self.reused)} assets reused, nothing materialised"
        reused = f", {len(self.reused)} reused" if self.reused else ""
        return f"{name}: {len(self.made)} assets materialised{reused} in {self.seconds:.0f} s"


class RunFailedError(FalxError):
    """A run ended with an error; the message carries the first failed step's own words."""


@dataclass
class Graph:
    """The definitions beside an instance that remembers what was materialised.

    `resources` are those of the definitions, by name.
    """

    defs: dg.Definitions
    instance: dg.DagsterInstance
    resources: Mapping[str, object]
    command: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def lake(self) -> Lake:
        """The tables of the home."""
        return cast(Lake, self.resources["lake"])

    @property
    def raw_store(self) -> RawStore:
        """The raw folders and the catalog."""
        return cast(RawStore, self.resources["raw_store"])

    @property
    def trainer(self) -> Trainer:
        """What starts trainings."""
        return cast(Trainer, self.resources["trainer"])

    @property
    def tracking(self) -> Tracking:
        """MLflow."""
        return cast(Tracking, self.resources["tracking"])

    def recover(self) -> list[str]:
        """Mark runs whose process was killed as failed and free their slots; returns their run ids."""
        return free_dead_slots(self.instance)

    def may_run(self, run_id: str) -> bool:
        """Whether a Dagster run may still be alive: unfinished here, or unknown here, so another's."""
        run = self.instance.get_run_by_id(run_id)
        return run is None or not run.is_finished

    def refresh(
        self,
        job: str,
        partition: dg.MultiPartitionKey | None = None,
        *,
        force: bool = False,
        label: str = "",
    ) -> Outcome:
        """Materialise what is missing or stale among the assets of a job.

        Args:
            force: materialise all, stale or not.
            label: stands before each line of the run in the terminal, where several run at once.

        Raises:
            RunFailedError: the run failed.
        """
        start = time.monotonic()
        keys = self._ordered(job)
        stale = keys if force else self.find_work(job, partition)
        if stale:
            self._run(job, stale, partition, label)
        names = {key: key.to_user_string() for key in keys}
        outcome = Outcome(
            job,
            str(partition or ""),
            [names[key] for key in stale],
            [names[key] for key in keys if key not in stale],
            time.monotonic() - start,
        )
        return self.take(outcome)

    def take(self, outcome: Outcome) -> Outcome:
        """Count an outcome, of this process or another, among those of the command."""
        self.outcomes.append(outcome)
        return outcome

    def find_work(self, job: str, partition: dg.MultiPartitionKey | None = None) -> list[dg.AssetKey]:
        """The assets of a job that are missing or stale, and what lies downstream of them in it."""
        keys = self._ordered(job)
        return self._with_downstream(self._find_stale(keys, partition), keys)

    def _ordered(self, job: str) -> list[dg.AssetKey]:
        selected = self.defs.resolve_job_def(job).asset_layer.selected_asset_keys
        return [key for key in self.defs.resolve_asset_graph().toposorted_asset_keys if key in selected]

    def _find_stale(self, keys: Iterable[dg.AssetKey], partition: str | None) -> set[dg.AssetKey]:
        # Dagster's own staleness (code and data versions); it has no public Python API in 1.13.
        from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
        from dagster._core.loader import LoadingContextForTest

        loading = LoadingContextForTest(self.instance)
        resolver = CachingStaleStatusResolver(self.instance, self.defs.resolve_asset_graph(), loading)
        return {
            key
            for key in keys
            if resolver.get_status(key, partition) is not StaleStatus.FRESH
            or self._is_lost(key, partition)
            or self._is_replaced(key)
            or self._is_outdated(key)
            or self._is_renamed(key, partition)
        }

    def _is_renamed(self, key: dg.AssetKey, partition: str | None) -> bool:
        """Whether a model would get another id today, which Dagster cannot see, or its files are gone."""
        if key.path != ["model"] or not isinstance(partition, dg.MultiPartitionKey):
            return False
        place = partition.keys_by_dimension
        recipe = self.raw_store.catalog.recipes[place["recipe"]]
        specs = specify_all(recipe, place["protocol"], self.lake, self.raw_store, self.trainer)
        known = self._last_version(key, partition) == name_models(specs)
        return not known or not all(is_trained(spec) for spec in specs)

    def _is_lost(self, key: dg.AssetKey, partition: str | None) -> bool:
        """Whether what was materialised is gone from the disk, whatever the event log says."""
        if key.path[0] == "raw" or key.path == ["model"]:
            return False
        if key.path in (["model_report"], ["release_report"]):
            return not self._is_reported(partition)
        parts = [*key.path]
        if partition is not None:
            assert isinstance(partition, dg.MultiPartitionKey)
            place = partition.keys_by_dimension
            parts += [protocol_path(place["protocol"]), place["recipe"]]
        return self.lake.manifest("/".join(parts)) is None

    def _is_reported(self, partition: str | None) -> bool:
        """Whether a report is there and made from the answers that lie in the lake now."""
        place = partition.keys_by_dimension if isinstance(partition, dg.MultiPartitionKey) else {}
        return is_reported(self.lake, self.raw_store, place.get("recipe", ""), place.get("protocol", ""))

    def _is_outdated(self, key: dg.AssetKey) -> bool:
        """Whether a table over all partitions was made from others than lie there, or another reigns."""
        now: dict[str, Callable[[], str]] = {
            "leaderboard": lambda: digest_leaderboard(self.lake, self.raw_store),
            "comparisons": lambda: digest_comparisons(self.lake, self.raw_store),
            "robustness": lambda: digest_robustness(self.lake, self.raw_store),
            "pooled": lambda: digest_pooled(self.lake, self.raw_store),
            "release": lambda: digest_release(self.lake, self.raw_store, self.trainer),
        }
        name = key.to_user_string()
        manifest = self.lake.manifest(name) if name in now else None
        return manifest is not None and manifest.inputs != now[name]()

    def _is_replaced(self, key: dg.AssetKey) -> bool:
        """Whether a raw collection came, went, or was trusted anew, or people's decisions are others."""
        if key.path == ["decisions"]:
            return not self._has_decisions()
        if key.path[0] != "raw":
            return False
        expected = self.raw_store.expect_version(self.raw_store.catalog.collections[key.path[-1]])
        return expected is None or self._last_version(key) != expected

    def _has_decisions(self) -> bool:
        stored = self.lake.manifest("decisions")
        return stored is not None and stored.inputs == digest_decisions(self.lake, self.raw_store)

    def _last_version(self, key: dg.AssetKey, partition: str | None = None) -> str | None:
        records = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition] if partition else None)
        found = self.instance.fetch_materializations(records, limit=1).records
        made = found[0].asset_materialization if found else None
        return (made.tags or {}).get("dagster/data_version") if made else None

    def _with_downstream(self, stale: set[dg.AssetKey], keys: list[dg.AssetKey]) -> list[dg.AssetKey]:
        graph = self.defs.resolve_asset_graph()
        chosen = set(stale)
        for key in keys:
            node = graph.get(key)
            if chosen & node.parent_keys or chosen & set(node.execution_set_asset_keys):
                chosen.add(key)
        for key in list(chosen):
            chosen |= set(graph.get(key).execution_set_asset_keys)
        return [key for key in keys if key in chosen]

    def _run(
        self, job: str, keys: list[dg.AssetKey], partition: dg.MultiPartitionKey | None, label: str
    ) -> None:
        assets = self.defs.resolve_asset_graph()
        tags = {PROCESS: name_process(), COMMAND: self.command}
        with ExitStack() as turn:
            if any(POOL in (assets.get(key).pools or ()) for key in keys):
                turn.enter_context(take_turn(self.instance, lambda words: say(f"  {label or job}: {words}")))
                tags[WANTS] = POOL
            result = self.defs.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                asset_selection=keys,
                partition_key=partition,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "INFO", "label": label}}}},
                tags=tags,
            )
        if result.success:
            return
        failures = [event for event in result.all_events if event.is_step_failure]
        if any(INTERRUPTED in str(event.step_failure_data.error_display_string) for event in failures):
            raise KeyboardInterrupt
        failed = failures or [event for event in result.all_events if event.is_job_failure]
        steps = "\n".join(f"  {event.step_key or job}: {describe_failure(event)}" for event in failed)
        name = f"{job} {partition or ''}".strip()
        raise RunFailedError(
            f"{name} failed (run {result.run_id[:8]}):\n{steps}\n"
            "Mend the cause and run the same command again; `make ui`, then Runs, shows the whole log."
        )


def describe_failure(event: dg.DagsterEvent) -> str:
    """The message of the error that a step or run itself raised, without Dagster's wrapping and stacks."""
    data = event.step_failure_data if event.is_step_failure else event.job_failure_data
    error = data.error
    # Not to the very bottom: an error that says what to do is often raised from one that does not.
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    if error is None:
        return "no error was recorded"
    kind, _, words = error.message.strip().partition(": ")
    return f"{error.cls_name}: {words}" if kind.endswith(f".{error.cls_name}") else error.message.strip()
