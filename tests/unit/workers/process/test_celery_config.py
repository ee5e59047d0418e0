"""What a worker's process makes of its settings."""

import os

import pytest

from pointsman_shared import errors
from pointsman_workers.process import celery_config


def test_a_setting_that_cannot_be_used_ends_the_process_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end, celery_config.explained():
        raise errors.SettingsError("result_ttl_s: too short")
    assert end.value.code == os.EX_CONFIG
    assert capsys.readouterr().err == "pointsman: result_ttl_s: too short\n"


def test_each_queue_has_an_exchange_of_its_own() -> None:
    queues = celery_config.queues_named(["a", "b"])
    assert [(queue.name, queue.exchange.name, queue.routing_key) for queue in queues] == [
        ("a", "a", "a"),
        ("b", "b", "b"),
    ]
