"""A text that kills the worker that takes it."""

from typing import Final

TEXT: Final = "this text kills the worker that takes it"
# The plain worker's jobs are numbers.
NUMBER: Final = -1
