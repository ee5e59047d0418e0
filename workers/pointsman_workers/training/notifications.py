"""Telling people: trained, promoted, rejected and why, swap failed, rolled back.

A notice that cannot be delivered is logged and forgotten: it never fails or delays a job. Webhooks need nothing but
Python; any other chat or mail service needs apprise, which is installed with `pointsman[notices]`.
"""

import json
import logging
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Literal

logger = logging.getLogger(__name__)

TIMEOUT_S = 10
Event = Literal["trained", "promoted", "candidate", "rejected", "failed", "swap failed", "rolled back"]


class Notices:
    """Sends notices, each in a thread of its own.

    Args:
        urls: Webhooks (`https://...`) and apprise's URLs (`slack://...`, `mailto://...`).
    """

    def __init__(self, urls: Sequence[str] = ()) -> None:
        self._urls = tuple(urls)
        self._threads: list[threading.Thread] = []

    def tell(self, event: Event, tier: str, version: int | None, text: str, **facts: Any) -> None:  # noqa: ANN401  JSON values
        """Tell everybody of something.

        Args:
            event: What happened.
            tier: To which tier.
            version: And to which of its versions.
            text: What people read.
            facts: What programs read.
        """
        name = f"{tier} {version}" if version is not None else tier
        notice = {
            "event": event,
            "tier": tier,
            "version": version,
            "text": f"{name} {event}: {text}",
            **facts,
        }
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for url in self._urls:
            thread = threading.Thread(target=_deliver, args=(url, notice), daemon=True)
            thread.start()
            self._threads.append(thread)

    def flush(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until what was told is on its way."""
        for thread in self._threads:
            thread.join(timeout_s)


def _deliver(url: str, notice: Mapping[str, Any]) -> None:
    try:
        if url.startswith(("http://", "https://")):
            _post(url, notice)
        else:
            _apprise(url, notice)
    except Exception as error:  # whatever goes wrong out there is no reason to fail in here
        # The URL may hold a token.
        logger.warning("a notice (%s) could not be delivered: %s", notice["event"], type(error).__name__)


def _post(url: str, notice: Mapping[str, Any]) -> None:
    """Post a notice as JSON; its `text` is what Slack's and Mattermost's incoming webhooks show."""
    request = urllib.request.Request(  # noqa: S310  the operator's own setting
        url, json.dumps(notice).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310  see above
        pass


def _apprise(url: str, notice: Mapping[str, Any]) -> None:
    import apprise  # noqa: PLC0415  an extra that few need, and slow to import

    messenger = apprise.Apprise()
    if not messenger.add(url) or not messenger.notify(title="Pointsman", body=notice["text"]):
        msg = "apprise did not deliver it"
        raise OSError(msg)
