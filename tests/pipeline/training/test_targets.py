"""The loss of images and of mixtures: against its definition, and in one piece or several."""

import math

import pytest
import torch
from torch.nn import functional

from pipeline.recipe import LossSpec
from pipeline.training.targets import LEAST, Targets, measure_loss, sum_attention_losses, sum_box_losses

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


def attend(*places: tuple[int, int]) -> torch.Tensor:
    """Shares [n, 4, 8], all of an image's at one (row, column)."""
    shares = torch.zeros(len(places), 4, 8)
    for image, (row, column) in enumerate(places):
        shares[image, row, column] = 1
    return shares


def boxed(*boxes: tuple[float, float, float, float]) -> Targets:
    return Targets(torch.zeros(len(boxes), dtype=torch.int64), boxes=torch.tensor(boxes))


def test_attention_on_the_tumour_loses_nothing_and_beside_it_what_the_bound_allows() -> None:
    box = (2.5 / 8, 1.5 / 4, 1 / 8, 1 / 4)
    on, beside = (float(sum_attention_losses(attend(place), boxed(box))) for place in ((1, 2), (1, 3)))
    assert on == pytest.approx(0, abs=1e-6)
    assert beside == pytest.approx(-math.log(LEAST), rel=1e-5)
    # The same box one row further down: rows are y and columns x.
    assert float(sum_attention_losses(attend((2, 2)), boxed((2.5 / 8, 2.5 / 4, 1 / 8, 1 / 4)))) < 1e-6


def test_even_attention_loses_the_log_of_the_area() -> None:
    even = torch.full((1, 4, 8), 1 / 32)
    found = float(sum_attention_losses(even, boxed((0.5, 0.5, 0.5, 0.5))))
    assert found == pytest.approx(-math.log(LEAST + (1 - LEAST) * 8 / 32), rel=1e-5)


def test_a_place_half_covered_counts_half_and_a_small_tumour_fills_its_place() -> None:
    half = boxed((2 / 8, 1.5 / 4, 1.5 / 8, 1 / 4))  # columns 1.25 to 2.75: three quarters of two of them
    quarter = boxed((2.25 / 8, 1.5 / 4, 2 / 8, 1 / 4))  # columns 1.25 to 3.25: 0.75, 1 and 0.25
    assert float(sum_attention_losses(attend((1, 1)), half)) == pytest.approx(0, abs=1e-6)
    expected = -math.log(LEAST + (1 - LEAST) * 0.25)
    assert float(sum_attention_losses(attend((1, 3)), quarter)) == pytest.approx(expected, rel=1e-5)
    assert float(sum_attention_losses(attend((1, 2)), boxed((2.4 / 8, 1.4 / 4, 0.01, 0.01)))) < 1e-6


@pytest.mark.parametrize("box", [(float("nan"),) * 4, (1.5, 1.5, 0.2, 0.2)], ids=["unknown", "gone"])
def test_a_box_that_is_not_there_pulls_nowhere(box: tuple[float, float, float, float]) -> None:
    scores = torch.randn(1, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = sum_attention_losses(scores.softmax(dim=1).unflatten(1, (4, 8)), boxed(box))
    loss.backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None and float(scores.grad.abs().max()) == 0
    assert bool(loss.isfinite())


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_attention_in_pieces_sums_to_the_whole(mixed: bool) -> None:
    targets = make_boxed(mixed)
    scores = torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    shares = scores.softmax(dim=1).unflatten(1, (4, 8))
    pieces = [sum_attention_losses(shares[rows], targets.pick(rows)) for rows in torch.arange(6).split(4)]
    torch.testing.assert_close(torch.stack(pieces).sum(), sum_attention_losses(shares, targets))
    assert float(sum_attention_losses(shares, targets)) > 0
