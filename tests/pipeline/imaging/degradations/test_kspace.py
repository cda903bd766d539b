"""Faults of k-space against NumPy's Fourier transform, where the code itself takes none."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.catalog import load_catalog
from pipeline.imaging.degradations.parameters import draw_parameters
from pipeline.imaging.degrade import degrade

KINDS = load_catalog().degradations
SEVERITIES = (1, 2, 3, 4, 5)
SEEDS = [1, 2, 3, 7]
SIZES = [(64, 64), (97, 74), (224, 224)]

Batches = Callable[..., torch.Tensor]
Plane = NDArray[np.float64]


def run(
    make_batch: Batches, name: str, severity: int, size: tuple[int, int]
) -> tuple[float, list[tuple[Plane, Plane]]]:
    """The catalog's number, and clean and degraded planes in double precision."""
    images = make_batch(len(SEEDS), max(size))[:, :, : size[0], : size[1]]
    degraded = degrade(images, KINDS[name], severity, SEEDS)
    pairs = zip(images.double().numpy()[:, 0], degraded.double().numpy()[:, 0], strict=True)
    return KINDS[name].severities[severity - 1], list(pairs)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", SIZES)
def test_ghosts_are_weakened_lines(severity: int, size: tuple[int, int], make_batch: Batches) -> None:
    draws = draw_parameters(SEEDS, 2)
    upright, counts = draws[:, 0] < 0.5, 4 + np.floor(7 * draws[:, 1]).astype(int)
    assert set(upright) == {True, False}
    intensity, pairs = run(make_batch, "motion_ghosting", severity, size)
    for (clean, found), rows, count in zip(pairs, upright, counts, strict=True):
        spectrum = np.fft.fftshift(np.fft.fft2(clean if rows else clean.T))
        centre = len(spectrum) // 2
        for line in range(len(spectrum)):
            if line != centre and (line - centre) % count == 0:
                spectrum[line] *= 1 - intensity
        expected = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))).clip(0, 1)
        assert np.abs((found if rows else found.T) - expected).max() < 1e-5


def test_ghosts_stand_a_whole_fraction_of_the_picture_apart() -> None:
    dot = torch.zeros(1, 1, 120, 120)
    dot[0, 0, 60, 60] = 1
    seed = next(s for s in range(99) if int(7 * draw_parameters([s], 2)[0, 1]) == 2)  # six ghosts
    ghosts = degrade(dot, KINDS["motion_ghosting"], 2, [seed])[0, 0]
    along = ghosts.sum(0) if draw_parameters([seed], 1)[0, 0] >= 0.5 else ghosts.sum(1)
    assert np.flatnonzero(along.numpy() > 0.1).tolist() == [0, 20, 40, 60, 80, 100]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", SIZES)
def test_a_spike_is_a_point_and_its_mirror(severity: int, size: tuple[int, int]) -> None:
    # Grey in the middle of the range, so that neither magnitude nor range hides anything at first.
    rng = np.random.default_rng(severity)
    intensity = KINDS["kspace_spike"].severities[severity - 1]
    images = torch.from_numpy(rng.uniform(0.45, 0.55, (3, 1, *size)).astype(np.float32))
    quiet = KINDS["kspace_spike"].model_copy(update={"severities": (0.1,) * 5})
    faint = degrade(images, quiet, 1, [1, 2, 3])
    found = degrade(images, KINDS["kspace_spike"], severity, [1, 2, 3])
    for clean, mild, result in zip(images, faint, found, strict=True):
        spectrum = np.fft.fft2(clean[0].double())
        added = np.fft.fft2(mild[0].double()) - spectrum
        places = np.argsort(np.abs(added).ravel())[-2:]
        assert np.allclose(np.abs(added.ravel()[places]), 0.05 * np.abs(spectrum).max(), rtol=1e-3)
        assert np.abs(np.delete(added.ravel(), places)).max() < 1e-4 * np.abs(spectrum).max()
        down, across = np.unravel_index(places, spectrum.shape)
        assert (down.sum() % size[0], across.sum() % size[1]) == (0, 0)
        spectrum.ravel()[places] += added.ravel()[places] * intensity / 0.1
        expected = np.abs(np.fft.ifft2(spectrum)).clip(0, 1)
        assert np.abs(result[0].double().numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", SIZES)
def test_gibbs_ringing_is_k_space_cut_off(severity: int, size: tuple[int, int], make_batch: Batches) -> None:
    share, pairs = run(make_batch, "gibbs_ringing", severity, size)
    down, across = (np.abs(np.fft.fftfreq(side, 1 / side)) <= int(share * side / 2) for side in size)
    for clean, found in pairs:
        spectrum = np.fft.fft2(clean) * (down[:, None] & across)
        assert np.abs(found - np.abs(np.fft.ifft2(spectrum)).clip(0, 1)).max() < 1e-5


def test_an_edge_rings_with_the_overshoot_of_gibbs() -> None:
    # 8.949 % of the step (Wilbraham 1848), whatever the cut; pixels of milder cuts are too wide to show it.
    edge = torch.full((1, 1, 256, 256), 0.2)
    edge[..., 64:192] = 0.7
    for severity in (4, 5):
        overshoot = degrade(edge, KINDS["gibbs_ringing"], severity, [0]).max().item() - 0.7
        assert overshoot / 0.5 == pytest.approx(0.0895, abs=0.006)
