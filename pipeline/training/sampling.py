"""Which images make the batches of an epoch, and what is mixed: functions of (seed, epoch) alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
        keys: n of them, what an image's draws depend on besides seed and epoch.
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
    found = []
    for rows in order_batches(len(part), recipe.batch_size, seed=seed, epoch=epoch):
        keys = tuple(part.image_ids[row] for row in rows)
        alpha = recipe.augment.mixup
        shares = draw_shares(alpha, keys, seed=seed, epoch=epoch) if alpha else None
        found.append(Batch(rows, keys, shares))
    return found


def draw_shares(alpha: float, keys: Sequence[str], *, seed: int, epoch: int) -> Floats:
    """What each image keeps of itself in its mixture: float64 [n] from Beta(alpha, alpha).

    Mixup after Zhang et al. 2018 (arXiv 1710.09412), with a share for each image instead of one a batch, by
    inverse-transform sampling: a function of (seed, epoch, key).
    """
    uniforms = draw_uniforms([seed_for("mixup", seed, epoch, key) for key in keys], 1)[:, 0]
    shares: Floats = betaincinv(alpha, alpha, uniforms)
    return shares
