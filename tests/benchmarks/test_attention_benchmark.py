"""The measures of an attention, where the answer is known; and what is refused."""

from pathlib import Path

import pytest
import torch
from pytest import CaptureFixture, MonkeyPatch

from benchmarks import attention
from benchmarks.attention import ask_model, measure_attention
from pipeline.errors import SettingsError


def test_two_images_of_which_one_is_looked_at_rightly() -> None:
    shares = torch.zeros(2, 4, 4)
    shares[0, 1, 2], shares[0, 0, 0] = 0.75, 0.25
    shares[1, 3, 3] = 1
    box = (2.5 / 4, 1.5 / 4, 1 / 4, 1 / 4)
    found = measure_attention(shares, torch.tensor([box, box]), torch.tensor([True, False]))
    assert found["places"] == pytest.approx(1 / 16)
    assert found["share"] == pytest.approx(0.375)
    assert found["hit"] == 0.5
    assert (found["right where it hits"], found["right where it misses"]) == (1, 0)


@pytest.mark.parametrize("name", ["slim64", "none"])
def test_a_recipe_that_does_not_attend_is_refused(
    name: str, tmp_path: Path, monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FALX_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["attention", "--home", str(tmp_path), "--recipe", name])
    assert attention.main() == 2
    assert f"--recipe {name}: those that attend are slim128_attend, slim64_attend" in capsys.readouterr().err
    with pytest.raises(SettingsError):
        ask_model(tmp_path, name, "patient", 0)
