"""What follows from the rows of the finished epochs: which is best, whether to stop, what to say."""

from collections.abc import Mapping, Sequence

from pipeline.recipe import Recipe

History = Sequence[Mapping[str, float]]


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
    limits = recipe.stopping
    if len(history) >= limits.epochs:
        return f"all {limits.epochs} epochs trained"
    if history and limits.patience is not None:
        waited = len(history) - 1 - find_best(history, limits.monitor)
        if waited >= limits.patience:
            return f"{limits.monitor} has not gained for {waited} epochs"
    return ""


def comment_epoch(recipe: Recipe, history: History) -> str:
    """A line on the last epoch, for a person."""
    monitor = recipe.stopping.monitor
    best = find_best(history, monitor)
    waited = len(history) - 1 - best
    if not waited:
        return f"best so far: {monitor} {history[best][monitor]:.4f}"
    epochs = "epoch" if waited == 1 else "epochs"
    return f"no gain for {waited} {epochs}; best {monitor} {history[best][monitor]:.4f} in epoch {best + 1}"
