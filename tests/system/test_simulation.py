"""Six weeks: the bad week is stopped, the champion stays, and who lives them again has the same ledger."""

import os

import pytest
from harness import run_command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("simulation"), pytest.mark.timeout(1800)]

SCALE = "0.3"


def simulate(folder, *arguments: str) -> tuple[str, list[str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FALX_")}
    command = ["simulate", "--folder", str(folder), "--scale", SCALE, *arguments]
    done = run_command(clean, *command, timeout=1200)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout, (folder / "timeline.csv").read_text().splitlines()


def test_the_simulation_ends_as_described_and_again_the_same(tmp_path):
    said, first = simulate(tmp_path / "one")
    assert "The bad week was stopped, and the champion stayed." in said
    assert "week 3: nothing arrives: nothing to do" in said
    assert "week 2: indk214 arrives: promoted" in said
    assert "week 5: the export is withdrawn: same models" in said
    said, again = simulate(tmp_path / "two", "--weeks", "2")
    assert "The bad week is still to come." in said
    assert again == first[:3]


def test_weeks_that_do_not_exist_are_refused(capsys):
    from commands.__main__ import main

    assert main(["simulate", "--weeks", "7"]) == 1
    assert "--weeks 7: from 1 to 6" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_not_removed(tmp_path, capsys):
    from commands.__main__ import main

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").write_text("precious")
    assert main(["simulate", "--folder", str(tmp_path / "mine")]) == 1
    assert "holds something that `make simulate` did not make" in capsys.readouterr().err
    assert (tmp_path / "mine" / "data").read_text() == "precious"
