"""`make doctor`: what would keep the graph from running here, each with its reason and the fix."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.catalog import load_catalog
from pipeline.errors import FalxError
from resources.console import say
from resources.settings import ROOT, Settings, load_settings

FREE_BYTES = 5_000_000_000
PACKAGES = (
    "dagster",
    "dagster-webserver",
    "mlflow",
    "torch",
    "torchvision",
    "timm",
    "pandas",
    "pyarrow",
    "kaggle",
)

Mark = Literal["ok", "note", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its mark, what was found and why, and the fix where one is needed."""

    mark: Mark
    subject: str
    found: str
    fix: str = ""


def run_doctor() -> int:
    """Print all findings; returns 1 if one of them fails."""
    findings = list(examine())
    for finding in findings:
        say(f"{finding.mark:<5} {finding.subject:<17} {finding.found}")
        if finding.fix:
            say(f"{'':<23} → {finding.fix}")
    failed = [finding for finding in findings if finding.mark == "FAIL"]
    say(
        f"\n{len(findings)} looked at, {len(failed)} to mend"
        if failed
        else "\neverything that is needed is here"
    )
    return 1 if failed else 0


def examine() -> Iterator[Finding]:
    """All findings, in an order in which mending makes sense."""
    yield _examine_python()
    versions = list(_examine_versions())
    yield from versions
    if any(finding.mark == "FAIL" for finding in versions):
        return
    try:
        settings = load_settings()
    except FalxError as error:
        yield Finding("FAIL", "settings", str(error), f"correct the environment or {ROOT / '.env'}")
        return
    parts: list[Callable[[Settings], Iterator[Finding]]] = [
        _examine_settings,
        _examine_catalog,
        _examine_disk,
        _examine_device,
        _examine_weights,
        _examine_collections,
        _examine_credentials,
        _examine_servers,
    ]
    for part in parts:
        findings = list(part(settings))
        yield from findings
        if part is _examine_catalog and findings[0].mark == "FAIL":
            return


def _examine_python() -> Finding:
    return Finding("ok", "python", f"{platform.python_version()} in {sys.prefix}")


def _examine_versions() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding("ok", name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding("FAIL", name, "not installed", "run `make install`")


def _examine_settings(settings: Settings) -> Iterator[Finding]:
    source = "from the environment or .env" if "profile" in settings.model_fields_set else "the default"
    yield Finding("ok", "profile", f"{settings.profile} ({source})")
    marker = settings.home / "profile"
    owner = marker.read_text(encoding="utf-8").strip() if marker.is_file() else settings.profile
    if owner != settings.profile:
        text = f"{settings.home} belongs to profile {owner}"
        yield Finding("FAIL", "home", text, "unset FALX_HOME, or give another folder")
    else:
        yield Finding(
            "ok", "home", f"{settings.home} ({'in use' if marker.is_file() else 'made at the first run'})"
        )


def _examine_catalog(settings: Settings) -> Iterator[Finding]:
    try:
        catalog = load_catalog(settings.catalog)
    except FalxError as error:
        yield Finding("FAIL", "catalog", str(error), "correct the files named above")
        return
    counts = f"{len(catalog.collections)} collections, {len(catalog.recipes)} recipes"
    yield Finding("ok", "catalog", f"{counts}, {len(catalog.degradations)} degradations")


def _examine_disk(settings: Settings) -> Iterator[Finding]:
    folder = next(parent for parent in [settings.home, *settings.home.parents] if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "cannot be written" if folder.is_dir() else "is no folder"
        yield Finding("FAIL", "disk", f"{folder} {problem}", "set FALX_HOME to a folder of yours")
    free = shutil.disk_usage(folder).free
    needed = f"{free / 1e9:.1f} GB free at {folder}, {FREE_BYTES / 1e9:.0f} GB are comfortable"
    fix = "" if free >= FREE_BYTES else "free some space, or set FALX_HOME to a larger disk"
    yield Finding("ok" if free >= FREE_BYTES else "note", "disk", needed, fix)


def _examine_device(settings: Settings) -> Iterator[Finding]:
    import torch

    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        fix = "install a driver for the GPU, or set FALX_DEVICE=auto"
        yield Finding("FAIL", "device", "FALX_DEVICE=cuda, but torch finds no CUDA device", fix)
    elif cuda and settings.device != "cpu":
        yield Finding("ok", "device", f"{torch.cuda.get_device_name()}, found by torch")
    else:
        reason = "as FALX_DEVICE says" if settings.device == "cpu" else "torch finds no CUDA device"
        yield Finding(
            "ok", "device", f"CPU ({reason}), {torch.backends.cpu.get_cpu_capability()} instructions"
        )
    threads = settings.threads or settings.cores
    yield Finding("ok", "cores", f"{settings.cores} usable; training uses {threads}")


def _examine_weights(settings: Settings) -> Iterator[Finding]:
    from pipeline.training.backbones import find_local_file

    recipes = load_catalog(settings.catalog).recipes.values()
    wanted = {
        recipe.model.name.removeprefix("timm:") for recipe in recipes if recipe.model.weights == "imagenet"
    }
    folder = str(settings.weights or "")
    for name in sorted(wanted):
        found = find_local_file(name, folder=folder)
        place = Path(folder, f"{name}.safetensors") if folder else f"FALX_WEIGHTS/{name}.safetensors"
        if found:
            yield Finding("ok", "weights", f"{name}: {found}")
        else:
            yield Finding(
                "note",
                "weights",
                f"{name}: absent, asked of the hub when a recipe needs it",
                f"or put the file at {place}",
            )


def _examine_collections(settings: Settings) -> Iterator[Finding]:
    from resources.connect import connect_resources
    from resources.raw import RawStore

    store = connect_resources(settings)["raw_store"]
    assert isinstance(store, RawStore)
    for collection in store.catalog.collections.values():
        folder = store.folder(collection)
        if folder.is_dir():
            yield Finding("ok", "collection", f"{collection.name} in {folder}")
        elif settings.profile == "demo":
            yield Finding("ok", "collection", f"{collection.name}: drawn at the first run")
        elif settings.profile == "kaggle" and collection.source.kaggle:
            yield Finding("ok", "collection", f"{collection.name}: downloaded at the first run")
        else:
            yield Finding(
                "note", "collection", f"{collection.name}: absent, skipped", store.explain_absence(collection)
            )


def _examine_credentials(_settings: Settings) -> Iterator[Finding]:
    from resources.credentials import HOW_TO_SIGN_IN, find_credentials

    try:
        origin = find_credentials().origin
    except FalxError as error:
        yield Finding("FAIL", "credentials", str(error), "correct or remove that file")
        return
    if origin:
        yield Finding("ok", "credentials", origin)
    else:
        yield Finding(
            "note", "credentials", "no credentials; only the profile kaggle may need them", HOW_TO_SIGN_IN
        )


def _examine_servers(settings: Settings) -> Iterator[Finding]:
    from commands.ui import require_free_port
    from resources.mlflow_server import find_server

    running = find_server(settings.home) if settings.home.is_dir() else None
    if running:
        yield Finding("ok", "mlflow", f"a server of this home answers at {running.uri}")
    ports = [(settings.dagster_port, "Dagster", "FALX_DAGSTER_PORT")]
    if running is None and not settings.mlflow_uri:
        ports.append((settings.mlflow_port, "MLflow", "FALX_MLFLOW_PORT"))
    for port, server, variable in ports:
        try:
            require_free_port(port, server, variable)
            yield Finding("ok", "port", f"{port} is free for {server}")
        except FalxError as error:
            yield Finding("note", "port", f"{port} is taken", str(error))
