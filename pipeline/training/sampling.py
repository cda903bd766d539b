"""Which images make the batches of an epoch, and what is mixed: functions of (seed, epoch) alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv

from pipeline.digests import seed_for
from pipeline.imaging.draws import draw_uniforms
from pipeline.recipe import Recipe
from pipeline.training.batches import Part, order_batches

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """One batch of an epoch, that of all processes together.

    Args:
        rows: int64 [n], places in the training part.
        keys: n of them, what an image's draws depend on besides seed and epoch: its id, and how often it came
            before in the epoch.
        shares: float64 [n], what each image keeps of itself where it is mixed with the next one of the batch,
            the last with the first; none where nothing is mixed.
    """

    rows: Rows
    keys: tuple[str, ...]
    shares: Floats | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def find_partners(self, places: Rows) -> Rows:
        """Places in the batch of the images that those at `places` are mixed with.

        The order of an epoch is drawn, so the next one is as good as one that is drawn.
        """
        return (places + 1) % len(self)


def draw_batches(recipe: Recipe, part: Part, *, seed: int, epoch: int) -> list[Batch]:
    """The batches of an epoch; the same in every process, and after every interruption."""
    count, alpha, found = len(part), recipe.augment.mixup, []
    balanced = recipe.data.sampling == "balanced"
    labels = part.labels.cpu().numpy()
    chosen = choose_balanced(labels, seed=seed, epoch=epoch) if balanced else np.arange(count)
    turns = count_turns(chosen)
    for order in order_batches(count, recipe.batch_size, seed=seed, epoch=epoch):
        rows = chosen[order]
        keys = tuple(_name(part.image_ids[row], turn) for row, turn in zip(rows, turns[order], strict=True))
        shares = draw_shares(alpha, keys, seed=seed, epoch=epoch) if alpha else None
        found.append(Batch(rows, keys, shares))
    return found


def choose_balanced(labels: Rows, *, seed: int, epoch: int) -> Rows:
    """As many images as there are, each class equally often: places int64 [n], class by class.

    A class is gone through in an order drawn anew each epoch, and again in another one where it is too small:
    without replacement until all of it has come, so that no image comes more than once more than another of
    its class. What does not divide by the classes goes to some of them, drawn by (seed, epoch).

    Args:
        labels: int64 [n]; classes that do not occur get nothing.
    """
    generator = torch.Generator().manual_seed(seed_for(seed, "balance", epoch))
    classes = np.unique(labels)
    quotas = np.full(len(classes), len(labels) // len(classes))
    quotas[torch.randperm(len(classes), generator=generator).numpy()[: len(labels) % len(classes)]] += 1
    parts = []
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = [torch.randperm(len(members), generator=generator) for _ in range(-(-quota // len(members)))]
        parts += [members[torch.cat(rounds).numpy()[:quota]]] if quota else []
    return np.concatenate(parts)


def count_turns(rows: Rows) -> Rows:
    """How often each entry stood before it in `rows`: int64 [n]."""
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows[order], rows[order])
    turns = np.empty_like(order)
    turns[order] = np.arange(len(rows)) - first
    return turns


def draw_shares(alpha: float, keys: Sequence[str], *, seed: int, epoch: int) -> Floats:
    """What each image keeps of itself in its mixture: float64 [n] from Beta(alpha, alpha).

    Mixup after Zhang et al. 2018 (arXiv 1710.09412), with a share for each image instead of one a batch, by
    inverse-transform sampling: a function of (seed, epoch, key).
    """
    uniforms = draw_uniforms([seed_for("mixup", seed, epoch, key) for key in keys], 1)[:, 0]
    shares: Floats = betaincinv(alpha, alpha, uniforms)
    return shares


def _name(image_id: str, turn: int) -> str:
    # An image that comes again in an epoch is changed in another way.
    return f"{image_id}/{turn}" if turn else image_id
