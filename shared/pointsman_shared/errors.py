"""Every error Pointsman raises on purpose, under one root.

Exit codes and HTTP statuses are mapped at the edge; an error only says what is wrong, and whether trying the
same thing again later can help.
"""


class PointsmanError(Exception):
    """The root of all errors raised on purpose.

    Attributes:
        dead_letter: Where a worker gave a job up: the id under which `pointsman dead` has its message.
    """

    dead_letter: str | None = None

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


class ResultTimeoutError(RetryableError):
    """No outcome arrived in the time the caller gave."""


class TierUnavailableError(RetryableError):
    """No worker process here can serve the tier, usually because it has not been trained yet."""


class BusyError(RetryableError):
    """Another run of the same work is under way."""


class QueueFullError(BusyError):
    """The queue is too long or too old, or Redis has no room: send it again when work has been done."""


class ConflictError(PermanentError):
    """Somebody else changed the same thing first; look at it again before trying again."""


class SettingsError(PermanentError):
    """A setting is missing or has a value that cannot be used."""


class InvalidMessageError(PermanentError):
    """A message does not follow the schema or exceeds a limit."""


class InvalidDataError(PermanentError):
    """A file of training data or transcripts cannot be used as it is."""


class UnknownTierError(PermanentError):
    """No tier of that name is declared."""


class RegistryError(PermanentError):
    """A model version is absent, incomplete, tampered with or incompatible."""


class JobFailedError(PermanentError):
    """A worker took the job and could not do it."""


class PoisonError(PermanentError):
    """A message was begun as often as is allowed and never finished: it seems to kill whoever takes it."""


class TimeLimitError(PermanentError):
    """A job took longer than its kind may."""


class CancelledError(PermanentError):
    """A job was called off before it was done, or a training run was asked to stop."""
