"""Settings: every environment variable and `.env` line that Falx reads, in one class."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.atomic import write_text
from pipeline.catalog import DEFAULT_CATALOG
from pipeline.errors import SettingsError
from resources.volumes import read_volumes

ROOT = Path(__file__).resolve().parent.parent

Profile = Literal["demo", "kaggle", "folder"]

DEMO_AT_ONCE = 6  # cells of the demo's grid


class Settings(BaseSettings):
    """Settings, from the environment (`FALX_PROFILE=folder`) or a `.env` file in the project's folder."""

    model_config = SettingsConfigDict(
        env_prefix="FALX_",
        env_ignore_empty=True,  # `FALX_DATASETS=` in .env means unset, not the working directory
        validate_default=False,
        extra="ignore",
        frozen=True,
    )

    profile: Profile = Field(
        "demo",
        description="where collections come from: demo (phantoms, made here), kaggle (downloaded, pinned), "
        "folder (already in FALX_DATASETS)",
    )
    home: Path = Field(
        Path(),
        description="the folder that holds all state; default .falx/<profile> in the project's folder",
    )
    datasets: Path | None = Field(
        None,
        description="folder with one folder a collection; needed by the profile `folder`, "
        "and by `kaggle` for collections that only a person can download",
    )
    catalog: Path = Field(DEFAULT_CATALOG, description="folder of the YAML catalog")
    mlflow_uri: str = Field(
        "", description="address of a remote MLflow server; empty = a local one on FALX_HOME"
    )
    mlflow_port: int = Field(5000, ge=1, le=65535, description="port of MLflow in `make ui`")
    dagster_port: int = Field(3000, ge=1, le=65535, description="port of Dagster in `make ui`")
    app_port: int = Field(8501, ge=1, le=65535, description="port of the app in `make app`")
    words: Literal["auto", "gemini", "openai", "off"] = Field(
        "auto",
        description="language model of the app: gemini (needs GEMINI_API_KEY), openai (any compatible "
        "server; OPENAI_API_KEY), off; auto = the first with a key",
    )
    words_model: str = Field("", description="name of the language model; empty = gemini-flash-latest")
    words_url: str = Field("", description="address of the language model's server; empty = the provider's")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where training runs")
    launcher: Literal["local", "torchrun", "kubernetes"] = Field(
        "local",
        description="where trainings run: local (a process here), torchrun (several), kubernetes (a pod)",
    )
    processes: int = Field(
        1, ge=1, le=64, description="processes that train one model together, a GPU each where there are GPUs"
    )
    threads: int = Field(
        0,
        ge=0,
        description="threads of each training process; 0 = all cores, shared by those at once; in the demo 1",
    )
    trainings: int = Field(
        0, ge=0, description="models that are trained at once; 0 = one, in the demo one a core"
    )
    seeds: int = Field(
        0, ge=0, le=100, description="train each recipe with the seeds 0 to n - 1; 0 = the recipe's own"
    )
    weights: Path | None = Field(
        None,
        description="folder of ImageNet weights, `<timm's name>.safetensors` each; looked in before timm's "
        "cache and the hub",
    )
    pod_image: str = Field("", description="kubernetes: container image with this project installed")
    pod_namespace: str = Field("", description="kubernetes: namespace; empty = that of the current context")
    pod_volumes: str = Field(
        "",
        description="kubernetes: claims that hold home and collections, under their paths here, as "
        "`claim:/path,claim:/path:ro`",
    )
    pod_gpus: int = Field(0, ge=0, description="kubernetes: GPUs of a training's pod")
    workers: int = Field(0, ge=0, description="threads that read and decode files; 0 = all cores")
    phantom_scale: float = Field(
        1.0, gt=0, le=4, description="size of the phantom collections; 1 is about 1,500 files"
    )
    seed: int = Field(0, ge=0, description="seed of the phantoms and the splits")
    decisions: Path = Field(
        Path(),
        description="CSV of what people decided on pairs and images; default decisions.csv in the home",
    )
    alert_url: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        description="address that a failed run is posted to as JSON; empty = only alerts.jsonl in the home",
    )
    keep_contradicted: bool = Field(
        False,
        description="train on images whose label the reference contradicts, under the reference's label",
    )

    @field_validator("datasets", "catalog", "home", "decisions", "weights", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else (Path.cwd() / value.expanduser()).resolve()

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        if self.home == Path():
            object.__setattr__(self, "home", ROOT / ".falx" / self.profile)
        if self.decisions == Path():
            object.__setattr__(self, "decisions", self.home / "decisions.csv")
        elif not self.decisions.is_file():
            raise ValueError(f"FALX_DECISIONS={self.decisions} is no file; give a CSV, or unset it")
        if self.profile == "folder" and self.datasets is None:
            raise ValueError("FALX_DATASETS is not set; the profile `folder` reads collections from there")
        if self.weights is not None and not self.weights.is_dir():
            raise ValueError(
                f"FALX_WEIGHTS={self.weights} is no folder; give one that holds weights, or unset it"
            )
        if mistake := self._find_launcher_mistake():
            raise ValueError(mistake)
        if self.datasets is not None and not self.datasets.is_dir():
            raise ValueError(
                f"FALX_DATASETS={self.datasets} is no folder; give one that holds the collections"
            )
        return self

    def _find_launcher_mistake(self) -> str:
        if self.launcher == "local":
            one = self.processes == 1
            return (
                "" if one else f"FALX_PROCESSES={self.processes} needs FALX_LAUNCHER=torchrun or kubernetes"
            )
        if self.launcher == "torchrun":
            return ""
        if not self.pod_image or not self.mlflow_uri:
            missing = "FALX_MLFLOW_URI" if self.pod_image else "FALX_POD_IMAGE"
            return f"FALX_LAUNCHER=kubernetes needs {missing}: a pod has nothing of this machine"
        if 0 < self.pod_gpus < self.processes:
            return f"FALX_PROCESSES={self.processes} need a GPU each; FALX_POD_GPUS={self.pod_gpus}"
        try:
            read_volumes(self.pod_volumes)
        except ValueError as error:
            return f"FALX_POD_VOLUMES: {error}"
        return ""

    @property
    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def at_once(self) -> int:
        """How many models are trained at once."""
        return self.trainings or (min(self.cores, DEMO_AT_ONCE) if self.profile == "demo" else 1)

    @property
    def threads_each(self) -> int:
        """Threads of one training; a second one would not speed up the demo's small networks."""
        shared = self.at_once * self.processes
        return self.threads or (1 if self.profile == "demo" else max(1, self.cores // shared))

    @property
    def mlflow_ui(self) -> str:
        """Address that links in Dagster point to."""
        return self.mlflow_uri or f"http://127.0.0.1:{self.mlflow_port}"


def load_settings() -> Settings:
    """Settings of this process: the environment, then the file that `FALX_ENV_FILE` names, or `.env` here.

    Raises:
        SettingsError: with every mistake: variable, what is wrong, what is allowed.
    """
    try:
        return Settings(_env_file=os.environ.get("FALX_ENV_FILE", ROOT / ".env"))
    except ValidationError as error:
        raise SettingsError("settings cannot be used:\n" + "\n".join(_describe(error))) from error


def _describe(error: ValidationError) -> Iterable[str]:
    for item in error.errors():
        name = f"FALX_{str(item['loc'][0]).upper()}" if item["loc"] else "settings"
        message = item["msg"].removeprefix("Value error, ")
        found = f" (found {item['input']!r})" if item["loc"] else ""
        yield f"  - {name}: {message}{found}"


def claim_home(home: Path, profile: str) -> None:
    """Make the home folder and bind it to the profile; one home never mixes phantoms with real images.

    Raises:
        SettingsError: the home belongs to another profile, or cannot be written.
    """
    marker = home / "profile"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            write_text(marker, profile + "\n")
    except OSError as error:
        raise SettingsError(
            f"FALX_HOME={home} cannot be written: {error.strerror}; set FALX_HOME to a folder of yours"
        ) from error
    owner = marker.read_text(encoding="utf-8").strip()
    if owner != profile:
        raise SettingsError(
            f"FALX_HOME={home} holds the state of profile {owner!r}, not {profile!r}; "
            f"unset FALX_HOME (each profile then has its own folder) or give another one"
        )


def describe_settings() -> str:
    """A Markdown table of all settings, for the README; a test keeps the two equal."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "", Path()) else str(field.default)
        with contextlib.suppress(ValueError):
            default = str(Path(default).relative_to(ROOT)) if default else ""
        lines.append(f"| `FALX_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)
