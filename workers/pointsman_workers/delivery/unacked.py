"""The messages that this worker holds, as Redis knows them; each step is one script, which a full Redis runs as well.

Kombu's own steps are transactions and a lock: a full Redis refuses every command in a transaction, even one that deletes.
"""

import time
from typing import Any, Final

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from pointsman_shared.store import scripts

HOLD: Final = scripts.load(__file__, "hold")
LET_GO: Final = scripts.load(__file__, "let_go")


class Unacked(kombu_redis.QoS):
    """Notes what was taken, lets it go, and puts it back."""

    channel: Any

    def append(self, message: Any, delivery_tag: str) -> None:  # noqa: ANN401  kombu's message
        """Note that a message was taken."""
        info = message.delivery_info
        held = dumps([message._raw, info["exchange"], info["routing_key"]])
        with self.channel.conn_or_acquire() as redis:
            HOLD(redis, **self._notes(), tag=delivery_tag, now=time.time(), held=held)
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that is done."""
        self._let_go(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Forget a message; put it back, to be taken last, if `requeue`."""
        if requeue:
            self.restore_by_tag(delivery_tag, leftmost=True)
        else:
            self._let_go(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 10) -> None:  # noqa: ARG002  kombu's signature
        """Put back what any worker took long ago. No lock: of several workers, the script lets one put it back."""
        latest, first = time.time() - self.visibility_timeout, start if num else None
        with self.channel.conn_or_acquire() as redis:
            for tag in redis.zrangebyscore(self.unacked_index_key, "-inf", latest, start=first, num=num):
                self._put_back(redis, tag, push="RPUSH", latest=latest)

    def restore_by_tag(self, tag: str | bytes, client: Any = None, leftmost: bool = False) -> None:  # noqa: ANN401  kombu's client
        """Put back a message, to be taken next, or last if `leftmost`."""
        with self.channel.conn_or_acquire(client) as redis:
            self._put_back(redis, tag, push="LPUSH" if leftmost else "RPUSH")

    def _put_back(self, redis: Any, tag: str | bytes, *, push: str, latest: float | str = "") -> None:  # noqa: ANN401  kombu's client
        held = redis.hget(self.unacked_key, tag)
        if held is None:
            self._let_go(tag, redis, latest=latest)
            return
        message, _, queue = loads(bytes_to_str(held))
        message.get("headers", {})["redelivered"] = True
        message["properties"]["delivery_info"]["redelivered"] = True
        priority = self.channel._get_message_priority(message, reverse=False)
        named = self.channel._q_for_pri(queue, priority)
        self._let_go(tag, redis, latest=latest, queue=named, push=push, message=dumps(message))

    def _let_go(
        self,
        tag: str | bytes,
        client: Any = None,  # noqa: ANN401  kombu's client
        *,
        latest: float | str = "",
        queue: str = "",
        push: str = "",
        message: str = "",
    ) -> None:
        # An ACL allows no key without a name, also where the script does not use it.
        named = queue or self.unacked_key
        with self.channel.conn_or_acquire(client) as redis:
            LET_GO(redis, **self._notes(), tag=tag, latest=latest, queue=named, push=push, message=message)

    def _notes(self) -> dict[str, str]:
        return {"unacked": self.unacked_key, "index": self.unacked_index_key}
