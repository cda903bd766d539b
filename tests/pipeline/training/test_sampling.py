"""The batches of an epoch: who is in them, and what is mixed with what."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from training_toys import make_recipe

from pipeline.recipe import Recipe
from pipeline.training.batches import Part, order_batches
from pipeline.training.devices import Device
from pipeline.training.feeds import PixelFeed
from pipeline.training.sampling import choose_balanced, count_turns, draw_batches, draw_shares
from pipeline.training.spec import TrainingSpec
from pipeline.training.team import ManyTeam, Team


def make_part(count: int, side: int = 8) -> Part:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8))
    return Part(images, torch.arange(count) % 4, tuple(f"image {number}" for number in range(count)))


def make_feed(recipe: Recipe, part: Part) -> PixelFeed:
    spec = TrainingSpec(
        recipe=recipe,
        protocol="patient",
        seed=3,
        split="",
        folders={},
        cache="",
        work="",
        data_digest="d",
        model_id="m",
    )
    return PixelFeed(spec, Device("cpu", "fp32", 1, {}), (part, part))


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 3), st.integers(1, 3))
def test_without_mixup_the_batches_are_the_order_and_nothing_more(
    count: int, size: int, seed: int, epoch: int
) -> None:
    part, recipe = make_part(count, 1), make_recipe(batch_size=size)
    batches = draw_batches(recipe, part, seed=seed, epoch=epoch)
    expected = list(order_batches(count, size, seed=seed, epoch=epoch))
    assert [batch.rows.tolist() for batch in batches] == [rows.tolist() for rows in expected]
    assert all(batch.shares is None for batch in batches)
    assert [batch.keys for batch in batches] == [
        tuple(part.image_ids[row] for row in rows) for rows in expected
    ]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta_and_depend_on_seed_epoch_and_image_alone(alpha: float) -> None:
    keys = [str(number) for number in range(2000)]
    shares = draw_shares(alpha, keys, seed=0, epoch=1)
    assert kstest(shares, "beta", (alpha, alpha)).pvalue > 0.01
    assert draw_shares(alpha, keys[7:9], seed=0, epoch=1).tolist() == shares[7:9].tolist()
    for seed, epoch in ((1, 1), (0, 2)):
        other = draw_shares(alpha, keys, seed=seed, epoch=epoch)
        assert abs(np.corrcoef(shares, other)[0, 1]) < 0.1


def test_golden_shares() -> None:
    found = draw_shares(0.4, ["a", "b", "c"], seed=0, epoch=1)
    assert found == pytest.approx(GOLDEN, abs=1e-9)


GOLDEN = [0.2391524015, 0.5497903472, 0.9313616894]


def test_a_mixture_is_the_sum_of_two_augmented_images_by_their_shares() -> None:
    part = make_part(11)
    augment = {"hflip": 0.5, "rotate": 20, "brightness": 0.2}
    mixing = make_recipe(augment=augment | {"mixup": 0.5}, batch_size=4)
    plain = make_recipe(augment=augment, batch_size=4)
    for batch in draw_batches(mixing, part, seed=3, epoch=2):
        places = np.arange(len(batch))
        images = make_feed(plain, part).take(batch.__class__(batch.rows, batch.keys), places, 2)
        assert batch.shares is not None
        shares = torch.from_numpy(batch.shares).float().view(-1, 1, 1, 1)
        expected = shares * images + (1 - shares) * images.roll(-1, dims=0)
        assert torch.equal(make_feed(mixing, part).take(batch, places, 2), expected)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("parts", [1, 2])
def test_each_process_mixes_its_rows_as_one_process_would(size: int, parts: int) -> None:
    part = make_part(9)
    recipe = make_recipe(augment={"hflip": 0.5, "rotate": 20, "mixup": 0.5}, batch_size=9)
    (batch,) = draw_batches(recipe, part, seed=3, epoch=1)
    feed = make_feed(recipe, part)

    def take(team: Team) -> list[torch.Tensor]:
        return [feed.take(batch, piece.rows, 1) for piece in team.divide(len(batch), parts)]

    shares = [take(ManyTeam(rank, size, cuda=False)) for rank in range(size)]
    shared = [torch.cat(pieces) for pieces in zip(*shares, strict=True)]
    assert torch.equal(torch.cat(shared), torch.cat(take(Team())))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 3), st.integers(1, 3))
def test_balanced_every_class_comes_equally_often_and_its_images_in_turn(
    labels: list[int], seed: int, epoch: int
) -> None:
    truth = np.array(labels)
    chosen = choose_balanced(truth, seed=seed, epoch=epoch)
    assert len(chosen) == len(truth)
    classes = np.unique(truth)
    counts = np.bincount(truth[chosen], minlength=4)[classes]
    assert counts.max() - counts.min() <= 1
    for label in classes:
        times = np.bincount(chosen, minlength=len(truth))[truth == label]
        assert times.max() - times.min() <= 1


@given(st.lists(st.integers(0, 5), max_size=30))
def test_turns_count_what_came_before(rows: list[int]) -> None:
    expected = [rows[:place].count(row) for place, row in enumerate(rows)]
    assert count_turns(np.array(rows, dtype=np.int64)).tolist() == expected


def test_a_balanced_epoch_is_drawn_by_seed_and_epoch_and_as_long_as_any() -> None:
    part = make_part(30, 1)
    part = Part(part.images, torch.tensor([0] * 18 + [1] * 6 + [2] * 4 + [3] * 2), part.image_ids)
    recipe = make_recipe(data={"sampling": "balanced"}, batch_size=8)

    def draw(seed: int, epoch: int) -> list[str]:
        return [key for batch in draw_batches(recipe, part, seed=seed, epoch=epoch) for key in batch.keys]

    keys = draw(0, 1)
    assert keys == draw(0, 1) != draw(0, 2) != draw(1, 2)
    assert len(keys) == len(set(keys)) == 30
    assert {"image 28", "image 28/1", "image 28/2"} <= set(keys)
    labels = [part.labels[row] for batch in draw_batches(recipe, part, seed=0, epoch=1) for row in batch.rows]
    assert sorted(np.bincount(labels)) == [7, 7, 8, 8]
    seen = {key.split("/")[0] for epoch in range(1, 12) for key in draw(0, epoch)}
    assert len(seen) == 30  # each of the class that is cut comes in one epoch or another


def test_an_image_that_comes_again_is_changed_in_another_way() -> None:
    part = Part(make_part(8).images, torch.tensor([0] * 6 + [1, 2]), make_part(8).image_ids)
    recipe = make_recipe(data={"sampling": "balanced"}, augment={"brightness": 0.5}, batch_size=8)
    (batch,) = draw_batches(recipe, part, seed=3, epoch=1)
    images = make_feed(recipe, part).take(batch, np.arange(8), 1)
    first, again = (images[batch.keys.index(key)] for key in ("image 7", "image 7/1"))
    assert not torch.equal(first, again)
