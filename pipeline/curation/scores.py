"""How alike two aligned thumbnails are: local correlation on what both show, with their blur made equal.

Full-frame correlation is ruled by skull and background, which adjacent slices share. What is left after a
Gaussian mean is subtracted and the local deviation divided out (local normalisation: LNCC with Gaussian
windows, Cachier and Pennec, MMBIA 2000) is fine texture: a change of brightness, contrast, gamma or local
contrast keeps it, a step of 7 mm through the head does not.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.curation.orientation import Transform
from pipeline.curation.thumbnails import SIDE, Floats, Pixels

SIGMA = 2.5  # thumbnail pixels: the window of local normalisation
FLOOR = 4.0  # grey levels added to the local deviation; keeps noise in a flat background from counting
SHOWN_SIGMA = 1.5  # thumbnail pixels
SHOWN_SHARE = 0.06  # of the brightest (99 %) grey level: darker than this, smoothed, is background
SHOWN_LEAST = 3.0  # grey levels
ERODED = np.ones((5, 5), np.uint8)  # pixels at the rim of the overlap are half interpolated
LEAST_PIXELS = 500  # of 16,384; below, there is too little texture to compare
BLOCKS = 4
BLOCK_PIXELS = 150  # of 1,024; a block that shows less is left out
BASE_BLUR = 0.6  # thumbnail pixels: evens out what interpolation does to one of two images
BLURS = (0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2)  # thumbnail pixels, tried in turn on the sharper image

LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass(frozen=True)
class Likeness:
    """What was measured on an aligned pair.

    Attributes:
        score: LNCC over all pixels that both show, −1 to 1, rounded to 6 decimals.
        worst: the same in the worst of 4 × 4 blocks.
        overlap: pixels that both show, as a share of the smaller of the two pictures.
    """

    score: float
    worst: float
    overlap: float


def blur_image(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of float32 [h, w]; the border is mirrored."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def warp_image(image: Floats, transform: Transform) -> Floats:
    """The second thumbnail [128, 128] as the first would show it; black outside."""
    size = (SIDE, SIDE)
    return np.asarray(cv2.warpAffine(image, to_pixels(transform, SIDE), size, flags=LINEAR), np.float32)


def normalise_locally(image: Floats, sigma: float) -> Floats:
    """Grey levels [h, w], less their local mean, over their local deviation plus `FLOOR`."""
    high = image - blur_image(image, sigma)
    deviation: Floats = np.sqrt(blur_image(high * high, sigma))
    return high / (deviation + np.float32(FLOOR))


def find_shown(image: Floats) -> Floats:
    """1 where a thumbnail [h, w] shows something, 0 in its background; float32."""
    smooth = blur_image(image, SHOWN_SIGMA)
    bright = float(np.percentile(image, 99))
    shown: Floats = (smooth > max(SHOWN_LEAST, SHOWN_SHARE * bright)).astype(np.float32)
    return shown


def to_pixels(transform: Transform, side: int) -> Floats:
    """A transform in fractions as float32 [2, 3] between pixel centres of `side` × `side` images."""
    matrix = transform.copy()
    matrix[:, 2] = transform[:, 2] * side + 0.5 * transform[:, :2].sum(axis=1) - 0.5
    return matrix.astype(np.float32)


def compare_aligned(first: Pixels, second: Pixels, transform: Transform) -> Likeness | None:
    """Compare two thumbnails [128, 128] under a transform from the first to the second.

    None where fewer than 500 pixels are shown by both, so that there is nothing to judge by. A pure function
    of its arguments.
    """
    here, there = first.astype(np.float32), second.astype(np.float32)
    shown, other = find_shown(here), warp_image(find_shown(there), transform) > 0.99
    both = cv2.erode((shown * other).astype(np.uint8), ERODED, borderValue=0).astype(np.float32)
    if both.sum() < LEAST_PIXELS:
        return None
    overlap = float((shown * other).sum() / max(1.0, min(float(shown.sum()), float(other.sum()))))
    here, warped = _match_blur(here, warp_image(there, transform), both)
    score, worst = _correlate(_normalise_within(here, both), _normalise_within(warped, both), both)
    return Likeness(round(score, 6), round(worst, 6), round(overlap, 6))


def _normalise_within(image: Floats, mask: Floats) -> Floats:
    """Local normalisation from pixels of the mask alone, so that a cut edge or a border does not count."""
    weight = blur_image(mask, SIGMA) + np.float32(1e-6)
    high = (image - blur_image(image * mask, SIGMA) / weight) * mask
    deviation = np.sqrt(blur_image(high * high, SIGMA) / weight)
    normal = high / (deviation + np.float32(FLOOR))
    centred: Floats = (normal - normal.sum() / mask.sum()) * mask
    return centred


def _correlate(one: Floats, other: Floats, mask: Floats) -> tuple[float, float]:
    """Correlation of two centred images over the mask, and that of the worst block."""
    products, ones, others = _sum_blocks(one * other), _sum_blocks(one * one), _sum_blocks(other * other)
    score = products.sum() / max(1e-9, float(np.sqrt(ones.sum() * others.sum())))
    counted = _sum_blocks(mask) >= BLOCK_PIXELS
    blocks = products[counted] / np.maximum(1e-9, np.sqrt(ones[counted] * others[counted]))
    return float(score), float(blocks.min(initial=score))


def _sum_blocks(image: Floats) -> npt.NDArray[np.float64]:
    edge = SIDE // BLOCKS
    sums: npt.NDArray[np.float64] = image.reshape(BLOCKS, edge, BLOCKS, edge).sum(
        axis=(1, 3), dtype=np.float64
    )
    return sums


def _match_blur(one: Floats, other: Floats, mask: Floats) -> tuple[Floats, Floats]:
    """Blur the sharper of two images until it is no sharper than the other.

    The fit looks at each image's own sharpness, never at their likeness: it does not lift neighbours as
    a search for the best correlation would.
    """
    one, other = blur_image(one, BASE_BLUR), blur_image(other, BASE_BLUR)
    sharp, blunt = _measure_sharpness(one, mask), _measure_sharpness(other, mask)
    if sharp >= blunt:
        return _blur_to(one, sharp, blunt, mask), other
    return one, _blur_to(other, blunt, sharp, mask)


def _blur_to(image: Floats, sharpness: float, aim: float, mask: Floats) -> Floats:
    blurred = image
    if sharpness > 1.02 * aim:
        for sigma in BLURS:
            blurred = blur_image(image, sigma)
            if _measure_sharpness(blurred, mask) <= aim:
                break
    return blurred


def _measure_sharpness(image: Floats, mask: Floats) -> float:
    """Texture finer than a pixel as a share of that finer than three: blur lowers it, contrast does not."""
    fine = image - blur_image(image, 1.0)
    coarse = image - blur_image(image, 3.0)
    return float(np.sqrt((fine * fine * mask).sum() / ((coarse * coarse * mask).sum() + 1e-6)))
