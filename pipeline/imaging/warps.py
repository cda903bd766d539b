"""Flip, rotation and random resized crop of whole batches, composed to one affine map an image."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.imaging.draws import draw_uniforms
from pipeline.recipe import AugmentSpec

# Columns of a sample's uniforms: fixed, so that switching one change on leaves the draws of the others.
_FLIP, _ANGLE, _TOP, _LEFT, _CROPS = range(5)
_CROP_TRIES = 10
_STREAM = 1

# A tumour of which less is in the picture is no longer there to be found.
_SEEN = 0.25

Floats = NDArray[np.float64]


def draw_maps(spec: AugmentSpec, seeds: Sequence[int], height: int, width: int) -> Floats | None:
    """Draw one affine map a seed: float64 [n, 2, 3], output pixel (x, y, 1) to source pixel (x, y).

    The image is flipped, then rotated about its centre, then cropped and scaled back to its size. The crop
    follows torchvision's RandomResizedCrop: area uniform in `crop_scale`, aspect log-uniform in `crop_ratio`,
    ten tries, else the largest central crop of an allowed aspect. None where `spec` moves nothing.
    """
    if not (spec.hflip or spec.rotate or spec.crop_scale):
        return None
    draws = draw_uniforms(seeds, _CROPS + 2 * _CROP_TRIES, stream=_STREAM)
    left, top, crop_width, crop_height = draw_crops(spec, draws, height, width)
    angle = np.deg2rad(spec.rotate * (2 * draws[:, _ANGLE] - 1))
    mirror = np.where(draws[:, _FLIP] < spec.hflip, -1.0, 1.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    scale_x, scale_y = crop_width / width, crop_height / height
    # Pixel i covers [i, i + 1): its centre stands at i + 0.5. Offsets count from the picture's centre.
    offset_x = left + 0.5 * scale_x - width / 2
    offset_y = top + 0.5 * scale_y - height / 2
    maps = np.empty((len(draws), 2, 3))
    maps[:, 0, 0] = mirror * cosine * scale_x
    maps[:, 0, 1] = -mirror * sine * scale_y
    maps[:, 0, 2] = mirror * (cosine * offset_x - sine * offset_y) + (width - 1) / 2
    maps[:, 1, 0] = sine * scale_x
    maps[:, 1, 1] = cosine * scale_y
    maps[:, 1, 2] = sine * offset_x + cosine * offset_y + (height - 1) / 2
    return maps


def draw_crops(
    spec: AugmentSpec, draws: Floats, height: int, width: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Choose one crop a row of uniforms: left, top, width and height, each float64 [n], whole pixels."""
    count = len(draws)
    if spec.crop_scale is None:
        return np.zeros(count), np.zeros(count), np.full(count, width), np.full(count, height)
    low, high = spec.crop_scale
    ratio_low, ratio_high = spec.crop_ratio
    tries = draws[:, _CROPS:].reshape(count, _CROP_TRIES, 2)
    area = height * width * (low + (high - low) * tries[:, :, 0])
    aspect = np.exp(np.log(ratio_low) + (np.log(ratio_high) - np.log(ratio_low)) * tries[:, :, 1])
    widths, heights = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    chosen = np.arange(count), fits.argmax(1)
    central = min(max(width / height, ratio_low), ratio_high)
    crop_width = np.where(fits[chosen], widths[chosen], min(width, round(height * central)))
    crop_height = np.where(fits[chosen], heights[chosen], min(height, round(width / central)))
    room_x, room_y = width - crop_width, height - crop_height
    left = np.where(fits[chosen], np.floor(draws[:, _LEFT] * (room_x + 1)), room_x // 2)
    top = np.where(fits[chosen], np.floor(draws[:, _TOP] * (room_y + 1)), room_y // 2)
    return left, top, crop_width, crop_height


def move_boxes(boxes: Floats, maps: Floats | None, height: int, width: int) -> Floats:
    """Where boxes lie after their images were warped: float64 [n, 4] to the same.

    A box is centre x, centre y, width, height, as fractions of the image, NaN where there is none. Of a
    rotated box the upright one around it is taken, and of that what is inside the image; NaN where that is
    less than a quarter of it.

    Args:
        maps: as of `draw_maps`; None = nothing moves.
    """
    if maps is None:
        return boxes.copy()
    side = np.array([width, height])
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) / 2
    # From fractions of the edges to pixels, whose centres are whole numbers.
    places = (boxes[:, None, :2] + corners * boxes[:, None, 2:]) * side - 0.5
    moved = np.linalg.solve(maps[:, None, :, :2], (places - maps[:, None, :, 2])[..., None])[..., 0]
    moved = (moved + 0.5) / side
    low, high = moved.min(axis=1), moved.max(axis=1)
    whole = np.prod(high - low, axis=1)
    low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    seen = np.prod(high - low, axis=1) >= _SEEN * whole
    kept: Floats = np.where(seen[:, None], np.concatenate([(low + high) / 2, high - low], axis=1), np.nan)
    return kept


def warp_planes(planes: NDArray[np.uint8], maps: Floats | None) -> NDArray[np.uint8]:
    """Warp uint8 [n, h, w] image by image with OpenCV, linear, black outside: a new array [n, h, w]."""
    if maps is None:
        return np.ascontiguousarray(planes)
    height, width = planes.shape[1:]
    warped = np.empty(planes.shape, np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for plane, matrix, target in zip(planes, maps, warped, strict=True):
        cv2.warpAffine(np.ascontiguousarray(plane), matrix, (width, height), dst=target, flags=flags)
    return warped


def sample_planes(grey: torch.Tensor, maps: Floats) -> torch.Tensor:
    """Warp float32 [n, h, w] as one batch on its device, linear, black outside: a new tensor [n, h, w]."""
    # The grid is built by broadcasting: as a matrix product it could run in TF32, wrong by half a pixel.
    height, width = grey.shape[1:]
    across = torch.arange(width, dtype=torch.float32, device=grey.device)[None, None, :]
    down = torch.arange(height, dtype=torch.float32, device=grey.device)[None, :, None]
    terms = torch.from_numpy(maps.astype(np.float32)).to(grey.device)[:, :, :, None, None]
    source_x = terms[:, 0, 0] * across + terms[:, 0, 1] * down + terms[:, 0, 2]
    source_y = terms[:, 1, 0] * across + terms[:, 1, 1] * down + terms[:, 1, 2]
    grid = torch.stack(((2 * source_x + 1) / width - 1, (2 * source_y + 1) / height - 1), dim=-1)
    sampled = torch.nn.functional.grid_sample(
        grey[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled[:, 0].clamp_(0, 1)
