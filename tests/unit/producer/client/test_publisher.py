"""Publishing while Redis is away."""

import pytest
from kombu.exceptions import OperationalError

from pointsman_producer.client import publisher
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings


def test_a_broker_that_stays_away_is_an_error_after_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def refuse(task: str, **_: object) -> None:
        tries.append(task)
        msg = "it is a replica"
        raise OperationalError(msg)

    monkeypatch.setattr(publisher, "PAUSES_S", (0.0, 0.0))
    outbox = publisher.Outbox(Settings(), "me")
    monkeypatch.setattr(outbox._app, "send_task", refuse)
    with pytest.raises(
        errors.BrokerUnavailableError, match="the broker did not take the message: it is a replica"
    ):
        outbox.send(names.CLASSIFY_TASK, {}, message_id="m", queue="q", summary="1 text")
    assert tries == [names.CLASSIFY_TASK] * 3
    outbox.close()
