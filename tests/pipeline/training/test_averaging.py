"""The moving average of the weights."""

import torch
from training_toys import make_recipe

from pipeline.training.averaging import MovingAverage
from pipeline.training.models import build_model


def test_average_follows_its_formula_buffers_included() -> None:
    model = build_model(make_recipe())
    average = MovingAverage(model, 0.5)
    name = "backbone.1.running_mean"
    expected = model.state_dict()[name].clone()
    model.train()
    for step in range(12):
        model(torch.rand(4, 1, 32, 32))
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.state_dict()[name]
    torch.testing.assert_close(average.model.state_dict()[name], expected)
    assert average.model.state_dict()["backbone.1.num_batches_tracked"] == 12


def test_average_does_not_train_and_shares_nothing() -> None:
    model = build_model(make_recipe()).train()
    average = MovingAverage(model, 0.9)
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    with torch.no_grad():
        model.head[-1].weight.add_(1)
    assert not torch.equal(model.head[-1].weight, average.model.head[-1].weight)
