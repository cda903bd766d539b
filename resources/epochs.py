"""Epoch figures from a training process to its MLflow run: a light client that never stops a training.

Plain HTTP against MLflow's REST interface, since importing mlflow costs 3 s and 160 MB in every training.
"""

import base64
import http.client
import json
import math
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import psutil

REQUEST_SECONDS = 10.0
CLOSE_SECONDS = 30.0  # how long the end of a training waits for a server that is away
HISTORY = 25_000  # points asked for: epochs that a run has already
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Refusal(Exception):  # noqa: N818
    """The server understood and said no: asking again will not help."""


class EpochLogger:
    """Logs each epoch's figures once, in order; what the server does not take now waits for the next epoch.

    A training that resumes may repeat epochs: those that the run has already are left out.

    Args:
        uri: address of the MLflow server.
        run_id: the run, which exists already.
        system: whether to add the machine's and the process's load as `system/…`.
    """

    def __init__(
        self, uri: str, run_id: str, *, system: bool = True, timeout: float = REQUEST_SECONDS
    ) -> None:
        self.run_id = run_id
        self._client = RestClient(uri, timeout)
        self._load = SystemLoad() if system else None
        self._waiting: list[dict[str, Any]] = []
        self._logged: set[int] | None = None
        self._refused: set[int] = set()

    def log(self, epoch: int, metrics: Mapping[str, float]) -> str:
        """Log one epoch in one request.

        Returns:
            Empty, or one line on what waits or was refused, and why. Never raises.
        """
        figures = dict(metrics) | (self._load.sample() if self._load else {})
        now = int(time.time() * 1000)
        points = [
            {"key": key, "value": to_json(value), "timestamp": now, "step": epoch}
            for key, value in sorted(figures.items())
        ]
        self._waiting.append({"epoch": epoch, "metrics": points, "probe": min(metrics, default="")})
        return self._flush()

    def close(self, seconds: float = CLOSE_SECONDS) -> str:
        """Try to hand over what waits, for `seconds` at most.

        Returns:
            Empty, or one line that names the epochs that MLflow does not have, and why. Never raises.
        """
        deadline, pause, note = time.monotonic() + seconds, 0.5, self._flush()
        while self._waiting and time.monotonic() + pause < deadline:
            time.sleep(pause)
            pause *= 2
            note = self._flush()
        if not self.lost:
            return ""
        epochs = ", ".join(map(str, self.lost))
        return f"MLflow lacks the figures of epochs {epochs}; history.jsonl has them. {note}".strip()

    @property
    def lost(self) -> list[int]:
        """Epochs that the server does not have: still waiting, or refused."""
        return sorted({batch["epoch"] for batch in self._waiting} | self._refused)

    def _flush(self) -> str:
        note = ""
        while self._waiting:
            batch = self._waiting[0]
            try:
                if batch["epoch"] not in self._known_epochs(batch["probe"]):
                    self._send(batch)
            except Refusal as refusal:
                self._refused.add(batch["epoch"])
                note = f"MLflow refused epoch {batch['epoch']}: {refusal}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                return f"MLflow does not answer, {len(self._waiting)} epochs wait: {error}"
            self._waiting.pop(0)
        return note

    def _known_epochs(self, probe: str) -> set[int]:
        if self._logged is None:
            query = {"run_id": self.run_id, "metric_key": probe, "max_results": str(HISTORY)}
            answer = self._client.ask("metrics/get-history", query=query) if probe else {}
            self._logged = {int(point.get("step", 0)) for point in answer.get("metrics", [])}
        return self._logged

    def _send(self, batch: Mapping[str, Any]) -> None:
        self._client.ask("runs/log-batch", body={"run_id": self.run_id, "metrics": batch["metrics"]})
        if self._logged is not None:
            self._logged.add(batch["epoch"])


class RestClient:
    """MLflow's REST interface, version 2.0, through the standard library."""

    def __init__(self, uri: str, timeout: float) -> None:
        self.base = f"{uri.rstrip('/')}/api/2.0/mlflow"
        self.timeout = timeout
        local = urllib.parse.urlsplit(uri).hostname in LOOPBACK
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self, path: str, *, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One request: POST where there is a body, else GET.

        Raises:
            Refusal: a 4xx answer, except 408 and 429.
            OSError: no answer, or one that may differ later.
            ValueError: the answer is no JSON.
        """
        address = f"{self.base}/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", **_authorise()}
        request = urllib.request.Request(address, data=data, headers=headers)
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.read(500).decode(errors='replace')}"
            if 400 <= error.code < 500 and error.code not in (408, 429):
                raise Refusal(reason) from error
            raise OSError(reason) from error


class SystemLoad:
    """Load since the last sample, named as by MLflow's own monitor where it has it, one point an epoch."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        psutil.cpu_percent(None)  # the first call only starts the interval

    def sample(self) -> dict[str, float]:
        """Percent of the machine's CPU and memory, megabytes of this process and of each CUDA device."""
        memory = psutil.virtual_memory()
        figures = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(None),
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_megabytes": self._process.memory_info().rss / 1e6,
        }
        return figures | _sample_gpus()


def _sample_gpus() -> dict[str, float]:
    torch = sys.modules.get("torch")  # a training without torch has no use for a GPU
    if torch is None or not torch.cuda.is_available():
        return {}
    return {
        f"system/gpu_{index}_process_memory_megabytes": torch.cuda.max_memory_reserved(index) / 1e6
        for index in range(torch.cuda.device_count())
    }


def to_json(value: float) -> float | str:
    """A figure as the REST interface takes it: what JSON has no number for becomes text."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _authorise() -> dict[str, str]:
    """The header for the variables that MLflow's own client reads."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if not user:
        return {}
    text = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
    return {"Authorization": f"Basic {text}"}
