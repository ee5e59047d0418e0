"""Celery's request, extended: what Celery itself gives up gets its outcome, and the ledger does not wait for it."""

import logging
from typing import Any

from celery.exceptions import TaskRevokedError
from celery.worker import request as celery_request

from pointsman_shared.store.connection import UNAVAILABLE
from pointsman_workers.delivery import payloads

logger = logging.getLogger(__name__)


class LedgerRequest(celery_request.Request):
    """One delivery of a message, in the worker's parent."""

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
