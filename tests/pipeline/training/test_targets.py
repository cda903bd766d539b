"""The loss of images and of mixtures: against its definition, and in one piece or several."""

import pytest
import torch
from torch.nn import functional

from pipeline.recipe import LossSpec
from pipeline.training.targets import Targets, measure_loss, sum_box_losses

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


BOXES = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
BOXES[1] = BOXES[4] = float("nan")


def make_boxed(mixed: bool) -> Targets:
    if not mixed:
        return Targets(LABELS, boxes=BOXES)
    return Targets(LABELS, LABELS.roll(-1), SHARES, torch.cat([BOXES, BOXES.roll(-1, dims=0)], dim=1))


def test_unknown_boxes_are_left_out_of_loss_and_gradient() -> None:
    found = torch.full((6, 4), 0.5, requires_grad=True)
    targets = make_boxed(mixed=False)
    known = torch.tensor([0, 2, 3, 5])
    expected = functional.smooth_l1_loss(found[known], BOXES[known], reduction="sum", beta=0.1)
    loss = sum_box_losses(found, targets)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert found.grad is not None and found.grad.isfinite().all()
    assert (found.grad.abs().sum(dim=1) > 0).tolist() == [True, False, True, True, False, True]
    assert targets.count_boxes() == 4


def test_both_boxes_of_a_mixture_count_by_their_shares() -> None:
    targets, found = make_boxed(mixed=True), torch.full((6, 4), 0.5)
    one = functional.smooth_l1_loss(found, BOXES, reduction="none", beta=0.1).sum(dim=1)
    expected = SHARES * one + (1 - SHARES) * one.roll(-1)
    # Of image 0 the own box has share 0 and the partner's is unknown; and so on.
    by_hand = sum(
        float(share * value)
        for share, value in zip([*SHARES, *(1 - SHARES)], [*one, *one.roll(-1)], strict=True)
        if not value.isnan()
    )
    assert expected.isnan().any()
    assert float(sum_box_losses(found, targets)) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_boxes_in_pieces_sum_to_the_whole_and_none_is_no_division_by_zero(mixed: bool) -> None:
    targets, found = make_boxed(mixed), torch.rand(6, 4, generator=torch.Generator().manual_seed(2))
    pieces = [sum_box_losses(found[rows], targets.pick(rows)) for rows in torch.arange(6).split(4)]
    torch.testing.assert_close(torch.stack(pieces).sum(), sum_box_losses(found, targets))
    none = Targets(LABELS, boxes=torch.full((6, 4), float("nan")))
    assert sum_box_losses(found, none) / none.count_boxes() == 0
