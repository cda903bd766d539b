"""Heat maps: which pixels of an image a network's answer hangs on.

Grad-CAM after Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization (ICCV 2017, arXiv 1610.02391); saliency after Simonyan et al., Deep Inside Convolutional Networks
(2013, arXiv 1312.6034). Both as in the library captum.
A heat map shows what a gradient says. It is no proof of why a network answered as it did.
Shapes: n images, c channels, h × w pixels, k classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import ExplanationError
from pipeline.training.attention import AttentionPool

METHODS = ("grad_cam", "saliency")
COLOURS = "inferno"
"""Perceptually even, and readable with all common kinds of colour vision (van der Walt and Smith 2015)."""
STRENGTH = 0.75
"""Share of the colour in an overlay where the heat is 1; the slice stays visible below."""

_POOLS = (
    *(nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)


def draw_heat(network: nn.Module, batch: Tensor, classes: Tensor, method: str) -> Tensor:
    """Heat of each image for one class of its own, in the pixels of the network's input.

    `grad_cam`: the maps of the layer that `find_map_layer` names, weighted by the mean gradient of the
    class's logit, summed, negative values set to 0, brought to h × w by bilinear interpolation. Of a network
    that pools by attention the gradient is taken place by place (HiResCAM, Draelos and Carin 2020, arXiv
    2011.08891), since its mean would mix what is attended to with what is not; where maps are averaged, the
    two are the same. `saliency`: the greatest absolute gradient of the class's logit over the channels of a
    pixel.
    Each map is divided by its greatest value, so heat can be compared within an image, never between two. A
    map without positive evidence is 0 everywhere.

    Deterministic on the CPU for one number of threads and one batch; another batch size moves last bits.
    The network is asked in evaluation mode; modes, gradients and hooks are afterwards as they were before.

    Args:
        network: answers logits [n, k]; on the batch's device.
        batch: float [n, c, h, w], as `pipeline.training.inputs.normalise` makes it.
        classes: integers [n], 0 to k - 1: the class whose heat is asked for.
        method: one of `METHODS`.

    Returns:
        float32 [n, h, w] in [0, 1], on the batch's device.

    Raises:
        ExplanationError: the method is unknown, shapes do not fit, a class is out of range, the network has
            no convolution that Grad-CAM could look at, or a gradient is not finite.
    """
    _check_request(batch, classes, method)
    classes = classes.to(batch.device, torch.int64)
    with torch.inference_mode(False), torch.enable_grad(), _evaluating(network):
        images = batch.detach().clone().requires_grad_()
        _check_classes(network, images[:1], classes)
        draw = _draw_grad_cam if method == "grad_cam" else _draw_saliency
        heat = draw(network, images, classes).detach().float()
    _check_finite(heat, method)
    peak = heat.amax((1, 2), keepdim=True)
    return heat / torch.where(peak > 0, peak, torch.ones_like(peak))


def find_map_layer(network: nn.Module, example: Tensor) -> tuple[str, nn.Module]:
    """Name and module of the last convolutional feature map, which Grad-CAM looks at.

    The rule: of all modules, in the order in which they finish on `example`, the last that returns a map
    [n, f, h', w'] after a convolution, with more than one position, no larger than the image, and not
    straight from a pooling layer. So activation, batch norm and the sum of a residual block belong to the
    map; pooling, flattening and the gates of attention do not. The paper: "last convolutional layer".

    Args:
        example: float [1, c, h, w]; its values do not matter.

    Raises:
        ExplanationError: there is no such map.
    """
    found: dict[str, nn.Module] = {}
    pooled: list[Tensor] = []
    convolved = False

    def note(name: str, module: nn.Module, output: object) -> None:
        nonlocal convolved
        convolved = convolved or isinstance(module, nn.Conv2d)
        if isinstance(module, _POOLS) and isinstance(output, Tensor):
            pooled.append(output)  # containers return the very same tensor
        # A module that runs twice counts by its last run, which is the one that captum sees.
        found.pop(name, None)
        if convolved and _is_map(output, example) and not any(output is tensor for tensor in pooled):
            found[name] = module

    with torch.no_grad(), _evaluating(network), _watching(network, note):
        network(example)
    if not found:
        raise ExplanationError(
            f"{type(network).__name__} has no convolutional feature map of more than one position at input "
            f"{tuple(example.shape[2:])}; Grad-CAM needs one. Ask for saliency, or give a larger input"
        )
    return list(found.items())[-1]


def overlay_heat(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A slice in grey with its heat in colour: the hotter, the more colour and the brighter.

    Args:
        pixels: uint8 [h, w], grey.
        heat: float [h, w] in [0, 1].

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        ExplanationError: shapes or types do not fit, or the heat leaves [0, 1].
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape != heat.shape:
        raise ExplanationError(
            f"an overlay needs grey uint8 [h, w] and heat of the same shape; found {pixels.dtype} "
            f"{pixels.shape} and heat {heat.shape}"
        )
    if not (np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1):
        raise ExplanationError(f"heat must lie in [0, 1]; found {heat.min():g} to {heat.max():g}")
    share = (STRENGTH * heat.astype(np.float64))[..., None]
    colours = _list_colours()[np.round(heat * 255).astype(np.intp)]
    blend: NDArray[np.uint8] = np.round((1 - share) * pixels[..., None] + share * colours).astype(np.uint8)
    return blend


def _draw_grad_cam(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    from captum.attr import LayerAttribution, LayerGradCam, LayerGradientXActivation

    _, layer = find_map_layer(network, images[:1].detach())
    if any(isinstance(module, AttentionPool) for module in network.modules()):
        by_place = LayerGradientXActivation(network, layer).attribute(images, target=classes)
        coarse = by_place.sum(1, keepdim=True).relu()
    else:
        coarse = LayerGradCam(network, layer).attribute(images, target=classes, relu_attributions=True)
    # [n, 1, h', w'], as both are summed over the map's channels.
    heat: Tensor = LayerAttribution.interpolate(coarse, tuple(images.shape[2:]), interpolate_mode="bilinear")
    return heat[:, 0]


def _draw_saliency(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    from captum.attr import Saliency

    slopes: Tensor = Saliency(network).attribute(images, target=classes, abs=True)
    return slopes.amax(1)


def _is_map(output: object, example: Tensor) -> bool:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return False
    height, width = output.shape[2:]
    return height * width > 1 and height <= example.shape[2] and width <= example.shape[3]


def _check_request(batch: Tensor, classes: Tensor, method: str) -> None:
    if method not in METHODS:
        raise ExplanationError(f"there is no method {method!r}; allowed: {', '.join(METHODS)}")
    if batch.ndim != 4 or not batch.is_floating_point() or 0 in batch.shape:
        raise ExplanationError(
            f"the batch is {batch.dtype} {tuple(batch.shape)}; float [n, c, h, w] with at least one image is "
            "needed, as pipeline.training.inputs.normalise makes it"
        )
    if classes.shape != batch.shape[:1] or classes.is_floating_point() or classes.dtype == torch.bool:
        raise ExplanationError(
            f"classes are {classes.dtype} {tuple(classes.shape)}; one integer an image is needed, "
            f"[{len(batch)}]"
        )


def _check_classes(network: nn.Module, example: Tensor, classes: Tensor) -> None:
    with torch.no_grad():
        logits = network(example.detach())
    if logits.ndim != 2:
        raise ExplanationError(f"the network answers {tuple(logits.shape)}; logits [n, k] are needed")
    if int(classes.min()) < 0 or int(classes.max()) >= logits.shape[1]:
        raise ExplanationError(
            f"classes reach from {int(classes.min())} to {int(classes.max())}; the network has "
            f"{logits.shape[1]}, so 0 to {logits.shape[1] - 1} are allowed"
        )


def _check_finite(heat: Tensor, method: str) -> None:
    broken = int((~heat.isfinite().all(2).all(1)).sum())
    if broken:
        raise ExplanationError(
            f"{method} is not finite in {broken} of {len(heat)} images: the weights or the input hold NaN or "
            "infinity. Train again, or look at the weights"
        )


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _watching(network: nn.Module, note: Callable[[str, nn.Module, object], None]) -> Iterator[None]:
    """Call `note(name, module, output)` whenever a module below the network finishes."""
    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: note(name, module, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@cache
def _list_colours() -> NDArray[np.float64]:
    """[256, 3], RGB from 0 to 255."""
    from matplotlib import colormaps

    colours: NDArray[np.float64] = colormaps[COLOURS](np.arange(256))[:, :3] * 255
    return colours
