"""Sending messages: the only place where a producer puts something on a queue."""

from collections.abc import Mapping
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from pointsman_shared import broker, errors
from pointsman_shared.settings import Settings

# Five more tries, 0.2 s to 1 s apart: an outage of about three seconds is ridden out, a longer one is reported.
RETRY_POLICY = {"max_retries": 5, "interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}


class Outbox:
    """Publishes Celery messages. Safe to share between threads, not across a fork."""

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._app = broker.make_app(settings)
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
            BrokerUnavailableError: The broker did not take it in the time the retry policy gives.
        """
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
                retry=True,
                retry_policy=RETRY_POLICY,
            )
        except (KombuError, OperationalError, RedisError, OSError) as error:
            if "maxmemory" in str(error):
                msg = "Redis is full (maxmemory): nothing was submitted; try again when work has been done"
                raise errors.QueueFullError(msg) from error
            msg = f"the broker did not take the message: {error}"
            raise errors.BrokerUnavailableError(msg) from error

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()
