"""Where and in which arithmetic a model is trained: by rules, never timings, so that a choice repeats."""

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.errors import TrainingError

# Below this size networks of grouped convolutions gain nothing from bf16 on a CPU: converting costs more.
SMALL_GROUPED = 1_500_000


@dataclass(frozen=True)
class Device:
    """A chosen device, and why.

    Args:
        name: what torch calls it: cpu, cuda, cuda:1, mps.
        precision: arithmetic of training steps: fp32 or bf16 (autocast; weights stay fp32).
        threads: CPU threads.
        why: the reason of each choice, for a person.
    """

    name: str
    precision: str
    threads: int
    why: dict[str, str]

    @property
    def kind(self) -> str:
        """cpu, cuda or mps."""
        return self.name.split(":")[0]

    def autocast(self) -> torch.autocast:
        """The context of a training step's forward pass and loss."""
        return torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def choose_device(requested: str, model: nn.Module, *, threads: int = 1) -> Device:
    """Choose device and precision for training `model`, and set torch up for it.

    `auto` takes a CUDA device where there is one, else the CPU. bf16 is used where the processor has
    instructions for it: dense convolutional networks then train about twice as fast (facts/training.md 1.3).
    Every layout is channels-last. On the CPU a training is bitwise repeatable for one number of threads,
    one torch and one processor family; on CUDA cuDNN is held to deterministic kernels, and nothing more is
    promised.

    Sets the process's number of torch threads.

    Raises:
        TrainingError: no such device here; says which there are.
    """
    name, reason = _find(requested)
    torch.set_num_threads(threads)
    if name.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    precision, cause = _choose_precision(name, model)
    why = {"device": reason, "precision": cause, "threads": f"{threads}, as the settings say"}
    return Device(name, precision, threads, why)


def _find(requested: str) -> tuple[str, str]:
    present = _list_devices()
    if requested == "auto":
        if "cuda" in present:
            return "cuda", f"cuda, found {torch.cuda.get_device_name(0)}"
        return "cpu", "cpu, since torch sees no CUDA device"
    if requested not in present:
        raise TrainingError(f"device {requested!r} is not here; allowed: auto, {', '.join(present)}")
    return requested, f"{requested}, as the settings say"


def _list_devices() -> list[str]:
    numbered = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    cuda = ["cuda", *numbered] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *cuda, *mps]


def _choose_precision(name: str, model: nn.Module) -> tuple[str, str]:
    if name.startswith("cuda"):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "bf16, since the GPU computes it natively"
        return "fp32", "fp32, since the GPU has no native bf16"
    if name == "mps":
        return "fp32", "fp32, since bf16 is not dependable on mps"
    if not torch.cpu._is_avx512_bf16_supported():
        return "fp32", "fp32, since the processor has no AVX-512 bf16 instructions"
    if _is_small_and_grouped(model):
        return "fp32", "fp32, since bf16 does not pay for small networks of grouped convolutions"
    return "bf16", "bf16, since the processor has AVX-512 bf16 instructions"


def _is_small_and_grouped(model: nn.Module) -> bool:
    grouped = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules())
    return grouped and sum(parameter.numel() for parameter in model.parameters()) < SMALL_GROUPED
