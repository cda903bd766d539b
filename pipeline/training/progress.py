"""What follows from the rows of the finished epochs: the stage, the best, whether to stop, what to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.recipe import Recipe, StageSpec, StoppingSpec

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Stage:
    """A stage of a training.

    Args:
        number: 1 for the first.
        first: epochs that were finished before it.
        spec: what the recipe says of it.
    """

    number: int
    first: int
    spec: StageSpec


def find_stage(recipe: Recipe, history: History) -> Stage | None:
    """The stage that the next epoch belongs to; null where the training is over."""
    first = 0
    for number, spec in enumerate(recipe.list_stages(), start=1):
        length = _find_length(spec, recipe.stopping, history[first:])
        if length is None:
            return Stage(number, first, spec)
        first += length
    return None


def _find_length(spec: StageSpec, limits: StoppingSpec, rows: History) -> int | None:
    """How many epochs a stage took that starts with `rows`; null where it goes on after them."""
    for length in range(1, len(rows) + 1):
        waited = length - 1 - find_best(rows[:length], limits.monitor)
        if length >= spec.epochs or (limits.patience is not None and waited >= limits.patience):
            return length
    return None


def turn_figure(row: Mapping[str, float], monitor: str) -> float:
    """The monitored figure of an epoch, turned so that more is better."""
    return -row[monitor] if monitor == "val_loss" else row[monitor]


def find_best(history: History, monitor: str) -> int:
    """Index of the best epoch; of equal ones the earliest."""
    return max(range(len(history)), key=lambda index: (turn_figure(history[index], monitor), -index))


def find_kept(recipe: Recipe, history: History) -> int:
    """Index of the epoch whose weights become the model: the best, or the last (`stopping.keep`)."""
    return find_best(history, recipe.stopping.monitor) if recipe.stopping.keep == "best" else len(history) - 1


def find_stop(recipe: Recipe, history: History) -> str:
    """Why training is over after these epochs; empty where it is not."""
    if find_stage(recipe, history) is not None:
        return ""
    last = find_stage(recipe, history[:-1])
    assert last is not None
    rows, limits = history[last.first :], recipe.stopping
    waited = len(rows) - 1 - find_best(rows, limits.monitor)
    if len(rows) >= last.spec.epochs:
        return f"{_name_stage(recipe, last)}all {last.spec.epochs} epochs trained"
    return f"{_name_stage(recipe, last)}{limits.monitor} has not gained for {waited} epochs"


def comment_epoch(recipe: Recipe, history: History) -> str:
    """A line on the last epoch, for a person."""
    monitor = recipe.stopping.monitor
    best = find_best(history, monitor)
    waited = len(history) - 1 - best
    trained = find_stage(recipe, history[:-1])
    place = _name_stage(recipe, trained) if trained else ""
    if not waited:
        return f"{place}best so far: {monitor} {history[best][monitor]:.4f}"
    epochs = "epoch" if waited == 1 else "epochs"
    figure = f"best {monitor} {history[best][monitor]:.4f} in epoch {best + 1}"
    return f"{place}no gain for {waited} {epochs}; {figure}"


def _name_stage(recipe: Recipe, stage: Stage) -> str:
    return f"stage {stage.number} of {len(recipe.stages)}: " if recipe.stages else ""
