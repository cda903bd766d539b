"""Layers of a team against torch's own on the whole batch, with the team played by threads."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from training_toys import make_recipe

from pipeline.training.models import StochasticDepth, build_model
from pipeline.training.sharing import share_layers
from pipeline.training.team import Piece, Team


class ThreadTeam(Team):
    """A team whose members are threads of one process."""

    def __init__(
        self, rank: int, size: int, barrier: threading.Barrier, board: list[torch.Tensor | None]
    ) -> None:
        super().__init__(rank, size)
        self._barrier, self._board = barrier, board

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        self._board[self.rank] = tensor.clone()
        self._barrier.wait(20)
        total = torch.stack([each for each in self._board if each is not None]).sum(0)
        self._barrier.wait(20)
        return tensor.copy_(total)


def run_shares(build: Callable[[], nn.Module], images: torch.Tensor, size: int) -> list[tuple[Any, ...]]:
    """Forward and backward of each member's rows: (answer, gradient of its images, module)."""
    barrier, board = threading.Barrier(size), [None] * size
    found: list[Any] = [None] * size

    def work(rank: int) -> None:
        team = ThreadTeam(rank, size, barrier, board)
        module = build().train()
        share_layers(module, team)
        (team.piece,) = team.divide(len(images))
        own = images[torch.from_numpy(team.piece.rows)].clone().requires_grad_()
        answer = module(own)
        (answer**2).sum().backward()
        found[rank] = (answer.detach(), own.grad, module)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def timm_norm() -> nn.Module:
    from timm.layers import BatchNormAct2d

    return BatchNormAct2d(5)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "images": lambda: nn.BatchNorm2d(5, momentum=0.3),
    "cumulative": lambda: nn.BatchNorm2d(5, momentum=None),
    "without weights": lambda: nn.BatchNorm2d(5, affine=False),
    "without memory": lambda: nn.BatchNorm2d(5, track_running_stats=False),
    "with activation": timm_norm,
}


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_of_a_team_is_that_of_the_whole_batch(name: str, size: int) -> None:
    torch.manual_seed(1)
    images = torch.randn(7, 5, 4, 3) * 3 + 20

    def build() -> nn.Module:
        module = NORMS[name]()
        for parameter in module.parameters():
            nn.init.uniform_(parameter, 0.5, 1.5, generator=torch.Generator().manual_seed(2))
        return module

    alone = build().train()
    whole = images.clone().requires_grad_()
    answer = alone(whole)
    (answer**2).sum().backward()
    shares = run_shares(build, images, size)
    torch.testing.assert_close(
        torch.cat([share[0] for share in shares]), answer.detach(), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(torch.cat([share[1] for share in shares]), whole.grad, rtol=1e-4, atol=1e-4)
    for parameter, *own in zip(alone.parameters(), *(share[2].parameters() for share in shares), strict=True):
        torch.testing.assert_close(sum(each.grad for each in own), parameter.grad, rtol=1e-4, atol=1e-3)
    for _, _, module in shares:
        torch.testing.assert_close(
            dict(module.named_buffers()), dict(alone.named_buffers()), rtol=1e-4, atol=1e-5
        )


def test_features_of_a_head_are_normalised_too() -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 5)
    expected = nn.BatchNorm1d(5).train()(features)
    shares = run_shares(lambda: nn.BatchNorm1d(5), features, 2)
    torch.testing.assert_close(torch.cat([share[0] for share in shares]), expected.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_of_a_team_is_that_of_the_whole_batch(dtype: torch.dtype) -> None:
    features, team = torch.randn(9, 16).to(dtype).requires_grad_(), ThreadTeam(1, 2, threading.Barrier(2), [])
    torch.manual_seed(3)
    whole = nn.Dropout(0.4).train()(features)
    module = nn.Sequential(nn.Dropout(0.4)).train()
    share_layers(module, team)
    team.piece = Piece(torch.arange(5, 9).numpy(), 5, 9)
    torch.manual_seed(3)
    assert torch.equal(module(features[5:]), whole[5:])


def test_a_team_skips_the_blocks_that_one_process_would() -> None:
    branch = torch.randn(9, 3, 2, 2)
    torch.manual_seed(3)
    whole = StochasticDepth(0.5).train()(branch)
    module = nn.Sequential(StochasticDepth(0.5), StochasticDepth(0.0)).train()
    share_layers(module, ThreadTeam(1, 2, threading.Barrier(2), []))
    module[0].forward.args[1].piece = Piece(torch.arange(5, 9).numpy(), 5, 9)
    torch.manual_seed(3)
    assert torch.equal(module(branch[5:]), whole[5:])
    assert torch.equal(module.eval()(branch), branch)


def test_layers_that_are_frozen_or_alone_stay_what_they_were() -> None:
    frozen = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    share_layers(frozen, ThreadTeam(0, 2, threading.Barrier(2), []))
    images = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(frozen(images), nn.BatchNorm2d(3).eval()(images))
    alone = nn.BatchNorm2d(3)
    share_layers(alone, Team())
    assert "forward" not in vars(alone)


def take_steps(network: nn.Module, batches: list[torch.Tensor], team: Team) -> list[float]:
    """The share of the loss of one member, step by step, by plain gradient descent."""
    labels, losses = torch.arange(9) % 4, []
    for batch in batches:
        (team.piece,) = team.divide(9)
        rows = torch.from_numpy(team.piece.rows)
        inputs = batch[rows].contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(network(inputs), labels[rows]) * len(rows) / 9
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.01 * team.add_up(parameter.grad.contiguous()))
        network.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("size", [2, 3])
def test_steps_of_a_team_are_those_of_the_network_in_float64(size: int) -> None:
    """The slim network has neither ReLU nor max pool, whose kinks turn a rounding into a jump."""
    torch.manual_seed(0)
    batches = [torch.rand(9, 1, 32, 32) * 2 - 1 for _ in range(6)]
    recipe = make_recipe(model={"name": "slim"})
    network = build_model(recipe).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    exact = take_steps(copy.deepcopy(network).double(), [batch.double() for batch in batches], Team())
    barrier, board = threading.Barrier(size), [None] * size
    losses: list[list[float]] = [[]] * size
    members = [copy.deepcopy(network) for _ in range(size)]

    def work(rank: int) -> None:
        team = ThreadTeam(rank, size, barrier, board)
        share_layers(members[rank], team)
        losses[rank] = take_steps(members[rank], batches, team)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [sum(shares) for shares in zip(*losses, strict=True)] == pytest.approx(exact, abs=1e-4)
