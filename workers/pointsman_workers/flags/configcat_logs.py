"""The limits on what ConfigCat's SDK may log: one line when it cannot fetch.

Knows the SDK's logger by its name and its events by their numbers; imports nothing of the SDK.
"""

import logging
from typing import Final

# The SDK's numbers for: cannot fetch (11xx), cannot read or write the cache (22xx).
_FETCH_EVENTS: Final = frozenset({1100, 1101, 1102, 1103, 1104, 2200, 2201})


class FetchFailures(logging.Filter):
    """Lets one line pass for each kind of fetch failure, without its traceback, and nothing else.

    The SDK's lines about evaluations quote the user's attributes, and the traceback of a failed request quotes the URL,
    which holds the SDK key.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record may be logged, and remove its traceback."""
        event = getattr(record, "event_id", 0)
        if event not in _FETCH_EVENTS or event in self._seen:
            return False
        self._seen.add(event)
        record.exc_info = record.exc_text = None
        return True

    def clear(self) -> None:
        """Let failures be logged again after a success."""
        self._seen.clear()


FETCH_FAILURES: Final = FetchFailures()


def quieten() -> None:
    """Silence the SDK's logger, even if the application sets its level later."""
    sdk_logger = logging.getLogger("configcat")
    sdk_logger.addFilter(FETCH_FAILURES)
    sdk_logger.setLevel(logging.ERROR)
