"""What a person sees in the terminal: what a command says, and the messages of the steps that it runs."""

import logging
import sys

import dagster as dg


class StepFormatter(logging.Formatter):
    """`12:34:56  model  epoch 3 of 10 …`: time, label, step, message; engine chatter stays out."""

    def __init__(self, label: str = "") -> None:
        super().__init__()
        self.label = f"{label:<24} " if label else ""

    def format(self, record: logging.LogRecord) -> str:
        """One line for one message."""
        meta = getattr(record, "dagster_meta", None) or {}
        step = meta.get("step_key") or ""
        message = meta.get("orig_message") or record.getMessage()
        clock = self.formatTime(record, "%H:%M:%S")
        mark = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        return f"  {clock}  {self.label}{step:<20} {mark}{message}"


@dg.logger(
    {
        "log_level": dg.Field(str, is_required=False, default_value="INFO"),
        "label": dg.Field(str, is_required=False, default_value=""),
    },
    description="Short lines on stderr.",
)
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """The console logger of every run that a command starts."""
    logger = logging.Logger("falx", level=context.logger_config["log_level"])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(StepFormatter(context.logger_config["label"]))
    logger.addHandler(handler)
    return logger


def say(text: str = "") -> None:
    """Print a line for a person, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
