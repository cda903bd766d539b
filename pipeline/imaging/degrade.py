"""Degradations of grey images: batched, seeded per image, the same function for variants and for training.

A kind is a function `(images, value, seeds) -> images` in `DEGRADERS`, from one of the modules of
`pipeline.imaging.degradations`; its numbers and their sources stand in `catalog/degradations.yaml`.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from pipeline.catalog import Degradation
from pipeline.errors import CatalogError
from pipeline.imaging.degradations import blur, compression, intensity, kspace, noise, resolution

Degrader: TypeAlias = Callable[[torch.Tensor, float, Sequence[int]], torch.Tensor]

# As many pixels at a time as stay in a core's cache with what is made of them: JPEG takes half the time that
# it takes on whole batches, noise three quarters; a result depends on its own image alone either way.
_CPU_PIXELS = 1 << 18

DEGRADERS: dict[str, Degrader] = {
    "gaussian_noise": noise.add_gaussian_noise,
    "rician_noise": noise.add_rician_noise,
    "gaussian_blur": blur.blur,
    "motion_blur": blur.blur_along_line,
    "motion_ghosting": kspace.add_ghosts,
    "kspace_spike": kspace.add_spike,
    "gibbs_ringing": kspace.truncate,
    "bias_field": intensity.shade,
    "downsampling": resolution.downsample,
    "anisotropic_resolution": resolution.downsample_one_axis,
    "contrast_down": intensity.reduce_contrast,
    "gamma_up": intensity.apply_gamma,
    "gamma_down": intensity.apply_gamma,
    "jpeg": compression.compress,
}


def degrade(
    images: torch.Tensor, degradation: Degradation, severity: int, seeds: Sequence[int]
) -> torch.Tensor:
    """Degrade a batch of images, each with its own draw.

    Args:
        images: float32 [n, 1, h, w] or [n, 3, h, w] in [0, 1], on any device; left as it is.
        degradation: kind and severities, from the catalog.
        severity: 0 (identity, bit for bit) to 5 (severe).
        seeds: one a image; kinds without chance ignore them.

    Returns:
        A new float32 tensor of the same shape in [0, 1] on the same device: a function of (image, seed)
        alone. Each channel is degraded as a grey plane by its image's draw, so that grey in three channels
        stays grey. On the CPU the bits depend on neither batch composition nor thread count.

    Raises:
        CatalogError: the degradation's name is no kind that Falx has code for.
        ValueError: another shape, type, severity or number of seeds.
    """
    if degradation.name not in DEGRADERS:
        raise CatalogError(
            [f"degradations.yaml: {degradation.name}: no such kind; known: {', '.join(sorted(DEGRADERS))}"]
        )
    _check_batch(images, severity, seeds)
    if severity == 0 or not len(images):
        return images.clone()
    return apply_kind(images, degradation.name, degradation.severities[severity - 1], seeds)


def apply_kind(images: torch.Tensor, name: str, value: float, seeds: Sequence[int]) -> torch.Tensor:
    """Degrade by a kind's number itself, as `degrade` does by a severity of the catalog.

    Raises:
        KeyError: no such kind.
    """
    count, channels, height, width = images.shape
    planes = images if channels == 1 else images.reshape(count * channels, 1, height, width)
    plane_seeds = seeds if channels == 1 else [seed for seed in seeds for _ in range(channels)]
    step = max(1, _CPU_PIXELS // (height * width)) if images.device.type == "cpu" else len(planes)
    degraded = torch.empty_like(planes, memory_format=torch.contiguous_format)
    # Mixed precision would run the filters' products in 8 bits of mantissa.
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        for first in range(0, len(planes), step):
            part = slice(first, first + step)
            changed = DEGRADERS[name](planes[part], value, plane_seeds[part])
            torch.clamp(changed, 0, 1, out=degraded[part])
    return degraded.view(images.shape)


def _check_batch(images: torch.Tensor, severity: int, seeds: Sequence[int]) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != torch.float32:
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}; float32 [n, 1 or 3, height, width] is needed"
        )
    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} images but {len(seeds)} seeds; one each is needed")
    if not 0 <= severity <= 5:
        raise ValueError(f"severity is {severity}; allowed: 0 (identity) to 5")
