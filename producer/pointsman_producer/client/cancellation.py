"""Cancel a message that has no outcome yet: it gets one that says so, and workers drop the message."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from pointsman_shared import errors
from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store

_CANCEL = scripts.load(__file__, "cancel")


def cancel(store: Store, message_id: str, ttl_s: int) -> bool:
    """Cancel a message that is in flight; a worker that runs it at this moment has no effect any more."""
    raw: Any = store.hget(store.keys.open(message_id), "message")
    batch, texts, client_id = _origin(raw) if raw is not None else ("", 0, "")
    done = _CANCEL(
        store,
        result=store.keys.result(message_id),
        done=store.keys.done(message_id),
        entry=store.keys.open(message_id),
        open_index=store.keys.open_index,
        progress=store.keys.batch(batch),
        id=message_id,
        outcome=_cancelled(message_id),
        ttl=ttl_s,
        texts=texts if batch else 0,
        channel=store.keys.reply_channel(client_id) if client_id else "",
    )
    return bool(done)


def cancel_batch(store: Store, batch: str, ttl_s: int) -> None:
    """Cancel the messages of a batch that are not attempted yet, in one step: workers drop them when they come."""
    store.set(store.keys.cancelled(batch), "1", ex=ttl_s)


def _origin(raw: bytes) -> tuple[str, int, str]:
    """Read a message's batch, the number of its texts, and the client that waits for it."""
    message = json.loads(raw)
    arguments = json.loads(base64.b64decode(message["body"]))[0]
    payload = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    return (
        payload.get("batch") or "",
        len(payload.get("texts") or ()),
        message["properties"].get("reply_to") or "",
    )


def _cancelled(message_id: str) -> str:
    return json.dumps(
        {
            "status": "FAILURE",
            "result": {
                "exc_type": errors.CancelledError.__name__,
                "exc_module": errors.__name__,
                "exc_message": ["it was cancelled before it was done"],
                "retryable": False,
                "dead_letter": None,
            },
            "traceback": None,
            "children": [],
            "date_done": datetime.now(UTC).isoformat(),
            "task_id": message_id,
        }
    )
