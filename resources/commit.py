"""Which code this is: the commit of the repository, or why there is none to name."""

import subprocess
from pathlib import Path

from resources.settings import ROOT

SECONDS = 10


def describe_commit(root: Path = ROOT) -> str:
    """The commit in hex, with `-dirty` where tracked files differ from it; else `unknown` and the reason."""
    try:
        if Path(_ask(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return f"unknown: {root.name} is no git repository of its own"
        commit = _ask(root, "rev-parse", "HEAD")
        changed = _ask(root, "status", "--porcelain", "--untracked-files=no")
    except FileNotFoundError:
        return "unknown: git is not installed"
    except subprocess.TimeoutExpired:
        return f"unknown: git did not answer within {SECONDS} s"
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().splitlines() or [f"exit code {error.returncode}"]
        return f"unknown: {said[0]}"
    return f"{commit}-dirty" if changed else commit


def _ask(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return done.stdout.strip()
