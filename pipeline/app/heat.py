"""The slice as it is shown: grey, with a model's heat map over it, or as a small PNG."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import DecodeError
from pipeline.explanations.heat import draw_heat, overlay_heat
from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.serving.predictor import Predictor
from pipeline.training.inference import prepare_images

METHODS = {
    "grad_cam": "Grad-CAM, the last feature map weighted by the label's gradient",
    "saliency": "saliency, how much each pixel moves the label's score",
}
"""Methods of `pipeline.explanations.heat`, in words."""

LEAST_SIDE, MOST_SIDE = 320, 640
"""Pixels of the shown picture's longer side: small slices are enlarged, so that the map is legible."""
SENT_SIDE = 512

Pixels = NDArray[np.uint8]


def draw_slice(data: bytes) -> Pixels | None:
    """The slice as it was read, uint8 [h, w], aspect kept; None where there is no picture in the bytes."""
    try:
        return _fit(decode_image(data).pixels, LEAST_SIDE, MOST_SIDE)
    except DecodeError:
        return None


def draw_slice_heat(predictor: Predictor, data: bytes, label: str, method: str) -> Pixels:
    """The slice with the heat of one label over it.

    The map has the size of the model's input and is stretched to the slice's; what is between its points is
    interpolated. Deterministic for a fixed number of torch threads. The network must not run meanwhile.

    Args:
        data: an encoded image that the model does not refuse.
        label: one of the card's classes.
        method: one of `METHODS`.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        DecodeError: there is no picture in the bytes.
        ExplanationError: the network has nothing that the method could look at.
    """
    pixels, card = decode_image(data).pixels, predictor.card
    small = torch.from_numpy(resize_grey(pixels, card.size).copy())[None, None]
    batch = prepare_images(small, predictor.recipe, "cpu")
    heat = draw_heat(predictor.model, batch, torch.tensor([card.classes.index(label)]), method)
    shown = _fit(pixels, LEAST_SIDE, MOST_SIDE)
    height, width = shown.shape
    stretched = cv2.resize(heat[0].cpu().numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
    return overlay_heat(shown, np.clip(stretched, 0, 1).astype(np.float32))


def encode_slice(data: bytes) -> bytes:
    """The slice as a PNG of at most 512 pixels a side: pixels alone, without anything that a header says.

    Raises:
        DecodeError: there is no picture in the bytes.
    """
    done, encoded = cv2.imencode(".png", _fit(decode_image(data).pixels, 1, SENT_SIDE))
    if not done:
        raise DecodeError("corrupt", "the picture cannot be encoded")
    return encoded.tobytes()


def _fit(pixels: Pixels, least: int, most: int) -> Pixels:
    """The picture with its longer side between `least` and `most` pixels."""
    longer = max(pixels.shape)
    aim = min(max(longer, least), most)
    if aim == longer:
        return pixels
    height, width = (max(1, round(side * aim / longer)) for side in pixels.shape)
    filter_ = cv2.INTER_AREA if aim < longer else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=filter_), np.uint8)
