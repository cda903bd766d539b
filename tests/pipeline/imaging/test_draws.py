"""Stateless draws: known values, independence, the right distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.imaging.draws import _gather_normals, draw_normals, draw_uniforms, draw_words

MASK = (1 << 64) - 1
GOLDEN_NORMALS = [
    [0.450703681, -0.00805139635, 0.112746373, 1.12331927],
    [0.616525471, -0.309581369, 2.23706126, -0.180261329],
]


def splitmix64(seed: int, count: int) -> list[int]:
    """The published generator, in Python's unbounded integers."""
    words, state = [], seed & MASK
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(word ^ (word >> 31))
    return words


def lowbias32(word: int) -> int:
    word = ((word ^ (word >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    word = ((word ^ (word >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return word ^ (word >> 16)


def test_the_published_first_words() -> None:
    # The reference implementation's first outputs for state 1234567 (prng.di.unimi.it/splitmix64.c).
    assert draw_words([1234567], 3)[0].tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.integers(0, 2**63 - 1), st.integers(1, 40))
def test_words_are_splitmix64(seed: int, count: int) -> None:
    assert draw_words([seed], count)[0].tolist() == splitmix64(seed, count)


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=6), st.integers(0, 5))
def test_a_draw_depends_on_its_own_seed_alone(seeds: list[int], stream: int) -> None:
    batch = draw_words(seeds, 7, stream=stream)
    for seed, row in zip(seeds, batch, strict=True):
        assert (draw_words([seed], 9, stream=stream)[0, :7] == row).all()


def test_streams_differ() -> None:
    words = np.stack([draw_words([5], 64, stream=stream)[0] for stream in range(8)])
    assert len(np.unique(words)) == words.size


def test_uniforms_are_uniform() -> None:
    uniforms = draw_uniforms(range(2000), 30)
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    assert stats.kstest(uniforms.ravel(), "uniform").pvalue > 0.01
    correlations = np.corrcoef(uniforms.T) - np.eye(30)
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_the_way_of_the_gpu_draws_the_same() -> None:
    keys = torch.from_numpy(draw_words(range(5), 1, stream=4).view(np.int32))
    normals = draw_normals(range(5), 33, 47, stream=4)
    assert torch.equal(_gather_normals(keys, 776)[:, : 33 * 47], normals.view(5, -1))


@pytest.mark.parametrize("shape", [(7, 9), (64, 64), (1, 1)])
def test_normals_are_the_quantiles_of_hashed_places(shape: tuple[int, int]) -> None:
    height, width = shape
    low, high = (int(half) for half in draw_words([11], 1).view(np.uint32)[0])
    count = height * width
    words = [lowbias32(lowbias32(place ^ low) ^ high) for place in range((count + 1) // 2)]
    ranks = np.array([rank for word in words for rank in (word & 0xFFFF, word >> 16)][:count])
    expected = stats.norm.ppf((ranks + 0.5) / 65536)
    normals = draw_normals([11], height, width)
    assert normals.shape == (1, 1, height, width)
    assert normals.dtype == torch.float32
    np.testing.assert_allclose(normals.numpy().ravel(), expected, rtol=1e-4)


def test_normals_have_golden_values() -> None:
    found = draw_normals([0, 1], 2, 2).view(2, 4)
    expected = torch.tensor(GOLDEN_NORMALS)
    assert torch.equal(found, expected)


def test_normals_are_normal() -> None:
    normals = draw_normals([3], 500, 500).numpy().ravel()
    assert abs(normals.mean()) < 4 / 500
    assert abs(normals.std() - 1) < 4 / 500 / np.sqrt(2)
    assert abs(stats.kurtosis(normals)) < 4 * np.sqrt(24) / 500
    assert stats.kstest(normals, "norm").pvalue > 0.01


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1), (0, 2), (0, 57)])
def test_normals_of_neighbours_are_independent(shift: tuple[int, int]) -> None:
    normals = draw_normals([3], 400, 400).numpy()[0, 0]
    shifted = np.roll(normals, shift, (0, 1))
    assert abs(np.corrcoef(normals.ravel(), shifted.ravel())[0, 1]) < 4 / 400


def test_normals_of_neighbouring_seeds_and_streams_are_independent() -> None:
    fields = [draw_normals([seed], 100, 100, stream=stream) for seed in range(6) for stream in range(3)]
    correlations = np.corrcoef(torch.stack(fields).view(len(fields), -1).numpy()) - np.eye(len(fields))
    assert np.abs(correlations).max() < 5 / 100


def test_normals_do_not_depend_on_the_batch_or_threads() -> None:
    seeds = list(range(300))
    batch = draw_normals(seeds, 45, 45)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = torch.cat([draw_normals([seed], 45, 45) for seed in seeds])
    torch.set_num_threads(threads)
    assert torch.equal(batch, alone)


def test_no_seeds_give_no_fields() -> None:
    assert draw_normals([], 4, 5).shape == (0, 1, 4, 5)
