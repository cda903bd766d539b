"""Alerts: one line a failure in a file of the home, and, where an address is set, posted there as well."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

SECONDS = 10


class Alerts(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Writes alerts to `<home>/alerts.jsonl` and posts them to `url` as JSON, field `text` for people."""

    home: str
    url: str = Field(
        "", description="address that takes a POST of JSON, such as a chat's webhook; empty = none"
    )

    @property
    def path(self) -> Path:
        """Where the alerts lie."""
        return Path(self.home) / "alerts.jsonl"

    def send(self, alert: Mapping[str, Any]) -> str:
        """Post an alert and write it down with what became of it; an address that fails raises nothing.

        Returns:
            `written`, `written and posted`, or `written; not posted: <why>`.
        """
        outcome = "written"
        if self.url:
            failure = self._post(alert)
            outcome = f"written; not posted: {failure}" if failure else "written and posted"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**alert, "outcome": outcome}, sort_keys=True) + "\n")
        return outcome

    def _post(self, alert: Mapping[str, Any]) -> str:
        request = urllib.request.Request(
            self.url, json.dumps(dict(alert)).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS):
                return ""
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            # The host alone: the rest of such an address is often the key to it.
            return f"{urllib.parse.urlsplit(self.url).hostname}: {error}"
