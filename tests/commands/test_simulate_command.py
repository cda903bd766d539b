"""`make simulate`: its verdict on the weeks, and folders that it does not touch."""

import math

import pytest

from commands.simulate import judge, run_simulation
from pipeline.errors import SettingsError
from pipeline.release.timeline import Week


def live(*outcomes: tuple[str, str]) -> list[Week]:
    """Weeks of (outcome, champion afterwards); the second brings the bad export."""
    events = ("good data arrive", "a bad export arrives")
    return [
        Week(number, event, outcome, 1, "", math.nan, math.nan, math.nan, champion, math.nan, 0, "w")
        for number, (event, (outcome, champion)) in enumerate(zip(events, outcomes, strict=True), 1)
    ]


@pytest.mark.parametrize("outcome", ["refused", "stopped"])
def test_a_bad_week_that_is_stopped_is_right(outcome, capsys):
    assert judge(live(("promoted", "one"), (outcome, "one"))) == 0
    assert "The bad week was stopped, and the champion stayed." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "champion"), [("promoted", "two"), ("refused", "two"), ("nothing to do", "one")]
)
def test_a_bad_week_that_goes_through_is_said_and_is_an_exit_code(outcome, champion, capsys):
    assert judge(live(("promoted", "one"), (outcome, champion))) == 1
    assert f"WRONG: the bad week was {outcome}; champion one → {champion}" in capsys.readouterr().out


def test_without_a_champion_nothing_was_defended(capsys):
    assert judge(live(("refused", ""), ("refused", ""))) == 1
    assert "WRONG" in capsys.readouterr().out


def test_a_file_in_place_of_the_folder_is_refused_and_stays(tmp_path):
    place = tmp_path / "mine"
    place.write_text("precious")
    with pytest.raises(SettingsError, match="holds something that `make simulate` did not make"):
        run_simulation(str(place))
    assert place.read_text() == "precious"
