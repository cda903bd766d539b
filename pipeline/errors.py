"""Every error that Falx raises on purpose, as one tree.

FalxError
├── SettingsError        an environment variable or `.env` line cannot be used
├── CatalogError         mistakes in the YAML catalog, all of them at once
├── DecisionError        mistakes in the decision file, all of them at once
├── SourceError          a raw collection cannot be fetched, unpacked or trusted
│   ├── CredentialsError     the provider wants an account, a token or an accepted rule
│   ├── ArchiveError         an archive is broken or unsafe to unpack
│   └── LockError            the bytes differ from those that the lock file pins
├── DecodeError          bytes that are no image that Falx can read (carries a quarantine reason)
├── TableError           a table does not match its declared schema, or is incomplete
├── LicenceError         an export would pass on what its licence does not allow
├── GateError            a split leaks, or lost something: training behind it is refused
├── TrainingError        a training cannot start, continue or end well
│   ├── WeightsError         pretrained weights are missing or do not fit
│   ├── CheckpointError      a checkpoint belongs to another recipe or other data
│   ├── MemoryShortError     a batch does not fit, and the processes must start again in more parts
│   ├── LeftAloneError       another process of the same training has ended
│   └── DivergedError        the loss is no longer a number
├── ExplanationError     a heat map cannot be drawn, or not be measured
├── ReleaseError         the champion cannot be weighed against, or there is none to roll back to
├── TrackingError        the MLflow server is missing, broken or taken
├── ServingError         a packaged model or its input breaks the contract
└── LanguageError        a language model is not set up, refuses, or answers something else than words

A message says what is wrong, where, what is allowed and what to do next.
"""

from collections.abc import Sequence


class FalxError(Exception):
    """Root of all errors that Falx raises on purpose."""


class SettingsError(FalxError):
    """An environment variable or a line of `.env` cannot be used."""


class CatalogError(FalxError):
    """Mistakes in the catalog.

    Args:
        mistakes: one readable line each: file, field, what is wrong, allowed values.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        noun = "mistake" if count == 1 else "mistakes"
        lines = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        super().__init__(f"{count} {noun} in the catalog:\n{lines}")


class DecisionError(FalxError):
    """Mistakes in the decision file.

    Args:
        mistakes: one readable line each: file, line, column, what is wrong, allowed values, the fix.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        noun = "mistake" if count == 1 else "mistakes"
        lines = "\n".join(f"  - {mistake}" for mistake in self.mistakes)
        super().__init__(f"{count} {noun} in the decision file, so none of it was used:\n{lines}")


class SourceError(FalxError):
    """A raw collection cannot be fetched, unpacked or trusted."""


class CredentialsError(SourceError):
    """The provider wants an account, a token or an accepted rule."""


class ArchiveError(SourceError):
    """An archive is broken or unsafe to unpack; nothing of it was kept."""


class LockError(SourceError):
    """The bytes differ from those that the lock file pins."""


class DecodeError(FalxError):
    """Bytes that are no image that Falx can read.

    Args:
        reason: one of `pipeline.tables.QUARANTINE_REASONS`.
        detail: what exactly was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class TableError(FalxError):
    """A table does not match its declared schema, or is incomplete."""


class ReportError(FalxError):
    """A report cannot be read, or lacks what it is made from."""


class LicenceError(FalxError):
    """An export would pass on pixels whose licence does not allow it, or is not known to."""


class GateError(FalxError):
    """A split leaks, or lost something: training behind it is refused."""


class TrainingError(FalxError):
    """A training cannot start, continue or end well."""


class WeightsError(TrainingError):
    """Pretrained weights are missing or do not fit the model."""


class CheckpointError(TrainingError):
    """A checkpoint belongs to another recipe or to other data."""


class MemoryShortError(TrainingError):
    """A batch does not fit the memory of one of several processes; all must start again, in more parts."""


class LeftAloneError(TrainingError):
    """Another process of the same training has ended; why, it says itself."""


class DivergedError(TrainingError):
    """The loss is no longer a number."""


class ExplanationError(FalxError):
    """A heat map cannot be drawn, or not be measured against a box."""


class ReleaseError(FalxError):
    """The champion cannot be weighed against, or there is nothing to roll back to."""


class TrackingError(FalxError):
    """The MLflow server is missing, broken, or its port is taken."""


class ServingError(FalxError):
    """A packaged model, or the input it was given, breaks the contract."""


class LanguageError(FalxError):
    """A language-model provider is not set up, refuses, does not answer, or answers no words."""
