"""A payload for the trainer's tests, with a grandchild that must not outlive it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("--spec", type=Path)
    spec = json.loads(parser.parse_known_args()[0].spec.read_text())
    if spec["stubborn"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    Path(spec["pids"]).write_text(f"{os.getpid()} {grandchild.pid}")
    time.sleep(spec["seconds"])
    grandchild.kill()
    grandchild.wait()
    if spec["code"] < 0:
        os.kill(os.getpid(), -spec["code"])
    sys.exit(spec["code"])


if __name__ == "__main__":
    main()
