"""Celery's request, extended: what Celery itself gives up gets its outcome, and a pause is no time limit."""

import logging
import time
from typing import Any

from celery.exceptions import TaskRevokedError, WorkerLostError
from celery.worker import request as celery_request
from celery.worker.state import task_ready

from pointsman_shared.store.connection import UNAVAILABLE
from pointsman_workers.delivery import payloads
from pointsman_workers.process import pauses

logger = logging.getLogger(__name__)


class LedgerRequest(celery_request.Request):
    """One delivery of a message, in the worker's parent."""

    _stood_still = False

    def _announce_revoked(self, reason: str, *args: Any) -> None:  # noqa: ANN401  Celery's signature
        """Store that the message was revoked, terminated or is expired, before Celery acknowledges it."""
        payload = payloads.argument(self.args, self.kwargs)
        try:
            self.task.ledger.revoke(  # type: ignore[attr-defined]  # only a `LedgerTask` names this class
                self.id,
                TaskRevokedError(reason),
                batch=payloads.batch(payload),
                texts=payloads.texts(payload),
                client_id=self.reply_to,
            )
        except UNAVAILABLE:
            # The acknowledgement fails as well: the message comes again.
            logger.warning("%s[%s] is %s; Redis is away, so it will come again", self.name, self.id, reason)
        super()._announce_revoked(reason, *args)  # type: ignore[misc]  # the types for Celery lack it

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> None:  # noqa: ANN401  Celery's signature
        """Tell the task of a process that is gone, before its message returns to the queue."""
        if issubclass(exc_info.type, WorkerLostError):
            self.task.when_lost(self.id, payloads.argument(self.args, self.kwargs))  # type: ignore[attr-defined]  # see above
        super().on_failure(exc_info, *args, **options)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Return a message to its queue whose hard limit passed while its process, or this one, stood still.

        It was interrupted, and its attempts are counted; otherwise its task gives it up. A process that stood still at its
        soft limit is not given time to do its work after that.
        """
        self._stood_still = self._stood_still or pauses.is_stopped(int(self.worker_pid or 0))
        here = self.task.app.pauses().since(time.monotonic() - timeout)  # type: ignore[attr-defined]
        if soft or not (here or self._stood_still):
            super().on_timeout(soft, timeout)
            return
        task_ready(self)
        logger.warning("%s[%s] is tried again: its process stood still", self.name, self.id)
        self.reject(requeue=True)
