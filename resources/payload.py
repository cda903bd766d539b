"""The payload: one training, prediction, explanation or exam as a process; by the trainer, or by hand.

    python -m resources.payload train --spec work/spec.json
    torchrun --standalone --nproc-per-node 2 -m resources.payload train --spec work/spec.json

Exit codes: 0 done; 2 a FalxError (the same input will fail again); 3 asked to stop; 4 one of several
processes ran out of memory, start all again with more --parts; 5 another of several processes ended first;
anything else a crash. The first process reports, by Pipes log lines and MLflow metrics; results are left in
files.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol, TypeVar

from dagster_pipes import PipesContext, open_dagster_pipes
from pydantic import BaseModel, ValidationError

from pipeline.errors import FalxError, LeftAloneError, MemoryShortError, TrainingError
from resources.lifeline import die_with_parent, end_with, say_code

Spec = TypeVar("Spec", bound=BaseModel)


STARTED_BY_DAGSTER = "DAGSTER_PIPES_CONTEXT"
OUT_OF_MEMORY, LEFT_ALONE = 4, 5
FAREWELL_SECONDS = 2.0  # the first process, which most likely fails the same way, is given time to say so


class Stopped(BaseException):
    """SIGTERM arrived; a BaseException so that no handler for errors swallows it."""


class Tracker(Protocol):
    """Where epoch metrics go; each call answers with what a person should know, or nothing."""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> str:
        """Log one epoch."""

    def close(self) -> str:
        """Deliver what is buffered."""


class NoTracker:
    """A tracker for runs without MLflow."""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> str:
        """Forget the metrics."""
        return ""

    def close(self) -> str:
        """Nothing was lost."""
        return ""


class PipesReporter:
    """Reports a training to the Dagster log and to the tracker."""

    def __init__(self, pipes: PipesContext, tracker: Tracker) -> None:
        self.pipes = pipes
        self.tracker = tracker
        self.seconds = 0.0
        """Time spent on telling, by now."""

    def started(self, facts: Mapping[str, str]) -> None:
        """Say what was chosen, and why; a batch that did not fit the memory is a warning."""
        with self._timed():
            for name, fact in facts.items():
                say = self.pipes.log.warning if name == "memory" else self.pipes.log.info
                say(f"{name}: {fact}")

    def epoch(self, epoch: int, metrics: Mapping[str, float], note: str) -> None:
        """Say how an epoch went: figures, speed, what is left, the best so far."""
        with self._timed():
            self.pipes.log.info(describe_epoch(epoch, metrics, note))
            self.warn(self.tracker.log(epoch, metrics))

    def close(self) -> None:
        """Deliver what the tracker still holds."""
        with self._timed():
            self.warn(self.tracker.close())

    def warn(self, text: str) -> None:
        """Pass on what the tracker had to say."""
        if text:
            self.pipes.log.warning(text)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - begun


def describe_epoch(epoch: int, metrics: Mapping[str, float], note: str) -> str:
    """One line on an epoch for a person who watches the run."""
    names = {"train_loss": "train loss", "val_loss": "val loss", "val_macro_f1": "val macro-F1"}
    parts = [f"{name} {metrics[key]:.4f}" for key, name in names.items() if key in metrics]
    if "images_per_second" in metrics:
        parts.append(f"{metrics['images_per_second']:,.0f} images/s")
    if metrics.get("seconds_left"):
        parts.append(f"at most {metrics['seconds_left']:,.0f} s left")
    return f"epoch {epoch}: {', '.join([*parts, note])}"


def main() -> int:
    """Run the task named on the command line; returns the exit code."""
    arguments = _parse_arguments()
    rank, size = (int(os.environ.get(name, fallback)) for name, fallback in (("RANK", 0), ("WORLD_SIZE", 1)))
    signal.signal(signal.SIGTERM, _stop)
    if size > 1:
        die_with_parent()  # torchrun starts each process in a session of its own, out of the trainer's reach
    if STARTED_BY_DAGSTER in os.environ or size > 1:
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    if rank:
        return _follow(arguments, rank, size)
    with open_dagster_pipes() as pipes:
        try:
            return _run(arguments, pipes, size)
        except MemoryShortError as error:
            pipes.log.warning(f"{error}: starting again")
            _leave(OUT_OF_MEMORY)
        except LeftAloneError as error:
            pipes.log.warning(str(error))
            _leave(LEFT_ALONE)
        except FalxError as error:
            pipes.log.error(f"{type(error).__name__}: {error}")  # noqa: TRY400 (a message, no crash)
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return 2
        except Stopped:
            pipes.log.warning("asked to stop; the last finished epoch is kept")
            return 3


def _leave(code: int) -> NoReturn:
    """End without closing Pipes, since Dagster listens to nobody after that: the next process goes on."""
    sys.stderr.flush()
    os._exit(code)


def _follow(arguments: argparse.Namespace, rank: int, size: int) -> int:
    """Train as one of several processes, but the first; it alone reports."""
    from pipeline.training.loop import train
    from pipeline.training.spec import SilentReporter, TrainingSpec
    from pipeline.training.team import open_team

    try:
        spec = _read_spec(arguments.spec, TrainingSpec)
        with open_team(rank, size, device=spec.device, meeting=arguments.meeting) as team:
            train(spec, SilentReporter(), team, parts=arguments.parts)
    except MemoryShortError as error:
        sys.stderr.write(f"process {rank}: {error}\n")
        return OUT_OF_MEMORY
    except LeftAloneError:
        return LEFT_ALONE
    except FalxError as error:
        sys.stderr.write(f"process {rank}: {type(error).__name__}: {error}\n")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(FAREWELL_SECONDS)
        return 2
    except Stopped:
        return 3
    return 0


def _run(arguments: argparse.Namespace, pipes: PipesContext, size: int) -> int:
    start = time.monotonic()
    if arguments.task == "train":
        _train(arguments, pipes, size)
    elif arguments.task == "explain":
        from pipeline.explanations.explaining import ExplanationSpec, explain_split

        found = explain_split(_read_spec(arguments.spec, ExplanationSpec))
        told = ", ".join(f"{name} {count:,}" for name, count in found.items())
        pipes.log.info(f"explained: {told}, in {time.monotonic() - start:.1f} s")
    elif arguments.task == "examine":
        from pipeline.release.sitting import ExamSpec, sit_exam

        breaches = sit_exam(_read_spec(arguments.spec, ExamSpec))
        for model_id, breach in breaches.items():
            pipes.log.info(f"{model_id[:12]}: {breach or 'answered'}")
        pipes.log.info(f"{len(breaches)} models examined in {time.monotonic() - start:.1f} s")
    else:
        from pipeline.training.prediction import PredictionSpec, predict_split

        rows = predict_split(_read_spec(arguments.spec, PredictionSpec))
        seconds = time.monotonic() - start
        pipes.log.info(f"{rows['test']:,} predictions, {rows['val']:,} of val, in {seconds:.1f} s")
    return 0


def _train(arguments: argparse.Namespace, pipes: PipesContext, size: int) -> None:
    from pipeline.training.spec import TrainingSpec

    spec = _read_spec(arguments.spec, TrainingSpec)
    from pipeline.training.loop import train  # torch, which a spec that cannot be used need not wait for
    from pipeline.training.team import open_team

    reporter, begun = PipesReporter(pipes, _open_tracker(arguments)), time.monotonic()
    try:
        with open_team(0, size, device=spec.device, meeting=arguments.meeting) as team:
            result = train(spec, reporter, team, parts=arguments.parts)
    finally:
        reporter.close()
    spent = time.monotonic() - begun
    pipes.log.info(f"reporting took {reporter.seconds:.2f} s of {spent:.1f} s")
    figures = ", ".join(f"val {name} {value:.4f}" for name, value in result.val.items())
    pipes.log.info(f"best epoch {result.best_epoch} of {result.epochs}: {figures}")
    from pipeline.serving.fitting import write_fitted

    pipes.log.info(write_fitted(spec))


def _read_spec(path: Path, kind: type[Spec]) -> Spec:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise TrainingError(
            f"{path} cannot be used as {kind.__name__}: {error}. Materialise the asset again, which writes "
            "it anew"
        ) from error


def _open_tracker(arguments: argparse.Namespace) -> Tracker:
    if not arguments.run_id:
        return NoTracker()
    from resources.epochs import EpochLogger

    return EpochLogger(arguments.tracking_uri, arguments.run_id)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m resources.payload", description=__doc__)
    parser.add_argument("task", choices=["train", "predict", "explain", "examine"])
    parser.add_argument("--spec", type=Path, required=True, help="JSON file of the task's specification")
    parser.add_argument("--tracking-uri", default="", help="address of the MLflow server")
    parser.add_argument("--run-id", default="", help="open MLflow run that metrics go to")
    parser.add_argument("--parts", type=int, default=1, help="into how many parts a batch goes at least")
    parser.add_argument(
        "--meeting", default="", help="new file where several processes meet; empty = torchrun's"
    )
    return parser.parse_args()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(say_code(main()))
