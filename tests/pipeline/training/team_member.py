"""One process of a team, for the tests: `python team_member.py <spec> <rank> <size> <meeting>`, in fp32.

bf16 is switched off, since in it another order of additions moves the second digit.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.training.loop import train
from pipeline.training.spec import TrainingSpec
from pipeline.training.team import open_team


class Stopper:
    """Stops after an epoch, as a crash would, where it is told to."""

    def __init__(self, until: int) -> None:
        self.until = until

    def started(self, facts: Mapping[str, str]) -> None:
        for name, fact in facts.items():
            print(f"{name}: {fact}", flush=True)

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        if epoch == self.until:
            sys.stdout.flush()
            raise SystemExit(9)


if __name__ == "__main__":
    path, rank, size, meeting, until = sys.argv[1:]
    torch.cpu._is_avx512_bf16_supported = lambda: False
    spec = TrainingSpec.model_validate_json(Path(path).read_text())
    with open_team(int(rank), int(size), device=spec.device, meeting=meeting) as team:
        train(spec, Stopper(int(until)), team)
