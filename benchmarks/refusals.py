"""What a packaged model refuses: genuine test images by mistake, and what is no slice, or no usual one.

    python -m benchmarks.refusals WORK [--most 300] [--extra FOLDER]

WORK is the folder of a finished training (`models/<recipe>/<protocol>/seed-0/<id>`) with its package. Genuine
are the test images of its split. Strangers are drawn (`pipeline.phantoms.foreign`) or made of genuine images;
--extra adds the files of a folder. The first table is that of the packaged model, rules and distance both.
The second compares ways to measure the distance, without rules, each with the conformal 99 % threshold of
val: ours, the features right before the classifier (Sun et al. 2022), the greatest logit, and the energy (Liu
et al. 2020, arXiv 2010.03759). Prints Markdown.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from pipeline.imaging.decode import decode_image, resize_grey
from pipeline.phantoms.foreign import FOREIGN, draw_foreign
from pipeline.serving.distance import NEIGHBOURS, QUANTILE, Eye
from pipeline.serving.predictor import Predictor
from pipeline.tables import from_arrow
from pipeline.training.batches import load_parts
from pipeline.training.inference import load_model
from pipeline.training.inputs import normalise
from pipeline.training.selection import select_used
from pipeline.training.spec import TrainingSpec

Pixels = NDArray[np.uint8]
Score = Callable[[Pixels], NDArray[np.float64]]


def read_test(spec: TrainingSpec) -> list[bytes]:
    """The test images of a training's split, one copy a picture where the recipe says so."""
    rows = from_arrow("splits", pq.read_table(spec.split))
    used = select_used(rows, spec.recipe.data, ("test",), protocol=spec.protocol)
    places = zip(used["collection"], used["path"], strict=True)
    return [Path(spec.folders[name], path).read_bytes() for name, path in places]


def make_strangers(genuine: Sequence[bytes], count: int = 100) -> dict[str, list[bytes]]:
    """Kind -> encoded images, seeded."""
    drawn = {
        kind: [draw_foreign(kind, np.random.default_rng(seed)) for seed in range(count)] for kind in FOREIGN
    }
    drawn["photograph, grey"] = [encode(decode_image(one).pixels) for one in drawn["photograph"]]
    edits: dict[str, Callable[[Pixels], Pixels]] = {
        "slice, inverted": lambda pixels: 255 - pixels,
        "slice, a quarter cut out": lambda pixels: pixels[: pixels.shape[0] // 2, : pixels.shape[1] // 2],
        "slice, turned by 90°": np.rot90,
        "slice, tiles shuffled": shuffle_tiles,
    }
    known = [decode_image(image).pixels for image in genuine]
    return drawn | {name: [encode(edit(pixels)) for pixels in known] for name, edit in edits.items()}


def shuffle_tiles(pixels: Pixels) -> Pixels:
    """A picture cut into 4 × 4 tiles, in a seeded order."""
    whole = resize_grey(pixels, 224)
    tiles = whole.reshape(4, 56, 4, 56).swapaxes(1, 2).reshape(16, 56, 56)
    order = np.random.default_rng(0).permutation(16)
    return tiles[order].reshape(4, 4, 56, 56).swapaxes(1, 2).reshape(224, 224)


def encode(pixels: Pixels) -> bytes:
    """As PNG."""
    return cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes()


def count_reasons(predictor: Predictor, images: Sequence[bytes]) -> Mapping[str, int]:
    """`answered` or a refusal's word -> images."""
    words = [str(error or "answered").partition(":")[0] for error in predictor.predict(images)["error"]]
    return {word: words.count(word) for word in sorted(set(words))}


def list_scores(spec: TrainingSpec, train: Pixels) -> dict[str, Score]:
    """Name -> score of decoded images; greater is farther from the training images."""
    model, recipe = load_model(spec.work, spec.recipe), spec.recipe
    eye = Eye(model, recipe)

    def logits(pixels: Pixels) -> NDArray[np.float64]:
        return eye.look(pixels)[0]

    def last(pixels: Pixels) -> NDArray[np.float64]:
        with torch.inference_mode():
            hidden = model.backbone(normalise(torch.from_numpy(pixels)[:, None].float() / 255, recipe))
            for layer in list(model.head)[:-1]:
                hidden = layer(hidden)
            unit = hidden / hidden.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return unit.double().numpy()

    known = last(train)

    def nearest(pixels: Pixels) -> NDArray[np.float64]:
        return np.sort(2 - 2 * last(pixels) @ known.T, axis=1)[:, NEIGHBOURS - 1]

    def energy(pixels: Pixels) -> NDArray[np.float64]:
        return -np.logaddexp.reduce(logits(pixels), axis=1)

    return {
        "features before the classifier": nearest,
        "greatest logit": lambda pixels: -logits(pixels).max(axis=1),
        "energy": energy,
    }


def find_threshold(values: NDArray[np.float64]) -> float:
    """The conformal 99 % quantile."""
    ordered = np.sort(values)
    return float(ordered[min(math.ceil(QUANTILE * (len(ordered) + 1)), len(ordered)) - 1])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--most", type=int, default=300, help="genuine images that strangers are made of")
    parser.add_argument("--extra", type=Path, help="a folder of images of another kind")
    options = parser.parse_args()
    spec = TrainingSpec.model_validate_json((options.work / "spec.json").read_bytes())
    predictor = Predictor.open(options.work / "package")
    assert predictor.card.distance is not None
    genuine = read_test(spec)
    kinds = {"genuine test images": genuine, **make_strangers(genuine[: options.most])}
    if options.extra:
        kinds[options.extra.name] = [path.read_bytes() for path in sorted(options.extra.rglob("*.*"))]
    print(
        f"{spec.recipe.name} under {spec.protocol}\n\n| images | number | what came of them |\n|---|---:|---|"
    )
    for name, images in kinds.items():
        counts = ", ".join(f"{word} {count}" for word, count in count_reasons(predictor, images).items())
        print(f"| {name} | {len(images)} | {counts} |")
    size = predictor.card.size
    pixels = {
        name: np.stack([resize_grey(decode_image(image).pixels, size) for image in images])
        for name, images in kinds.items()
    }
    train, val = (part.images.numpy() for part in load_parts(spec))
    limit, classify = predictor.card.distance.threshold, predictor.classify
    shares = {"ours": {name: np.mean(classify(held)[1] > limit) for name, held in pixels.items()}}
    for title, score in list_scores(spec, train).items():
        most = find_threshold(score(val))
        shares[title] = {name: np.mean(score(held) > most) for name, held in pixels.items()}
    print(f"\n| share refused by distance alone | {' | '.join(shares)} |")
    print("|---|" + "---:|" * len(shares))
    for name in pixels:
        print(f"| {name} | {' | '.join(f'{column[name]:.2f}' for column in shares.values())} |")


if __name__ == "__main__":
    main()
