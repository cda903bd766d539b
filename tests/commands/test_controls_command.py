"""`make controls`: exit code and words; the real run is slow and draws phantoms."""

import pytest

from commands import controls as command
from pipeline.curation import controls
from pipeline.curation.controls import Catch, Outcome


@pytest.fixture
def canned(monkeypatch):
    """Neither phantoms nor curation: each control is answered with what it wants, or with less."""
    monkeypatch.setattr(
        "pipeline.phantoms.generate", lambda *_, **__: type("Key", (), {"files": [], "collections": []})
    )
    monkeypatch.setattr(controls, "open_world", lambda *_, **__: None)

    def answer(control, world, scratch, *, seed, workers):
        assert scratch.is_dir()
        assert not any(scratch.iterdir())
        blind = control.name in answer.blind
        catches = tuple(Catch(check, "seen", True) for check in control.wanted if not blind)
        return Outcome(control, f"a {control.name}", catches)

    answer.blind = set()
    monkeypatch.setattr(controls, "run_control", answer)
    return answer


def test_all_caught_is_exit_code_0(canned, capsys):
    assert command.run_controls() == 0
    said = capsys.readouterr().out
    assert "Every one was caught" in said
    for control in controls.CONTROLS:
        assert f"\n{control.name}" in said
    assert f"{len(controls.CONTROLS) - 1} faults planted" in said


def test_one_that_slips_through_is_exit_code_1(canned, capsys):
    canned.blind.add("mirrored leak")
    assert command.run_controls() == 1
    said = capsys.readouterr().out
    assert "WRONG: mirrored leak" in said
    assert "Every one was caught" not in said


@pytest.mark.slow
def test_the_real_command_catches_everything(capsys):
    assert command.run_controls(seed=2) == 0, capsys.readouterr().out
