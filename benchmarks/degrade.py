"""Degradations per second and kind: Falx against MONAI, TorchIO, and a loop of Pillow and NumPy over images.

    python -m benchmarks.degrade [--size 224] [--count 64] [--repeats 3] [--severity 3] [--kinds …]

All sides degrade the same grey float32 images by the same parameters, drawn anew for each image, in one
thread of the CPU. The time of that thread counts, so that other work on the machine has less say.
A library that is not installed, or has no such kind, is left out (`-`). The rounds of all sides alternate;
the best of each counts. The last line is JSON.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from importlib.util import find_spec

import cv2
import numpy as np
import torch

from benchmarks.plain import LOOPS
from pipeline.catalog import load_catalog
from pipeline.imaging.degrade import degrade

Side = Callable[[], None]


def main() -> None:
    """Time each kind on every side, print a table and the ratios."""
    options = parse_options()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = draw_slices(options.count, options.size)
    report: dict[str, dict[str, float]] = {}
    missing = [name for name in ("monai", "torchio") if find_spec(name) is None]
    print(f"{options.count} images of {options.size} pixels, severity {options.severity}, one thread")
    print(f"skipped, not installed: {', '.join(missing) or 'none'}")
    print(f"{'images/s':24}{'Falx':>9}{'MONAI':>9}{'TorchIO':>9}{'loop':>9}{'x best peer':>13}{'x loop':>8}")
    for name in options.kinds:
        rates = measure(find_sides(name, images, options), options.count, options.repeats)
        peers = [rate for side, rate in rates.items() if side != "falx"]
        ratios = [rates["falx"] / max(peers), rates["falx"] / rates["loop"]]
        cells = [
            f"{rates[side]:,.0f}" if side in rates else "-" for side in ("falx", "monai", "torchio", "loop")
        ]
        print(f"{name:24}" + "".join(f"{cell:>9}" for cell in cells) + f"{ratios[0]:13.1f}{ratios[1]:8.1f}")
        report[name] = {side: round(rate) for side, rate in rates.items()}
    print(json.dumps(report))


def parse_options() -> argparse.Namespace:
    """The command line."""
    known = list(load_catalog().degradations)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=224, help="side of the images, pixels")
    parser.add_argument("--count", type=int, default=64, help="images a round, and a batch of Falx")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each side; the best counts")
    parser.add_argument("--severity", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--kinds", nargs="+", default=known, choices=known, metavar="KIND")
    return parser.parse_args()


def draw_slices(count: int, size: int) -> torch.Tensor:
    """Grey heads with texture: float32 [count, 1, size, size] in [0, 1]."""
    rng, planes = np.random.default_rng(0), np.zeros((count, size, size), np.float32)
    for row in range(count):
        plane = planes[row]
        middle, axes = (size // 2, size // 2), (int(size * rng.uniform(0.3, 0.4)), int(size * 0.43))
        cv2.ellipse(plane, middle, axes, 0, 0, 360, 0.45, -1)
        cv2.ellipse(plane, middle, axes, 0, 0, 360, 0.9, max(1, size // 40))
        planes[row] += (rng.normal(0, 0.03, plane.shape) * (plane > 0)).astype(np.float32)
    return torch.from_numpy(planes.clip(0, 1))[:, None]


def find_sides(name: str, images: torch.Tensor, options: argparse.Namespace) -> dict[str, Side]:
    """What each side does in one round."""
    kind = load_catalog().degradations[name]
    value = kind.severities[options.severity - 1]
    rng, planes, tensors = np.random.default_rng(0), images.numpy()[:, 0], list(images)

    def falx() -> None:
        degrade(images, kind, options.severity, rng.integers(0, 2**62, len(images)).tolist())

    def loop() -> None:
        for plane in planes:
            LOOPS[name](plane, value, rng).clip(0, 1)

    sides: dict[str, Side] = {"falx": falx, "loop": loop}
    for library, find in (("monai", find_monai), ("torchio", find_torchio)):
        change = find(name, value, options.size) if find_spec(library) else None
        if change is not None:
            inputs = tensors if library == "monai" else [tensor[..., None] for tensor in tensors]
            sides[library] = lambda change=change, inputs=inputs: [change(tensor) for tensor in inputs]
    return sides


def measure(sides: dict[str, Side], count: int, repeats: int) -> dict[str, float]:
    """Images per second of each side: best of `repeats` rounds after one that warms up, sides in turn."""
    best = dict.fromkeys(sides, 0.0)
    for turn in range(repeats + 1):
        for name, run in sides.items():
            started = time.process_time()
            run()
            rate = count / (time.process_time() - started)
            best[name] = max(best[name], rate) if turn else 0.0
    return best


def find_monai(name: str, value: float, size: int) -> Callable[[torch.Tensor], object] | None:
    """MONAI's transform of this kind, for a tensor [1, h, w]; null where it has none."""
    from monai import transforms

    pixels = value * size / 224
    makers: dict[str, Callable[[], Callable[[torch.Tensor], object]]] = {
        "gaussian_noise": lambda: transforms.RandGaussianNoise(prob=1, std=value, sample_std=False),
        "rician_noise": lambda: transforms.RandRicianNoise(prob=1, std=value, sample_std=False),
        "gaussian_blur": lambda: transforms.GaussianSmooth(sigma=pixels),
        "kspace_spike": lambda: transforms.RandKSpaceSpikeNoise(prob=1, intensity_range=(10.0, 11.0)),
        "gibbs_ringing": lambda: transforms.GibbsNoise(alpha=1 - value),
        "bias_field": lambda: transforms.RandBiasField(prob=1, degree=3, coeff_range=(0.0, 0.5)),
        "downsampling": lambda: transforms.RandSimulateLowResolution(
            prob=1, zoom_range=(1 / value, 1 / value), downsample_mode="area", upsample_mode="bilinear"
        ),
        "contrast_down": lambda: transforms.ScaleIntensityFixedMean(factor=value - 1),
        "gamma_up": lambda: transforms.AdjustContrast(gamma=value),
        "gamma_down": lambda: transforms.AdjustContrast(gamma=value),
    }
    return makers[name]() if name in makers else None


def find_torchio(name: str, value: float, size: int) -> Callable[[torch.Tensor], object] | None:
    """TorchIO's transform of this kind, for a tensor [1, h, w, 1]; null where it has none."""
    import torchio

    pixels = value * size / 224
    makers: dict[str, Callable[[], Callable[[torch.Tensor], object]]] = {
        "gaussian_noise": lambda: torchio.RandomNoise(std=(value, value)),
        "gaussian_blur": lambda: torchio.RandomBlur(std=(pixels, pixels, pixels, pixels, 0, 0)),
        "motion_ghosting": lambda: torchio.RandomGhosting(axes=(0, 1), intensity=(value, value)),
        "kspace_spike": lambda: torchio.RandomSpike(intensity=(value, value)),
        "bias_field": lambda: torchio.RandomBiasField(coefficients=0.5),
        "downsampling": lambda: torchio.Compose(
            [torchio.RandomAnisotropy(axes=axis, downsampling=(value, value)) for axis in (0, 1)]
        ),
        "anisotropic_resolution": lambda: torchio.RandomAnisotropy(axes=(0, 1), downsampling=(value, value)),
        "gamma_up": lambda: torchio.RandomGamma(log_gamma=(math.log(value), math.log(value))),
        "gamma_down": lambda: torchio.RandomGamma(log_gamma=(math.log(value), math.log(value))),
    }
    return makers[name]() if name in makers else None


if __name__ == "__main__":
    main()
