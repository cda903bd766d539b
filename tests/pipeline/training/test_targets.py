"""The loss of images and of mixtures: against its definition, and in one piece or several."""

import pytest
import torch
from torch.nn import functional

from pipeline.recipe import LossSpec
from pipeline.training.targets import Targets, measure_loss

WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0])
LABELS = torch.tensor([0, 1, 2, 3, 3, 0])
SHARES = torch.tensor([0.0, 1.0, 0.5, 0.3, 0.9, 0.7])


@pytest.fixture(scope="module")
def logits() -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_the_loss_of_a_mixture_is_that_of_its_mixed_label(logits: torch.Tensor) -> None:
    hot = functional.one_hot(LABELS, 4).float()
    mixed = SHARES[:, None] * hot + (1 - SHARES[:, None]) * hot.roll(-1, dims=0)
    for smoothing in (0.0, 0.1):
        expected = functional.cross_entropy(logits, mixed, label_smoothing=smoothing)
        targets = Targets(LABELS, LABELS.roll(-1), SHARES)
        found = measure_loss(logits, targets, LossSpec(label_smoothing=smoothing), None)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_whole_shares_give_the_loss_without_mixtures(
    logits: torch.Tensor, weights: torch.Tensor | None
) -> None:
    spec = LossSpec(label_smoothing=0.1)
    plain = measure_loss(logits, Targets(LABELS), spec, weights)
    whole = Targets(LABELS, LABELS.roll(-1), torch.ones(6))
    none = Targets(LABELS.roll(1), LABELS, torch.zeros(6))
    for targets in (whole, none):
        torch.testing.assert_close(measure_loss(logits, targets, spec, weights), plain)
        assert targets.count_hits(logits) == Targets(LABELS).count_hits(logits)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_pieces_by_their_weight_sum_to_the_whole(
    logits: torch.Tensor, weights: torch.Tensor | None, mixed: bool
) -> None:
    targets = Targets(LABELS, LABELS.roll(-1), SHARES) if mixed else Targets(LABELS)
    spec, total = LossSpec(label_smoothing=0.1), torch.zeros(())
    for rows in torch.arange(6).split(4):
        piece = targets.pick(rows)
        total += measure_loss(logits[rows], piece, spec, weights) * piece.weigh(weights)
    torch.testing.assert_close(total / targets.weigh(weights), measure_loss(logits, targets, spec, weights))


def test_the_greater_part_of_a_mixture_is_what_an_answer_should_name() -> None:
    answers = functional.one_hot(torch.tensor([1, 1, 2, 3, 3, 0]), 4).float()
    assert Targets(LABELS, LABELS.roll(-1), SHARES).count_hits(answers) == 6
    assert Targets(LABELS).count_hits(answers) == 5
