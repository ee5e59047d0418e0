"""What the worker's parent does with a message whose process took too long."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
from pointsman_workers.delivery.request import LedgerRequest

LIMIT_S = 40.0


class Delivery:
    """A message in the parent, and whether it went back to its queue."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, paused_s_ago: float) -> None:
        monkeypatch.setattr(bootstrap, "_connect", lambda *_: None)
        app = bootstrap.serving_app(Settings())
        paused_at = time.monotonic() - paused_s_ago
        monkeypatch.setattr(app, "pauses", lambda: SimpleNamespace(since=lambda moment: paused_at > moment))
        self.task = app.tasks[names.CLASSIFY_TASK]
        self.requeued: list[bool] = []
        self.given_up: list[str] = []
        monkeypatch.setattr(
            type(self.task), "on_failure", lambda _, error, *__: self.given_up.append(type(error).__name__)
        )
        self.request = LedgerRequest(
            SimpleNamespace(
                delivery_info={}, properties={}, headers={}, body=b"", acknowledged=False, payload=b""
            ),
            app=app,
            task=self.task,
            headers={"id": "m", "task": names.CLASSIFY_TASK},
            body=[[{"texts": ["hi"]}], {}, {}],
            decoded=True,
            on_ack=lambda *_: None,
            on_reject=lambda _, __, requeue: self.requeued.append(requeue),
        )


@pytest.mark.parametrize(
    ("paused_s_ago", "soft", "requeued"),
    [(LIMIT_S / 2, False, [True]), (LIMIT_S / 2, True, []), (2 * LIMIT_S, False, [])],
    ids=["a pause within the limit", "the soft limit", "a pause before the message"],
)
def test_a_message_whose_limit_passed_while_its_process_stood_still_goes_back_to_its_queue(
    monkeypatch: pytest.MonkeyPatch, paused_s_ago: float, soft: bool, requeued: list[bool]
) -> None:
    delivery: Any = Delivery(monkeypatch, paused_s_ago=paused_s_ago)
    delivery.request.on_timeout(soft=soft, timeout=LIMIT_S)
    assert delivery.requeued == requeued
