"""The real thing at its smallest: phantoms at a tenth, two recipes that train for seconds, real processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from resources.settings import ROOT

TINY = {
    "title": "A tiny network for tests",
    "description": "The smallest recipe that runs through every part of the graph.",
    "source": "ours",
    "profiles": ["demo"],
    "data": {"collections": ["masoudnickparvar"]},
    "input": {"size": 32, "channels": 1, "normalise": "half"},
    "augment": {"hflip": 0.5, "degrade": 0.2, "max_severity": 2},
    "model": {"name": "slim", "dropout": 0.1},
    "optimiser": {"name": "adamw", "lr": 0.003},
    "stopping": {"epochs": 3},
    "batch_size": 32,
}


def write_tiny_catalog(folder: Path) -> Path:
    """The shipped catalog with one tiny recipe in place of the others."""
    shutil.copytree(ROOT / "catalog", folder, ignore=shutil.ignore_patterns("recipes"))
    (folder / "recipes").mkdir()
    (folder / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    rule = yaml.safe_load((folder / "promotion.yaml").read_text())
    (folder / "promotion.yaml").write_text(yaml.safe_dump(rule | {"retrain": ["tiny"]}))
    return folder


def tiny_environment(home: Path, catalog: Path) -> dict[str, str]:
    """Settings of a demo that takes seconds."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FALX_")}
    return {
        **clean,
        "FALX_PROFILE": "demo",
        "FALX_HOME": str(home),
        "FALX_CATALOG": str(catalog),
        "FALX_PHANTOM_SCALE": "0.15",
        "FALX_THREADS": "1",
        "FALX_WORKERS": "1",
    }


def run_command(
    environment: dict[str, str], *arguments: str, timeout: float = 540
) -> subprocess.CompletedProcess:
    """`python -m commands …` as the Makefile runs it."""
    return subprocess.run(
        [sys.executable, "-m", "commands", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
