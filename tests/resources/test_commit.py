"""The commit of the code, or why it is not known."""

import subprocess

from resources.commit import describe_commit


def git(root, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", root, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_named_and_changes_are_told(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert describe_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert describe_commit(tmp_path) == f"{commit}-dirty"
    (tmp_path / "inside").mkdir()
    assert describe_commit(tmp_path / "inside") == "unknown: inside is no git repository of its own"


def test_no_repository_and_no_git_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_commit(tmp_path).startswith("unknown: fatal: not a git repository")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_commit(tmp_path) == "unknown: git is not installed"


def test_a_git_that_does_not_answer_is_said(tmp_path, monkeypatch):
    def slow(*_args, **_kwargs):
        raise subprocess.TimeoutExpired("git", 10)

    monkeypatch.setattr("resources.commit.subprocess.run", slow)
    assert describe_commit(tmp_path) == "unknown: git did not answer within 10 s"
