"""The processes that train one model together: which rows are whose, and what they tell one another.

A batch is what it is in one process: it goes into parts (one, unless memory is short) and each part is
shared out. Gradients are added up, batch norm sees the whole part (`pipeline.training.sharing`), and one
process, the first, writes and reports. So the number of processes changes no more than rounding does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed

from pipeline.errors import LeftAloneError, TrainingError
from pipeline.recipe import Recipe


@dataclass(frozen=True)
class Piece:
    """What one process computes of one part of a batch.

    Args:
        rows: int64 [n], places in the batch.
        first: place of the first of them in the part.
        total: rows of the part, those of all processes.
    """

    rows: np.ndarray
    first: int
    total: int


class Team:
    """A team of one: it owns every row and has nobody to tell."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self.piece = Piece(np.arange(0), 0, 0)
        """What is being computed now; layers that draw for the whole part need to know their place in it."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.rank == 0

    def divide(self, count: int, parts: int = 1) -> list[Piece]:
        """This process's piece of each part of a batch of `count` rows; even to within a row."""
        return [
            Piece(mine, int(mine[0] - part[0]) if len(mine) else 0, len(part))
            for part in np.array_split(np.arange(count), parts)
            for mine in [np.array_split(part, self.size)[self.rank]]
        ]

    def place(self, device: str) -> str:
        """The device of this process, where the team was asked to train on `device`."""
        return device

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in place; the same bits in each."""
        return tensor

    def add_up_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes."""

    def gather(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows, in order, of which each process brings those that `divide(count)` gives it."""
        return rows

    def follow(self, tensors: Sequence[torch.Tensor]) -> None:
        """Overwrite tensors by those of the first process."""

    def describe(self) -> str:
        """How many processes train, for a person; empty for one."""
        return ""


class ManyTeam(Team):
    """A team of several processes, joined by torch's process group."""

    def __init__(self, rank: int, size: int, *, cuda: bool) -> None:
        super().__init__(rank, size)
        self.cuda = cuda

    def place(self, device: str) -> str:
        """Each process its own GPU; the processor is shared."""
        return f"cuda:{self.rank}" if self.cuda else device

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes, in place; the same bits in each."""
        with _hearing_of_ends():
            distributed.all_reduce(tensor)
        return tensor

    def add_up_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes, as one message."""
        found = [parameter.grad for parameter in parameters if parameter.grad is not None]
        message = self.add_up(torch.cat([gradient.reshape(-1) for gradient in found]))
        sums = torch.split(message, [gradient.numel() for gradient in found])
        for gradient, total in zip(found, sums, strict=True):
            gradient.copy_(total.view(gradient.shape))

    def gather(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows, in order, of which each process brings those that `divide(count)` gives it."""
        whole = rows.new_zeros((count, *rows.shape[1:]))
        whole[torch.from_numpy(self.divide(count)[0].rows)] = rows
        return self.add_up(whole)

    def follow(self, tensors: Sequence[torch.Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        for tensor in tensors:
            message = tensor.contiguous()
            with _hearing_of_ends():
                distributed.broadcast(message, src=0)
            tensor.copy_(message)

    def describe(self) -> str:
        """How many processes train, and what that means."""
        backend = "nccl" if self.cuda else "gloo"
        return (
            f"{self.size} ({backend}): each batch is shared out, gradients are added up, batch norm sees the "
            "whole batch; other last bits than one process"
        )


@contextmanager
def _hearing_of_ends() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LeftAloneError(f"another process of this training has ended: {error}") from error


@contextmanager
def open_team(rank: int, size: int, *, device: str, meeting: str = "") -> Iterator[Team]:
    """Join the team of this training, until the block ends; of one process, a team of one.

    Args:
        rank: number of this process, from 0; the first leads.
        size: how many processes there are.
        device: where the training was asked to run: GPUs are joined by NCCL, processors by gloo.
        meeting: path of a file that does not exist yet, on a file system that all processes see; empty = the
            addresses that torchrun gives in the environment.

    Raises:
        TrainingError: there are more processes than GPUs, or they are asked to share one.
    """
    if size == 1:
        yield Team()
        return
    cuda = _find_cuda(device, size)
    if cuda:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        init_method=f"file://{meeting}" if meeting else "env://",
        rank=rank,
        world_size=size,
    )
    try:
        yield ManyTeam(rank, size, cuda=cuda)
    finally:
        distributed.destroy_process_group()


def check_shares(recipe: Recipe, images: int, team: Team) -> None:
    """Refuse a team in which a process would have nothing to do in some batch.

    Args:
        images: how many there are to train on.

    Raises:
        TrainingError: the smallest batch has fewer images than there are processes.
    """
    smallest = images // -(-images // recipe.batch_size)
    if smallest < team.size:
        raise TrainingError(
            f"recipe {recipe.name!r} has batches of {smallest} images, too few for {team.size} processes; "
            f"set FALX_PROCESSES to {smallest} or less, or copy the recipe with a larger batch_size"
        )


def _find_cuda(device: str, size: int) -> bool:
    if not (device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())):
        return False
    found = torch.cuda.device_count()
    if ":" in device or found < size:
        wanted = f"FALX_DEVICE={device} names one" if ":" in device else f"{found} are here"
        raise TrainingError(
            f"{size} processes need a GPU each, and {wanted}; set FALX_PROCESSES={max(1, found)}, or "
            "FALX_DEVICE=cpu"
        )
    return True
