"""Six weeks, twice: the bad week is stopped, the champion stays, and both ledgers are the same."""

import csv
import io
import os

import pytest
from harness import run_command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("simulation"), pytest.mark.timeout(1800)]


def simulate(folder) -> tuple[str, bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FALX_")}
    done = run_command(clean, "simulate", "--folder", str(folder), timeout=850)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout, (folder / "timeline.csv").read_bytes()


def test_the_simulation_ends_as_described_twice_with_the_same_ledger(tmp_path):
    said, first = simulate(tmp_path / "one")
    assert "The bad week was stopped, and the champion stayed." in said
    weeks = {int(row["week"]): row for row in csv.DictReader(io.StringIO(first.decode()))}
    assert weeks[3]["outcome"] == "nothing to do", "nothing arrived"
    assert weeks[4]["outcome"] in ("refused", "stopped") and weeks[4]["why"]
    # Which of the first weeks gives the champion depends on the processor's arithmetic.
    assert {weeks[week]["champion"] for week in (2, 3, 4, 5)} == {weeks[2]["champion"]} != {""}
    assert weeks[5]["images"] == weeks[2]["images"] < weeks[4]["images"], "the export is gone"
    again = "same models" if weeks[2]["outcome"] == "promoted" else "refused"
    assert weeks[5]["outcome"] == again, "the data of week 2, and its model"
    assert simulate(tmp_path / "two")[1] == first


def test_a_folder_that_holds_something_else_is_not_removed(tmp_path, capsys):
    from commands.__main__ import main

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").write_text("precious")
    assert main(["simulate", "--folder", str(tmp_path / "mine")]) == 1
    assert "holds something that `make simulate` did not make" in capsys.readouterr().err
    assert (tmp_path / "mine" / "data").read_text() == "precious"
