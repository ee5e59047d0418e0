"""Publishing while Redis is away."""

import pytest

from pointsman_producer.client import publisher
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings


def test_a_broker_that_stays_away_is_an_error_after_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PAUSES_S", (0.0, 0.0))
    outbox = publisher.Outbox(Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0"}), "me")
    with pytest.raises(
        errors.BrokerUnavailableError, match=r"the broker did not take the message: .*127\.0\.0\.1:1"
    ):
        outbox.send(names.CLASSIFY_TASK, {}, message_id="m", queue="q", summary="1 text")
    outbox.close()
