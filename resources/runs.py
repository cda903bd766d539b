"""Runs: one a key, re-opened after a crash, with a state that is the true one; and what is logged to them."""

import contextlib
import functools
import getpass
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import TrackingError
from resources.mlflow_client import Server, explained
from resources.run_entries import check_params, describe_part, find_test_data, is_clean, name_scores

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

KEY = "falx.key"
DAGSTER_RUN = "dagster.run_id"

MAX_DIGEST = 36  # MLflow refuses longer digests of datasets
BATCH_PARAMS = 100
BATCH_METRICS = 1000


class OpenedRun(NamedTuple):
    """A run of MLflow: new, re-opened, or found finished."""

    run_id: str
    finished: bool
    resumed: bool


class Runs(Server):
    """The runs of one experiment."""

    @explained
    def open_run(
        self,
        key: str,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> OpenedRun:
        """The one run of `key`: made, or re-opened under its id where it did not finish, or as it finished.

        Args:
            key: what makes two runs the same: recipe, protocol, seed and data digest.
            name: shown in the run table.
            params: never change once logged; a re-opened run keeps those that it has.
            tags: replaced on re-opening.
            description: markdown at the head of the run's page.

        Raises:
            TrackingError: a param is longer than MLflow keeps, or the server fails.
        """
        texts = check_params(params or {})
        labels = {KEY: key, "mlflow.user": _user(), "mlflow.source.name": "falx"}
        labels |= {"mlflow.source.type": "LOCAL", **(tags or {})}
        if description:
            labels["mlflow.note.content"] = description
        with self.alone("runs"):
            found = self._find_runs(f"tags.`{KEY}` = '{_quote(key)}'")
            if not found:
                run_id = self.client.create_run(self.experiment_id, tags=labels, run_name=name).info.run_id
                self._log_params(run_id, texts)
                return OpenedRun(run_id, finished=False, resumed=False)
            run = found[0]
            if run.info.status == "FINISHED":
                return OpenedRun(run.info.run_id, finished=True, resumed=True)
            self.client.update_run(run.info.run_id, status="RUNNING", name=name)
            self._set_tags(run.info.run_id, labels)
            self._log_params(run.info.run_id, {k: v for k, v in texts.items() if k not in run.data.params})
            return OpenedRun(run.info.run_id, finished=False, resumed=True)

    @explained
    def close_run(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run as FINISHED, FAILED or KILLED."""
        self.client.set_terminated(run_id, status)

    @contextlib.contextmanager
    def run(
        self,
        key: str,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> Iterator[OpenedRun]:
        """Hold the run of `key` for a block, and close it by how the block ended.

        FINISHED at its end, KILLED where it was interrupted (Ctrl-C, Dagster's cancel), FAILED where it
        raised. A run that was FINISHED before stays so.
        """
        from dagster._core.errors import DagsterExecutionInterruptedError

        opened = self.open_run(key, name, params=params, tags=tags, description=description)
        try:
            yield opened
        except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
            self._close_after(error, opened, "KILLED")
            raise
        except BaseException as error:
            self._close_after(error, opened, "FAILED")
            raise
        if not opened.finished:
            self.close_run(opened.run_id, "FINISHED")

    @explained
    def log_epoch(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's figures in one request, unless the run has that epoch; see also `EpochLogger`."""
        if not metrics:
            return
        history = self.client.get_metric_history(run_id, min(metrics))
        if epoch not in {point.step for point in history}:
            self._log_metrics(run_id, {(name, epoch): value for name, value in metrics.items()})

    @explained
    def log_data(
        self, run_id: str, split: "pd.DataFrame", *, name: str, digest: str, source: str = ""
    ) -> list[str]:
        """Log the parts of a split table (train, val, test) as the run's datasets; their names.

        Args:
            split: rows of the `splits` table.
            name: the datasets are called `<name>-<part>`: MLflow drops a name that it has seen in the run.
            digest: digest of the split, 36 characters at most.
            source: where the table lies, relative to the home.

        Raises:
            TrackingError: the digest is longer than MLflow takes, or the server fails.
        """
        from mlflow.entities import DatasetInput, InputTag

        if not 0 < len(digest) <= MAX_DIGEST:
            raise TrackingError(
                f"dataset {name!r}: its digest has {len(digest)} characters; MLflow keeps 1 to {MAX_DIGEST}. "
                "Pass the first 32 of a SHA-256 in hex."
            )
        parts = [part for part in ("train", "val", "test") if (split["split"] == part).any()]
        datasets = [
            DatasetInput(
                describe_part(split[split["split"] == part], f"{name}-{part}", digest, source),
                [InputTag("mlflow.data.context", part)],
            )
            for part in parts
        ]
        self.client.log_inputs(run_id, datasets)
        return [f"{name}-{part}" for part in parts]

    @explained
    def log_files(self, run_id: str, files: Mapping[str, bytes | str | Path]) -> None:
        """Store files with the run: artifact path -> bytes, text, or the path of a file to copy."""
        with tempfile.TemporaryDirectory(prefix="falx-") as folder:
            for name, content in files.items():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                data = content.read_bytes() if isinstance(content, Path) else content
                target.write_bytes(data.encode() if isinstance(data, str) else data)
            self.client.log_artifacts(run_id, folder)

    @explained
    def log_scores(self, run_id: str, metrics: "pd.DataFrame", *, logged_model: str = "") -> dict[str, float]:
        """Log the test figures of one model: `test/macro_f1`, `test/f1/glioma`, and what degradations cost.

        Clean figures have no step, so that the UI compares runs as bars. A degraded one is named
        `test_degraded/<degradation>/<metric>` and has its severity as step, so that the UI draws a curve.
        Figures that the run has already are left out.

        Args:
            metrics: rows of the `metrics` table, of one model.
            logged_model: id of the logged model, whose page then shows the clean ones, too, with the run's
                test data; see `Registry.find_logged_model`.

        Returns:
            The clean figures, by name.
        """
        run = self.client.get_run(run_id)
        named = name_scores(metrics)
        known = self._read_points(run_id, {name for name, _ in named} & run.data.metrics.keys())
        fresh = {place: value for place, value in named.items() if known.get(place) != value}
        clean = {place: value for place, value in fresh.items() if is_clean(place[0])}
        self._log_metrics(run_id, {place: fresh[place] for place in fresh.keys() - clean.keys()})
        link = {"model_id": logged_model, **find_test_data(run)} if logged_model else {}
        self._log_metrics(run_id, clean, **link)
        return {name: value for (name, _), value in named.items() if is_clean(name)}

    @explained
    def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Close runs whose process died without a word; their ids.

        A run of ours that is RUNNING becomes KILLED where `is_alive`, asked with the id of its Dagster
        run, denies it. A run without such an id is left alone.
        """
        running = self._find_runs(f"attributes.status = 'RUNNING' and tags.`{KEY}` != ''")
        dead = [
            run.info.run_id
            for run in running
            if DAGSTER_RUN in run.data.tags and not is_alive(run.data.tags[DAGSTER_RUN])
        ]
        for run_id in dead:
            self.client.set_terminated(run_id, "KILLED")
        return dead

    def _find_runs(self, condition: str) -> "list[Run]":
        search = functools.partial(
            self.client.search_runs, [self.experiment_id], condition, order_by=["attributes.start_time ASC"]
        )
        page = search()
        found: list[Run] = list(page)
        while page.token:
            page = search(page_token=page.token)
            found += page
        return found

    def _log_params(self, run_id: str, texts: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(name, text) for name, text in sorted(texts.items())]
        for start in range(0, len(params), BATCH_PARAMS):
            self.client.log_batch(run_id, params=params[start : start + BATCH_PARAMS])

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(run_id, tags=[RunTag(name, str(text)) for name, text in tags.items()])

    def _log_metrics(self, run_id: str, figures: Mapping[tuple[str, int], float], **link: str) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [
            Metric(name, float(value), now, step, **link) for (name, step), value in sorted(figures.items())
        ]
        for start in range(0, len(points), BATCH_METRICS):
            self.client.log_batch(run_id, metrics=points[start : start + BATCH_METRICS])

    def _read_points(self, run_id: str, names: Set[str]) -> dict[tuple[str, int], float]:
        return {
            (name, point.step): point.value
            for name in names
            for point in self.client.get_metric_history(run_id, name)
        }

    def _close_after(self, error: BaseException, opened: OpenedRun, status: str) -> None:
        if opened.finished:
            return
        try:
            self.close_run(opened.run_id, status)
        except TrackingError as failure:  # must not hide the error that ended the run
            error.add_note(f"MLflow run {opened.run_id} could not be marked {status}: {failure}")


def _quote(text: str) -> str:
    if "'" in text:
        raise TrackingError(f"run key {text!r} holds a quote, which MLflow cannot search for")
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return "unknown"
