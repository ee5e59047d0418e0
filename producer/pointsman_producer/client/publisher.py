"""Sending messages: the only place where a producer puts something on a queue."""

import time
from collections.abc import Mapping
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from pointsman_shared import errors
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import FULL

# Five more tries: an outage of about three seconds is ridden out. A longer one is reported, also where nothing answers
# at all and each try takes its time. Kombu's own retry is not used: after a reconnection it publishes on the old channel.
PAUSES_S = (0.2, 0.4, 0.6, 0.8, 1.0)
PATIENCE_S = 10.0
_UNSENT = (KombuError, OperationalError, RedisError, OSError)


class Outbox:
    """Publishes Celery messages. Safe to share between threads, not across a fork."""

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._app = broker_config.make_app(settings)
        self._client_id = client_id

    def send(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        message_id: str,
        queue: str,
        summary: str,
        keep_result: bool,
    ) -> None:
        """Put one message on a queue.

        Args:
            task: The task's name.
            payload: Its only argument, plain JSON.
            message_id: The message's id; sending the same id twice is harmless.
            queue: The queue's name.
            summary: What Flower and the logs show in place of the arguments, which may be private.
            keep_result: Whether Celery stores the task's return value. Classification stores its own.

        Raises:
            QueueFullError: Redis has no room.
            BrokerUnavailableError: The broker did not take it within a few seconds.
        """
        begun = time.monotonic()
        for pause_s in (*PAUSES_S, None):
            try:
                self._app.send_task(
                    task,
                    args=(payload,),
                    task_id=message_id,
                    queue=queue,
                    reply_to=self._client_id,
                    argsrepr=f"({summary})",
                    kwargsrepr="{}",
                    ignore_result=not keep_result,
                    retry=False,
                )
            except _UNSENT as error:
                if "maxmemory" in str(error):
                    raise errors.QueueFullError(FULL) from error
                if pause_s is None or time.monotonic() - begun > PATIENCE_S:
                    msg = f"the broker did not take the message: {type(error).__name__}"
                    raise errors.BrokerUnavailableError(msg) from error
                time.sleep(pause_s)
            else:
                return

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()
