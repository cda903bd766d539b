"""Random changes of training images: each sample its own draw, keyed by (seed, epoch, image id).

Flip, rotation and crop are one affine map; brightness, contrast and gamma are one curve. On the CPU the map
warps uint8 and the curve is a look-up table, image by image in a few threads; on a GPU both are batched
tensor operations.
"""

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.catalog import Degradation
from pipeline.digests import seed_for
from pipeline.errors import CatalogError
from pipeline.imaging.degrade import DEGRADERS, degrade
from pipeline.imaging.draws import draw_uniforms
from pipeline.imaging.warps import draw_maps, move_boxes, sample_planes, warp_planes
from pipeline.recipe import AugmentSpec

# Columns of a sample's uniforms: fixed, so that switching one change on leaves the draws of the others.
_BRIGHTNESS, _CONTRAST, _GAMMA, _DEGRADE, _KIND, _SEVERITY = range(6)
_STREAM = 2

_LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)

Floats = NDArray[np.float64]


class Augmenter:
    """Augments batches as `spec` says.

    Args:
        spec: probabilities and ranges, from the recipe.
        degradations: the catalog's degradations; `spec.degradations` picks from them, empty means all.
        seed: seed of the training.
        threads: CPU threads; they change the time taken and nothing else.

    Raises:
        CatalogError: `spec.degradations` names one that is not there, or none is left to draw from.
    """

    def __init__(
        self, spec: AugmentSpec, degradations: Mapping[str, Degradation], *, seed: int, threads: int = 1
    ) -> None:
        self._spec = spec
        self._seed = seed
        self._threads = max(1, threads)
        self._kinds = _pick_degradations(spec, degradations) if spec.degrade else []

    def __call__(self, images: torch.Tensor, image_ids: Sequence[str], epoch: int) -> torch.Tensor:
        """Augment a batch.

        Args:
            images: uint8 [n, h, w] or [n, 1, h, w], on any device; left as it is.
            image_ids: one a image.
            epoch: number of the epoch.

        Returns:
            float32 [n, 1, h, w] in [0, 1] on the same device. Order: left–right flip, rotation, random
            resized crop, brightness, contrast, gamma, one degradation. A sample's result is a function of
            (seed, epoch, image id, pixels): batch and threads have no say; on the CPU bit for bit. A spec
            without any change gives the image divided by 255, exactly.

        Raises:
            ValueError: another type or shape, or another number of ids.
        """
        planes = _check_batch(images, image_ids)
        seeds = [seed_for(self._seed, epoch, image_id) for image_id in image_ids]
        maps = draw_maps(self._spec, seeds, planes.shape[1], planes.shape[2])
        draws = draw_uniforms(seeds, 6, stream=_STREAM)
        if planes.device.type == "cpu":
            changed = self._change_by_plane(planes.numpy(), maps, draws)
        else:
            changed = change_by_batch(self._spec, planes, maps, draws)
        return self._degrade_some(changed[:, None], draws, seeds)

    def draw_mirrors(self, image_ids: Sequence[str], epoch: int) -> NDArray[np.bool_]:
        """Which images of a batch this augmenter mirrors: bool [n]; the draws of `__call__`."""
        maps = draw_maps(self._spec, [seed_for(self._seed, epoch, image_id) for image_id in image_ids], 1, 1)
        return np.zeros(len(image_ids), dtype=bool) if maps is None else maps[:, 0, 0] < 0

    def move_boxes(self, boxes: Floats, image_ids: Sequence[str], epoch: int, side: int) -> Floats:
        """Where the boxes of a batch's images lie once `__call__` has changed them: float64 [n, 4].

        Args:
            boxes: centre x, centre y, width, height, fractions of the image; NaN where there is none.
            side: of the square images, pixels.
        """
        seeds = [seed_for(self._seed, epoch, image_id) for image_id in image_ids]
        return move_boxes(boxes, draw_maps(self._spec, seeds, side, side), side, side)

    def _change_by_plane(self, planes: NDArray[np.uint8], maps: Floats | None, draws: Floats) -> torch.Tensor:
        changed = np.empty(planes.shape, np.float32)
        bounds = [round(len(planes) * part / self._threads) for part in range(self._threads + 1)]
        parts = [slice(first, last) for first, last in itertools.pairwise(bounds) if last > first]

        def change_part(part: slice) -> None:
            warped = warp_planes(planes[part], None if maps is None else maps[part])
            tables = _draw_tables(self._spec, draws[part], warped)
            for plane, table, target in zip(warped, tables, changed[part], strict=True):
                cv2.LUT(plane, table, dst=target)

        if len(parts) == 1:
            change_part(parts[0])
        elif parts:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="augment") as pool:
                list(pool.map(change_part, parts))
        return torch.from_numpy(changed)

    def _degrade_some(self, images: torch.Tensor, draws: Floats, seeds: Sequence[int]) -> torch.Tensor:
        if not self._kinds:
            return images
        chosen = draws[:, _DEGRADE] < self._spec.degrade
        kinds = (draws[:, _KIND] * len(self._kinds)).astype(int)
        mildest, severest = self._spec.min_severity, self._spec.max_severity
        severities = mildest + (draws[:, _SEVERITY] * (1 + severest - mildest)).astype(int)
        for kind, severity in sorted(set(zip(kinds[chosen], severities[chosen], strict=True))):
            rows = np.flatnonzero(chosen & (kinds == kind) & (severities == severity)).tolist()
            part_seeds = [seeds[row] for row in rows]
            images[rows] = degrade(images[rows], self._kinds[kind], int(severity), part_seeds)
        return images


def change_by_batch(
    spec: AugmentSpec, planes: torch.Tensor, maps: Floats | None, draws: Floats
) -> torch.Tensor:
    """Warp and recolour a batch by tensor operations on its device: uint8 [n, h, w] to float32 [n, h, w].

    Within a grey level of the CPU's way, which rounds to 8 bits between map and curve.
    """

    def per_image(values: Floats) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(planes.device)[:, None, None]

    grey = torch.from_numpy(_LEVELS).to(planes.device)[planes.long()]
    if maps is not None:
        grey = sample_planes(grey, maps)
    if spec.brightness:
        grey = (grey * per_image(_draw_factor(spec.brightness, draws[:, _BRIGHTNESS]))).clamp_(0, 1)
    if spec.contrast:
        mean = grey.mean((1, 2), keepdim=True)
        factor = per_image(_draw_factor(spec.contrast, draws[:, _CONTRAST]))
        grey = ((grey - mean) * factor + mean).clamp_(0, 1)
    if spec.gamma:
        grey = grey ** per_image(_draw_exponent(spec.gamma, draws[:, _GAMMA]))
    return grey


def _draw_tables(spec: AugmentSpec, draws: Floats, planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    tables: Floats = np.broadcast_to(_LEVELS.astype(np.float64), (len(planes), 256))
    if spec.brightness:
        factor = _draw_factor(spec.brightness, draws[:, _BRIGHTNESS])[:, None]
        tables = np.clip(tables * factor, 0, 1)
    if spec.contrast:
        factor = _draw_factor(spec.contrast, draws[:, _CONTRAST])[:, None]
        counts = np.stack([cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in planes])
        mean = (counts * tables).sum(1, keepdims=True) / planes[0].size
        tables = np.clip(mean + (tables - mean) * factor, 0, 1)
    if spec.gamma:
        tables = tables ** _draw_exponent(spec.gamma, draws[:, _GAMMA])[:, None]
    return tables.astype(np.float32)


def _draw_factor(spread: float, uniforms: Floats) -> Floats:
    return 1 + spread * (2 * uniforms - 1)


def _draw_exponent(spread: float, uniforms: Floats) -> Floats:
    exponents: Floats = np.exp(spread * (2 * uniforms - 1))
    return exponents


def _pick_degradations(spec: AugmentSpec, degradations: Mapping[str, Degradation]) -> list[Degradation]:
    names = spec.degradations or tuple(sorted(degradations))
    unknown = [name for name in names if name not in degradations or name not in DEGRADERS]
    if unknown or not names:
        known = ", ".join(sorted(set(degradations) & set(DEGRADERS))) or "none"
        raise CatalogError([f"augment.degradations: unknown {unknown}; known: {known}"])
    return [degradations[name] for name in names]


def _check_batch(images: torch.Tensor, image_ids: Sequence[str]) -> torch.Tensor:
    planes = images[:, 0] if images.ndim == 4 and images.shape[1] == 1 else images
    if planes.ndim != 3 or planes.dtype != torch.uint8:
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}; uint8 [n, height, width] or "
            "[n, 1, height, width] is needed"
        )
    if len(planes) != len(image_ids):
        raise ValueError(f"{len(planes)} images but {len(image_ids)} ids; one each is needed")
    return planes
