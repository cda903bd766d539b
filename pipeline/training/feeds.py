"""What a model is fed: images drawn anew each epoch, or features of a frozen backbone, computed once.

Where nothing of the backbone trains, and an image is the same in each epoch or its mirror image, its features
are one vector, or two. They are kept beside the decoded images, under a key made of content: the backbone's
tensors, the pixels, the input and the arithmetic.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pipeline.atomic import replacing_file
from pipeline.digests import digest_json, digest_sources
from pipeline.imaging.augment import Augmenter
from pipeline.recipe import AugmentSpec, Recipe
from pipeline.training.batches import Part
from pipeline.training.devices import Device
from pipeline.training.inference import BATCH_SIZE, mirror_images, predict, prepare_images
from pipeline.training.inputs import normalise
from pipeline.training.models import Network
from pipeline.training.progress import Stage
from pipeline.training.sampling import Batch, Rows
from pipeline.training.spec import TrainingSpec
from pipeline.training.state import State, describe_environment, explaining
from pipeline.training.team import Team

_FOLDER = Path(__file__).parent
SOURCES = (*_FOLDER.glob("*.py"), *_FOLDER.with_name("imaging").rglob("*.py"))
"""Whatever has a say in features: networks, arithmetic, and how images are drawn."""

_CODE = digest_sources(SOURCES)


class Feed(Protocol):
    """Where batches come from."""

    train: Part
    val: Part

    def take(self, batch: Batch, places: Rows, epoch: int) -> torch.Tensor:
        """The inputs at some places of a batch, int64 [n]: images [n, 1, h, w] or features [n, f]."""

    def find_boxes(self, batch: Batch, epoch: int) -> torch.Tensor | None:
        """The boxes in a batch before it is mixed, float32 [n, 4] as in `Part`; none if not learnt."""

    def answer(self, model: Network, team: Team, *, batch_size: int) -> np.ndarray:
        """Probabilities of val, float64 [n, 4], under a model in evaluation mode."""


class PixelFeed:
    """Images, changed anew each epoch, as the recipe says.

    Args:
        augment: how, instead of the recipe's.
        seed: of the changes, instead of the training's.
    """

    def __init__(
        self,
        spec: TrainingSpec,
        device: Device,
        held: tuple[Part, Part],
        augment: AugmentSpec | None = None,
        seed: int | None = None,
    ) -> None:
        self.train, self.val = held
        self._recipe, self._device = spec.recipe, device
        self.augmenter = Augmenter(
            augment or spec.recipe.augment,
            spec.degradations,
            seed=spec.seed if seed is None else seed,
            threads=spec.threads,
        )

    def take(self, batch: Batch, places: Rows, epoch: int) -> torch.Tensor:
        """Augmented images, float32 [n, 1, h, w], mixed where the batch says so.

        What another process has to mix in is drawn here too, and comes out the same.
        """
        if batch.shares is None:
            return self._draw(batch, places, epoch)
        partners = batch.find_partners(places)
        needed, found = np.unique(np.concatenate([places, partners]), return_inverse=True)
        own, other = self._draw(batch, needed, epoch)[self._move(found.reshape(2, -1))]
        shares = self._move(batch.shares[places]).float()[:, None, None, None]
        mixed: torch.Tensor = shares * own + (1 - shares) * other
        return mixed

    def find_boxes(self, batch: Batch, epoch: int) -> torch.Tensor | None:
        """The boxes, moved as their images are."""
        if self.train.boxes is None:
            return None
        boxes, side = self.train.boxes[batch.rows], self._recipe.input.size
        return self._move(self.augmenter.move_boxes(boxes, batch.keys, epoch, side)).float()

    def _draw(self, batch: Batch, places: Rows, epoch: int) -> torch.Tensor:
        images = self.train.images[self._move(batch.rows[places])]
        return self.augmenter(images, [batch.keys[place] for place in places], epoch)

    def _move(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device.name)

    def answer(self, model: Network, team: Team, *, batch_size: int) -> np.ndarray:
        """Probabilities of val, float64 [n, 4]; each process answers its share."""
        images = self.val.images[_find_own(len(self.val), team)]
        found = predict(model, images, self._recipe, device=self._device.name, batch_size=batch_size)
        return team.gather(torch.from_numpy(found), len(self.val)).numpy()


class FeatureFeed:
    """Features of a frozen backbone: float [versions, n, f] of train, float32 [versions, n, f] of val.

    A second version is that of the mirror images: of train where they are shown, of val where they are asked.
    """

    def __init__(self, pixels: PixelFeed, features: dict[str, torch.Tensor], device: Device) -> None:
        self.train, self.val = pixels.train, pixels.val
        self._augmenter, self._device = pixels.augmenter, device
        self._versions, self._known = (features[name].to(device.name) for name in ("train", "val"))

    def take(self, batch: Batch, places: Rows, epoch: int) -> torch.Tensor:
        """Features of the images, or of their mirror images, as the augmentation draws it."""
        mirrored = self._augmenter.draw_mirrors([batch.keys[place] for place in places], epoch)
        version, row = (
            torch.from_numpy(index).to(self._device.name)
            for index in (mirrored.astype(np.int64), batch.rows[places])
        )
        return self._versions[version, row]

    def find_boxes(self, batch: Batch, epoch: int) -> torch.Tensor | None:
        """None: a frozen backbone learns nothing from them."""
        return None

    def answer(self, model: Network, team: Team, *, batch_size: int) -> np.ndarray:
        """Probabilities of val, float64 [n, 4]; a head is too little work to be shared out."""
        with torch.inference_mode():
            logits = [
                torch.stack([model.head(version) for version in batch]).mean(dim=0)
                for batch in torch.split(self._known, batch_size, dim=1)
            ]
            return torch.softmax(torch.cat(logits).double(), dim=1).cpu().numpy()


def make_feed(
    spec: TrainingSpec, state: State, device: Device, held: tuple[Part, Part], stage: Stage, team: Team
) -> Feed:
    """The feed of a stage; features where they can stand for the images, else the images.

    Raises:
        torch.OutOfMemoryError: the device's memory does not hold what the backbone needs.
        TrainingError: the features cannot be written.
    """
    pixels = PixelFeed(spec, device, held)
    if not _may_keep(spec.recipe, state.model, stage):
        return pixels
    state.model.train()  # frozen layers stay in evaluation mode
    path = _name_file(spec, state.model, device, held, team)
    features = _read(path, team)
    if features is None:
        features = _compute(spec, state, device, held, team)
        if team.leads:
            with explaining(path.parent, state, "the features of the frozen backbone"):
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing_file(path) as temporary:
                    save_file(features, temporary)
    return FeatureFeed(pixels, features, device)


def explain_features(recipe: Recipe, model: Network, stage: Stage) -> str:
    """Whether a frozen backbone is computed once, and why not, for a person; empty where none is frozen."""
    if stage.spec.freeze < 1:
        return ""
    if _may_keep(recipe, model, stage):
        seen = "each image and its mirror image" if recipe.augment.hflip else "each image"
        return f"the backbone is frozen: computed once for {seen}, then the head is trained on what it gave"
    moving = ", ".join(f"augment.{name}" for name in recipe.augment.list_moving()) or "its dropout"
    return (
        f"the backbone is frozen, yet computed for each batch: {moving} makes it see other images each epoch"
    )


def _may_keep(recipe: Recipe, model: Network, stage: Stage) -> bool:
    return stage.spec.freeze == 1 and not recipe.augment.list_moving() and not _has_chance(model.backbone)


def _has_chance(backbone: nn.Module) -> bool:
    """Whether a frozen network still answers differently from one time to the next."""
    if any(isinstance(module, _BatchNorm) and not module.affine for module in backbone.modules()):
        return True  # nothing to freeze, so it goes on counting
    shares = [
        getattr(module, name, 0) for module in backbone.modules() for name in ("drop_rate", "drop_prob")
    ]
    dropouts = [module.p for module in backbone.modules() if isinstance(module, _DropoutNd)]
    return any(isinstance(share, float) and share > 0 for share in [*shares, *dropouts])


def _name_file(
    spec: TrainingSpec, model: Network, device: Device, held: tuple[Part, Part], team: Team
) -> Path:
    """A path that says what lies there: other weights, pixels, input or arithmetic have another one."""
    tensors = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        tensors.update(f"{name} {tuple(tensor.shape)}".encode())
        tensors.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    key = [
        [spec.recipe.model.name, tensors.hexdigest()],
        [hashlib.sha256(part.images.cpu().numpy().data).hexdigest() for part in held],
        [spec.recipe.input.model_dump(), spec.recipe.augment.hflip > 0, spec.recipe.model.mirror],
        [describe_environment(device, team), version("timm"), _CODE],
    ]
    return Path(spec.cache) / "features" / f"{digest_json(key)[:24]}.safetensors"


def _read(path: Path, team: Team) -> dict[str, torch.Tensor] | None:
    """The features in a file; none where the first process sees no whole one."""
    found: dict[str, torch.Tensor] | None = None
    try:
        found = load_file(path) if path.is_file() else None
    except (SafetensorError, OSError):
        found = None  # damaged: computed and written anew
    seen = torch.tensor([found is not None])
    team.follow([seen])
    return found if bool(seen) else None


@torch.no_grad()
def _compute(
    spec: TrainingSpec, state: State, device: Device, held: tuple[Part, Part], team: Team
) -> dict[str, torch.Tensor]:
    """Features of train in the arithmetic of a training step, of val in that of validation."""
    recipe, size = spec.recipe, max(1, BATCH_SIZE // state.parts)
    train, val = held
    backbone = state.model.backbone

    def see(part: Part, mirror: bool, *, training: bool) -> torch.Tensor:
        change = Augmenter(AugmentSpec(hflip=float(mirror)), {}, seed=0, threads=spec.threads)
        own = range(len(part))[_find_own(len(part), team)]
        found = []
        for first in range(own.start, own.stop, size):
            rows = slice(first, min(first + size, own.stop))
            if training:
                images = normalise(change(part.images[rows], part.image_ids[rows], 0), recipe)
                with device.autocast():
                    seen = backbone(images.contiguous(memory_format=torch.channels_last))
            else:
                inputs = prepare_images(part.images[rows][:, None], recipe, device.name)
                seen = backbone(mirror_images(inputs) if mirror else inputs)
            found.append(seen.cpu())
        kept = torch.cat(found)
        return team.gather(kept.float(), len(part)).to(kept.dtype)

    def stack(part: Part, mirrored: bool, *, training: bool) -> torch.Tensor:
        mirrors = [False, True] if mirrored else [False]
        return torch.stack([see(part, mirror, training=training) for mirror in mirrors])

    shown, asked = recipe.augment.hflip > 0, recipe.model.mirror
    return {"train": stack(train, shown, training=True), "val": stack(val, asked, training=False)}


def _find_own(count: int, team: Team) -> slice:
    """The rows that `Team.divide` gives this process, which lie one after the other."""
    (piece,) = team.divide(count)
    return slice(piece.first, piece.first + len(piece.rows))
