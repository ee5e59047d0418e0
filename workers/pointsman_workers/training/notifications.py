"""Notifying people of what happened to a tier or to the flags, through webhooks, chats and mail.

A notification that cannot be delivered is logged and forgotten: it never fails or delays a job. Webhooks need only
Python; other chat and mail services need apprise, which `pointsman[notices]` installs.
"""

import json
import logging
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Literal

logger = logging.getLogger(__name__)

TIMEOUT_S = 10
Event = Literal[
    "trained", "promoted", "candidate", "rejected", "failed", "swap failed", "rolled back", "flags refused"
]


class Notifications:
    """Sends notifications, each in a thread of its own."""

    def __init__(self, urls: Sequence[str] = ()) -> None:
        self._urls = tuple(urls)
        self._threads: list[threading.Thread] = []

    def notify(self, event: Event, tier: str | None, version: int | None, text: str, **facts: Any) -> None:  # noqa: ANN401  JSON values
        """Send a notification to every URL; one about the flags names no tier."""
        name = "".join(f"{part} " for part in (tier, version) if part is not None)
        notice = {
            "event": event,
            "tier": tier,
            "version": version,
            "text": f"{name}{event}: {text}",
            **facts,
        }
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for url in self._urls:
            thread = threading.Thread(target=_deliver, args=(url, notice), daemon=True)
            thread.start()
            self._threads.append(thread)

    def flush(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until all notifications are sent."""
        for thread in self._threads:
            thread.join(timeout_s)


def _deliver(url: str, notice: Mapping[str, Any]) -> None:
    try:
        if url.startswith(("http://", "https://")):
            _post(url, notice)
        else:
            _apprise(url, notice)
    except Exception as error:  # an error of the receiver is no reason to fail here
        # The URL may hold a token.
        logger.warning("a notification (%s) cannot be delivered: %s", notice["event"], type(error).__name__)


def _post(url: str, notice: Mapping[str, Any]) -> None:
    """Post a notification as JSON; Slack's and Mattermost's incoming webhooks show its `text`."""
    request = urllib.request.Request(  # noqa: S310  the operator's own setting
        url, json.dumps(notice).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310  see above
        pass


def _apprise(url: str, notice: Mapping[str, Any]) -> None:
    import apprise  # noqa: PLC0415  an extra that few need, and slow to import

    # It logs an address that it cannot read, with its token.
    logging.getLogger("apprise").disabled = True
    messenger = apprise.Apprise()
    if not messenger.add(url) or not messenger.notify(title="Pointsman", body=notice["text"]):
        msg = "apprise did not deliver it"
        raise OSError(msg)
