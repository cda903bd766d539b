"""What a model is fed."""

import pytest
import torch
from training_toys import make_recipe

from pipeline.errors import TrainingError
from pipeline.training.inputs import find_constants, normalise


def _recipe(name: str, channels: int, scale: str):  # type: ignore[no-untyped-def]
    return make_recipe(model={"name": name}, input={"size": 32, "channels": channels, "normalise": scale})


@pytest.mark.parametrize(("scale", "low", "high"), [("unit", 0.0, 1.0), ("half", -1.0, 1.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_unit_and_half(scale: str, low: float, high: float, channels: int) -> None:
    images = torch.tensor([[[[0.0, 0.5], [0.5, 1.0]]]])
    found = normalise(images, _recipe("slim", channels, scale))
    assert found.shape == (1, channels, 2, 2)
    middle = (low + high) / 2
    assert torch.equal(found[0, -1], torch.tensor([[low, middle], [middle, high]]))


def test_backbone_uses_the_constants_of_its_weights() -> None:
    images = torch.rand(2, 1, 4, 4)
    found = normalise(images, _recipe("timm:resnet18d", 3, "backbone"))
    for channel, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        torch.testing.assert_close(found[:, channel], (images[:, 0] - mean) / std)
    assert find_constants("timm:legacy_xception") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_backbone_in_grey_uses_the_mean_of_the_constants() -> None:
    images = torch.rand(2, 1, 4, 4)
    found = normalise(images, _recipe("timm:resnet18d", 1, "backbone"))
    torch.testing.assert_close(found, (images - 0.449) / 0.226)


def test_colour_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"\[n, 1, h, w\] is needed, grey"):
        normalise(torch.rand(2, 3, 4, 4), _recipe("slim", 3, "unit"))


def test_a_network_without_constants_is_refused() -> None:
    with pytest.raises(TrainingError, match="timm knows no 'no_such_network'"):
        find_constants("timm:no_such_network")
