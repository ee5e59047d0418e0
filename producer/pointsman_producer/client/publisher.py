"""Publish messages: the only place where a producer puts something on a queue."""

import time
from collections.abc import Mapping
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import connection
from pointsman_shared.wire import jobs

# More tries bridge an outage, or a fail-over, of about ten seconds. A longer one is reported, also if each try waits for
# an answer. Kombu's own retry is not used, because after a reconnection it publishes on the old channel.
PAUSES_S = (0.2, 0.4, 0.6, 0.8, *[1.0] * 8)
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
    ) -> None:
        """Put one message on a queue; the same id may be sent twice.

        Flower and the logs show the summary instead of the payload, which may be private. Classification stores its
        own result, so Celery keeps none. An id that is that of another request raises ConflictError.
        """
        started = time.monotonic()
        headers = {jobs.DIGEST_HEADER: jobs.digest(payload)} if task == names.CLASSIFY_TASK else {}
        for pause_s in (*PAUSES_S, None):
            try:
                self._app.send_task(
                    task,
                    args=(payload,),
                    task_id=message_id,
                    queue=queue,
                    reply_to=self._client_id,
                    headers=headers,
                    argsrepr=f"({summary})",
                    kwargsrepr="{}",
                    ignore_result=task == names.CLASSIFY_TASK,
                    retry=False,
                )
            except _UNSENT as error:
                if connection.is_full(error):
                    raise errors.QueueFullError(connection.FULL) from error
                if connection.is_of_cluster(error) or connection.is_of_cluster(error.__cause__):
                    raise errors.SettingsError(connection.NO_CLUSTER) from error
                if pause_s is None or time.monotonic() - started > PATIENCE_S:
                    msg = f"the broker did not take the message: {error or type(error).__name__}"
                    raise errors.BrokerUnavailableError(msg) from error
                time.sleep(pause_s)
            else:
                return

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
