"""One training as several processes of one machine: torchrun's own agent, on loopback alone.

    python -m resources.spread 2 -- -m resources.payload train --spec work/spec.json

Beside `torchrun --standalone` it keeps the exit code of the process that failed first, starts all again in
smaller parts where a batch did not fit, and opens no port to the network: the processes meet in a file.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from resources.lifeline import say_code
from resources.payload import LEFT_ALONE, OUT_OF_MEMORY

STOP_SECONDS = 10  # how long processes have to end before they are killed; the trainer gives us 20


def main() -> int:
    """Start the processes, again where memory was short; returns the exit code of the first that failed."""
    arguments = _parse_arguments()
    # Gloo and NCCL would listen on the address that the machine's name stands for.
    loopback = "lo" if sys.platform == "linux" else "lo0"
    os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    # Without it the agent opens a port on all addresses, for processes that meet through it.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    parts = 1
    while True:
        more = ["--parts", str(parts)] if parts > 1 else []
        code = _start(arguments.processes, [*arguments.command, *more])
        if code != OUT_OF_MEMORY:
            return code
        parts *= 2


def _start(processes: int, command: list[str]) -> int:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="falx-team-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=Path(folder).name,
            rdzv_backend="c10d",
            rdzv_endpoint=f"{folder}/agent",
            rdzv_configs={"store_type": "file"},
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(),
            shutdown_timeout=STOP_SECONDS,
        )
        try:
            elastic_launch(config, sys.executable)(*command, "--meeting", f"{folder}/team")
        except ChildFailedError as error:
            return choose_code([failure.exitcode for failure in error.failures.values()])
        except SignalException:
            return 3
    return 0


def choose_code(codes: list[int]) -> int:
    """The exit code that says why all ended: that of the process whose end was not brought by another's."""
    brought = (3, LEFT_ALONE, -signal.SIGTERM)  # the likeliest to be told by somebody outside comes first
    own = [code for code in codes if code not in brought]
    if not own:
        return min(codes, key=brought.index)
    return OUT_OF_MEMORY if OUT_OF_MEMORY in own else min(own)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m resources.spread", description=__doc__)
    parser.add_argument("processes", type=int, help="how many processes")
    parser.add_argument(
        "command", nargs="+", help="after --: what Python is to run, as -m resources.payload …"
    )
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    # A process that was killed by a signal is passed on as shells do it.
    sys.exit(say_code(code if code >= 0 else 128 - code))
