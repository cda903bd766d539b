"""The measures of an attention, where the answer is known; and what is refused."""

from pathlib import Path

import pytest
import torch
from pytest import CaptureFixture, MonkeyPatch

from benchmarks import attention
from benchmarks.ablation import show
from benchmarks.attention import check_trained, measure_attention
from pipeline.catalog import load_catalog
from pipeline.errors import SettingsError
from pipeline.training.spec import TrainingSpec


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


def test_where_it_never_misses_there_is_no_accuracy_of_misses() -> None:
    shares = torch.ones(1, 1, 1)
    found = measure_attention(shares, torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([True]))
    assert (found["hit"], found["right where it hits"]) == (1, 1)
    assert show(found["right where it misses"], ".3f") == "–"


@pytest.mark.parametrize("name", ["slim64", "none"])
def test_a_recipe_that_does_not_attend_is_refused(
    name: str, tmp_path: Path, monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    (tmp_path / "lake").mkdir()
    monkeypatch.setenv("FALX_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["attention", "--home", str(tmp_path), "--recipe", name])
    assert attention.main() == 2
    attending = [one.name for one in load_catalog().recipes.values() if one.model.pool == "attention"]
    wanted = f"--recipe {name}: those that attend are {', '.join(sorted(attending))}\n"
    assert wanted in capsys.readouterr().err and "slim64_attend" in attending


def test_a_home_that_is_not_curated_is_refused(
    tmp_path: Path, monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["attention", "--home", str(tmp_path)])
    assert attention.main() == 2
    assert f"--home {tmp_path} holds no lake; run `make curate`" in capsys.readouterr().err


def test_a_training_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    recipe = load_catalog().recipes["slim128_attend"]
    fields = {"split": "s", "folders": {}, "cache": "c", "data_digest": "d", "model_id": "m"}
    spec = TrainingSpec(recipe=recipe, protocol="patient", seed=0, work=str(tmp_path), **fields)
    with pytest.raises(SettingsError, match="run `make train RECIPE=slim128_attend PROTOCOL=patient` first"):
        check_trained(spec)
    (tmp_path / "result.json").touch()
    check_trained(spec)
