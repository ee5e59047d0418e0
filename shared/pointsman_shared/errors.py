"""Every error that Pointsman raises on purpose, under one root.

The command line maps errors to exit codes, and remedies to commands; an error only says what is wrong, and whether the
same request can succeed later.
"""

from enum import StrEnum

# How the line begins with which a worker ends that cannot use its settings; its exit code is `os.EX_CONFIG`.
SAID_BY = "pointsman: "


class Remedy(StrEnum):
    """What helps against an error, where the error knows it."""

    OVERWRITE = "overwrite"
    START_OVER = "start over"
    RESUME_OR_START_OVER = "resume or start over"
    OTHER_SPEAKER = "other speaker"
    OTHER_REDIS_PORT = "other port for Redis"
    OTHER_FLOWER_PORT = "other port for Flower"
    INSIST = "insist"
    JOIN = "join"


class PointsmanError(Exception):
    """The root of all errors raised on purpose.

    Attributes:
        remedy: What helps, if that is known.
        dead_letter: The id of the dead letter, if a worker gave the job up.
    """

    dead_letter: str | None = None

    def __init__(self, message: str = "", remedy: Remedy | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy

    @property
    def is_retryable(self) -> bool:
        """Whether the same request can succeed later, unchanged."""
        return isinstance(self, RetryableError)


class RetryableError(PointsmanError):
    """The same request can succeed later, unchanged."""


class PermanentError(PointsmanError):
    """The same request will fail again; something has to change first."""


class BrokerUnavailableError(RetryableError):
    """Redis cannot be reached, or refuses to take the message."""


class UnavailableError(RetryableError):
    """A disk or a server that the work needs cannot be used now, such as the one that holds the registry."""


class ResultTimeoutError(RetryableError):
    """No outcome arrived in time."""


class TierUnavailableError(RetryableError):
    """The worker process cannot serve the tier, usually because it has not been trained yet."""


class BusyError(RetryableError):
    """Another run of the same work is in progress."""


class QueueFullError(BusyError):
    """The queue is too long or too old, or Redis has no room: send it again later."""


class ConflictError(PermanentError):
    """Another change of the same thing came first; look at it again before trying again."""


class SettingsError(PermanentError):
    """A setting is missing or has a value that cannot be used."""


class ClosedError(PermanentError):
    """The client was closed."""


class InvalidMessageError(PermanentError):
    """A message does not follow the schema or exceeds a limit."""


class InvalidDataError(PermanentError):
    """A file of training data or transcripts cannot be used as it is."""


class UnknownTierError(PermanentError):
    """No tier of that name is declared."""


class RegistryError(PermanentError):
    """A model version is absent, incomplete, tampered with or incompatible."""


class JobFailedError(PermanentError):
    """The work on a job failed."""


class PoisonError(PermanentError):
    """A message was attempted as often as is allowed and never finished: it seems to kill its worker."""


class TimeLimitError(PermanentError):
    """A job took longer than its kind may."""


class CancelledError(PermanentError):
    """A job was cancelled before it was done, or a training was asked to stop."""


def is_time_up(error: BaseException | None) -> bool:
    """Return whether an error says that a job's time is up; by its name, because only the tasks know Celery."""
    return type(error).__name__ == "SoftTimeLimitExceeded"


def can_pass(error: Exception) -> bool:
    """Return whether what a disk, a network or a server refused can succeed later, unchanged."""
    lasting = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
    return isinstance(error, OSError) and not isinstance(error, lasting)
