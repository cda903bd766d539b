"""Whether a network that attends looks at the tumour, in patients that it has not seen: on val, not on test.

    python -m benchmarks.attention --home HOME --recipe slim128_attend [--seed 0] [--protocol patient]

HOME holds the trained model (`make train RECIPE=…`); settings come from the environment, as for `make train`.
A place of the attention counts as the tumour's where the reference's box covers any of it. Prints Markdown.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ablation import show
from benchmarks.homes import open_home
from pipeline.errors import FalxError, SettingsError

if TYPE_CHECKING:
    import torch

    from pipeline.training.spec import TrainingSpec


def measure_attention(
    shares: "torch.Tensor", boxes: "torch.Tensor", right: "torch.Tensor"
) -> Mapping[str, float]:
    """What share of the attention lies on the tumour, and how often its greatest does.

    Args:
        shares: float [n, h, w], of each image summing to 1.
        boxes: float [n, 4], centre x, centre y, width and height as fractions of the image.
        right: bool [n], whether the image was named rightly.

    Returns:
        places (the tumour's share of all places), share, hit, and accuracy where it hits and where it
        misses; NaN where it never does.
    """
    from pipeline.training.targets import cover_steps

    across, down = (cover_steps(boxes[:, axis::2], shares.shape[2 - axis]) for axis in (0, 1))
    touched = ((down[:, :, None] * across[:, None, :]) > 0).float().flatten(1)
    places = shares.flatten(1)
    hit = touched.gather(1, places.argmax(1, keepdim=True))[:, 0].bool()
    return {
        "places": float(touched.mean()),
        "share": float((places * touched).sum(1).mean()),
        "hit": float(hit.float().mean()),
        "right where it hits": float(right[hit].float().mean()),
        "right where it misses": float(right[~hit].float().mean()),
    }


def ask_model(home: Path, recipe_name: str, protocol: str, seed: int) -> tuple[Mapping[str, float], int]:
    """The measures of a trained model on the val tumours that have a box, and how many those are.

    Raises:
        SettingsError: the home is not curated, there is no such recipe, it does not attend, or it is not
            trained.
    """
    lake, raw, trainer = open_home(home)
    import torch

    from assets.trainings import specify_training
    from pipeline.training.batches import load_parts, read_boxes
    from pipeline.training.inference import load_model
    from pipeline.training.inputs import normalise
    from pipeline.training.locating import answer_both

    recipe = raw.catalog.recipes.get(recipe_name)
    if recipe is None or recipe.model.pool != "attention":
        able = [name for name, one in raw.catalog.recipes.items() if one.model.pool == "attention"]
        raise SettingsError(f"--recipe {recipe_name}: those that attend are {', '.join(sorted(able))}")
    spec = specify_training(recipe, protocol, seed, lake, raw, trainer)
    check_trained(spec)
    torch.set_num_threads(spec.threads)
    network, (_, val) = load_model(spec.work, recipe), load_parts(spec)
    spec = spec.model_copy(update={"patients": str(lake.path("patients"))})
    boxes = torch.tensor(read_boxes(spec, val.image_ids), dtype=torch.float32)
    known = ~boxes[:, 0].isnan()
    images = normalise(val.images[known][:, None].float() / 255, recipe)
    with torch.inference_mode():
        answers = [answer_both(network, None, part) for part in images.split(64)]
    logits, shares = (torch.cat([answer[place] for answer in answers]) for place in (0, 1))
    right = logits.argmax(1) == val.labels[known]
    return measure_attention(shares, boxes[known], right), int(known.sum())


def check_trained(spec: "TrainingSpec") -> None:
    """Refuse a training that has not ended, or not with the code as it is now.

    Raises:
        SettingsError: says what to run.
    """
    if not (Path(spec.work) / "result.json").is_file():
        raise SettingsError(
            f"this code has no model at {spec.work}; run `make train RECIPE={spec.recipe.name} "
            f"PROTOCOL={spec.protocol}` first"
        )


def main() -> int:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--home", type=Path, required=True, help="a home with the trained model, as FALX_HOME"
    )
    parser.add_argument("--recipe", default="slim128_attend", help="a name in the catalog")
    parser.add_argument("--protocol", default="patient")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        found, count = ask_model(options.home.resolve(), options.recipe, options.protocol, options.seed)
    except FalxError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    print(f"`{options.recipe}`, `{options.protocol}`, seed {options.seed}: {count} val tumours with a box.\n")
    print(f"| {' | '.join(found)} |\n|{'--:|' * len(found)}")
    print(f"| {' | '.join(show(value, '.3f') for value in found.values())} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
